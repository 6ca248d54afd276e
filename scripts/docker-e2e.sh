#!/usr/bin/env bash
# Real clients against the real daemon: scripts/docker-e2e.sh [clients|proxies|access|topology]; for root on Debian.
#
# clients: docker (with an engine of its own), podman, buildah and skopeo each make and push an image of several
# layers; each of them pulls and, where it can, runs every image. A multi-arch index goes the same ways; with Go, crane
# and oras have their say too. OCI_REGISTRY=HOST:PORT tests a registry that already runs on this machine.
#
# proxies: skopeo, podman, docker and containerd's ctr pull a multi-arch image through a remote repo, a virtual one and
# mirror addresses, and again with the upstream stopped.
#
# access: the clients, with Go helm too, against a daemon with accounts. Each logs in, pushes, pulls and is refused
# where it should be; docker comes back without its password; pushes take longer than their tokens are good for.
#
# topology: what docker/ has. The image is built on a base made here, runs alone, then as compose.yaml says: two
# replicas, a balancer, a Postgres and an S3 server, with pushes and pulls while replicas are killed and restarted.
#
# Without an argument all of them. What is missing is installed with apt-get; everything lives in a temporary directory.
# Ends non-zero when a check fails.
set -euo pipefail

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
clients=(docker podman buildah skopeo)
engine=
passed=0
failed=0
declare -A results=()

die() {
    printf 'scripts/docker-e2e.sh: %s\n' "$*" >&2
    exit 1
}

install_programs() {
    local entry packages=()
    for entry in dockerd:docker.io docker:docker.io runc:runc skopeo:skopeo podman:podman buildah:buildah \
        busybox:busybox-static debootstrap:debootstrap; do
        type -P "${entry%%:*}" >/dev/null || packages+=("${entry#*:}") # a program: functions below have these names
    done
    docker compose version >/dev/null 2>&1 || type -P docker-compose >/dev/null || packages+=(docker-compose)
    python3 -c 'import venv, ensurepip' 2>/dev/null || packages+=(python3-venv)
    [ ${#packages[@]} -gt 0 ] || return 0
    command -v apt-get >/dev/null || die "missing, and there is no apt-get to install them: ${packages[*]}"
    echo "installing ${packages[*]}"
    {
        apt-get update -q
        DEBIAN_FRONTEND=noninteractive apt-get install -y -q --no-install-recommends "${packages[@]}"
    } >"$root/.cache/docker-e2e-apt.log" 2>&1 </dev/null || {
        tail -n 20 "$root/.cache/docker-e2e-apt.log" >&2
        die "apt-get could not install ${packages[*]}"
    }
}

# check NAME COMMAND...: the command in a subshell with a store of its own ($store), its output in a log.
check() {
    local name=$1 began=$SECONDS status=0 log=$work/check.log
    shift
    store=${keep_store:-$work/store/one}
    set +e
    (
        set -e
        mkdir -p "$store"
        "$@"
    ) >"$log" 2>&1 </dev/null
    status=$?
    set -e
    [ -n "${keep_store:-}" ] || rm -rf "$store"
    if [ "$status" -eq 0 ]; then
        passed=$((passed + 1)) results[$name]=ok
    else
        failed=$((failed + 1)) results[$name]=FAIL
        sed 's/^/    /' "$log" | tail -n 30
    fi
    printf '%-4s %s (%d s)\n' "${results[$name]}" "$name" $((SECONDS - began))
}

same() {
    [ "$1" = "$2" ] || {
        printf 'expected: %s\nfound:    %s\n' "$1" "$2"
        return 1
    }
}

case ${1:-} in
'' | clients | proxies | access | topology) ;;
*) die "usage: scripts/docker-e2e.sh [clients|proxies|access|topology]" ;;
esac
PATH=$PATH:/usr/local/go/bin
[ "$(id -u)" -eq 0 ] || die "needs root: it starts a Docker engine"
mkdir -p "$root/.cache"
install_programs
[ -n "${OCI_REGISTRY:-}" ] || [[ ${1:-clients} != @(clients|proxies) ]] ||
    exec "$root/scripts/with-daemon.sh" "$root/.cache/docker-e2e-daemon.log" "$0" "$@"

for part in engine clients proxies images topology access; do
    # shellcheck source=/dev/null  # each of them
    . "$root/scripts/e2e/$part.sh"
done
work=$(mktemp -d)
trap clean_up EXIT
trap 'exit 130' INT TERM
configure_clients
make_root
start_engine || start_engine --storage-driver vfs || {
    tail -n 20 "$work/engine.log" >&2
    die "dockerd did not start; the end of its log is above"
}
command docker version --format 'docker {{.Client.Version}}, engine {{.Server.Version}}'
printf '%s\n' "$(command podman --version), $(command buildah --version), $(command skopeo --version)"
if [ "${1:-clients}" = clients ]; then
    check_clients
    print_matrix
fi
[ "${1:-proxies}" != proxies ] || check_proxies
[ "${1:-access}" != access ] || check_access
[ "${1:-topology}" != topology ] || check_topology
printf '\n%d passed, %d failed\n' "$passed" "$failed"
[ "$failed" -eq 0 ]
