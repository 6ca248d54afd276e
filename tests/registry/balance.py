"""Rows against bytes: what must hold after whatever happened."""

from __future__ import annotations

from hashlib import new
from pathlib import Path

from artifactapi.metadata.database import Database


async def keys(database: Database, sql: str) -> set[str]:
    """The keys a statement gives."""
    return {key for (key,) in await database.query(sql)}


async def committed(database: Database) -> set[str]:
    """Keys that a blob's row names."""
    return await keys(database, "SELECT object_key FROM blobs WHERE object_key IS NOT NULL")


async def under_way(database: Database) -> set[str]:
    """Keys that a session's row says may hold something."""
    return await keys(database, "SELECT object_key FROM upload_sessions WHERE store_state IS NOT NULL")


async def doomed(database: Database) -> set[str]:
    """Keys in the outbox."""
    return await keys(database, "SELECT key FROM doomed_objects")


def objects(directory: Path) -> set[str]:
    """Keys of committed objects in the store."""
    return {
        str(path.relative_to(directory / "objects")) for path in (directory / "objects").rglob("*") if path.is_file()
    }


def staged(directory: Path) -> set[str]:
    """Keys of which something is staged in the store, be it an empty directory."""
    return {f"blobs/{path.name[:2]}/{path.name}" for path in (directory / "staging").iterdir()}


async def check_blobs(database: Database, directory: Path) -> None:
    """Every row of a blob has its bytes, of the right size and digest."""
    for digest, size, key, content in await database.query("SELECT digest, size, object_key, content FROM blobs"):
        data = bytes(content) if key is None else (directory / "objects" / key).read_bytes()
        algorithm, _, hexadecimal = digest.partition(":")
        assert (len(data), new(algorithm, data).hexdigest()) == (size, hexadecimal), f"{digest} under {key}"


async def check(database: Database, directory: Path) -> None:
    """No row without bytes, no bytes without a row, and nothing that is alive is to be deleted."""
    await check_blobs(database, directory)
    alive, open_, dead = await committed(database), await under_way(database), await doomed(database)
    assert not alive & open_
    assert not (alive | open_) & dead, "what a row names must not be deleted"
    assert objects(directory) <= alive | open_ | dead, "an object that no row names"
    assert staged(directory) <= alive | open_ | dead, "staged bytes that no row names"


async def check_swept(database: Database, directory: Path) -> None:
    """After a sweep there are only bytes of blobs and of open sessions."""
    assert await doomed(database) == set()
    assert objects(directory) <= await committed(database) | await under_way(database)
    assert staged(directory) <= await under_way(database)
