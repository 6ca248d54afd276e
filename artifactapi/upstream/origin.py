"""What is known of an upstream, and what of it may be sent where."""

from __future__ import annotations

from base64 import b64encode
from dataclasses import dataclass, field

from artifactapi.upstream.address import Address


@dataclass(frozen=True, slots=True)
class Origin:
    """An upstream registry. `url` is what stands before /v2/; times are in seconds.

    `prefix` goes before names of one component, as Docker Hub's library/. `realms` are hosts beside the upstream's
    own that may be sent the credentials, to get a token from. Raises ValueError for a url that is none.
    """

    url: str
    username: str | None = None
    password: str | None = field(default=None, repr=False)
    prefix: str = ""
    realms: frozenset[str] = frozenset()
    connect_timeout: float = 10.0
    response_timeout: float = 30.0
    idle_timeout: float = 30.0

    def __post_init__(self) -> None:
        if "?" in self.address.target:
            raise ValueError("the address of an upstream has no query")

    @property
    def address(self) -> Address:
        """The url, taken apart."""
        return Address.parse(self.url)

    def name(self, image: str) -> str:
        """What the upstream calls the image."""
        return image if "/" in image or not self.prefix else f"{self.prefix.rstrip('/')}/{image}"

    @property
    def basic(self) -> str | None:
        """The credentials as an Authorization header."""
        if self.username is None or self.password is None:
            return None
        return "Basic " + b64encode(f"{self.username}:{self.password}".encode()).decode("ascii")


class Trust:
    """The rules of where credentials and requests go. An upstream chooses its realm and its redirects, so none of
    them is believed (CVE-2026-33540)."""

    def __init__(self, origin: Origin) -> None:
        self._own = origin.address
        self._realms = {host.lower() for host in origin.realms}

    def is_own(self, address: Address) -> bool:
        """Whether it is the upstream itself, which may see what authorises us."""
        return address.shares_server(self._own)

    def may_follow(self, source: Address, target: Address) -> bool:
        """Whether a redirect is followed, without credentials: not from https to http, nor into this machine."""
        if target.loopback:
            return self._own.loopback
        return target.scheme == "https" or source.scheme == "http"

    def may_ask(self, realm: Address) -> bool:
        """Whether a token is fetched there at all: a token that others can read is none."""
        if realm.loopback:
            return self._own.loopback or self._known(realm)
        return realm.scheme == "https" or (self._own.scheme == "http" and self._known(realm))

    def may_tell(self, realm: Address) -> bool:
        """Whether the token server there may see the credentials."""
        return self._known(realm) and self.may_ask(realm)

    def _known(self, realm: Address) -> bool:
        return realm.host == self._own.host or realm.host in self._realms
