"""The bounds of connections and heads, as a daemon keeps them: over TLS, in workers, with few file descriptors."""

from __future__ import annotations

import resource
import socket
import ssl
from contextlib import ExitStack
from pathlib import Path

from artifactapi.descriptors import EACH, RESERVED
from tests.client import Answer, Client
from tests.daemon import Daemon, eventually
from tests.e2e.content import some_content
from tests.e2e.tls import TlsClient, make_certificate

DESCRIPTORS = 400
ROOM = (DESCRIPTORS - RESERVED) // EACH


def hold(stack: ExitStack, client: Client, count: int) -> list[socket.socket]:
    """So many connections that have been served, and are kept; they end with the stack."""
    held = [stack.enter_context(client.connect()) for _ in range(count)]
    for connection in held:
        connection.sendall(b"GET /v2/ HTTP/1.1\r\nHost: x\r\n\r\n")
        assert connection.recv(1000).startswith(b"HTTP/1.1 200 ")
    return held


def is_refused(answer: Answer) -> bool:
    """503, when to come again, in the OCI form."""
    return (answer.status, answer.code, answer.headers["Retry-After"]) == (503, "UNAVAILABLE", "5")


def test_tls(daemon: Daemon, tmp_path: Path):
    """A client over TLS reads why its head, or its connection, was too much, and an end that nobody has forged."""
    certificate = make_certificate(tmp_path)
    plain = daemon.start("--listen", f"ssl:0:interface=127.0.0.1:privateKey={certificate}", max_connections="1")
    client, context = TlsClient(plain.host, plain.port, certificate), ssl.create_default_context(cafile=certificate)
    with context.wrap_socket(plain.connect(), server_hostname=plain.host) as connection:
        connection.sendall(b"GET / HTTP/1.1\r\nX: " + b"x" * 40_000)
        received = b""
        while more := connection.recv(65536):
            received += more
    assert received.startswith(b"HTTP/1.1 431 ")
    assert received.endswith(b"}")
    with plain.connect():  # one that does not even begin with TLS
        eventually(lambda: is_refused(client.send("GET", "/v2/")))
        assert client.send("GET", "/healthz").status == 200
    eventually(lambda: client.send("GET", "/v2/").status == 200)
    assert daemon.stop() == 0
    assert "Traceback" not in daemon.text()


def test_workers(daemon: Daemon):
    """The bound is each worker's own."""
    client = daemon.start("--workers", "2", "--max-connections", "3")
    with ExitStack() as stack:
        held = hold(stack, client, 6)
        assert all(is_refused(client.send("GET", "/v2/")) for _ in range(4))
        assert client.send("GET", "/readyz").status == 200
        for connection in held:
            connection.close()
        eventually(lambda: [client.send("GET", "/v2/").status for _ in range(2)] == [200, 200])
    assert daemon.stop() == 0


def test_few_file_descriptors(daemon: Daemon):
    """What they suffice for is the bound, so that a flood is told 503 and all else works on, blobs and Postgres too."""
    daemon.run(daemon._command(()), {}, preexec_fn=few_descriptors)
    client = daemon.client()
    assert f"at most {ROOM} connections" in daemon.text()
    content = some_content(client)
    with ExitStack() as stack:
        held = hold(stack, client, ROOM - 1)
        content.check(client)
        content = some_content(client)
        silent = [stack.enter_context(client.connect()) for _ in range(DESCRIPTORS)]
        assert status_of(held[0], "/readyz") == 200
        answers = [first_line(connection) for connection in silent[-20:]]
        assert set(answers) <= {b"HTTP/1.1 503 Service Unavailable", b""}
        assert b"HTTP/1.1 503 Service Unavailable" in answers
    eventually(lambda: client.send("GET", "/v2/").status == 200)
    content.check(client)
    assert daemon.stop() == 0
    assert "Traceback" not in daemon.text()
    assert "Too many open files" not in daemon.text()


def few_descriptors() -> None:
    """For the process that becomes the daemon; what its own soft limit is it may raise."""
    resource.setrlimit(resource.RLIMIT_NOFILE, (DESCRIPTORS // 2, DESCRIPTORS))


def status_of(connection: socket.socket, path: str) -> int:
    """What a request gets on a connection that is there already."""
    connection.sendall(f"GET {path} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
    return int(connection.recv(1000).split()[1])


def first_line(connection: socket.socket) -> bytes:
    """Of what comes without a request; nothing if the connection was cut."""
    try:
        return connection.recv(1000).partition(b"\r\n")[0]
    except ConnectionError:
        return b""
