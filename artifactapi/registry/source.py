"""The upstream of one remote repo: what it has said lately, and whether it is worth a request just now."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Hashable
from math import ceil, inf
from typing import Any, TypeVar

from twisted.logger import Logger

from artifactapi.metadata.repos import Repo
from artifactapi.oci.errors import BadGateway, Denied, GatewayTimeout, OciError, TooManyRequests
from artifactapi.oci.names import ImageName
from artifactapi.registry.remote_settings import RemoteSettings
from artifactapi.upstream import errors
from artifactapi.upstream.errors import Broken, Limited, NotThere, UpstreamError
from artifactapi.upstream.origin import Origin
from artifactapi.upstream.upstream import Upstream

LIMITED = 60
"""Seconds that an upstream is let alone which says 429, and not for how long."""
OUTAGES = ("timeout", "dns", "connect", "tls", "reset")
AWAY = (502, 503, 504)
"""Of what may be wrong, that which is not wrong with one answer alone: kinds, and statuses."""
MOST_MISSES = 10_000
MOST_REFUSALS = 10
MOST_TAGS = 300_000
T = TypeVar("T")
log = Logger()


class Misses:
    """What an upstream failed with when it was asked something, for a while."""

    def __init__(self, reactor: Any) -> None:
        self._reactor = reactor
        self._failed: dict[Hashable, tuple[float, float, UpstreamError]] = {}

    def check(self, question: Hashable, age: float = inf) -> None:
        """Raises what it failed with lately, if that is less than `age` seconds ago."""
        if (known := self._failed.get(question)) is not None:
            since, until, error = known
            if self._reactor.seconds() < min(until, since + age):
                raise error.again()

    def add(self, question: Hashable, error: UpstreamError, seconds: float) -> None:
        """It has failed with that, which counts so long."""
        if len(self._failed) >= MOST_MISSES:
            self._failed.clear()
        now = self._reactor.seconds()
        self._failed[question] = now, now + seconds, error.again()


class TagLists:
    """All tags of images, for a while; those that were asked for longest ago go when they are too many."""

    def __init__(self, reactor: Any) -> None:
        self._reactor = reactor
        self._lists: dict[ImageName, tuple[float, list[str]]] = {}
        self._total = 0

    def get(self, name: ImageName) -> list[str] | None:
        """In the order of their bytes; None if they are not known any more."""
        until, tags = self._lists.get(name, (0.0, None))
        return tags if until > self._reactor.seconds() else None

    def put(self, name: ImageName, tags: list[str], seconds: float) -> None:
        """They are these, so long."""
        self._forget(name)
        while self._lists and self._total + len(tags) > MOST_TAGS:
            self._forget(next(iter(self._lists)))
        self._lists[name] = self._reactor.seconds() + seconds, tags
        self._total += 1 + len(tags)

    def _forget(self, name: ImageName) -> None:
        _, tags = self._lists.pop(name, (0.0, None))
        self._total -= 0 if tags is None else 1 + len(tags)


class Source:
    """As the repo's settings are now. `fault`: why nothing can be asked at all."""

    denied = False
    """Whether the upstream has refused something: perhaps there is another password by now."""

    def __init__(
        self,
        repo: Repo,
        settings: RemoteSettings,
        origin: Origin,
        upstream: Upstream,
        reactor: Any,
        fault: UpstreamError | None = None,
    ) -> None:
        self.repo = repo
        self.settings = settings
        self.origin = origin
        self.upstream = upstream
        self.tags = TagLists(reactor)
        self.fault = fault
        self._misses = Misses(reactor)
        self._reactor = reactor
        self._error: UpstreamError | None = None
        self._until = 0.0
        self._refusals: set[str] = set()

    def recall(self, question: Hashable) -> None:
        """Raises what `once` has failed with lately."""
        self._misses.check(question)

    async def once(self, question: Hashable, asking: Callable[[], Awaitable[T]], age: float | None = None) -> T:
        """The answer. Raises what the same question failed with lately, if that may be believed for a while, and if
        nobody has had an answer since, which is `age` seconds old."""
        self._misses.check(question, inf if age is None else age)
        try:
            return await asking()
        except UpstreamError as error:
            if seconds := self._lasts(error):
                self._misses.add(question, error, seconds)
            raise

    async def ask(self, asking: Callable[[], Awaitable[T]]) -> T:
        """What it answers. Raises what it failed with lately: whoever asks again at once makes it no better."""
        left = self._until - self._reactor.seconds()
        if self.fault is not None:
            raise self.fault.again()
        if self._error is not None and left > 0:
            raise Limited(ceil(left)) if isinstance(self._error, Limited) else self._error.again()
        try:
            return await asking()
        except UpstreamError as error:
            self._failed(error)
            raise

    def _lasts(self, error: UpstreamError) -> float:
        """How many seconds the same question need not be asked again."""
        if isinstance(error, NotThere | errors.Denied) or (isinstance(error, Broken) and error.kind == "large"):
            return self.settings.negative_ttl
        return self.settings.backoff if isinstance(error, Broken) and (error.status or 0) >= 500 else 0

    def _failed(self, error: UpstreamError) -> None:
        """Let it alone for a while, if the error says that it is not able to answer, or does not want to."""
        seconds = 0.0
        if isinstance(error, errors.Denied):
            self.denied = True
            self._note_refusal(str(error))
        if isinstance(error, Limited):
            seconds = LIMITED if error.retry_after is None else error.retry_after
        elif isinstance(error, Broken) and (error.kind in OUTAGES or error.status in AWAY):
            seconds = self.settings.backoff
        if seconds:
            self._error, self._until = error.again(), self._reactor.seconds() + seconds
            log.warn("upstream of {repo}: {error}", repo=self.repo.name, error=str(error))

    def _note_refusal(self, reason: str) -> None:
        """Log it once: clients are not told why, and some upstreams refuse whatever they do not have."""
        if reason not in self._refusals and len(self._refusals) < MOST_REFUSALS:
            self._refusals.add(reason)
            log.warn("upstream of {repo}: {reason}", repo=self.repo.name, reason=reason)


def told(error: UpstreamError) -> OciError:
    """What a client is told of it. `NotThere` is no matter of this: what is not there has its own error."""
    if isinstance(error, errors.Denied):
        return Denied("the upstream does not let us have this")
    if isinstance(error, Limited):
        wait = LIMITED if error.retry_after is None else max(1, ceil(error.retry_after))
        return TooManyRequests("the upstream limits our requests", headers={"Retry-After": str(wait)})
    if isinstance(error, Broken) and error.kind == "timeout":
        return GatewayTimeout(error.reason)
    return BadGateway(error.reason)
