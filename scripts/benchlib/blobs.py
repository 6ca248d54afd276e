"""Blobs pushed and pulled as clients do it: bodies leave by sendfile and arrive in one buffer."""

from __future__ import annotations

import contextlib
import hashlib
import selectors
import socket
import time
from urllib.parse import urlsplit

from benchlib.client import MIB, NAME, Answer, BenchError, connect, read_head, request
from benchlib.content import Content
from benchlib.storm import wait


def push(port: int, content: Content, *, chunked: bool = False, name: str = NAME) -> float:
    """POST, one streamed PATCH, and a PUT without a body, as docker does; the seconds of the PUT."""
    started = request(port, "POST", f"/v2/{name}/blobs/uploads/").expect(202)
    appended = append(port, started.target, content, chunked).expect(202)
    began = time.monotonic()
    request(port, "PUT", with_digest(appended.target, content.digest)).expect(201)
    return time.monotonic() - began


def append(port: int, target: str, content: Content, chunked: bool) -> Answer:
    """The PATCH, with a Content-Length, or in chunks: docker and podman send a layer in chunks of 32 KiB."""
    header = "Transfer-Encoding: chunked" if chunked else f"Content-Length: {content.size}"
    with connect(port, "PATCH", target, header) as connection:
        (content.send_chunked if chunked else content.send)(connection)
        return read_head(connection)


def with_digest(target: str, digest: str) -> str:
    return f"{target}{'&' if '?' in target else '?'}digest={digest}"


def push_bytes(port: int, data: bytes) -> str:
    """Push a small blob in one PUT; its digest."""
    digest = "sha256:" + hashlib.sha256(data).hexdigest()
    started = request(port, "POST", f"/v2/{NAME}/blobs/uploads/").expect(202)
    request(port, "PUT", with_digest(started.target, digest), data, "application/octet-stream").expect(201)
    return digest


def pull(port: int, digest: str, times: int = 1, *, redirected: bool = False, name: str = NAME) -> None:
    """Pull a blob over so many connections at once, and drop what comes."""
    buffer = bytearray(MIB)
    ask = ask_redirected if redirected else ask_registry
    with selectors.DefaultSelector() as selector, contextlib.ExitStack() as stack:
        for _ in range(times):
            connection = stack.enter_context(ask(port, digest, name))
            selector.register(connection, selectors.EVENT_READ, [read_head(connection).expect(200).length])
        while selector.get_map():
            for key, _ in wait(selector):
                assert isinstance(key.fileobj, socket.socket)
                received = key.fileobj.recv_into(buffer)
                key.data[0] -= received
                if not received or not key.data[0]:
                    selector.unregister(key.fileobj)
                if not received and key.data[0]:
                    raise BenchError(f"pull: {key.data[0]} bytes are missing")


def ask_registry(port: int, digest: str, name: str = NAME) -> socket.socket:
    return connect(port, "GET", f"/v2/{name}/blobs/{digest}")


def ask_redirected(port: int, digest: str, name: str = NAME) -> socket.socket:
    """Ask the registry, then the server that it sends us to."""
    with ask_registry(port, digest, name) as connection:
        location = urlsplit(read_head(connection).expect(307).headers["Location"])
    assert location.port is not None
    return connect(location.port, "GET", f"{location.path}?{location.query}")
