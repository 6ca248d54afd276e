"""Downloads over plain TCP (os.sendfile, for all but small ones) and over TLS (written)."""

from __future__ import annotations

import os
import socket
from dataclasses import replace
from pathlib import Path

import pytest
from twisted.internet import reactor
from twisted.internet.threads import deferToThread

from artifactapi.config import Config
from artifactapi.objects.files import FileReader
from artifactapi.objects.filesystem import FilesystemStore
from artifactapi.objects.interface import ObjectMissing
from artifactapi.oci.errors import Unavailable
from artifactapi.service import Artifactapi
from tests.api.test_streams import MIB, NAME, descriptors, eventually, head
from tests.api.wire import Gate, is_open, open_with
from tests.client import Client
from tests.e2e.tls import TlsClient, make_certificate

# Twisted's own: its ssl: endpoint hands pyOpenSSL what that calls deprecated.
pytestmark = pytest.mark.filterwarnings("ignore:Passing pyOpenSSL:DeprecationWarning")
SIZES = pytest.mark.parametrize("size", [1000, 200_000, 8 * MIB], ids=["inline", "small", "file"])


class SecureClient(TlsClient):
    """Bare connections over TLS too."""

    def connect(self) -> socket.socket:
        """A connection after the handshake."""
        return self._context.wrap_socket(super().connect(), server_hostname=self.host)


@pytest.fixture(params=["tcp", "ssl"])
def config(config: Config, tmp_path: Path, request: pytest.FixtureRequest) -> Config:
    """A daemon on a plain and on a secure port."""
    if request.param == "tcp":
        return config
    return replace(config, listen=f"ssl:0:interface=127.0.0.1:privateKey={make_certificate(tmp_path)}")


@pytest.fixture
def client(service: Artifactapi, tmp_path: Path) -> Client:
    """A client of it."""
    if service.config.listen.startswith("tcp:"):
        return Client("127.0.0.1", service.address.port)
    return SecureClient("127.0.0.1", service.address.port, tmp_path / "server.pem")


def get(digest: str) -> bytes:
    """The request for a blob."""
    return head("GET", f"/v2/{NAME}/blobs/{digest}")


@SIZES
async def test_whole_and_in_part(client: Client, size: int):
    """A blob comes back as it went, and a range is its slice."""
    content = os.urandom(size)
    path = f"/v2/{NAME}/blobs/{await client.push_blob(NAME, content)}"
    assert (await client.get(path)).body == content
    for first, last in ((0, 0), (size // 3, size - 2), (size - 1, size - 1)):
        part = await client.get(path, range=f"bytes={first}-{last}")
        assert (part.status, part.body) == (206, content[first : last + 1])


@SIZES
async def test_the_connection_goes_on(client: Client, size: int):
    """After a download the connection serves the next request, though it was sent before the first one's end."""
    content = os.urandom(size)
    digest = await client.push_blob(NAME, content)
    answer = await deferToThread(client.raw, get(digest) * 2 + head("GET", "/healthz", "Connection: close"))
    first, _, rest = answer.partition(b"\r\n\r\n")
    assert first.startswith(b"HTTP/1.1 200 ")
    assert rest[:size] == content
    assert rest[size:].startswith(b"HTTP/1.1 200 ")
    assert content in rest[size:]
    assert answer.endswith(b'{"status":"ok"}')


@SIZES
async def test_hanging_up_is_no_error(client: Client, service: Artifactapi, size: int, log_text):
    """A client that hangs up amid a download leaves no file, socket or request behind, and no error in the log."""
    digest = await client.push_blob(NAME, os.urandom(size))
    await eventually(lambda: not service.site.channels)
    before = descriptors()
    for _ in range(5):
        connection = await open_with(client, get(digest))
        await deferToThread(connection.recv, 10)
        connection.close()
    await eventually(lambda: not service.site.active and not service.site.channels)
    await eventually(lambda: descriptors() <= before)
    assert "Traceback" not in log_text.getvalue()


async def test_a_client_that_takes_nothing_is_cut(client: Client, service: Artifactapi, monkeypatch, log_text):
    """A download whose client takes nothing for STALL_SECONDS ends, and leaves neither file nor connection."""
    digest = await client.push_blob(NAME, os.urandom(32 * MIB))
    monkeypatch.setattr("artifactapi.api.downloads.STALL_SECONDS", 0.2)
    await eventually(lambda: not service.site.channels)
    before = descriptors()
    connection = await open_with(client, get(digest), 65536)
    await eventually(lambda: service.site.active)
    await eventually(lambda: not service.site.active and not service.site.channels)
    assert "download ended early: " in log_text.getvalue()
    connection.close()
    await eventually(lambda: descriptors() <= before)


async def test_a_download_that_failed_touches_no_other(client: Client, service: Artifactapi, monkeypatch):
    """A descriptor that a failed download has closed is not named again: its number may be another connection's."""
    digest = await client.push_blob(NAME, os.urandom(2 * MIB))
    [path] = [path for path in (service.config.data_dir / "objects").rglob("*") if path.is_file()]
    os.truncate(path, MIB)
    removed, remove = [], reactor.removeWriter
    monkeypatch.setattr(
        reactor, "removeWriter", lambda writer: (removed.append((writer.logPrefix(), is_open(writer))), remove(writer))
    )
    answer = await deferToThread(client.raw, get(digest))
    assert len(answer.partition(b"\r\n\r\n")[2]) <= MIB
    await eventually(lambda: not service.site.channels)
    assert ("download", False) not in removed


@pytest.mark.parametrize("owner, name", [(FilesystemStore, "_open"), (os, "pread")], ids=["open", "read"])
async def test_hanging_up_while_a_thread_works(
    client: Client, service: Artifactapi, monkeypatch, log_text, owner: object, name: str
):
    """A client that hangs up while its file is opened or read leaves no descriptor; none is closed under a thread."""
    digest = await client.push_blob(NAME, os.urandom(200_000))
    await eventually(lambda: not service.site.channels)
    before, gate = descriptors(), Gate(monkeypatch, owner, name)
    connection = await open_with(client, get(digest))
    await eventually(gate.reached.is_set)
    connection.close()
    await eventually(lambda: not service.site.channels)
    gate.open()
    await eventually(lambda: gate.ends)
    await eventually(lambda: descriptors() <= before)
    assert gate.ends == [None]
    assert "Traceback" not in log_text.getvalue()


@pytest.mark.parametrize("error", [Unavailable, ObjectMissing, RuntimeError])
async def test_a_file_that_cannot_be_read_to_its_end(client: Client, monkeypatch, log_text, error):
    """A read that fails amid a download cuts the connection: what was sent is content, never an error's text."""
    content, real = os.urandom(200_000), FileReader.read

    async def read(self: FileReader) -> bytes:
        if self._at:
            raise error("the disk gave up")
        return (await real(self))[:100_000]

    monkeypatch.setattr(FileReader, "read", read)
    digest = await client.push_blob(NAME, content)
    answer = await deferToThread(client.raw, get(digest))
    assert content.startswith(answer.partition(b"\r\n\r\n")[2])
    assert "the disk gave up" in log_text.getvalue()
