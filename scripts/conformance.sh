#!/usr/bin/env bash
# Runs the OCI conformance suite against registries of its own: scripts/conformance.sh [open|basic|token]...; needs Go.
#
# open: without accounts; basic: as an administrator whose password comes with every request; token: as one who gets
# tokens with it. Without an argument all of them. Ends non-zero on any failure, on any error and when no test ran. The
# reports are left in .cache/conformance. OCI_REGISTRY=HOST:PORT tests a registry that already runs there (without TLS)
# instead, with OCI_USERNAME and OCI_PASSWORD if they are set; OCI_FILTER_TEST a part.
set -euo pipefail

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
suite=github.com/opencontainers/distribution-spec/conformance@v0.0.0-20260831232431-97274622c111
ways=("$@")

die() {
    printf 'scripts/conformance.sh: %s\n' "$*" >&2
    exit 1
}

# Prints what the suite wrote to junit.xml and results.yaml; fails on a failure and on no test at all.
summarize() {
    python3 - "$reports" <<'PYTHON'
import collections
import pathlib
import sys
import xml.etree.ElementTree as ElementTree

reports = pathlib.Path(sys.argv[1])
tests = list(ElementTree.parse(reports / "junit.xml").iter("testcase"))
counts = collections.Counter(test.get("status") for test in tests)
for test in tests:
    if test.get("status") != "passed":
        reason = " ".join((test.findtext("system-out") or "no reason given").split())
        print(f"{test.get('status')}: {test.get('name')}: {reason[:300]}")
for line in (reports / "results.yaml").read_text().splitlines():
    if line.strip().endswith(": Disabled"):
        print(f"disabled: {line.strip().removesuffix(': Disabled')}")
failed = len(tests) - counts["passed"] - counts["skipped"]
print(f"OCI conformance: {len(tests)} tests")
print(f"{counts['passed']} passed, {failed} failed, {counts['skipped']} skipped")
sys.exit(bool(failed) or not counts["passed"])
PYTHON
}

# Leaves no password in what the suite wrote: it is a part of the registry's address there.
redact() {
    python3 - "$reports" "$1" <<'PYTHON'
import pathlib
import sys

password = pathlib.Path(sys.argv[2]).read_bytes()
for report in filter(pathlib.Path.is_file, pathlib.Path(sys.argv[1]).rglob("*")):
    report.write_bytes(report.read_bytes().replace(password, b"***"))
PYTHON
}

# Each way with a daemon of its own.
run_all() {
    local way status=0
    for way in "${ways[@]}"; do
        echo "--- $way"
        if [ "$way" != open ]; then
            export ARTIFACTAPI_ADMIN_PASSWORD_FILE=$work/password
            python3 -c 'import secrets; print(secrets.token_hex(24), end="")' >"$work/password"
        fi
        "$root/scripts/with-daemon.sh" "$root/.cache/conformance-$way.log" "$0" "$way" || status=1
        took "$way" || status=1
    done
    return "$status"
}

# Whether the suite went that way: it would take another if the registry offered one.
took() {
    local tokens
    tokens=$(grep -c '"GET /token" 200' "$root/.cache/conformance-$1.log" || true)
    case $1 in
    open | basic) [ "$tokens" -eq 0 ] ;;
    token) [ "$tokens" -gt 0 ] ;;
    esac || {
        echo "it went another way: it got $tokens tokens"
        return 1
    }
}

# A client of Go sends what comes before the @ with every request, as Basic credentials.
authenticate() {
    case $1 in
    basic) OCI_REGISTRY=admin:$(cat "$ARTIFACTAPI_ADMIN_PASSWORD_FILE")@$OCI_REGISTRY ;;
    token) export OCI_USERNAME=admin OCI_PASSWORD="$(cat "$ARTIFACTAPI_ADMIN_PASSWORD_FILE")" ;;
    esac
}

run_suite() { # WAY
    local status=0 reports=$root/.cache/conformance/$1
    rm -rf "$reports"
    mkdir -p "$reports"
    authenticate "$1"
    export OCI_TLS=disabled OCI_VERSION=dev OCI_RESULTS_DIR=$reports
    export OCI_REPO1=docker-internal/conf1 OCI_REPO2=docker-internal/conf2
    (cd "$work" && timeout --foreground 900 go run "$suite") >"$reports/suite.log" 2>"$reports/suite.err" || status=$?
    [ "$1" != basic ] || redact "$ARTIFACTAPI_ADMIN_PASSWORD_FILE"
    [ -f "$reports/junit.xml" ] || {
        tail -n 40 "$reports/suite.err" >&2
        die "the suite ended ($status) without a report"
    }
    summarize || status=1
    [ "$status" -eq 0 ] || die "the suite found failures; see $reports"
}

PATH=$PATH:/usr/local/go/bin
command -v go >/dev/null || die "needs Go (go is not on PATH): nothing was tested"
[ ${#ways[@]} -gt 0 ] || ways=(open basic token)
for way in "${ways[@]}"; do
    [[ $way =~ ^(open|basic|token)$ ]] || die "usage: scripts/conformance.sh [open|basic|token]..."
done
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
if [ -n "${OCI_REGISTRY:-}" ]; then
    run_suite "${1:-open}"
else
    run_all
fi
