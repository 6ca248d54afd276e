"""A safe start: who may do what while there is no account, and where nobody starts without an administrator."""

from __future__ import annotations

import io
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import pytest_twisted
from twisted.internet.defer import Deferred, gatherResults

from artifactapi import service as module
from artifactapi.access.passwords import Passwords
from artifactapi.config import Config
from artifactapi.daemon import StartError
from artifactapi.service import Artifactapi, is_loopback
from tests.access.people import API, PASSWORD, Administrator, Person, basic
from tests.client import Client

IMAGE = "docker-internal/team/app"
EVERYWHERE = "tcp:0:interface=0.0.0.0"


@pytest.mark.parametrize(
    "listen, loopback",
    [
        ("tcp:8000:interface=127.0.0.1", True),
        ("tcp:8000:interface=127.8.9.10", True),
        ("tcp:port=8000:interface=127.0.0.1:backlog=10", True),
        ("tcp:interface=127.0.0.1:port=8000", True),
        ("tcp:8000:interface=localhost", True),
        (r"tcp6:8000:interface=\:\:1", True),
        (r"tcp:8000:interface=\:\:1", True),
        (r"tcp:8000:interface=0\:0\:0\:0\:0\:0\:0\:1", True),
        ("ssl:8443:interface=127.0.0.1:privateKey=k.pem:certKey=c.pem", True),
        ("unix:/run/artifactapi.sock", True),
        ("unix:address=/run/artifactapi.sock:mode=660", True),
        ("tcp:8000", False),
        ("tcp:8000:interface=", False),
        ("tcp:8000:interface=0.0.0.0", False),
        ("tcp:8000:interface=10.0.0.1", False),
        ("tcp:8000:interface=128.0.0.1", False),
        ("tcp:8000:interface=example.org", False),
        ("tcp:8000:interface=localhost.example.org", False),
        ("tcp:8000:interface=127.0.0.1:interface=0.0.0.0", False),
        (r"tcp:8000:interface=127.0.0.1:\interface=0.0.0.0", False),
        (r"tcp6:8000:interface=\:\:", False),
        ("tcp6:8000", False),
        (r"tcp6:8000:interface=\:\:ffff\:10.0.0.1", False),
        ("tcp:8000:127.0.0.1", False),  # Twisted takes it for an interface; whoever writes so can write the word too
        ("ssl:8443:privateKey=k.pem:certKey=c.pem", False),
        (r"ssl:8443:privateKey=interface=127.0.0.1\:", False),
        ("systemd:domain=INET:index=0", False),
        ("haproxy:tcp:8000:interface=127.0.0.1", False),
        ("onion:80:interface=127.0.0.1", False),
        ("stdio:", False),
    ],
)
def test_what_is_for_this_machine_alone(listen: str, loopback: bool):
    """An endpoint on a loopback address, or a unix socket; what cannot be told is not."""
    assert is_loopback(listen) is loopback


async def started(config: Config) -> Artifactapi:
    """A daemon that serves; stopped if it does not come so far."""
    from twisted.internet import reactor

    daemon = Artifactapi(config, reactor)
    try:
        await daemon.start()
    except BaseException:
        await daemon.stopService()
        raise
    return daemon


@pytest_twisted.async_yield_fixture
async def start():
    """A function that starts a daemon and gives a client that shows nothing."""
    running: list[Artifactapi] = []

    async def begin(config: Config) -> Person:
        running.append(await started(config))
        return Person(Client("127.0.0.1", running[-1].address.port))

    yield begin
    for daemon in running:
        await daemon.stopService()


@pytest.fixture
def password_file(tmp_path: Path) -> Path:
    """A file with a password."""
    file = tmp_path / "password"
    file.write_text(f"{PASSWORD}\n")
    return file


async def test_without_accounts_on_this_machine(start: Any, config: Config):
    """Everybody may do everything, until there is an account."""
    nobody = await start(config)
    digest, _ = await nobody.push_image(IMAGE, "v1", b"layer")
    for method, path in (
        ("GET", "/v2/"),
        ("GET", "/v2/_catalog"),
        ("GET", f"{API}/users"),
        ("GET", f"{API}/audit"),
        ("GET", f"{API}/repos/docker-internal"),
        ("POST", f"{API}/keys"),
        ("DELETE", f"/v2/{IMAGE}/manifests/{digest}"),
        ("DELETE", f"{API}/repos/docker-internal?force=true"),
    ):
        assert (await nobody.request(method, path)).status < 300, path
    assert (await nobody.get(f"{API}/me")).json["actor"] == "anonymous"
    assert (await nobody.showing(basic("root")).get("/v2/")).status == 401  # wrong is wrong all the same


