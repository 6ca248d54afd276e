"""Addresses, taken apart once: what is compared is what is connected to, whatever another parser would read."""

from __future__ import annotations

import re
import socket
from dataclasses import dataclass, replace
from ipaddress import IPv4Address, IPv6Address, ip_address
from urllib.parse import urlencode, urljoin, urlsplit

PORTS = {"http": 80, "https": 443}
# No white space and no backslash: parsers differ over them, and that is how credentials go astray.
_TEXT = re.compile(r"[\x21-\x5b\x5d-\x7e]{1,8192}")
_HOST = re.compile(r"[a-z0-9_](?:[a-z0-9._-]{0,252})|[0-9a-f:.]{2,45}")


@dataclass(frozen=True, slots=True)
class Address:
    """Where a request goes; `target` is path and query. Its repr is without the query, which may be a signature."""

    scheme: str
    host: str
    port: int
    target: str

    def __repr__(self) -> str:
        return f"<Address {self.scheme}://{self.host}:{self.port}>"

    def __str__(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        port = "" if self.port == PORTS[self.scheme] else f":{self.port}"
        return f"{self.scheme}://{host}{port}{self.target}"

    @classmethod
    def parse(cls, text: str) -> Address:
        """The absolute http or https address in the text, without its fragment. Raises ValueError."""
        if _TEXT.fullmatch(text) is None:
            raise ValueError("an address is up to 8192 visible ASCII characters")
        parts = urlsplit(text)
        if parts.scheme not in PORTS:
            raise ValueError("an address is absolute, and http or https")
        if "@" in parts.netloc or _HOST.fullmatch(parts.hostname or "") is None:
            raise ValueError("an address has a host, and no user")
        query = f"?{parts.query}" if parts.query else ""
        return cls(parts.scheme, parts.hostname or "", parts.port or PORTS[parts.scheme], f"{parts.path or '/'}{query}")

    def joined(self, reference: str) -> Address:
        """Where a reference found here leads. Raises ValueError."""
        if _TEXT.fullmatch(reference) is None:
            raise ValueError("an address is up to 8192 visible ASCII characters")
        return Address.parse(urljoin(str(self), reference))

    def here(self, reference: str) -> Address:
        """The same, on this server whatever the reference says: behind a proxy, many do not know their own name."""
        return replace(self.joined(reference), scheme=self.scheme, host=self.host, port=self.port)

    def below(self, path: str) -> Address:
        """A path below this one."""
        return replace(self, target=f"{self.target.partition('?')[0].rstrip('/')}/{path}")

    def asking(self, **parameters: str | None) -> Address:
        """The same with these parameters of the query added; None adds nothing."""
        query = urlencode({name: value for name, value in parameters.items() if value is not None})
        return replace(self, target=f"{self.target}{'&' if '?' in self.target else '?'}{query}") if query else self

    def shares_server(self, other: Address) -> bool:
        """Whether both have the same scheme, host and port."""
        return (self.scheme, self.host, self.port) == (other.scheme, other.host, other.port)

    @property
    def loopback(self) -> bool:
        """Whether this is the machine we run on, as far as the text says."""
        address = numeric(self.host)
        if address is None:
            name = self.host.rstrip(".")
            return name == "localhost" or name.endswith(".localhost")
        return address.is_loopback or address.is_unspecified  # Linux connects 0.0.0.0 to itself


def numeric(host: str) -> IPv4Address | IPv6Address | None:
    """The IP address that the text is, however it is written; None for a name."""
    try:
        address = ip_address(host)
    except ValueError:
        try:
            return IPv4Address(socket.inet_aton(host))  # what connecting takes too: 127.1, 0x7f000001, 2130706433
        except OSError:
            return None
    return getattr(address, "ipv4_mapped", None) or address
