# Sourced by scripts/docker-e2e.sh: docker, podman, buildah, skopeo, crane and oras against $OCI_REGISTRY.

# Settings of the clients that leave the machine's own alone. The limits are given because a machine without
# CAP_SYS_RESOURCE cannot raise them to podman's defaults; runc because crun refuses some machines' cgroups.
configure_clients() {
    mkdir -p "$work"/{xdg,home,docker,tmp,context,store,digests,reference}
    chmod 700 "$work/xdg"
    echo '{"default": [{"type": "insecureAcceptAnything"}]}' >"$work/policy.json"
    # Instead of /etc/docker/daemon.json; the ranges are those the engine takes its networks from.
    # The mirror is a Host that stands for docker.io as soon as a repo says so.
    cat >"$work/daemon.json" <<JSON
{"insecure-registries": ["172.16.0.0/12", "192.168.0.0/16"],
 "registry-mirrors": [${OCI_REGISTRY:+"\"http://$(mirror_host)\""}]}
JSON
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
limited() { timeout --foreground --kill-after=5 "${limit:-180}" env HOME="$work/home" "$@"; }
docker() { limited docker "$@"; }
skopeo() { limited skopeo --policy "$work/policy.json" "$@"; }
# podman and buildah share a store; $store names the one in use.
in_store() { limited "$1" --root "$store/root" --runroot "$store/run" --storage-driver vfs "${@:2}"; }
podman() { in_store podman "$@"; }
buildah() { in_store buildah "$@"; }

image_of() { printf '%s/docker-internal/e2e/%s' "$OCI_REGISTRY" "$1"; }
digest_of() { cat "$work/digests/$1"; }

# What pulls are compared with: fetch NAME REFERENCE DIRECTORY (fetch.py).
fetch() { python3 "$root/scripts/e2e/fetch.py" "$OCI_REGISTRY" "docker-internal/e2e/$1" "$2" "$3"; }

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

build_crane_and_oras() {
    go_install github.com/google/go-containerregistry/cmd/crane@v0.20.6
    go_install oras.land/oras/cmd/oras@v1.2.3
}

use_crane() {
    local crane=$root/.cache/gobin/crane
    limited "$crane" validate --insecure --remote "$(image_of docker):v1"
    limited "$crane" copy --insecure "$(image_of index):v1" "$(image_of crane):v1"
    same "$(digest_of index)" "$(limited "$crane" digest --insecure "$(image_of crane):v1")"
}

use_oras() {
    local oras=$root/.cache/gobin/oras image
    image=$(image_of oras)
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

# --- All of them -----------------------------------------------------------------------------------------------------

check_clients() {
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
        check "crane and oras are built" build_crane_and_oras
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
    printf '\n\n'
}
