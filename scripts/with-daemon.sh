#!/usr/bin/env bash
# Runs a command beside a fresh daemon of this project: scripts/with-daemon.sh LOG COMMAND [ARGUMENT]...
#
# The daemon has a free port of 127.0.0.1, a temporary data directory and LOG as its log; the command finds it at
# OCI_REGISTRY=HOST:PORT. The daemon ends with the command, whose status is that of this script.
set -euo pipefail

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
log=${1:?usage: scripts/with-daemon.sh LOG COMMAND [ARGUMENT]...}
shift
venv=${ARTIFACTAPI_VENV:-$root/.venv}
work=$(mktemp -d)
daemon=
command=

clean_up() {
    if [ -n "$command" ]; then # with all that it has started
        kill -- "-$command" 2>/dev/null || true
        wait "$command" 2>/dev/null || true
    fi
    if [ -n "$daemon" ]; then
        kill "$daemon" 2>/dev/null || true
        wait "$daemon" 2>/dev/null || true
    fi
    rm -rf "$work"
}
trap clean_up EXIT
trap 'exit 130' INT TERM

answers() {
    "$venv/bin/python" - "http://$OCI_REGISTRY/readyz" 2>/dev/null <<'PYTHON'
import sys
import urllib.request

urllib.request.build_opener(urllib.request.ProxyHandler({})).open(sys.argv[1], timeout=5)
PYTHON
}

await_ready() {
    local deadline=$((SECONDS + 60))
    until answers; do
        if ! kill -0 "$daemon" 2>/dev/null || [ "$SECONDS" -ge "$deadline" ]; then
            tail -n 40 "$log" >&2
            echo "scripts/with-daemon.sh: the daemon did not get ready; the end of its log is above" >&2
            exit 1
        fi
        sleep 0.2
    done
}

# First and apart, so that making the virtualenv does not count against the start.
"$root/scripts/install.sh" "$venv"
port=$("$venv/bin/python" -c 'import socket; print(socket.create_server(("127.0.0.1", 0)).getsockname()[1])')
mkdir -p "$(dirname "$log")"
ARTIFACTAPI_LISTEN=tcp:$port:interface=127.0.0.1 ARTIFACTAPI_DATA_DIR=$work/data \
    "$root/scripts/serve.sh" >"$log" 2>&1 </dev/null &
daemon=$!
export OCI_REGISTRY=127.0.0.1:$port
await_ready
set -m # in a process group of its own, and not waited for in the foreground: a signal is then heeded at once
"$@" </dev/null &
command=$!
set +m
status=0
wait "$command" || status=$?
command=
exit "$status"
