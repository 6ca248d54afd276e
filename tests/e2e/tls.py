"""A certificate of our own making, and a client that trusts nothing else."""

from __future__ import annotations

import datetime
import http.client
import ssl
from collections.abc import Mapping
from ipaddress import ip_address
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from tests.client import Answer, Body, Client


def make_certificate(directory: Path) -> Path:
    """A file with a key and a certificate for 127.0.0.1."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "127.0.0.1")])
    now = datetime.datetime.now(datetime.UTC)
    builder = x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
    builder = builder.not_valid_before(now - datetime.timedelta(days=1)).not_valid_after(now + datetime.timedelta(1))
    names = x509.SubjectAlternativeName([x509.IPAddress(ip_address("127.0.0.1"))])
    certificate = builder.add_extension(names, critical=False).sign(key, hashes.SHA256())
    encoding, clear = serialization.Encoding.PEM, serialization.NoEncryption()
    text = key.private_bytes(encoding, serialization.PrivateFormat.PKCS8, clear) + certificate.public_bytes(encoding)
    (directory / "server.pem").write_bytes(text)
    return directory / "server.pem"


class TlsClient(Client):
    """Requests over TLS."""

    def __init__(self, host: str, port: int, certificate: Path) -> None:
        super().__init__(host, port)
        self._context = ssl.create_default_context(cafile=str(certificate))

    def send(self, method: str, path: str, body: Body = None, headers: Mapping[str, str] | None = None) -> Answer:
        """One request, blocking."""
        connection = http.client.HTTPSConnection(self.host, self.port, timeout=30, context=self._context)
        try:
            connection.request(method, path, body, dict(headers or {}))
            response = connection.getresponse()
            return Answer(response.status, response.headers, response.read())
        finally:
            connection.close()
