#!/usr/bin/env bash
# Makes a virtualenv with this project in it, or brings one up to date: scripts/install.sh DIRECTORY [EXTRA]
#
# Installs only when the sources differ from what the virtualenv holds, so that calling it again costs nothing.
# The other scripts call it; PYTHON names the interpreter (default: the first of python3, python3.14 … python3.11
# that is new enough).
set -euo pipefail

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
venv=${1:?usage: scripts/install.sh DIRECTORY [EXTRA]}
extra=${2:-}

die() {
    printf 'artifactapi: %s\n' "$*" >&2
    exit 1
}

new_enough() {
    "$1" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null
}

find_python() {
    local candidate
    for candidate in ${PYTHON:-python3 python3.14 python3.13 python3.12 python3.11}; do
        if new_enough "$candidate"; then
            printf '%s' "$candidate"
            return
        fi
    done
    die "needs Python 3.11 or newer, found $("${PYTHON:-python3}" --version 2>&1 || true): set PYTHON to a newer one"
}

# What an installation depends on: names and contents of the sources, the extra, the interpreter.
fingerprint() {
    cd "$root"
    {
        printf '%s\n' "$extra" "$("$venv/bin/python" -c 'import sys; print(sys.version, sys.prefix)')"
        find setup.py pyproject.toml README.md artifactapi twisted -type f ! -name '*.pyc' -print | LC_ALL=C sort |
            tr '\n' '\0' | xargs -0 cksum
    } | cksum
}

make_virtualenv() {
    "$python" -c 'import venv, ensurepip' 2>/dev/null ||
        die "$python has no venv module (on Debian: apt-get install python3-venv)"
    "$python" -m venv --clear "$venv"
}

# From a copy, because setuptools leaves build/ behind and would install the stale modules in it the next time.
install_copy() {
    local copy
    copy=$(mktemp -d)
    # shellcheck disable=SC2064  # the name is wanted now
    trap "rm -rf '$copy'" EXIT
    cp -R "$root/setup.py" "$root/pyproject.toml" "$root/README.md" "$root/artifactapi" "$root/twisted" "$copy"
    "$venv/bin/python" -m pip install --quiet --disable-pip-version-check "$copy${extra:+[$extra]}" ||
        die "pip could not install the project (above)"
}

mkdir -p "$(dirname "$venv")"
venv=$(cd "$(dirname "$venv")" && pwd)/$(basename "$venv")

# Two scripts that start together take turns. The lock is on this file and goes with the descriptor.
exec 9<"${BASH_SOURCE[0]}"
python=$(find_python)
"$python" -c 'import fcntl; fcntl.flock(9, fcntl.LOCK_EX)'

new_enough "$venv/bin/python" || make_virtualenv
wanted=$(fingerprint)
if [ "$wanted" != "$(cat "$venv/.artifactapi-installed" 2>/dev/null || true)" ]; then
    printf 'artifactapi: installing into %s\n' "$venv" >&2
    rm -f "$venv/.artifactapi-installed"
    install_copy
    printf '%s\n' "$wanted" >"$venv/.artifactapi-installed"
fi
