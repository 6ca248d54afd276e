# Sourced by scripts/docker-e2e.sh: the images of docker/compose.yaml, made where none can be pulled.

# A Debian of this machine's age from its own mirror, with Python and with this machine's ways to the package index.
make_base() {
    local codename archive
    codename=$(. /etc/os-release && echo "$VERSION_CODENAME")
    archive=$root/.cache/docker-e2e-$codename.tar.gz
    [ -n "$(find "$archive" -mtime -7 2>/dev/null)" ] || bootstrap "$codename" "$archive"
    docker import --change "ENV PIP_CERT=/etc/ssl/certs/ca-certificates.crt" \
        --change "ENV PIP_INDEX_URL=$(index_url)" "$archive" base:debian
}

bootstrap() { # CODENAME ARCHIVE
    local tree=$work/bootstrap
    # Without TMPDIR, which is not there inside the new root.
    limit=600 limited env --unset=TMPDIR debootstrap --variant=minbase \
        --include=ca-certificates,python3,python3-venv "$1" "$tree" "$(mirror "$1")"
    cp /etc/ssl/certs/ca-certificates.crt "$tree/etc/ssl/certs/ca-certificates.crt"
    rm -rf "$tree"/var/cache/apt/archives/*.deb "$tree"/var/lib/apt/lists/* "$tree"/usr/share/{doc,man,locale}
    tar -C "$tree" -c . | gzip -1 >"$2.new"
    mv "$2.new" "$2"
    rm -rf "$tree"
}

mirror() { # CODENAME
    apt-get indextargets --format '$(CODENAME) $(REPO_URI)' 'Created-By: Packages' |
        awk -v codename="$1" '$1 == codename { print $2; found = 1; exit } END { exit !found }'
}

# Empty, as pip takes it, is the usual one.
index_url() { printf '%s' "${PIP_INDEX_URL:-$(python3 -m pip config get global.index-url 2>/dev/null || true)}"; }

build() { # TAG OPTION...
    limit=600 docker build --network host --build-arg http_proxy --build-arg https_proxy --build-arg no_proxy --tag "$@"
}

build_artifactapi() {
    build artifactapi:e2e --build-arg BASE=base:debian --file "$root/docker/Dockerfile" "$root"
    same 10001:10001 "$(docker image inspect --format '{{.Config.User}}' artifactapi:e2e)"
    same "artifactapi $(sed -n 's/^    version="\(.*\)",$/\1/p' "$root/setup.py")" \
        "$(docker run --rm --network none --entrypoint artifactapi artifactapi:e2e --version)"
}

build_stand_ins() {
    local name
    for name in haproxy postgres seaweedfs; do
        build "$name:e2e" --target "$name" --build-arg BASE=base:debian --build-arg IMAGE=artifactapi:e2e \
            "$root/scripts/e2e/images"
    done
}
