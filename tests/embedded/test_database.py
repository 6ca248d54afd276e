"""The database that the first connection looks for."""

from __future__ import annotations

import socket
import struct
from collections.abc import Iterator
from pathlib import Path
from threading import Thread

import pytest
from twisted.internet.threads import deferToThread

from artifactapi.embedded import EmbeddedError, database
from tests.embedded.steps import execute, living, one_line

PARAMETERS = {
    "server_version": "18.4",
    "server_encoding": "UTF8",
    "client_encoding": "UTF8",
    "DateStyle": "ISO, MDY",
    "standard_conforming_strings": "on",
}


def message(kind: bytes, content: bytes) -> bytes:
    """A message of Postgres' protocol."""
    return kind + struct.pack("!i", len(content) + 4) + content


def greet_and_leave(server: socket.socket) -> None:
    """Be a Postgres that is killed between the greeting and the first answer: no real one dies so exactly."""
    connection, _ = server.accept()
    with connection:
        connection.recv(8192)
        greeting = message(b"R", struct.pack("!i", 0))
        for name, value in PARAMETERS.items():
            greeting += message(b"S", f"{name}\0{value}\0".encode())
        connection.sendall(greeting + message(b"Z", b"I"))
        assert connection.recv(8192).startswith(b"Q")


@pytest.fixture
def dying(tmp_path: Path) -> Iterator[str]:
    """The folder of its socket."""
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(tmp_path / ".s.PGSQL.5432"))
        server.listen()
        thread = Thread(target=greet_and_leave, args=(server,))
        thread.start()
        yield str(tmp_path)
        thread.join()


def test_a_postgres_that_dies_while_it_is_asked(dying: str):
    """It is not ready: whoever asks is to look whether it has ended."""
    assert database.ready(dying) is False


def test_no_postgres(tmp_path: Path):
    """Nobody listens."""
    assert database.ready(str(tmp_path)) is False


async def test_a_dropped_database(used: Path, embedded_in):
    """A database that somebody has dropped is made again, empty, at the next start."""
    embedded = embedded_in(used)
    await deferToThread(execute, of_postgres(await embedded.start()), "DROP DATABASE artifactapi")
    await embedded.stop()
    dsn = await embedded_in(used).start()
    assert await deferToThread(execute, dsn, "SELECT current_database()") == [("artifactapi",)]


async def test_a_database_that_cannot_be_made(used: Path, embedded_in):
    """Without the template it is refused in one line, no postgres is left, and the directory is free again."""
    embedded = embedded_in(used)
    drops = "DROP DATABASE artifactapi", "ALTER DATABASE template0 IS_TEMPLATE false", "DROP DATABASE template0"
    await deferToThread(execute, of_postgres(await embedded.start()), *drops)
    await embedded.stop()
    for _ in range(2):
        with pytest.raises(EmbeddedError) as refused:
            await embedded_in(used).start()
        assert one_line(refused).startswith("postgres cannot make the database artifactapi: template database")
        assert living(used) == []


def of_postgres(dsn: str) -> str:
    """The DSN of the database that is always there."""
    return dsn.replace("dbname=artifactapi", "dbname=postgres")