async def test_when_there_is_an_account(start: Any, config: Config):
    """Who shows nothing pulls from public repos, and that is all; here at once, elsewhere within seconds."""
    nobody, there = await start(config), await start(config)
    await nobody.push_image(IMAGE, "v1", b"layer")
    await nobody.make("/users", name="root", password=PASSWORD, admin=True)
    admin = Administrator(nobody, basic("root"))
    await admin.publish("docker-internal")
    assert (await nobody.get(f"/v2/{IMAGE}/manifests/v1")).status == 200
    for person in (nobody, there):
        deadline = time.monotonic() + 10
        while (await person.get(f"{API}/users")).status != 401:
            assert time.monotonic() < deadline, "it did not hear of the account"
        assert (await person.request("POST", f"/v2/{IMAGE}/blobs/uploads/")).status == 401
        assert (await person.request("DELETE", f"/v2/{IMAGE}/manifests/v1")).status == 401
        assert (await person.get("/v2/other/app/tags/list")).status == 401


@pytest.mark.parametrize("listen", [EVERYWHERE, "tcp:0"])
async def test_no_administrator(config: Config, listen: str):
    """Where others can reach it, it does not start without one, and says what to do."""
    with pytest.raises(StartError) as raised:
        await started(replace(config, listen=listen))
    text = str(raised.value)
    for way in ("--admin-password-file", "artifactapi user add admin --admin", "--allow-anonymous-push true"):
        assert way in text
    assert "\n" not in text


async def test_an_administrator_of_an_earlier_start(start: Any, config: Config):
    """One that was made before is enough; a disabled one, or one without a password, is not."""
    nobody = await start(config)
    await nobody.make("/users", name="root", password=PASSWORD, admin=True)
    everywhere = await start(replace(config, listen=EVERYWHERE))
    assert (await everywhere.get("/v2/")).status == 401
    assert (await everywhere.user("root").get(f"{API}/users")).status == 200


async def test_a_password_file(start: Any, config: Config, password_file: Path):
    """The user admin is made with the file's password, once; and it is his from the next start on if it changes."""
    config = replace(config, listen=EVERYWHERE, admin_password_file=password_file)
    nobody = await start(config)
    assert (await nobody.get("/v2/")).status == 401
    admin = Administrator(nobody, basic("admin"))
    assert (await admin.get(f"{API}/users")).status == 200
    entries = await admin.audit()
    assert [(entry["action"], entry["actor"]) for entry in entries] == [("user.create", "system")]
    again = Administrator(await start(config), basic("admin"))
    assert await again.audit() == entries
    password_file.write_text("another password")
    other = Administrator(await start(config), basic("admin", "another password"))
    assert (await other.get(f"{API}/users")).status == 200
    assert [entry["action"] for entry in await other.audit("n=1")] == ["user.change"]
    assert (await Person(other, basic("admin")).get("/v2/")).status == 401


async def test_an_admin_who_is_none(start: Any, config: Config, password_file: Path):
    """Whatever became of the user admin, after a start with the file he is an enabled administrator."""
    nobody = await start(config)
    await nobody.make("/users", name="root", password=PASSWORD, admin=True)
    root = Administrator(nobody, basic("root"))
    await root.add_user("admin", "what he chose")
    assert (await root.call("PATCH", "/users/admin", disabled=True)).status == 200
    assert (await root.user("admin").get("/v2/")).status == 401
    admin = Administrator(await start(replace(config, admin_password_file=password_file)), basic("admin"))
    assert (await admin.get(f"{API}/users")).status == 200
    assert (await admin.request("DELETE", f"{API}/users/root")).status == 204
    assert len((await admin.get(f"{API}/grants")).json["grants"]) == 1
    await start(replace(config, admin_password_file=password_file))
    assert len((await admin.get(f"{API}/grants")).json["grants"]) == 1


async def test_replicas_that_start_together(
    start: Any, config: Config, password_file: Path, monkeypatch: pytest.MonkeyPatch
):
    """All find no administrator and make him; the first does, and none fails because it is not."""
    config = replace(config, listen=EVERYWHERE, admin_password_file=password_file)
    waiting: list[Deferred[None]] = []
    real = Passwords.hash

    async def held(self: Passwords, password: str) -> str:
        waiting.append(Deferred())
        if len(waiting) == 3:
            for one in waiting:
                one.callback(None)
        await waiting[min(len(waiting), 3) - 1]
        return await real(self, password)

    monkeypatch.setattr(Passwords, "hash", held)
    people = await gatherResults([Deferred.fromCoroutine(start(config)) for _ in range(3)])
    for person in people:
        assert (await person.user("admin").get(f"{API}/users")).status == 200
    assert len((await people[0].user("admin").get(f"{API}/keys")).json["keys"]) == 1


