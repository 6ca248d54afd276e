"""Where a request comes from, and under which address this daemon is known there, behind proxies or not."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from ipaddress import IPv4Network, IPv6Network, ip_address
from urllib.parse import urlsplit

from artifactapi.api.site import Request

Network = IPv4Network | IPv6Network
HOST = re.compile(r"[A-Za-z0-9._-]+(:[0-9]{1,5})?|\[[0-9A-Fa-f:.]+\](:[0-9]{1,5})?")
PORT = re.compile(r":[0-9]+$")
HOPS = 32


@dataclass(frozen=True, slots=True)
class Outside:
    """What is believed of the world outside: the networks of `proxies`; and `url`, if this daemon's own is given."""

    proxies: Sequence[Network] = ()
    url: str | None = None

    def address(self, request: Request) -> str:
        """The client's address: X-Forwarded-For is believed as far as proxies of ours have written it."""
        address = getattr(request.client, "host", None) or "local"
        lines = request.requestHeaders.getRawHeaders(b"x-forwarded-for", []) if self._is_proxy(address) else []
        # Each proxy may begin a line of its own (RFC 9110, 5.3).
        hops = b",".join(lines).decode("ascii", "replace").split(",")[-HOPS:]
        while hops and self._is_proxy(address) and is_address(hop := hops.pop().strip()):
            address = hop
        return address

    def base(self, request: Request) -> str:
        """scheme://host[:port] as the client knows it."""
        if self.url is not None:
            return self.url
        proxied = self._is_proxy(getattr(request.client, "host", None) or "local")
        scheme = request.getHeader("x-forwarded-proto") if proxied else None
        if scheme not in ("http", "https"):
            scheme = "https" if request.isSecure() else "http"
        return f"{scheme}://{self.host(request)}"

    def host(self, request: Request) -> str:
        """host[:port] as the client knows it."""
        proxied = self._is_proxy(getattr(request.client, "host", None) or "local")
        host = (request.getHeader("x-forwarded-host") if proxied else None) or request.getHeader("host") or ""
        if HOST.fullmatch(host) is None:
            here = request.getHost()
            host = f"{getattr(here, 'host', 'localhost')}:{getattr(here, 'port', 80)}"
        return host

    def is_own(self, request: Request) -> bool:
        """Whether the client reaches this daemon by an address, by its own URL, or by a name that nobody elsewhere can
        let lead here: the Domain Name System gives no one a name without a dot."""
        name = PORT.sub("", self.host(request)).lower()
        ours = urlsplit(self.url).hostname if self.url is not None else None
        is_name = not name.startswith("[") and not is_address(name)
        return not is_name or "." not in name or name == ours or name.endswith(".localhost")

    def _is_proxy(self, address: str) -> bool:
        if not self.proxies or not is_address(address):
            return False
        parsed = ip_address(address.partition("%")[0])
        parsed = getattr(parsed, "ipv4_mapped", None) or parsed  # a socket for both kinds shows IPv4 so
        return any(parsed in network for network in self.proxies)


def is_address(text: str) -> bool:
    """Whether it is an IP address."""
    try:
        ip_address(text.partition("%")[0])
    except ValueError:
        return False
    return True
