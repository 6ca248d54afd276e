"""`artifactapi serve` as another account: as_account.py ACCOUNT [OPTION]...

Python, the virtualenv and the clone may be where only root can go. So what the daemon would load late is loaded now.
"""

from __future__ import annotations

import codecs
import os
import pwd
import sys

from twisted.application.service import IServiceMaker
from twisted.internet import reactor  # noqa: F401
from twisted.scripts import twistd  # noqa: F401

import artifactapi.tap  # noqa: F401  (all that the daemon imports)
from artifactapi import cli
from artifactapi.metadata import schema
from twisted import plugin


def load() -> None:
    """What is read from files after the start: codecs, the plugin, the schema."""
    for name in ("ascii", "idna", "latin-1"):
        codecs.lookup(name)
    plugins, migrations = list(plugin.getPlugins(IServiceMaker)), schema.migrations()
    for each in plugins:
        if each.tapname == "artifactapi":
            each.options()
    plugin.getPlugins = lambda interface: plugins
    schema.migrations = lambda: migrations


def become(name: str) -> None:
    """Be this account, for good."""
    entry = pwd.getpwnam(name)
    os.setgroups([])
    os.setgid(entry.pw_gid)
    os.setuid(entry.pw_uid)
    os.environ["HOME"] = "/nonexistent"


if __name__ == "__main__":
    load()
    become(sys.argv[1])
    sys.argv[1:] = ["serve", *sys.argv[2:]]
    cli.main()