@pytest.mark.parametrize(
    "content, password",
    [
        (b"eight ch", "eight ch"),
        (b"correct horse\r\n", "correct horse"),
        (b"correct horse\n", "correct horse"),
        (b" with spaces ", " with spaces "),
        ("pässwörd".encode(), "pässwörd"),
        (b"two\nlines\n", "two\nlines"),
    ],
)
async def test_what_a_password_file_holds(
    start: Any, config: Config, password_file: Path, content: bytes, password: str
):
    """All of it is the password, but for a last line break."""
    password_file.write_bytes(content)
    nobody = await start(replace(config, admin_password_file=password_file))
    assert (await nobody.user("admin", password).get(f"{API}/users")).status == 200


@pytest.mark.parametrize("content", [None, b"", b"\n", b"seven c", b"x" * 513, b"\xff\xfe" * 10])
async def test_a_password_file_that_will_not_do(config: Config, password_file: Path, content: bytes | None):
    """One that is not there, empty, too short, too long or no text is why there is no start; it is named, not shown."""
    if content is None:
        password_file.unlink()
    else:
        password_file.write_bytes(content)
    with pytest.raises(StartError) as raised:
        await started(replace(config, admin_password_file=password_file))
    assert str(password_file) in str(raised.value)
    assert "seven c" not in str(raised.value)


async def test_a_password_file_that_is_a_directory(config: Config, tmp_path: Path):
    """It is said that it cannot be read."""
    with pytest.raises(StartError, match="cannot read the password"):
        await started(replace(config, admin_password_file=tmp_path))


class Terminal(io.StringIO):
    """Standard error as a person sees it."""

    def isatty(self) -> bool:
        """Somebody is there."""
        return True


async def test_on_a_terminal(start: Any, config: Config, monkeypatch: pytest.MonkeyPatch):
    """An administrator is made, and the password is shown there, once, and nowhere else."""
    terminal = Terminal()
    monkeypatch.setattr(module.sys, "__stderr__", terminal)
    config = replace(config, listen=EVERYWHERE)
    nobody = await start(config)
    [line] = terminal.getvalue().splitlines()
    password = line.rpartition(" ")[2]
    admin = Administrator(nobody, basic("admin", password))
    assert (await admin.get(f"{API}/users")).status == 200
    assert password not in str(await admin.audit())
    await start(config)
    assert len(terminal.getvalue().splitlines()) == 1


async def test_anonymous_push(start: Any, config: Config, password_file: Path):
    """If it is wanted, everybody may push and pull without an account; not delete, not administer, not see users."""
    config = replace(config, listen=EVERYWHERE, allow_anonymous_push=True)
    nobody = await start(config)
    digest, _ = await nobody.push_image(IMAGE, "v1", b"layer")
    bearer = await nobody.bearer(f"repository:{IMAGE}:*")
    for person in (nobody, bearer):
        assert (await person.get(f"/v2/{IMAGE}/manifests/v1")).status == 200
        assert (await person.request("POST", f"/v2/{IMAGE}/blobs/uploads/")).status == 202
        for method, path in (
            ("DELETE", f"/v2/{IMAGE}/manifests/{digest}"),
            ("DELETE", f"/v2/{IMAGE}/blobs/{digest}"),
            ("GET", f"{API}/users"),
            ("POST", f"{API}/users"),
            ("POST", f"{API}/tokens"),
            ("GET", f"{API}/audit"),
            ("POST", f"{API}/gc"),
            ("POST", f"{API}/repos"),
            ("GET", f"{API}/repos/docker-internal"),
            ("PATCH", f"{API}/repos/docker-internal"),
        ):
            assert (await person.request(method, path)).status == 401, path
    assert (await nobody.get("/v2/_catalog")).json == {"repositories": [IMAGE]}
    await start(replace(config, admin_password_file=password_file))
    other = await start(config)
    assert (await other.request("POST", f"/v2/{IMAGE}/blobs/uploads/")).status == 401
    assert (await other.get(f"/v2/{IMAGE}/manifests/v1")).status == 401
