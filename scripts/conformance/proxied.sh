# Sourced by scripts/conformance.sh: the suite pushes to an image and then, as one who may not write, reads what it has
# pushed elsewhere: through `hub`, a remote repo of $OCI_UPSTREAM, or `all`, a virtual one of `hub` and docker-internal.

make_repo() { # NAME TYPE SETTINGS
    python3 "$root/scripts/e2e/ask.py" POST "http://$OCI_REGISTRY/api/v1/repos" \
        '{"name": "'"$1"'", "package_type": "docker", "repo_type": "'"$2"'", "settings": '"$3"'}' >/dev/null
}

readable() { # HOST:PORT IMAGE
    python3 "$root/scripts/conformance/readable.py" "$@"
}

# What the suite cannot do without pushes, and what it then looks for in vain: it reads the digest of a manifest's answer
# only where it knows the manifest.
allow_no_writes() {
    export OCI_API_PUSH=false OCI_API_BLOBS_UPLOAD_CANCEL=false OCI_API_MANIFESTS_ATOMIC=false
    export OCI_API_MANIFESTS_DIGEST_HEADER=false
}

# read_through WAY REPO HOST:PORT IMAGE: all that it pushes to docker-internal/IMAGE there, as REPO/IMAGE here.
read_through() (
    export OCI_API_TAGS_DELETE=false OCI_API_MANIFESTS_DELETE=false OCI_API_BLOBS_DELETE=false
    OCI_REGISTRY=$3 run_suite "$1-pushes" "docker-internal/$4"
    readable "$3" "docker-internal/$4" >"$work/readable"
    while IFS= read -r line; do export "${line?}"; done <"$work/readable"
    allow_no_writes
    run_suite "$1" "$2/$4"
    # The suite has not compared what it did not push, and takes an empty list of referrers.
    diff <(tr ' ' '\n' <"$work/readable") <(readable "$OCI_REGISTRY" "$2/$4" | tr ' ' '\n') ||
        die "$2/$4 is not what was pushed"
)

run_proxied() { # remote|virtual
    make_repo hub remote '{"upstream": "http://'"$OCI_UPSTREAM"'", "prefix": "docker-internal/"}'
    if [ "$1" = remote ]; then
        read_through remote hub "$OCI_UPSTREAM" theirs
    else
        make_repo all virtual '{"members": ["docker-internal", "hub"]}'
        read_through virtual all "$OCI_UPSTREAM" theirs
        read_through virtual-local all "$OCI_REGISTRY" ours
    fi
}
