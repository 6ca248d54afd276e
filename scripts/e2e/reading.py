"""Reads without a pause until its standard input ends: reading.py URL...; fails when an answer is not 200 and whole.

Prints how many answers there were.
"""

import sys
import threading
import urllib.request

from login import headers

opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
opener.addheaders += headers.items()
ended = threading.Event()
threading.Thread(target=lambda: (sys.stdin.read(), ended.set()), daemon=True).start()

expected = {url: opener.open(url, timeout=30).read() for url in sys.argv[1:]}
count = 0
while not ended.is_set():
    for url, content in expected.items():
        assert opener.open(url, timeout=30).read() == content, f"{url} has changed"
        count += 1
print(count)
