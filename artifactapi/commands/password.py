"""A new password: from a terminal, from a pipe, or made; never from the command line, which everybody can read."""

from __future__ import annotations

import secrets
import sys
from argparse import Namespace
from getpass import getpass

from artifactapi.commands.arguments import Parser

MOST_BYTES = 64 * 1024


def add_arguments(parser: Parser, ask: bool) -> None:
    """Where it comes from. `ask`: from the terminal, unless something else is said."""
    sources = parser.add_mutually_exclusive_group()
    sources.add_argument(
        "--password-stdin", dest="source", action="store_const", const="stdin", help="read it from a pipe"
    )
    sources.add_argument(
        "--random", dest="source", action="store_const", const="random", help="make one, and print it, this once"
    )
    if not ask:
        sources.add_argument("--password", dest="source", action="store_const", const="ask", help="ask for it, twice")
    parser.set_defaults(source="ask" if ask else None)


def new_password(given: Namespace) -> str | None:
    """The password; None if none is wanted. Exits if there is nothing to read."""
    sources = {"stdin": from_pipe, "random": made, "ask": from_terminal}
    return sources[given.source]() if given.source else None


def made() -> str:
    """One of 128 random bits, which no shell and no option parser takes for something else."""
    return secrets.token_hex(16)


def from_pipe() -> str:
    """All of standard input, without its last line break."""
    try:
        return sys.stdin.buffer.read(MOST_BYTES).decode().rstrip("\r\n")
    except (AttributeError, OSError, UnicodeDecodeError):  # it is closed, a directory, not text
        raise SystemExit("artifactapi: standard input is not a password in UTF-8") from None


def from_terminal() -> str:
    """Asked for twice."""
    if sys.stdin is None or not sys.stdin.isatty():
        raise SystemExit("artifactapi: there is no terminal to ask for a password: give --password-stdin or --random")
    try:
        first, again = getpass("Password: "), getpass("Again: ")
    except (EOFError, KeyboardInterrupt):
        raise SystemExit("artifactapi: no password was given") from None
    if first != again:
        raise SystemExit("artifactapi: the two are not the same")
    return first
