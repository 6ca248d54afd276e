"""The management API, as its administrator: admin.py HOST:PORT PASSWORD-FILE METHOD PATH.

Sends the JSON that comes on standard input, if any comes, and prints the answer's; secrets are in neither argv.
"""

import base64
import pathlib
import sys
import urllib.request

registry, password, method, path = sys.argv[1:]
credentials = base64.b64encode(f"admin:{pathlib.Path(password).read_text().rstrip()}".encode()).decode()
headers = {"Authorization": f"Basic {credentials}", "Content-Type": "application/json"}
request = urllib.request.Request(f"http://{registry}{path}", sys.stdin.buffer.read() or None, headers, method=method)
opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
print(opener.open(request, timeout=60).read().decode())
