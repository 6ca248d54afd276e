#!/usr/bin/env bash
# The one test command; needs Python 3.11+ with pip and nothing else: scripts/test.sh [PYTEST ARGUMENT]...
#
# Without arguments: ruff, mypy --strict and every test. With arguments: only pytest, with them.
# The virtualenv is .cache/test-venv (ARTIFACTAPI_TEST_VENV for another).
set -euo pipefail

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
venv=${ARTIFACTAPI_TEST_VENV:-$root/.cache/test-venv}
cd "$root"

"$root/scripts/install.sh" "$venv" test
python=$venv/bin/python

# The tests import the tree or the installed package, depending on their directory, and the daemons they start
# do too: so both must be the same, file for file. That also finds a data file setup.py forgot.
installed=$(cd / && "$python" -c 'import artifactapi, pathlib; print(pathlib.Path(artifactapi.__file__).parent)')
diff -r --brief --exclude=__pycache__ artifactapi "$installed" || {
    echo "scripts/test.sh: $installed differs from the tree" >&2
    exit 1
}

# The daemons the tests start are found on PATH.
export PATH="$venv/bin:$PATH"

if [ $# -eq 0 ]; then
    # Each on a line of its own: in a && list, set -e would not see a failure.
    echo "== ruff"
    "$python" -m ruff check .
    "$python" -m ruff format --check .
    echo "== mypy --strict"
    "$python" -m mypy
    echo "== pytest"
    set -- tests
fi
exec "$python" -m pytest "$@"
