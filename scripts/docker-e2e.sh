#!/usr/bin/env bash
# Real clients against the real daemon: scripts/docker-e2e.sh; for root on Debian (or where the clients are installed).
#
# docker (with an engine of its own), podman, buildah and skopeo each make and push an image of several layers; each
# of them pulls and, where it can, runs every image. A multi-arch index goes the same ways; with Go, crane and oras
# have their say too. Missing clients are installed with apt-get. Everything lives in a temporary directory.
# Ends non-zero when a check fails. OCI_REGISTRY=HOST:PORT tests a registry that already runs on this machine.
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

# --- What it needs ---------------------------------------------------------------------------------------------------

install_clients() {
    local entry packages=()
    for entry in dockerd:docker.io docker:docker.io runc:runc skopeo:skopeo podman:podman buildah:buildah \
        busybox:busybox-static; do
        type -P "${entry%%:*}" >/dev/null || packages+=("${entry#*:}") # a program: functions below have these names
    done
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

# docker's engine, with everything it has under $work. Without iptables or a bridge: containers use the host's network.
start_engine() {
    local deadline=$((SECONDS + 60))
    dockerd --config-file "$work/daemon.json" --host "$DOCKER_HOST" --data-root "$work/engine" \
        --exec-root "$work/exec" --pidfile "$work/engine.pid" --iptables=false --ip6tables=false --bridge=none \
        "$@" >"$work/engine.log" 2>&1 </dev/null &
    engine=$!
    until docker version >/dev/null 2>&1; do
        if ! kill -0 "$engine" 2>/dev/null || [ "$SECONDS" -ge "$deadline" ]; then
            stop_engine
            return 1
        fi
        sleep 0.2
    done
}

stop_engine() {
    local deadline=$((SECONDS + 30))
    [ -n "$engine" ] || return 0
    kill "$engine" 2>/dev/null || true
    while kill -0 "$engine" 2>/dev/null && [ "$SECONDS" -lt "$deadline" ]; do sleep 0.1; done
    end_leftovers
    wait "$engine" 2>/dev/null || true
    engine=
}

# An engine that hangs, its containerd, what a client that was cut short has started: they all name $work.
end_leftovers() {
    local each
    for each in /proc/[0-9]*; do
        ! grep -qsF -- "$work/" "$each/cmdline" || kill -KILL "${each#/proc/}" 2>/dev/null || true
    done
}

clean_up() {
    local mount
    stop_engine
    end_leftovers
    awk -v below="$work/" 'index($5, below) == 1 { print $5 }' /proc/self/mountinfo | sort -r |
        while read -r mount; do umount --lazy "$mount" || true; done
    rm -rf "$work"
}

# Settings of the clients that leave the machine's own alone. The limits are given because a machine without
# CAP_SYS_RESOURCE cannot raise them to podman's defaults; runc because crun refuses some machines' cgroups.
configure_clients() {
    mkdir -p "$work"/{xdg,home,docker,tmp,context,store,digests,reference}
    chmod 700 "$work/xdg"
    echo '{"default": [{"type": "insecureAcceptAnything"}]}' >"$work/policy.json"
    echo '{}' >"$work/daemon.json"  # instead of /etc/docker/daemon.json
    echo '{}' >"$work/docker/config.json"  # podman and buildah want it once DOCKER_CONFIG is set
    cat >"$work/containers.conf" <<CONF
[containers]
netns = "host"
default_ulimits = ["nofile=1024:1024", "nproc=1024:1024"]
[engine]
runtime = "runc"
cgroup_manager = "cgroupfs"
events_logger = "none"
lock_type = "file"
tmp_dir = "$work/tmp/libpod"
CONF
    export DOCKER_HOST=unix://$work/docker.sock DOCKER_CONFIG=$work/docker DOCKER_BUILDKIT=0
    export CONTAINERS_CONF=$work/containers.conf XDG_RUNTIME_DIR=$work/xdg BUILDAH_ISOLATION=chroot
    export TMPDIR=$work/tmp
}

# --- The clients -----------------------------------------------------------------------------------------------------

# In the foreground: what ends this script ends them too.
limited() { timeout --foreground --kill-after=5 180 env HOME="$work/home" "$@"; }
docker() { limited docker "$@"; }
skopeo() { limited skopeo --policy "$work/policy.json" "$@"; }
# podman and buildah share a store; $store names the one in use.
in_store() { limited "$1" --root "$store/root" --runroot "$store/run" --storage-driver vfs "${@:2}"; }
podman() { in_store podman "$@"; }
buildah() { in_store buildah "$@"; }

image_of() { printf '%s/docker-internal/e2e/%s' "$OCI_REGISTRY" "$1"; }
digest_of() { cat "$work/digests/$1"; }

# The registry's content through plain HTTP, checked: fetch NAME REFERENCE DIRECTORY leaves the manifests and blobs
# there, each under its digest's hex, and prints the digest. The directory is what pulls are compared with.
fetch() {
    python3 - "$OCI_REGISTRY" "docker-internal/e2e/$1" "$2" "$3" <<'PYTHON'
import hashlib
import json
import pathlib
import sys
import urllib.request

registry, image, reference, directory = sys.argv[1:]
opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
kinds = ["oci.image.manifest.v1", "oci.image.index.v1", "docker.distribution.manifest.v2",
         "docker.distribution.manifest.list.v2"]
accept = ", ".join(f"application/vnd.{kind}+json" for kind in kinds)


def get(path, digest=None, size=None):
    request = urllib.request.Request(f"http://{registry}/v2/{image}/{path}", headers={"Accept": accept})
    data = opener.open(request, timeout=60).read()
    found = hashlib.sha256(data).hexdigest()
    assert digest in (None, f"sha256:{found}"), f"{path} has the digest {found}"
    assert size in (None, len(data)), f"{path} has {len(data)} bytes, not {size}"
    pathlib.Path(directory, found).write_bytes(data)
    return data


def walk(data):
    manifest = json.loads(data)
    for child in manifest.get("manifests", []):
        walk(get(f"manifests/{child['digest']}", child["digest"], child["size"]))
    for blob in [manifest["config"], *manifest["layers"]] if "config" in manifest else []:
        get(f"blobs/{blob['digest']}", blob["digest"], blob["size"])


pathlib.Path(directory).mkdir(parents=True, exist_ok=True)
top = get(f"manifests/{reference}")
walk(top)
print("sha256:" + hashlib.sha256(top).hexdigest())
PYTHON
}

# --- Images ----------------------------------------------------------------------------------------------------------

make_root() {
    local applet
    mkdir -p "$work/root/bin" "$work/root/tmp"
    cp "$(command -v busybox)" "$work/root/bin/busybox"
    for applet in sh cat sha256sum; do ln -s busybox "$work/root/bin/$applet"; done
    chroot "$work/root" /bin/sh -c true || die "busybox is not a static one: apt-get install busybox-static"
    tar -C "$work/root" -c . >"$work/root.tar"
}

# A context for CLIENT's image: a random layer, a small one and one made by running something.
make_context() {
    local context=$work/context/$1
    mkdir -p "$context"
    cp "$work/root.tar" "$context"
    head -c 3000000 /dev/urandom >"$context/payload"
    echo "made by $1" >"$context/note"
    cat >"$context/Dockerfile" <<'DOCKERFILE'
FROM scratch
ADD root.tar /
COPY payload /payload
COPY note /note
RUN sha256sum /payload > /sum
CMD ["/bin/sh", "-c", "cat /note /sum && sha256sum /payload"]
DOCKERFILE
}

# What a container of CLIENT's image prints.
expected_output() {
    local sum
    sum=$(sha256sum <"$work/context/$1/payload" | cut -d ' ' -f 1)
    printf 'made by %s\n%s  /payload\n%s  /payload\n' "$1" "$sum" "$sum"
}

make_docker() {
    docker import "$work/root.tar" base:1
    sed -i -e 's/^FROM .*/FROM base:1/' -e '/^ADD/d' "$work/context/docker/Dockerfile"
    docker build --network host --tag "$(image_of docker):v1" "$work/context/docker"
}
make_podman() { podman build --layers --format oci --tag "$(image_of podman):v1" "$work/context/podman"; }
make_buildah() { buildah build --layers --format oci --tag "$(image_of buildah):v1" "$work/context/buildah"; }
make_skopeo() { docker build --network host --tag from-skopeo:1 "$work/context/skopeo"; }

push_docker() {
    docker push "$(image_of docker):v1" | tee "$work/push.log"
    sed -n 's/^v1: digest: \(sha256:[0-9a-f]*\) .*/\1/p' "$work/push.log" >"$work/digests/docker"
}
push_podman() { podman push --tls-verify=false --digestfile "$work/digests/podman" "$(image_of podman):v1"; }
push_buildah() {
    buildah push --tls-verify=false --digestfile "$work/digests/buildah" "$(image_of buildah):v1" \
        "docker://$(image_of buildah):v1"
}
push_skopeo() { # what docker built, turned into an OCI image on the way
    skopeo copy --format oci --src-daemon-host "$DOCKER_HOST" --dest-tls-verify=false \
        --digestfile "$work/digests/skopeo" docker-daemon:from-skopeo:1 "docker://$(image_of skopeo):v1"
}

make_and_push() {
    "make_$1"
    "push_$1"
    [ "$(fetch "$1" v1 "$work/reference/$1")" = "$(digest_of "$1")" ]
}

# --- Pulls -----------------------------------------------------------------------------------------------------------

# What the reference says of an image: reference NAME id|layers.
reference() {
    python3 - "$work/reference/$1" "$(digest_of "$1")" "$2" <<'PYTHON'
import json
import pathlib
import sys

directory, digest, wanted = sys.argv[1:]
read = lambda digest: json.loads(pathlib.Path(directory, digest.removeprefix("sha256:")).read_bytes())
config = read(digest)["config"]["digest"]
print(config if wanted == "id" else " ".join(read(config)["rootfs"]["diff_ids"]))
PYTHON
}

same() {
    [ "$1" = "$2" ] || {
        printf 'expected: %s\nfound:    %s\n' "$1" "$2"
        return 1
    }
}

pull_docker() {
    local image
    image=$(image_of "$1"):v1
    docker image prune --all --force >/dev/null
    docker pull "$image"
    same "$(image_of "$1")@$(digest_of "$1")" "$(docker image inspect --format '{{index .RepoDigests 0}}' "$image")"
    same "$(reference "$1" id)" "$(docker image inspect --format '{{.Id}}' "$image")"
    same "$(reference "$1" layers)" "$(docker image inspect --format '{{join .RootFS.Layers " "}}' "$image")"
    same "$(expected_output "$1")" "$(docker run --rm --network host "$image")"
}

pull_podman() {
    local image
    image=$(image_of "$1"):v1
    podman pull --tls-verify=false "$image"
    same "$(digest_of "$1")" "$(podman image inspect --format '{{.Digest}}' "$image")"
    same "$(reference "$1" id)" "sha256:$(podman image inspect --format '{{.Id}}' "$image")"
    same "[$(reference "$1" layers)]" "$(podman image inspect --format '{{.RootFS.Layers}}' "$image")"
    same "$(expected_output "$1")" "$(podman run --rm --network host "$image")"
}

pull_buildah() {
    local image container
    image=$(image_of "$1"):v1
    buildah pull --tls-verify=false "$image"
    same "$(digest_of "$1")" "$(buildah inspect --type image --format '{{.FromImageDigest}}' "$image")"
    same "$(reference "$1" id)" "sha256:$(buildah inspect --type image --format '{{.FromImageID}}' "$image")"
    container=$(buildah from --pull-never "$image")
    same "$(expected_output "$1")" \
        "$(buildah run "$container" -- /bin/sh -c 'cat /note /sum && sha256sum /payload')"
}

# skopeo keeps the bytes as they came: each file must be the reference's.
pull_skopeo() {
    skopeo copy --all --preserve-digests --src-tls-verify=false "docker://$(image_of "$1"):v1" "dir:$store/dir"
    same_files "$1" "$store/dir"
}

same_files() {
    local file name
    same "$(digest_of "$1" | cut -d : -f 2)" "$(sha256sum <"$2/manifest.json" | cut -d ' ' -f 1)"
    for file in "$2"/*; do
        case $(basename "$file") in
        version) continue ;;
        *manifest.json) name=$(sha256sum <"$file" | cut -d ' ' -f 1) ;;
        *) name=$(basename "$file") ;;
        esac
        cmp "$file" "$work/reference/$1/$name"
    done
    same "$(find "$work/reference/$1" -type f | wc -l)" "$(find "$2" -type f ! -name version | wc -l)"
}

# --- A multi-arch index ----------------------------------------------------------------------------------------------

make_index() {
    local arch
    buildah manifest create index
    for arch in amd64 arm64; do
        make_context "index-$arch"
        sed -i '/^RUN/d' "$work/context/index-$arch/Dockerfile"
        buildah build --layers --arch "$arch" --format oci --tag "index-$arch:1" "$work/context/index-$arch"
        buildah manifest add index "index-$arch:1"
    done
    buildah manifest push --all --tls-verify=false --digestfile "$work/digests/index" index \
        "docker://$(image_of index):v1"
    same "$(digest_of index)" "$(fetch index v1 "$work/reference/index")"
}

copy_index() { # out to a directory and in under another name, untouched
    pull_skopeo index
    skopeo copy --all --preserve-digests --dest-tls-verify=false "dir:$store/dir" "docker://$(image_of copied):v2"
    same "$(digest_of index)" "$(fetch copied v2 "$work/reference/copied")"
    diff -r "$work/reference/index" "$work/reference/copied"
}

# Takes the platform's own from the index, and makes an index of two images of its own: docker 20.10 puts no OCI
# manifests into one.
index_docker() {
    local image own base
    image=$(image_of index) own=$(image_of docker)
    docker image prune --all --force >/dev/null
    docker pull "$image:v1"
    same "made by index-amd64" "$(docker run --rm --network host "$image:v1" /bin/cat /note)"
    docker import "$work/root.tar" "$own:base"
    docker push "$own:base"
    base=$(fetch docker base "$store/base")
    docker manifest create --insecure "$image:docker" "$own@$(digest_of docker)" "$own@$base"
    docker manifest annotate --arch arm64 "$image:docker" "$own@$base"
    docker manifest push --insecure "$image:docker"
    same "$(printf '%s\n' "$(digest_of docker)" "$base" | sort)" \
        "$(children_of "$store/x" "$(fetch index docker "$store/x")" | sort)"
}

index_podman() { # takes another platform's, and makes another index of the same two
    local image child
    image=$(image_of index)
    podman pull --tls-verify=false --arch arm64 "$image:v1"
    same arm64 "$(podman image inspect --format '{{.Architecture}}' "$image:v1")"
    podman manifest create again
    for child in $(children index); do podman manifest add --tls-verify=false again "docker://$image@$child"; done
    podman manifest push --all --tls-verify=false again "docker://$image:podman"
    same "$(children index | sort)" "$(children_of "$store/x" "$(fetch index podman "$store/x")" | sort)"
}

index_buildah() {
    buildah pull --tls-verify=false --arch arm64 "$(image_of index):v1"
    same arm64 "$(buildah inspect --type image --format '{{.OCIv1.Architecture}}' "$(image_of index):v1")"
}

children() { children_of "$work/reference/$1" "$(digest_of "$1")"; }
children_of() { # DIRECTORY DIGEST
    python3 -c 'import json, sys; [print(m["digest"]) for m in json.load(open(sys.argv[1]))["manifests"]]' \
        "$1/${2#sha256:}"
}

# --- Tags, and the clients that Go builds ----------------------------------------------------------------------------

list_and_delete() {
    local image
    image=$(image_of copied)
    skopeo list-tags --tls-verify=false "docker://$image" | tee "$work/tags"
    grep -q '"v2"' "$work/tags"
    skopeo delete --tls-verify=false "docker://$image:v2"
    ! skopeo inspect --raw --tls-verify=false "docker://$image:v2"
}

go_install() { # MODULE
    GOBIN=$root/.cache/gobin timeout --foreground 900 go install "$1"
}

use_crane() {
    local crane=$root/.cache/gobin/crane
    go_install github.com/google/go-containerregistry/cmd/crane@v0.20.6
    limited "$crane" validate --insecure --remote "$(image_of docker):v1"
    limited "$crane" copy --insecure "$(image_of index):v1" "$(image_of crane):v1"
    same "$(digest_of index)" "$(limited "$crane" digest --insecure "$(image_of crane):v1")"
}

use_oras() {
    local oras=$root/.cache/gobin/oras image
    image=$(image_of oras)
    go_install oras.land/oras/cmd/oras@v1.2.3
    mkdir -p "$store/in" "$store/out"
    cd "$store/in"
    echo "a chart" >chart.txt
    echo "a signature" >signature.txt
    limited "$oras" push --plain-http --artifact-type application/vnd.example.chart "$image:v1" chart.txt:text/plain
    limited "$oras" attach --plain-http --artifact-type application/vnd.example.signature "$image:v1" signature.txt
    limited "$oras" discover --plain-http --format json "$image:v1" | tee "$store/referrers"
    grep -q application/vnd.example.signature "$store/referrers"
    limited "$oras" pull --plain-http --output "$store/out" "$image:v1"
    cmp chart.txt "$store/out/chart.txt"
}

# --- The run ---------------------------------------------------------------------------------------------------------

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

check_all() {
    local from to
    for from in "${clients[@]}"; do
        make_context "$from"
        keep_store=$work/store/made check "$from makes and pushes an image" make_and_push "$from"
    done
    for from in "${clients[@]}"; do
        for to in "${clients[@]}"; do check "$to pulls and runs what $from pushed" "pull_$to" "$from"; done
    done
    check "buildah makes and pushes an index" make_index
    check "skopeo copies the index to a directory and back" copy_index
    for to in docker podman buildah; do check "$to pulls from the index" "index_$to"; done
    check "skopeo lists tags and deletes an image" list_and_delete
    if command -v go >/dev/null; then
        check "crane validates an image and copies the index" use_crane
        check "oras pushes, attaches, discovers and pulls" use_oras
    else
        echo "NOT TESTED: crane and oras, which Go would build; go is not on PATH"
    fi
}

print_matrix() {
    local from to
    printf '\n%-18s' "pushed by \\ pulled by"
    printf '%9s' "${clients[@]}"
    for from in "${clients[@]}"; do
        printf '\n%-21s' "$from"
        for to in "${clients[@]}"; do printf '%9s' "${results[$to pulls and runs what $from pushed]}"; done
    done
    printf '\n\n%d passed, %d failed\n' "$passed" "$failed"
}

PATH=$PATH:/usr/local/go/bin
[ "$(id -u)" -eq 0 ] || die "needs root: it starts a Docker engine"
mkdir -p "$root/.cache"
install_clients
[ -n "${OCI_REGISTRY:-}" ] || exec "$root/scripts/with-daemon.sh" "$root/.cache/docker-e2e-daemon.log" "$0"

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
check_all
print_matrix
[ "$failed" -eq 0 ]
