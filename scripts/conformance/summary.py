"""What the suite has found, in a few lines: summary.py SUITE-LOG.

Fails unless it came to its end, passed, skipped nothing, and tested all that is not switched off. That is read from its
log: no other report tells what was skipped from what is off, and without pushes it writes no other.
"""

import collections
import os
import pathlib
import re
import sys

STATUS = "(Pass|Skip|Disabled|FAIL|Error|Unknown)"
TEST = re.compile(rf"^ *(OCI Conformance Test/.+): {STATUS}$")
PART = re.compile(rf"^  ([^.]+)\.*: +{STATUS}$")

log = pathlib.Path(sys.argv[1])
lines = log.read_text().splitlines()
if "Data conformance:" not in lines:
    sys.exit("the suite ended without a report")
results = lines[: lines.index("Configuration:")]
tests = [found.groups() for found in map(TEST.match, results) if found]
groups = {name.rpartition("/")[0] for name, _ in tests}
counts = collections.Counter(status for name, status in tests if name not in groups)
parts = dict(found.groups() for found in map(PART.match, lines[lines.index("API conformance:") :]) if found)
off = [part for part, status in parts.items() if status == "Disabled"]
untested = [part for part, status in parts.items() if status == "Unknown"]
if os.environ.get("OCI_API_PUSH") == "false":
    untested.remove("Blob get range")  # it asks for ranges of what it pushed itself, and of nothing else
if os.environ.get("OCI_FILTER_TEST"):
    untested.clear()

for line in results[2:]:
    if line and not line.endswith((": Pass", ": Disabled")):
        print(line[:300])
print(*(f"{what}: {', '.join(names)}" for what, names in (("off", off), ("untested", untested)) if names), sep="\n")
failed = counts["FAIL"] + counts["Error"] + counts["Unknown"]
passed, skipped = counts["Pass"], counts["Skip"]
print(f"{log.parent.name}: {passed} passed, {failed} failed, {skipped} skipped, {counts['Disabled']} off")
sys.exit(bool(failed or skipped or untested or not passed))
