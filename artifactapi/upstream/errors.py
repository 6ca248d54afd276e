"""Why an upstream gave nothing. No text here holds a credential, a token or a signed address."""

from __future__ import annotations

from typing import Literal, Self

Kind = Literal[
    "status", "timeout", "dns", "connect", "tls", "reset", "cut", "malformed", "large", "encoding", "redirect", "secret"
]

WORDS: dict[Kind, str] = {
    "status": "the upstream answered with an error",
    "timeout": "the upstream did not answer in time",
    "dns": "the upstream's name is not known",
    "connect": "the upstream cannot be reached",
    "tls": "no trusted connection to the upstream",
    "reset": "the upstream closed the connection",
    "cut": "the upstream's answer ended early",
    "malformed": "the upstream's answer cannot be understood",
    "large": "the upstream's answer is too large",
    "encoding": "the upstream's answer is compressed, which was not asked for",
    "redirect": "the upstream's redirect is not followed",
    "secret": "the password for the upstream cannot be read",
}


class UpstreamError(Exception):
    """`status` is the HTTP status of the answer, if one came; `reason` is for people."""

    def __init__(self, reason: str, status: int | None = None) -> None:
        super().__init__(reason)
        self.reason = reason
        self.status = status

    def again(self) -> Self:
        """The same, to be raised once more: one that was raised keeps the frames it went through, and all they hold."""
        made = type(self).__new__(type(self), *self.args)
        made.__dict__.update(self.__dict__)
        return made


class NotThere(UpstreamError):
    """The upstream says that it has no such thing (404)."""


class Denied(UpstreamError):
    """The upstream, or its token server, wants other credentials than it got (401, 403)."""


class Limited(UpstreamError):
    """The upstream wants fewer requests (429), and none for `retry_after` seconds, if it says so."""

    def __init__(self, retry_after: int | None) -> None:
        super().__init__("the upstream limits our requests", 429)
        self.retry_after = retry_after


class Broken(UpstreamError):
    """The upstream cannot be reached, or does not do what it must; it may do so later.

    After `cut`, `reset` and `timeout` in the middle of a blob, the rest may be asked for with `start`.
    """

    def __init__(self, kind: Kind, detail: str = "", status: int | None = None) -> None:
        super().__init__(f"{WORDS[kind]}: {detail}" if detail else WORDS[kind], status)
        self.kind = kind

    @property
    def is_refusal(self) -> bool:
        """Whether the upstream does not know such requests."""
        return self.status in (400, 405, 501)
