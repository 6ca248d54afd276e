#!/usr/bin/env bash
# Runs the OCI conformance suite against registries of its own: scripts/conformance.sh [WAY]...; needs Go.
#
# open: without accounts; basic: as an administrator whose password comes with every request; token: as one who gets
# tokens with it. remote, virtual: what the suite has pushed to another of us is read through such a repo, by its
# read-only profile. Without an argument all of them. Ends non-zero on any failure, on any error, when a test was skipped
# and when something was not tested. The reports are left in .cache/conformance. OCI_REGISTRY=HOST:PORT tests a registry
# that already runs there (without TLS) instead, with OCI_USERNAME and OCI_PASSWORD if they are set, and OCI_UPSTREAM for
# remote and virtual; OCI_FILTER_TEST a part.
set -euo pipefail

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
suite=github.com/opencontainers/distribution-spec/conformance@v0.0.0-20260831232431-97274622c111
ways=("$@")

die() {
    printf 'scripts/conformance.sh: %s\n' "$*" >&2
    exit 1
}

# Leaves no password in what the suite wrote: it is a part of the registry's address there.
redact() {
    python3 - "$reports" "$1" <<'PYTHON'
import pathlib
import sys

password = pathlib.Path(sys.argv[2]).read_bytes()
for report in filter(pathlib.Path.is_file, pathlib.Path(sys.argv[1]).rglob("*")):
    report.write_bytes(report.read_bytes().replace(password, b"***"))
PYTHON
}

# Each way with daemons of its own.
run_all() {
    local way status=0
    for way in "${ways[@]}"; do
        echo "--- $way"
        start "$way" || status=1
        took "$way" || status=1
    done
    return "$status"
}

start() { # WAY
    local beside=("$root/scripts/with-daemon.sh" "$root/.cache/conformance-$1.log" "$0" "$1")
    case $1 in
    open) "${beside[@]}" ;;
    basic | token)
        python3 -c 'import secrets; print(secrets.token_hex(24), end="")' >"$work/password"
        ARTIFACTAPI_ADMIN_PASSWORD_FILE=$work/password "${beside[@]}"
        ;;
    remote | virtual)
        # shellcheck disable=SC2016  # the inner shell's
        "$root/scripts/with-daemon.sh" "$root/.cache/conformance-$1-upstream.log" \
            bash -c 'OCI_UPSTREAM=$OCI_REGISTRY exec "$@"' upstream "${beside[@]}"
        ;;
    esac
}

# Whether the suite went that way: it would take another if the registry offered one.
took() {
    local tokens
    tokens=$(grep -c '"GET /token" 200' "$root/.cache/conformance-$1.log" || true)
    case $1 in
    token) [ "$tokens" -gt 0 ] ;;
    *) [ "$tokens" -eq 0 ] ;;
    esac || {
        echo "it went another way: it got $tokens tokens"
        return 1
    }
}

# A client of Go sends what comes before the @ with every request, as Basic credentials.
authenticate() {
    case $1 in
    basic) OCI_REGISTRY=admin:$(cat "$ARTIFACTAPI_ADMIN_PASSWORD_FILE")@$OCI_REGISTRY ;;
    token) export OCI_USERNAME=admin OCI_PASSWORD="$(cat "$ARTIFACTAPI_ADMIN_PASSWORD_FILE")" ;;
    esac
}

run_suite() { # WAY IMAGE
    local reports=$root/.cache/conformance/$1
    rm -rf "$reports"
    mkdir -p "$reports"
    authenticate "$1"
    export OCI_TLS=disabled OCI_VERSION=dev OCI_RESULTS_DIR=$reports OCI_REPO1=$2 OCI_REPO2=$2-too
    # Its status says nothing: without pushes it panics after its report.
    (cd "$work" && timeout --foreground 900 go run "$suite") >"$reports/suite.log" 2>"$reports/suite.err" || true
    [ "$1" != basic ] || redact "$ARTIFACTAPI_ADMIN_PASSWORD_FILE"
    python3 "$root/scripts/conformance/summary.py" "$reports/suite.log" || {
        tail -n 40 "$reports/suite.err" >&2
        die "the suite found failures; see $reports"
    }
}

PATH=$PATH:/usr/local/go/bin
command -v go >/dev/null || die "needs Go (go is not on PATH): nothing was tested"
[ ${#ways[@]} -gt 0 ] || ways=(open basic token remote virtual)
for way in "${ways[@]}"; do
    [[ $way =~ ^(open|basic|token|remote|virtual)$ ]] ||
        die "usage: scripts/conformance.sh [open|basic|token|remote|virtual]..."
done
# shellcheck source=scripts/conformance/proxied.sh
. "$root/scripts/conformance/proxied.sh"
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
if [ -z "${OCI_REGISTRY:-}" ]; then
    run_all
elif [[ ${1:-} =~ ^(remote|virtual)$ ]]; then
    run_proxied "$1"
else
    run_suite "${1:-open}" docker-internal/conf
fi
