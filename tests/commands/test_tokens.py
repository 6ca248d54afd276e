"""`artifactapi token` and `artifactapi grant`."""

from __future__ import annotations

from hashlib import sha256

import pytest

from artifactapi.commands.access import by
from tests.commands.conftest import Commands
from tests.onlooker import Onlooker


async def add(commands: Commands, *arguments: str) -> str:
    """The secret of a new token."""
    secret = (await commands.plain("token", "add", *arguments)).removesuffix("\n")
    assert secret.startswith("aat_")
    return secret


async def test_one_command_gives_access(administered: Commands, onlooker: Onlooker):
    """A token and its grants, of which only the secret goes to standard output; by its name it is revoked."""
    secret = await add(
        administered, "ci", "--days", "90", "--push", "team/app/*", "--pull", "*", "--delete", "team/app/*"
    )
    [[kept, days]] = onlooker.rows("SELECT secret_hash, extract(day FROM expires_at - created_at) FROM tokens")
    assert (bytes(kept), days) == (sha256(secret.encode()).digest(), 90)
    [_, *granted] = await administered.events("grant", "list")
    assert [(grant["to"], grant["repo"], grant["images"], grant["rights"]) for grant in granted] == [
        ("token:ci", "*", "*", ["pull"]),
        ("token:ci", "team", "app/*", ["push", "delete"]),
    ]
    [token] = await administered.events("token", "list")
    assert (token["name"], token["user"], token["scope"], token["created_by"]) == ("ci", None, None, by().actor)
    assert await administered.events("token", "delete", "ci") == [{"event": "deleted", "id": token["id"], "name": "ci"}]
    assert len(await administered.events("grant", "list")) == 1
    actions = onlooker.rows("SELECT action FROM audit ORDER BY id")
    assert [action for (action,) in actions] == [
        "user.create",
        "token.create",
        "grant.create",
        "grant.create",
        "token.delete",
    ]


async def test_a_token_without_its_rights(administered: Commands):
    """If they cannot be given, there is no token, and its name is free."""
    refused = await administered.refused("token", "add", "ci", "--pull", "team", "--push", "nowhere")
    assert refused == "no repo 'nowhere'"
    assert await administered.events("token", "list") == []
    assert len(await administered.events("grant", "list")) == 1
    await add(administered, "ci", "--pull", "team")


async def test_a_token_of_a_user(administered: Commands, onlooker: Onlooker):
    """What it is for is its limit, and no grant; those that clients log in with are listed when asked for."""
    await add(administered, "laptop", "--user", "root", "--pull", "team")
    onlooker.rows("INSERT INTO tokens (user_id, secret_hash, created_by) SELECT id, 'x', 'user:root' FROM users")
    [token] = await administered.events("token", "list", "--user", "root")
    assert (token["user"], token["scope"]) == ("root", [{"repo": "team", "images": "*", "rights": ["pull"]}])
    assert len(await administered.events("grant", "list")) == 1
    [_, login] = await administered.events("token", "list", "--logins")
    assert login["name"] is None
    [deleted] = await administered.events("token", "delete", str(login["id"]))
    assert deleted == {"event": "deleted", "id": login["id"], "name": None}
    assert await administered.events("token", "list", "--user", "nobody") == []


async def test_the_life_of_a_grant(administered: Commands):
    """Added to whom there is, listed by repo and by whom, deleted by its id."""
    run = administered.events
    [made] = await run("grant", "add", "user:root", "push,delete", "team", "app/*")
    assert (made["event"], made["repo"], made["images"], made["rights"]) == (
        "created",
        "team",
        "app/*",
        ["push", "delete"],
    )
    [same] = await run("grant", "add", "group:g", "pull", "team/app/*")
    assert (same["to"], same["repo"], same["images"]) == ("group:g", "team", "app/*")
    assert [grant["id"] for grant in await run("grant", "list", "--repo", "team")] == [made["id"], same["id"]]
    assert [grant["id"] for grant in await run("grant", "list", "--repo", "team", "--to", "group:g")] == [same["id"]]
    [deleted] = await run("grant", "delete", str(made["id"]))
    assert (deleted["event"], deleted["id"]) == ("deleted", made["id"])
    assert [grant["id"] for grant in await run("grant", "list", "--repo", "team")] == [same["id"]]


async def test_words_on_a_terminal(administered: Commands, capsys: pytest.CaptureFixture):
    """People get sentences and columns."""
    [words] = await administered.seen("grant", "add", "user:root", "pull", "team")
    [grant] = await administered.events("grant", "list", "--repo", "team")
    assert words == f"user:root may pull team/* (grant {grant['id']})"
    heading, line = await administered.seen("grant", "list", "--repo", "team")
    assert heading.split() == ["ID", "TO", "RIGHTS", "REPO", "IMAGES", "CREATED", "BY", "CREATED"]
    assert line.split()[:5] == [str(grant["id"]), "user:root", "pull", "team", "*"]
    [secret] = await administered.seen("token", "add", "ci", "--pull", "team")
    said = capsys.readouterr().err
    assert said.startswith("token ci was created, for pull team/*; ")
    assert secret not in said


@pytest.mark.parametrize(
    "arguments, line",
    [
        (["token", "add", "ci", "--days", "0"], "argument --days: must be a whole number from 1 to 3660; see "),
        (["token", "add", "ci", "--user", "nobody"], "no user 'nobody'"),
        (["token", "add", "ci", "--push", "UPPER"], "repo must be a repo's name, or * for every repo"),
        (["token", "delete", "nothing"], "no token 'nothing'"),
        (["token", "delete", "77777777777777777777777"], "no such token"),
        (["grant", "add", "root", "pull", "team"], "to must be like user:alice; before the colon is one of: user, "),
        (["grant", "add", "user:root", "read", "team"], "rights must be a list of some of: pull, push, delete, admin"),
        (["grant", "add", "user:nobody", "pull", "nowhere"], "no user 'nobody'; no repo 'nowhere'"),
        (["grant", "add", "user:root", "pull", "team/a", "b"], "images are given twice; see artifactapi grant add "),
        (["grant", "delete", "x"], "no such grant"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
async def test_a_mistake(administered: Commands, arguments: list[str], line: str):
    """One line."""
    assert (await administered.refused(*arguments)).startswith(line)
