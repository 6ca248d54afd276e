"""The upstreams of remote repos, and whether they are worth a request just now."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Hashable
from dataclasses import dataclass
from math import ceil
from pathlib import Path
from typing import Any, TypeVar

from twisted.logger import Logger

from artifactapi.metadata.repos import Repo
from artifactapi.oci.errors import BadGateway, Denied, GatewayTimeout, OciError, TooManyRequests
from artifactapi.oci.names import ImageName, Tag
from artifactapi.registry.remote_settings import RemoteSettings
from artifactapi.threads import Threads
from artifactapi.upstream import errors
from artifactapi.upstream.connections import Connections
from artifactapi.upstream.errors import Broken, Limited, UpstreamError
from artifactapi.upstream.origin import Origin
from artifactapi.upstream.upstream import Upstream
from artifactapi.upstream.wire import Observe

LIMITED = 60
"""Seconds that an upstream is let alone which says 429, and not for how long."""
OUTAGES = ("timeout", "dns", "connect", "tls", "reset")
"""Of what may be wrong, that which is not wrong with one answer alone."""
MOST_SECRET = 10_000
MOST_MISSES = 10_000
MOST_REFUSALS = 10
T = TypeVar("T")
log = Logger()


class Misses:
    """What an upstream did not have, for a while."""

    def __init__(self, reactor: Any) -> None:
        self._reactor = reactor
        self._until: dict[Hashable, float] = {}

    def __contains__(self, question: Hashable) -> bool:
        return self._until.get(question, 0.0) > float(self._reactor.seconds())

    def add(self, question: Hashable, seconds: float) -> None:
        """It is not there, for so long."""
        if len(self._until) >= MOST_MISSES:
            self._until.clear()
        self._until[question] = self._reactor.seconds() + seconds


class Source:
    """The upstream of one repo, as its settings are now."""

    denied = False
    """Whether the upstream has refused something: perhaps there is another password by now."""

    def __init__(self, repo: Repo, settings: RemoteSettings, origin: Origin, upstream: Upstream, reactor: Any) -> None:
        self.repo = repo
        self.settings = settings
        self.origin = origin
        self.upstream = upstream
        self.misses = Misses(reactor)
        self.lists: dict[ImageName, tuple[float, list[Tag]]] = {}
        """All tags of an image, and until when they are used."""
        self._reactor = reactor
        self._error: UpstreamError | None = None
        self._until = 0.0
        self._refusals: set[str] = set()

    async def ask(self, asking: Callable[[], Awaitable[T]]) -> T:
        """What it answers. Raises what it failed with lately: whoever asks again at once makes it no better."""
        left = self._until - self._reactor.seconds()
        if self._error is not None and left > 0:
            raise Limited(ceil(left)) if isinstance(self._error, Limited) else self._error
        try:
            answer = await asking()
        except UpstreamError as error:
            self._failed(error)
            raise
        self._error = None
        return answer

    def _failed(self, error: UpstreamError) -> None:
        """Let it alone for a while, if the error says that it is not able to answer, or does not want to."""
        seconds = 0.0
        if isinstance(error, errors.Denied):
            self.denied = True
            self._note_refusal(str(error))
        if isinstance(error, Limited):
            seconds = LIMITED if error.retry_after is None else error.retry_after
        elif isinstance(error, Broken) and (error.kind in OUTAGES or (error.status or 0) >= 500):
            seconds = self.settings.backoff
        if seconds:
            self._error, self._until = error, self._reactor.seconds() + seconds
            log.warn("upstream of {repo}: {error}", repo=self.repo.name, error=str(error))

    def _note_refusal(self, reason: str) -> None:
        """Log it once: clients are not told why, and some upstreams refuse whatever they do not have."""
        if reason not in self._refusals and len(self._refusals) < MOST_REFUSALS:
            self._refusals.add(reason)
            log.warn("upstream of {repo}: {reason}", repo=self.repo.name, reason=reason)


@dataclass(frozen=True, slots=True)
class Secrets:
    """The files of a directory: a repo's settings name one, and nobody is shown what is in it."""

    directory: Path | None

    def read(self, name: str) -> str:
        """What is in the file of that name, without its last line break. Raises BadGateway."""
        if self.directory is None:
            raise BadGateway("the repo names a secret, and this daemon has no --secrets-dir")
        try:
            with (self.directory / name).open(encoding="utf-8") as file:
                return file.read(MOST_SECRET).rstrip("\r\n")
        except (OSError, ValueError):
            raise BadGateway(f"the secret {name!r} cannot be read") from None


class Upstreams:
    """One source for each remote repo, made anew when its settings change."""

    def __init__(
        self, connections: Connections, secrets: Secrets, threads: Threads, observe: Observe, reactor: Any
    ) -> None:
        self._connections = connections
        self._secrets = secrets
        self._threads = threads
        self._observe = observe
        self._reactor = reactor
        self._sources: dict[int, Source] = {}

    async def of(self, repo: Repo) -> Source:
        """The repo's source. Raises BadGateway."""
        known = self._sources.get(repo.id)
        current = known is not None and known.repo.updated_at == repo.updated_at
        if known is not None and current and not known.denied:
            return known
        settings = RemoteSettings.parse(repo.settings)
        secret = settings.password_secret
        origin = settings.origin(await self._threads.run(self._secrets.read, secret) if secret else None)
        if known is not None and current and known.origin == origin:
            known.denied = False
            return known
        upstream = Upstream(origin, self._connections, self._threads, self._observe)
        made = self._sources[repo.id] = Source(repo, settings, origin, upstream, self._reactor)
        return made


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
