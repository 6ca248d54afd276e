"""A daemon that has nothing but an embedded Postgres: `program.py DIRECTORY [ACCOUNT]`.

It prints the DSN, or the error, in one line; SIGTERM stops it.
"""

from __future__ import annotations

import codecs
import os
import pwd
import sys
from pathlib import Path

from twisted.internet.defer import Deferred

from artifactapi.embedded import EmbeddedPostgres


def main(directory: str, account: str | None = None) -> None:
    """Be a daemon that has nothing but an embedded Postgres."""
    from twisted.internet import reactor

    if account and os.geteuid() == 0:
        codecs.lookup("ascii")  # Python itself may be where only root can go: what it loads late is loaded now
        entry = pwd.getpwnam(account)
        os.setgroups([])
        os.setgid(entry.pw_gid)
        os.setuid(entry.pw_uid)
    embedded = EmbeddedPostgres(Path(directory), reactor)

    async def run() -> None:
        try:
            print(await embedded.start(), flush=True)
        except Exception as error:  # whatever it is: the test waits for a line
            print(error, flush=True)
            reactor.stop()

    reactor.callWhenRunning(lambda: Deferred.fromCoroutine(run()))
    reactor.addSystemEventTrigger("before", "shutdown", lambda: Deferred.fromCoroutine(embedded.stop()))
    reactor.run()


if __name__ == "__main__":
    main(*sys.argv[1:])
