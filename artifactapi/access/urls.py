"""Which URLs may be those of an issuer: HTTPS, or this machine itself."""

from __future__ import annotations

import re
from ipaddress import ip_address
from urllib.parse import SplitResult, urlsplit

URL_FORM = "an https:// URL, or http:// of a loopback address, without credentials, query and fragment"
_PLAIN = re.compile(r"[!-~]{1,1000}")


def is_issuer_url(value: object) -> bool:
    """Whether it may be an issuer's URL, as the `iss` of its tokens has it."""
    parts = split(value)
    return parts is not None and "?" not in str(value) and (parts.scheme == "https" or is_loopback(parts))


def is_keys_url(value: object, issuer: str) -> bool:
    """Whether the issuer's keys may be there: nothing sends us to this machine but an issuer on it."""
    parts, own = split(value), split(issuer)
    if parts is None or own is None:
        return False
    return parts.scheme == "https" or (is_loopback(parts) and own.scheme == "http")


def split(value: object) -> SplitResult | None:
    """An absolute HTTP URL with nothing unusual about it; None for anything else."""
    if not isinstance(value, str) or _PLAIN.fullmatch(value) is None or "#" in value or "\\" in value:
        return None
    try:
        parts = urlsplit(value)
        usual = parts.scheme in ("http", "https") and parts.hostname and parts.port != 0 and "@" not in parts.netloc
    except ValueError:  # of a port, or of an IPv6 address
        return None
    return parts if usual else None


def is_loopback(parts: SplitResult) -> bool:
    """Whether it is on this machine."""
    try:
        return ip_address(parts.hostname or "").is_loopback
    except ValueError:
        return parts.hostname == "localhost"
