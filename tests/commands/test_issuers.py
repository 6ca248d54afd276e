"""`artifactapi issuer` and `artifactapi identity`."""

from __future__ import annotations

import pytest

from tests.commands.conftest import Commands

URL = "https://gitlab.example.org"


async def trust(commands: Commands) -> None:
    """Trust an issuer `gitlab`."""
    [made] = await commands.events("issuer", "add", "gitlab", URL, "registry")
    assert (made["event"], made["url"], made["audience"], made["jwks_url"]) == ("created", URL, "registry", None)


async def test_two_commands_give_access(administered: Commands):
    """An issuer, then an identity with its grants; with the issuer all of it goes."""
    run = administered.events
    await trust(administered)
    claims = ("--claim", "project_path=team/app", "--claim", "ref=main")
    [made] = await run("identity", "add", "build", "gitlab", *claims, "--push", "team/app")
    assert (made["issuer"], made["claims"]) == ("gitlab", {"project_path": "team/app", "ref": "main"})
    [grant] = await run("grant", "list", "--to", "identity:build")
    assert (grant["repo"], grant["images"], grant["rights"]) == ("team", "app", ["push"])
    assert [each["name"] for each in await run("identity", "list")] == ["build"]
    assert [each["name"] for each in await run("issuer", "list")] == ["gitlab"]
    assert await run("issuer", "delete", "gitlab") == [{"event": "deleted", "name": "gitlab"}]
    assert await run("identity", "list") == await run("grant", "list", "--to", "identity:build") == []


async def test_an_identity_without_its_rights(administered: Commands):
    """If they cannot be given, there is no identity."""
    await trust(administered)
    add = ("identity", "add", "build", "gitlab", "--claim", "project_path=team/app")
    assert await administered.refused(*add, "--push", "nowhere") == "no repo 'nowhere'"
    assert await administered.events("identity", "list") == []
    await administered.events(*add)
    assert await administered.events("identity", "delete", "build") == [{"event": "deleted", "name": "build"}]


async def test_on_a_terminal(administered: Commands):
    """People get sentences and columns."""
    assert await administered.seen("issuer", "add", "gitlab", URL, "registry") == [f"tokens of {URL} are believed"]
    claims = ("--claim", "project_path=team/app")
    [words] = await administered.seen("identity", "add", "build", "gitlab", *claims, "--push", "team")
    assert words == "identity build may push team/*"
    heading, line = await administered.seen("identity", "list")
    assert heading.split() == ["NAME", "ISSUER", "CLAIMS", "CREATED"]
    assert line.split()[:3] == ["build", "gitlab", "project_path=team/app"]


@pytest.mark.parametrize(
    "arguments, line",
    [
        (["issuer", "add", "gitlab"], "the following arguments are required: url, audience; see "),
        (["issuer", "add", "gitlab", "gitlab.example.org", "registry"], "url must be "),
        (["issuer", "delete", "nothing"], "no issuer 'nothing'"),
        (["identity", "add", "b", "gitlab"], "the following arguments are required: --claim; see "),
        (["identity", "add", "b", "gitlab", "--claim", "x"], "argument --claim: is like repository=octo-org/octo-repo"),
        (["identity", "add", "b", "gitlab", "--claim", "sub=x"], "no issuer 'gitlab'"),
        (["identity", "delete", "nothing"], "no identity 'nothing'"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
async def test_a_mistake(administered: Commands, arguments: list[str], line: str):
    """One line."""
    assert (await administered.refused(*arguments)).startswith(line)
