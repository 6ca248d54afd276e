# Sourced by scripts/docker-e2e.sh: docker/Dockerfile alone, and docker/compose.yaml, on the engine of the script.

# --- A container alone -----------------------------------------------------------------------------------------------

run_alone() {
    docker run --detach --name alone --network host --read-only --tmpfs /tmp --cap-drop ALL --volume alone:/data \
        --env ARTIFACTAPI_LISTEN="tcp:$port:interface=127.0.0.1" \
        --env HEALTHCHECK_URL="http://$OCI_REGISTRY/healthz" artifactapi:e2e
    eventually 60 get "http://$OCI_REGISTRY/readyz"
}

# Nobody serves a network without an administrator; a password that is piped in makes one.
make_administrator() {
    fails docker run --network host --volume alone:/data --env ARTIFACTAPI_LISTEN="tcp:$port" --name early artifactapi:e2e
    same 1 "$(docker inspect --format '{{.State.ExitCode}}' early)"
    docker logs early 2>&1 | grep "there is no administrator"
    docker rm early
    docker run --rm --interactive --network none --volume alone:/data --entrypoint artifactapi artifactapi:e2e \
        user add admin --admin --password-stdin <"$work/admin-password"
}

keep_alone() {
    local port digest
    port=$(free_port)
    OCI_REGISTRY=127.0.0.1:$port
    make_administrator
    run_alone
    make_image alone 3000000
    fails push_image docker alone
    log_in "$OCI_REGISTRY"
    push_image docker alone
    digest=$(fetch alone v1 "$store/before")
    eventually 60 healthy alone
    docker stop --time 30 alone
    same 0 "$(docker inspect --format '{{.State.ExitCode}}' alone)"
    docker rm alone
    run_alone
    same "$digest" "$(fetch alone v1 "$store/after")"
    docker rm --force --volumes alone
    docker volume rm alone
}

healthy() { [ "$(docker inspect --format '{{.State.Health.Status}}' "$1")" = healthy ]; }

# --- Two replicas behind a balancer ----------------------------------------------------------------------------------

compose() {
    local program=(docker-compose)
    ! command docker compose version >/dev/null 2>&1 || program=(docker compose)
    limited "${program[@]}" --project-name e2e --env-file "$work/compose.env" --file "$root/docker/compose.yaml" "$@"
}

configure_topology() {
    balancer=127.0.0.1:$(free_port)
    cat >"$work/compose.env" <<ENV
POSTGRES_PASSWORD=$(secret)
S3_ACCESS_KEY_ID=artifactapi
S3_SECRET_ACCESS_KEY=$(secret)
REGISTRY_ADDRESS=$balancer
ADMIN_PASSWORD_FILE=$work/admin-password
ARTIFACTAPI_IMAGE=artifactapi:e2e
HAPROXY_IMAGE=haproxy:e2e
POSTGRES_IMAGE=postgres:e2e
SEAWEEDFS_IMAGE=seaweedfs:e2e
ENV
}

start_topology() {
    compose up --detach --no-build
    docker network inspect --format '{{slice .Id 0 12}}' e2e_default >"$work/network"
    eventually 60 get "http://$balancer/readyz"
    both_ready
}

both_ready() {
    eventually 60 get "$(url_of replica-1)/readyz"
    eventually 60 get "$(url_of replica-2)/readyz"
    eventually 60 used replica-1
    eventually 60 used replica-2
}

# Whether the balancer sends requests to it: one of a few is enough, as it takes turns.
used() {
    local before
    before=$(requests_of "$1")
    get "http://$balancer/v2/" && get "http://$balancer/v2/" && [ "$(requests_of "$1")" -gt "$before" ]
}

requests_of() { docker logs "$(container_of "$1")" 2>&1 | grep -c '"GET /v2/" 200'; }

# By label, which every version of compose sets; compose itself takes a second to say so.
container_of() {
    docker ps --all --quiet --filter label=com.docker.compose.project=e2e \
        --filter "label=com.docker.compose.service=$1"
}

url_of() {
    printf 'http://%s:8000' \
        "$(docker inspect --format '{{range .NetworkSettings.Networks}}{{.IPAddress}}{{end}}' "$(container_of "$1")")"
}

