"""`artifactapi user`, `token`, `issuer`, `identity`, `grant`, `key` and `audit`: who may what, over the rows alone."""

from __future__ import annotations

import os
import pwd
import socket
import sys
from collections.abc import Sequence
from dataclasses import replace

from artifactapi.commands import audit, grants, identities, issuers, keys, tokens, users
from artifactapi.commands.arguments import Parser, configuration
from artifactapi.commands.desk import Deed, Desk
from artifactapi.commands.output import Output
from artifactapi.commands.tool import Tool, perform
from artifactapi.config import Config
from artifactapi.metadata.audit import By
from artifactapi.oci.errors import OciError

NOUNS = {
    "user": users,
    "token": tokens,
    "issuer": issuers,
    "identity": identities,
    "grant": grants,
    "key": keys,
    "audit": audit,
}


def run(noun: str, arguments: Sequence[str]) -> None:
    """Run the command, and exit: 0 if all is well, 1 if not."""
    try:
        config, deed = begin(noun, arguments)
    except OciError as error:
        raise SystemExit(f"artifactapi: {error.message}") from None

    async def work(tool: Tool) -> int:
        database = await tool.rows()
        await deed(Desk(database, tool.access(database), by(), Output(sys.stdout)))
        return 0

    perform(config, work)


def begin(noun: str, arguments: Sequence[str]) -> tuple[Config, Deed]:
    """What is to be done, after a password was asked for, and over which rows. Raises SystemExit, BadRequest."""
    parser = Parser(prog=f"artifactapi {noun}")
    NOUNS[noun].declare(parser)
    given = parser.parse_args(arguments)
    config = replace(configuration(given), database_pool=1)
    return config, given.begin(given)


def by() -> By:
    """Whoever runs this, for the audit: the account, and the machine."""
    try:
        name = pwd.getpwuid(os.getuid()).pw_name
    except KeyError:  # containers run as numbers that no passwd file knows
        name = str(os.getuid())
    return By(f"cli:{name}", "none", socket.gethostname(), "")
