"""`artifactapi user`."""

from __future__ import annotations

import pytest
from argon2 import PasswordHasher

from artifactapi.commands.access import by
from tests.commands.conftest import PASSWORD, Commands
from tests.onlooker import Onlooker


def has_password(onlooker: Onlooker, name: str, password: str) -> bool:
    """Whether it is the password of that user."""
    kept = onlooker.value("SELECT password_hash FROM users WHERE name = %s", name)
    return PasswordHasher().verify(kept, password)


async def test_the_life_of_a_user(administered: Commands, onlooker: Onlooker):
    """Added with a password from a pipe, listed, changed, deleted; each is in the audit, with who did it."""
    run = administered.events
    await run("user", "add", "alice", "--password-stdin", "--group", "a", "--group", "b", given=PASSWORD)
    assert has_password(onlooker, "alice", PASSWORD)
    listed = await run("user", "list")
    assert [(user["name"], user["groups"], user["disabled"]) for user in listed] == [
        ("alice", ["a", "b"], False),
        ("root", [], False),
    ]
    [changed] = await run(
        "user", "change", "alice", "--group", "c", "--disable", "--password-stdin", given="another one\r\n"
    )
    assert (changed["event"], changed["groups"], changed["disabled"]) == ("changed", ["c"], True)
    assert has_password(onlooker, "alice", "another one")
    [changed] = await run("user", "change", "alice", "--no-groups", "--enable")
    assert (changed["groups"], changed["disabled"]) == ([], False)
    assert await run("user", "delete", "alice") == [{"event": "deleted", "name": "alice"}]
    audit = onlooker.rows("SELECT actor, action, detail->>'user' FROM audit ORDER BY id")
    assert audit == [
        (by().actor, action, user)
        for action, user in [
            ("user.create", "root"),
            ("user.create", "alice"),
            ("user.change", "alice"),
            ("user.change", "alice"),
            ("user.delete", "alice"),
        ]
    ]


async def test_a_password_that_is_made(administered: Commands, onlooker: Onlooker, capsys: pytest.CaptureFixture):
    """It is alone on standard output; what is said of it goes to standard error."""
    first = (await administered.plain("user", "add", "bob", "--random")).removesuffix("\n")
    assert capsys.readouterr().err == "user bob was created; this is the password\n"
    assert len(first) == 32
    assert has_password(onlooker, "bob", first)
    changed = (await administered.plain("user", "change", "bob", "--random")).removesuffix("\n")
    assert changed != first
    assert has_password(onlooker, "bob", changed)


async def test_the_list_on_a_terminal(administered: Commands):
    """People get columns."""
    heading, root = await administered.seen("user", "list")
    assert heading.split() == ["NAME", "GROUPS", "DISABLED", "CREATED"]
    assert root.split()[:3] == ["root", "-", "no"]
    assert [heading.index(word) for word in ("NAME", "GROUPS")] == [root.index(word) for word in ("root", "-")]


async def test_the_last_administrator(administered: Commands):
    """He stays: the commands keep to the rule that the API keeps to."""
    line = (
        "nobody could administer after this: first let there be a user with a password and admin on every repo"
        " (artifactapi user add NAME --admin)"
    )
    assert await administered.refused("user", "delete", "root") == line
    assert await administered.refused("user", "change", "root", "--disable") == line


async def test_the_first_user(commands: Commands):
    """Whoever comes first administers: without that nobody could."""
    refused = await commands.refused("user", "add", "alice", "--password-stdin", given=PASSWORD)
    assert refused.startswith("nobody could administer after this")
    assert await commands.events("user", "list") == []


@pytest.mark.parametrize(
    "arguments, given, line",
    [
        (["add", "root", "--password-stdin"], PASSWORD, "there is a user 'root' already"),
        (["add", "alice", "--password-stdin"], "short\n", "password must be text of 8 to 512 characters"),
        (["add", "a b", "--password-stdin"], PASSWORD, "name must be 1 to 100 letters, digits and ._@+-"),
        (["add", "alice", "--password-stdin", "--group", "/"], PASSWORD, "groups must be a list of at most 100 names"),
        (["change", "nobody", "--disable"], "", "no user 'nobody'"),
        (["delete", "nobody"], "", "no user 'nobody'"),
    ],
    ids=lambda value: value[0] if isinstance(value, list) else "",
)
async def test_what_is_refused(administered: Commands, arguments: list[str], given: str, line: str):
    """What the API would refuse, in one line."""
    assert (await administered.refused("user", *arguments, given=given)).startswith(line)


@pytest.mark.parametrize(
    "arguments, line",
    [
        ([], "the following arguments are required: VERB; see artifactapi user --help"),
        (["add"], "the following arguments are required: name; see artifactapi user add --help"),
        (["add", "alice"], "there is no terminal to ask for a password: give --password-stdin or --random"),
        (
            ["add", "alice", "--random", "--password-stdin"],
            "argument --password-stdin: not allowed with argument --random; see artifactapi user add --help",
        ),
        (["change", "alice"], "nothing is to be changed; see artifactapi user change --help"),
        (
            ["delete", "a\nb"],
            "argument name: has characters that nothing here has; see artifactapi user delete --help",
        ),
        (["list", "--data-dir", ""], "--data-dir: not a directory's path"),
        (["list", "--database-url", "u:s3cret@h"], "--database-url: not a URL like postgresql://user:password@host"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
async def test_a_mistake(commands: Commands, arguments: list[str], line: str):
    """One line, before anything is started."""
    assert (await commands.refused("user", *arguments)).startswith(line)