# Nothing is left: containers, volumes, the network and its bridge.
remove_topology() {
    [ -e "$work/compose.env" ] && [ -n "$engine" ] || return 0
    compose logs --no-color >"$root/.cache/docker-e2e-topology.log" 2>&1 || true
    compose down --volumes --timeout 5 >/dev/null 2>&1 || true
    rm -f "$work/compose.env"
    [ ! -e "$work/network" ] || ip link delete "br-$(cat "$work/network")" 2>/dev/null || true
}

leave_nothing() {
    compose stop --timeout 40
    same "replica-1 0 replica-2 0" "$(for each in replica-1 replica-2; do
        echo "$each $(docker inspect --format '{{.State.ExitCode}}' "$(container_of "$each")")"
    done | xargs)"
    remove_topology
    same "" "$(docker ps --all --quiet)$(docker volume ls --quiet)"
    same "host none" "$(docker network ls --format '{{.Name}}' | sort | xargs)"
}

# A machine's token, made beside a replica; from now on it is what logs in.
give_access() {
    docker exec "$(container_of replica-1)" artifactapi token add ci --days 1 --push 'docker-internal/e2e/*' \
        >"$work/token"
    OCI_REGISTRY=$balancer
    make_image refused 1000
    fails push_image docker refused
    fails push_image skopeo refused
}

# --- Pushes and pulls ------------------------------------------------------------------------------------------------

# An image of one random layer of so many bytes.
make_image() { # NAME BYTES
    local context=$work/context/$1
    mkdir -p "$context"
    head -c "$2" /dev/urandom >"$context/payload"
    printf 'FROM scratch\nCOPY payload /\n' >"$context/Dockerfile"
    docker build --network none --tag "$(image_of "$1"):v1" "$context"
    rm -r "$context"
}

push_image() { # CLIENT NAME
    case $1 in
    docker) docker push "$(image_of "$2"):v1" ;;
    skopeo) skopeo copy --src-daemon-host "$DOCKER_HOST" --dest-tls-verify=false \
        "docker-daemon:$(image_of "$2"):v1" "docker://$(image_of "$2"):v1" ;;
    esac
}

push_through() { # CLIENT
    OCI_REGISTRY=$balancer
    log_in "$balancer"
    make_image "through-$1" 3000000
    push_image "$1" "through-$1"
    same_from "through-$1" replica-1 replica-2
}

# Each of the replicas has the image, whole, with one digest.
same_from() { # NAME REPLICA...
    local name=$1 each digest
    digest=$(fetch "$name" v1 "$store/balancer")
    for each in "${@:2}"; do
        OCI_REGISTRY=$(host_of "$each")
        same "$digest" "$(fetch "$name" v1 "$store/$each")"
        diff -r "$store/balancer" "$store/$each"
    done
}

host_of() { url_of "$1" | sed 's,^http://,,'; }

pull_directly() { # CLIENT
    local each
    for each in replica-1 replica-2; do
        OCI_REGISTRY=$(host_of "$each")
        log_in "$OCI_REGISTRY"
        "pull_directly_$1" "$(image_of "through-$1"):v1"
    done
}
pull_directly_docker() {
    docker pull "$1"
    docker rmi "$1"
}
pull_directly_skopeo() { skopeo copy --src-tls-verify=false "docker://$1" "dir:$store/$(basename "$(dirname "$1")")"; }

# The replica that receives the layer is killed while it does, and the client's next try ends well: the other replica
# has the image, alone. Then the killed one comes back and has it too.
lose_replica() { # CLIENT
    local name=lost-$1 killer victim other=replica-1
    OCI_REGISTRY=$balancer
    make_image "$name" 100000000
    kill_receiver >"$store/victim" &
    killer=$!
    eventually 30 [ -e "$store/looking" ]
    "push_again_$1" "$name"
    wait "$killer"
    victim=$(cat "$store/victim")
    echo "killed $victim"
    [ "$victim" = replica-2 ] || other=replica-2
    same_from "$name" "$other"
    docker start "$(container_of "$victim")"
    both_ready
    same_from "$name" replica-1 replica-2
}

