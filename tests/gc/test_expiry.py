"""What of access control the collector takes."""

from __future__ import annotations

from artifactapi.metadata import attempts, audit, keys, tokens, users
from artifactapi.metadata.audit import By, Event
from artifactapi.metadata.principals import Subject

BY = By("user:admin", "password", "127.0.0.1", "r1")
YEAR = 365


async def older(database, table: str, column: str, days: float, which: str = "true") -> None:
    """Let rows of a table be so much older."""
    sql = f"UPDATE {table} SET {column} = {column} - make_interval(secs => %s) WHERE {which}"
    await database.query(sql, (days * 86_400,))


async def left(database, table: str, column: str) -> list[object]:
    """What is still there."""
    return [value for (value,) in await database.query(f"SELECT {column} FROM {table} ORDER BY 1")]


async def test_tokens(database, collect):
    """A login goes when it expires; a token with a name is shown for a month more; others stay."""
    user = await users.create(database, "alice", None, [])
    await tokens.login(database, Subject("user", user.id), None, b"login", 100, "user:alice")
    await tokens.login(database, Subject("user", user.id), None, b"fresh", 86_400 * 100, "user:alice")
    for name, seconds in (("old", 100), ("lately", 86_400 * 20), ("for ever", None)):
        assert await tokens.create(database, name, None, name.encode(), None, seconds, "user:admin")
    await older(database, "tokens", "expires_at", 31)
    assert await collect() == {"expired": 2}
    assert await left(database, "tokens", "convert_from(secret_hash, 'UTF8')") == ["for ever", "fresh", "lately"]


async def test_failures(database, collect):
    """A bucket of failed logins that has run empty long ago goes."""
    for key in ("account:alice", "account:bob"):
        await attempts.add(database, key, 10, 0.01)
    await older(database, "login_attempts", "at", 1.1, "key = 'account:alice'")
    assert await collect() == {"expired": 1}
    assert await left(database, "login_attempts", "key") == ["account:bob"]


async def test_keys(database, collect):
    """A key goes when a newer one has signed for longer than anything signed is good; the newest stays for ever."""
    for key in ("a", "b", "c"):
        await keys.add(database, key, "pem")
    await older(database, "signing_keys", "created_at", 1000, "id = 'a'")
    await older(database, "signing_keys", "created_at", 2.1, "id = 'b'")
    await older(database, "signing_keys", "created_at", 1.9, "id = 'c'")
    assert await collect() == {"expired": 1}
    assert await left(database, "signing_keys", "id") == ["b", "c"]
    await older(database, "signing_keys", "created_at", 1000)
    assert await collect() == {"expired": 1}
    assert await left(database, "signing_keys", "id") == ["c"]


async def test_the_audit(database, collect):
    """An entry is kept for a year."""
    for action in ("old", "new"):
        await audit.record(database, BY, Event(action))
    await older(database, "audit", "at", YEAR - 0.1)
    await older(database, "audit", "at", 0.2, "action = 'old'")
    assert await collect() == {"expired": 1}
    assert await left(database, "audit", "action") == ["new"]
