#!/usr/bin/env bash
# Starts the registry in the foreground; needs Python 3.11+ with pip and nothing else: scripts/serve.sh [OPTION]...
#
# The options are those of `twistd artifactapi` (--help lists them, each with its environment variable).
# ARTIFACTAPI_VENV is the virtualenv to use (default: .venv in the project), PYTHON the interpreter to make it with.
set -euo pipefail

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
venv=${ARTIFACTAPI_VENV:-$root/.venv}

"$root/scripts/install.sh" "$venv"

# No pid file: the data directory's lock says who owns it, and several daemons may start in one directory.
exec "$venv/bin/twistd" --nodaemon --pidfile= artifactapi "$@"