# Prints whom it killed.
kill_receiver() {
    local victim
    declare -A container=([replica-1]=$(container_of replica-1) [replica-2]=$(container_of replica-2))
    victim=$(python3 "$root/scripts/e2e/receiving.py" "$store/looking" \
        "replica-1=$(url_of replica-1)" "replica-2=$(url_of replica-2)")
    docker kill --signal KILL "${container[$victim]}" >&2
    echo "$victim"
}

push_again_docker() { # it tries again by itself
    push_image docker "$1" | tee "$store/push"
    grep Retrying "$store/push"
}
push_again_skopeo() { # it does not, after an answer of this kind
    fails push_image skopeo "$1"
    push_image skopeo "$1"
}

# One replica is stopped and started again, then the other is killed and started again, and readers notice nothing.
read_on() {
    local reader image=http://$balancer/v2/docker-internal/e2e/through-docker
    exec 8> >(exec python3 "$root/scripts/e2e/reading.py" "$image/manifests/v1" "$image/tags/list" \
        >"$store/answers" 2>&1)
    reader=$!
    docker stop --time 40 "$(container_of replica-1)"
    docker start "$(container_of replica-1)"
    both_ready
    docker kill --signal KILL "$(container_of replica-2)"
    sleep 3 # of reading from one replica, which the balancer has to find out
    docker start "$(container_of replica-2)"
    both_ready
    exec 8>&-
    wait "$reader" || {
        cat "$store/answers"
        return 1
    }
    [ "$(cat "$store/answers")" -gt 100 ]
}

# --- What they need --------------------------------------------------------------------------------------------------

free_port() { python3 -c 'import socket; print(socket.create_server(("127.0.0.1", 0)).getsockname()[1])'; }

secret() { python3 -c 'import secrets; print(secrets.token_hex(24))'; }

# Whether the answer is 200.
get() {
    PYTHONPATH=$root/scripts/e2e python3 -c 'import sys, urllib.request as r
from login import headers
r.build_opener(r.ProxyHandler({})).open(r.Request(sys.argv[1], headers=headers), timeout=5)' "$1" 2>/dev/null
}

# As the machine whose token there is, else as the administrator.
log_in() { # HOST:PORT
    local name=admin password=$work/admin-password
    [ ! -e "$work/token" ] || name=ci password=$work/token
    # First skopeo: it would read what docker leaves behind, the token to come back with, and does not understand that.
    skopeo login --tls-verify=false --username "$name" --password-stdin "$1" <"$password"
    docker login --username "$name" --password-stdin "$1" <"$password"
}

# In a function of its own: set -e does not see a command after ! that succeeds.
fails() { ! "$@"; }

eventually() { # SECONDS COMMAND...
    local deadline=$((SECONDS + $1))
    shift
    until "$@"; do
        [ "$SECONDS" -lt "$deadline" ] || {
            echo "it did not happen in time: $*"
            return 1
        }
        sleep 0.2
    done
}

check_topology() {
    secret >"$work/admin-password"
    export REGISTRY_LOGIN # of what is not a client: fetch.py and others
    REGISTRY_LOGIN=admin:$(cat "$work/admin-password")
    export REGISTRY_AUTH_FILE=$work/auth.json
    echo '{}' >"$REGISTRY_AUTH_FILE"
    check "a base image is made" make_base
    check "the image is built on it" build_artifactapi
    check "images are made for the other services" build_stand_ins
    check "a container alone wants an administrator, and keeps what it was given" keep_alone
    configure_topology
    check "compose starts two replicas behind a balancer" start_topology
    check "a token is made beside a replica, and nobody pushes without" give_access
    check "docker pushes through the balancer" push_through docker
    check "skopeo pushes through the balancer" push_through skopeo
    check "docker pulls from each replica" pull_directly docker
    check "skopeo pulls from each replica" pull_directly skopeo
    check "docker pushes although its replica is killed" lose_replica docker
    check "skopeo pushes although its replica is killed" lose_replica skopeo
    check "reads go on while replicas are stopped and killed" read_on
    check "nothing is left" leave_nothing
}
