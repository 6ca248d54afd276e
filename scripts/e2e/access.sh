# Sourced by scripts/docker-e2e.sh: clients that log in, or do not, at a daemon with accounts.

everyone=(docker podman buildah skopeo)
# A token is refused half a minute after this, as clocks may differ; none of these clients renews it in its first
# minute, so that less would not do.
token_seconds=35
slow_bytes=15000000 slow_rate=200000

# --- The daemon ------------------------------------------------------------------------------------------------------

start_guarded() {
    "$root/scripts/serve.sh" --listen "tcp:${guarded#*:}:interface=127.0.0.1" --data-dir "$work/guarded" \
        --admin-password-file "$work/admin" --token-seconds "$token_seconds" \
        >>"$access_log" 2>&1 </dev/null &
    echo $! >"$work/guarded.pid"
    eventually 60 get "http://$guarded/readyz"
}

stop_guarded() {
    local pid
    [ -e "$work/guarded.pid" ] || return 0
    pid=$(cat "$work/guarded.pid")
    kill "$pid" 2>/dev/null || true
    eventually 60 ended "$pid"
}

ended() { ! grep -qs . "/proc/$1/cmdline"; }

# The answer of the management API to what comes on standard input.
administer() { python3 "$root/scripts/e2e/admin.py" "$guarded" "$work/admin" "$1" "$2"; } # METHOD PATH

create() { administer POST "/api/v1/$1" <<<"$2"; } # KIND JSON

grant() { create grants "{\"to\": \"$1\", \"repo\": \"$2\", \"images\": \"$3\", \"rights\": [\"$4\"]}"; }

# A machine that pushes to a team's images, a person who pulls them, one who pushes, and a repo for everybody.
make_accounts() {
    local name
    start_guarded
    for name in reader writer; do
        secret >"$work/$name"
        create users "{\"name\": \"$name\", \"password\": \"$(cat "$work/$name")\"}"
    done
    create tokens '{"name": "ci"}' | python3 -c 'import json, sys; print(json.load(sys.stdin)["token"])' >"$work/ci"
    create repos '{"name": "public", "package_type": "docker", "repo_type": "local",
        "settings": {"anonymous_pull": true}}'
    grant token:ci docker-internal 'team/*' push
    grant token:ci public '*' push
    grant user:writer docker-internal 'team/*' push
    grant user:reader docker-internal 'team/*' pull
}

# --- The clients: login USER, its password on standard input; send NAME; receive NAME; logout -------------------------

# None finds what another has left.
own_settings() {
    mkdir -p "$store/docker"
    echo '{}' | tee "$store/docker/config.json" >"$store/auth.json"
    export DOCKER_CONFIG=$store/docker REGISTRY_AUTH_FILE=$store/auth.json HELM_REGISTRY_CONFIG=$store/helm.json
}

crane() { limited "$root/.cache/gobin/crane" "$@"; }
oras() { limited "$root/.cache/gobin/oras" "$@"; }
helm() { limited "$root/.cache/gobin/helm" "$@"; }

login_docker() { docker login --username "$1" --password-stdin "$OCI_REGISTRY"; }
login_podman() { podman login --tls-verify=false --username "$1" --password-stdin "$OCI_REGISTRY"; }
login_buildah() { buildah login --tls-verify=false --username "$1" --password-stdin "$OCI_REGISTRY"; }
login_skopeo() { skopeo login --tls-verify=false --username "$1" --password-stdin "$OCI_REGISTRY"; }
login_crane() { crane auth login --username "$1" --password-stdin "$OCI_REGISTRY"; }
login_oras() { oras login --plain-http --username "$1" --password-stdin "$OCI_REGISTRY"; }
login_helm() { helm registry login --plain-http --username "$1" --password-stdin "$OCI_REGISTRY"; }

