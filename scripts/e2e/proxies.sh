# Sourced by scripts/docker-e2e.sh: clients pull a multi-arch image through a remote repo of $OCI_REGISTRY, a virtual
# one and its mirror addresses; then again from nothing, when the upstream is stopped.

upstream=

# The Host that stands for docker.io; under its other name the registry is itself.
mirror_host() {
    local port=${OCI_REGISTRY##*:}
    case $OCI_REGISTRY in
    localhost:*) echo "127.0.0.1:$port" ;;
    *) echo "localhost:$port" ;;
    esac
}

# ask METHOD URL [JSON]: what is answered; ends non-zero for an error.
ask() {
    python3 "$root/scripts/e2e/ask.py" "$@"
}

start_upstream() {
    local port deadline=$((SECONDS + 60))
    port=$(python3 -c 'import socket; print(socket.create_server(("127.0.0.1", 0)).getsockname()[1])')
    upstream_address=127.0.0.1:$port
    ARTIFACTAPI_LISTEN=tcp:$port:interface=127.0.0.1 ARTIFACTAPI_DATA_DIR=$work/upstream \
        ARTIFACTAPI_REPOS=library=docker:local \
        "$root/scripts/serve.sh" >"$work/upstream.log" 2>&1 </dev/null &
    upstream=$!
    until ask GET "http://$upstream_address/readyz" >/dev/null 2>&1; do
        if ! kill -0 "$upstream" 2>/dev/null || [ "$SECONDS" -ge "$deadline" ]; then
            tail -n 20 "$work/upstream.log" >&2
            die "the upstream did not get ready; the end of its log is above"
        fi
        sleep 0.2
    done
}

stop_upstream() {
    [ -n "$upstream" ] || return 0
    kill "$upstream" 2>/dev/null || true
    wait "$upstream" 2>/dev/null || true
    upstream=
}

# `hub` is docker.io, as far as these clients know.
make_proxies() {
    local repos=http://$OCI_REGISTRY/api/v1/repos
    [ -e "$work/digests/index" ] || make_index
    skopeo copy --all --preserve-digests --src-tls-verify=false --dest-tls-verify=false \
        "docker://$(image_of index):v1" "docker://$upstream_address/library/index:v1"
    ask POST "$repos" '{"name": "hub", "package_type": "docker", "repo_type": "remote", "settings": {
        "upstream": "http://'"$upstream_address"'", "prefix": "library/", "tag_ttl": 0,
        "mirror_of": ["docker.io"], "hosts": ["'"$(mirror_host)"'"]}}'
    ask POST "$repos" '{"name": "virtual", "package_type": "docker", "repo_type": "virtual", "settings": {
        "members": ["docker-internal", "hub"], "push_to": "docker-internal"}}'
    mkdir -p "$work/hosts/docker.io"
    cat >"$work/hosts/docker.io/hosts.toml" <<TOML
[host."http://$OCI_REGISTRY"]
  capabilities = ["pull", "resolve"]
TOML
    cat >"$work/registries.conf" <<TOML
[[registry]]
location = "docker.io"
[[registry.mirror]]
location = "$OCI_REGISTRY/hub"
insecure = true
TOML
}

proxied_skopeo() { # REPO: all platforms, byte for byte
    skopeo copy --all --preserve-digests --src-tls-verify=false \
        "docker://$OCI_REGISTRY/$1/library/index:v1" "dir:$store/dir"
    same_files index "$store/dir"
}

proxied_podman() {
    export CONTAINERS_REGISTRIES_CONF=$work/registries.conf
    podman pull docker.io/library/index:v1
    same "made by index-amd64" "$(podman run --rm docker.io/library/index:v1 /bin/cat /note)"
}

proxied_docker() { # IMAGE
    docker image prune --all --force >/dev/null
    docker pull "$1:v1"
    same "$1@$(digest_of index)" "$(docker image inspect --format '{{index .RepoDigests 0}}' "$1:v1")"
    same "made by index-amd64" "$(docker run --rm --network host "$1:v1" /bin/cat /note)"
    docker image rm --force "$1:v1"
}

proxied_ctr() {
    local image=docker.io/library/index:v1 ctr=(ctr --address "$work/exec/containerd/containerd.sock" --namespace e2e)
    limited "${ctr[@]}" images pull --hosts-dir "$work/hosts" --snapshotter native --all-platforms "$image"
    limited "${ctr[@]}" images list | grep -F "$(digest_of index)"
    limited "${ctr[@]}" images remove --sync "$image"
}

proxied_push() { # through the virtual repo, with layers of the upstream's
    skopeo copy --all --preserve-digests --src-tls-verify=false --dest-tls-verify=false \
        "docker://$OCI_REGISTRY/hub/library/index:v1" "docker://$OCI_REGISTRY/virtual/e2e/proxied:v1"
    skopeo copy --all --preserve-digests --src-tls-verify=false \
        "docker://$OCI_REGISTRY/docker-internal/e2e/proxied:v1" "dir:$store/dir"
    same_files index "$store/dir"
}

proxied() { # WHEN
    local repo
    for repo in hub virtual; do check "skopeo pulls from $repo, $1" proxied_skopeo "$repo"; done
    check "podman pulls from a mirror of docker.io, $1" proxied_podman
    check "docker pulls from virtual, $1" proxied_docker "$OCI_REGISTRY/virtual/library/index"
    check "docker pulls from a mirror of docker.io, $1" proxied_docker index
    check "ctr pulls from a mirror of docker.io, $1" proxied_ctr
}

check_proxies() {
    start_upstream
    check "an upstream, a remote and a virtual repo" make_proxies
    proxied "cold"
    check "skopeo pushes to virtual" proxied_push
    stop_upstream
    proxied "the upstream stopped"
}
