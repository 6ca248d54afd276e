#!/usr/bin/env bash
# Runs the OCI conformance suite against a registry of its own: scripts/conformance.sh; needs Go.
#
# Ends non-zero on any failure, on any error and when no test ran. The reports are left in .cache/conformance.
# OCI_REGISTRY=HOST:PORT tests a registry that already runs there (without TLS) instead, OCI_FILTER_TEST a part.
set -euo pipefail

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
suite=github.com/opencontainers/distribution-spec/conformance@v0.0.0-20260831232431-97274622c111
reports=$root/.cache/conformance

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

PATH=$PATH:/usr/local/go/bin
command -v go >/dev/null || die "needs Go (go is not on PATH): nothing was tested"
[ -n "${OCI_REGISTRY:-}" ] || exec "$root/scripts/with-daemon.sh" "$root/.cache/conformance-daemon.log" "$0"

rm -rf "$reports"
mkdir -p "$reports"
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
export OCI_TLS=disabled OCI_VERSION=dev OCI_RESULTS_DIR=$reports
export OCI_REPO1=docker-internal/conf1 OCI_REPO2=docker-internal/conf2
status=0
(cd "$work" && timeout --foreground 900 go run "$suite") >"$reports/suite.log" 2>"$reports/suite.err" || status=$?
[ -f "$reports/junit.xml" ] || {
    tail -n 40 "$reports/suite.err" >&2
    die "the suite ended ($status) without a report"
}
summarize || status=1
[ "$status" -eq 0 ] || die "the suite found failures; see $reports"
