"""The `artifactapi` command."""

from __future__ import annotations

import sys

from artifactapi import __version__

USAGE = """\
usage: artifactapi serve [OPTIONS]    serve in the foreground: twistd -n artifactapi [OPTIONS]
       artifactapi gc [--dry-run] [OPTIONS]    collect what nobody needs, now; or show what would go, and why
       artifactapi fsck [--quick] [--repair] [OPTIONS]    compare all rows with all bytes; --quick: only their sizes
       artifactapi user add|list|change|delete    who logs in with a password
       artifactapi token add|list|delete    what machines log in with; add gives rights as well
       artifactapi issuer add|list|delete    whose tokens are believed (OpenID Connect)
       artifactapi identity add|list|delete    who is known by these; add gives rights as well
       artifactapi grant add|list|delete    who may pull, push, delete or administer what
       artifactapi key list|rotate    what signs bearer tokens
       artifactapi audit    who did what
       artifactapi --version
       artifactapi serve --help       all options
       artifactapi user add --help    the options of this; so with the others"""
COLLECT = ("gc", "fsck")
ACCESS = ("user", "token", "issuer", "identity", "grant", "key", "audit")


def main() -> None:
    """Run a command. Unknown ones are one line and exit status 1."""
    arguments = sys.argv[1:]
    if arguments[:1] == ["serve"]:
        serve(arguments[1:])
    elif arguments and arguments[0] in COLLECT:
        from artifactapi.commands import collect

        collect.run(arguments[0], arguments[1:])
    elif arguments and arguments[0] in ACCESS:
        from artifactapi.commands import access

        access.run(arguments[0], arguments[1:])
    elif arguments in (["--version"], ["version"]):
        print(f"artifactapi {__version__}")
    elif arguments in (["--help"], ["-h"], []):
        print(USAGE)
    else:
        sys.exit(f"artifactapi: unknown command {arguments[0]!r}; see artifactapi --help")


def serve(arguments: list[str]) -> None:
    """Become `twistd -n artifactapi`."""
    from twisted.scripts.twistd import run

    sys.argv = ["twistd", "-n", "artifactapi", *arguments]
    run()
