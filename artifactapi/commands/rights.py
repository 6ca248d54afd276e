"""Rights on the command line: --push REPO/IMAGES and the like, and the grants they become."""

from __future__ import annotations

from argparse import Namespace
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

from artifactapi.access.rights import Right
from artifactapi.commands.arguments import Parser, text, typed
from artifactapi.commands.desk import Desk
from artifactapi.oci.errors import OciError

Entry = dict[str, Any]


def add_arguments(parser: Parser) -> None:
    """One for each right."""
    group = parser.add_argument_group("what it may do; each may be given again")
    for right in Right:
        group.add_argument(
            f"--{right}",
            action="append",
            default=[],
            type=typed(images),
            metavar="REPO[/IMAGES]",
            help="* is every repo, and in IMAGES any characters" if right is Right.PULL else None,
        )


def images(given: str) -> tuple[str, str]:
    """Repo, and pattern of images in it: all, if none is given."""
    repo, _, pattern = text(given).partition("/")
    return repo, pattern or "*"


def entries(given: Namespace) -> list[Entry]:
    """One for each repo and pattern, with its rights."""
    wanted: dict[tuple[str, str], list[str]] = {}
    for right in Right:
        for where in getattr(given, right):
            wanted.setdefault(where, []).append(right)
    return [{"repo": repo, "images": pattern, "rights": rights} for (repo, pattern), rights in wanted.items()]


async def give(desk: Desk, to: str, wanted: Sequence[Entry], undo: Callable[[], Awaitable[None]]) -> None:
    """Grant it, or undo what it was for: whoever asks for somebody with rights does not want one without."""
    try:
        for entry in wanted:
            await desk.access.grants.create({"to": to, **entry}, desk.by)
    except OciError:
        await undo()
        raise


def described(wanted: Sequence[Entry]) -> str:
    """In words."""
    return "; ".join(f"{','.join(entry['rights'])} {entry['repo']}/{entry['images']}" for entry in wanted)