send_docker() {
    docker load --quiet --input "$archive" && docker tag access:1 "$OCI_REGISTRY/$1:v1" &&
        docker push "$OCI_REGISTRY/$1:v1"
}
send_podman() { podman load --quiet --input "$archive" && podman push --tls-verify=false access:1 "$OCI_REGISTRY/$1:v1"; }
send_buildah() {
    buildah pull --quiet "docker-archive:$archive" && buildah push --tls-verify=false access:1 "$OCI_REGISTRY/$1:v1"
}
send_skopeo() { skopeo copy --dest-tls-verify=false "docker-archive:$archive" "docker://$OCI_REGISTRY/$1:v1"; }
send_crane() { crane push --insecure "$archive" "$OCI_REGISTRY/$1:v1"; }
send_oras() { oras push --plain-http --disable-path-validation "$OCI_REGISTRY/$1:v1" "$archive"; }
send_helm() {
    local chart=$store/chart/${1##*/}
    mkdir -p "$chart"
    printf 'apiVersion: v2\nname: %s\nversion: 0.1.0\n' "${1##*/}" >"$chart/Chart.yaml"
    helm package --destination "$store" "$chart" &&
        helm push --plain-http "$store/${1##*/}-0.1.0.tgz" "oci://$OCI_REGISTRY/${1%/*}"
}

receive_docker() { docker image prune --all --force && docker pull "$OCI_REGISTRY/$1:v1"; }
receive_podman() { podman rmi --all --force && podman pull --tls-verify=false "$OCI_REGISTRY/$1:v1"; }
receive_buildah() { buildah rmi --all --force && buildah pull --tls-verify=false "$OCI_REGISTRY/$1:v1"; }
receive_skopeo() {
    rm -rf "$store/received"
    skopeo copy --src-tls-verify=false "docker://$OCI_REGISTRY/$1:v1" "dir:$store/received"
}
receive_crane() { crane pull --insecure "$OCI_REGISTRY/$1:v1" "$store/received.tar"; }
receive_oras() { oras pull --plain-http --allow-path-traversal --output "$store/received" "$OCI_REGISTRY/$1:v1"; }
receive_helm() { helm pull --plain-http --version 0.1.0 --destination "$(mktemp -d)" "oci://$OCI_REGISTRY/$1"; }

logout_docker() { docker logout "$OCI_REGISTRY"; }
logout_podman() { podman logout "$OCI_REGISTRY"; }
logout_buildah() { buildah logout "$OCI_REGISTRY"; }
logout_skopeo() { skopeo logout "$OCI_REGISTRY"; }
logout_crane() { crane auth logout "$OCI_REGISTRY"; }
logout_oras() { oras logout "$OCI_REGISTRY"; }
logout_helm() { helm registry logout "$OCI_REGISTRY"; }

# --- Checks ----------------------------------------------------------------------------------------------------------

# refused REASON COMMAND...: it fails, and says why.
refused() {
    local reason=$1
    shift
    echo "refused? $*"
    if "$@" >"$store/refused" 2>&1; then
        cat "$store/refused"
        echo "this was not refused"
        return 1
    fi
    cat "$store/refused"
    grep -Eqi "$reason" "$store/refused"
}

# crane's login alone asks nobody.
log_in_and_receive() { "login_$1" "$2" <"$3" && "receive_$1" "$4"; }

use_accounts() { # CLIENT
    local mine=docker-internal/team/$1
    own_settings
    refused unauthorized "send_$1" "$mine"
    "login_$1" ci <"$work/ci"
    "send_$1" "$mine"
    "receive_$1" "$mine"
    "send_$1" "public/$1"
    refused unknown "send_$1" "docker-internal/other/$1"
    "logout_$1"
    refused unauthorized "receive_$1" "$mine"
    "receive_$1" "public/$1"
    refused unauthorized "send_$1" "public/new/$1"
    refused 'unauthorized|invalid username/password' log_in_and_receive "$1" reader "$work/writer" "$mine"
    "login_$1" reader <"$work/reader"
    "receive_$1" "$mine"
    refused denied "send_$1" "$mine/again"
    "logout_$1"
}

# docker keeps what it may come back with instead of the password; others find it in docker's file.
come_back() {
    local name=docker-internal/team/back each
    own_settings
    login_docker writer <"$work/writer"
    grep -q identitytoken "$DOCKER_CONFIG/config.json"
    printf 'writer:%s' "$(cat "$work/writer")" | base64 --wrap=0 >"$store/basic"
    same 0 "$(grep -cFf "$store/basic" "$DOCKER_CONFIG/config.json")"
    stop_guarded
    start_guarded
    send_docker "$name"
    receive_docker "$name"
    export REGISTRY_AUTH_FILE=$DOCKER_CONFIG/config.json
    for each in "${everyone[@]}"; do "receive_$each" "$name"; done
    administer PATCH /api/v1/users/writer <<<"{\"password\": \"$(secret)\"}"
    for each in "${everyone[@]}"; do refused unauthorized "receive_$each" "$name"; done
    refused unauthorized send_docker "$name"
}

push_slowly() { # CLIENT
    local began=$SECONDS name=public/slow/$1
    store=$store/$1
    own_settings
    "login_$1" ci <"$work/ci"
    "send_$1" "$name"
    [ $((SECONDS - began)) -gt $((token_seconds + 30)) ]
    python3 "$root/scripts/e2e/fetch.py" "$guarded" "$name" v1 "$store/fetched"
}

# All at once, as it takes more than a minute.
outlive_tokens() {
    local each proxy pushes=() failures=0
    python3 "$root/scripts/e2e/slow.py" "$OCI_REGISTRY" "$slow_rate" "$work/slow" &
    proxy=$!
    eventually 10 [ -s "$work/slow" ]
    OCI_REGISTRY=$(cat "$work/slow")
    archive=$work/slow.tar
    make_archive "$slow_bytes"
    for each in "${everyone[@]}"; do
        (
            set -e
            push_slowly "$each"
        ) &
        pushes+=($!)
    done
    for each in "${pushes[@]}"; do wait "$each" || failures=$((failures + 1)); done
    kill "$proxy"
    [ "$failures" -eq 0 ]
    # crane asks for another one only when it was refused.
    [[ " ${everyone[*]} " != *" crane "* ]] || grep -q '"PUT /v2/public/slow/crane/.*" 401' "$access_log"
}

# One image of so many random bytes, as every client takes it.
make_archive() {
    make_image access "$1"
    docker tag "$(image_of access):v1" access:1
    docker save --output "$archive" access:1
}

check_access() {
    local each archive=$work/access.tar
    guarded=127.0.0.1:$(free_port)
    OCI_REGISTRY=$guarded
    access_log=$root/.cache/docker-e2e-access.log
    secret >"$work/admin"
    : >"$access_log"
    check "a daemon with accounts starts" make_accounts
    check "an image is made for them" make_archive 100000
    if command -v go >/dev/null; then
        check "crane and oras are built" build_crane_and_oras
        check "helm is built" go_install helm.sh/helm/v3/cmd/helm@v3.22.0
        everyone+=(crane oras)
        check "helm logs in, and is refused where it should be" use_accounts helm
    else
        echo "NOT TESTED: crane, oras and helm, which Go would build; go is not on PATH"
    fi
    for each in "${everyone[@]}"; do check "$each logs in, and is refused where it should be" use_accounts "$each"; done
    check "docker comes back without its password, until that has changed" come_back
    check "a token that expires in the middle of a push is renewed" outlive_tokens
    stop_guarded
}
