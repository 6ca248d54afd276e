"""The upstreams of remote repos, and whether they are worth a request just now."""

from __future__ import annotations

from dataclasses import dataclass
from math import ceil
from pathlib import Path
from typing import Any

from twisted.logger import Logger

from artifactapi.metadata.repos import Repo
from artifactapi.oci.errors import BadGateway, Denied, GatewayTimeout, OciError, TooManyRequests
from artifactapi.registry.remote_settings import RemoteSettings
from artifactapi.threads import Threads
from artifactapi.upstream import errors
from artifactapi.upstream.connections import Connections
from artifactapi.upstream.errors import Broken, Limited, UpstreamError
from artifactapi.upstream.upstream import Upstream
from artifactapi.upstream.wire import Observe

LIMITED = 60
"""Seconds that an upstream is let alone which says 429, and not for how long."""
MOST_SECRET = 10_000
log = Logger()


class Source:
    """The upstream of one repo, as its settings are now."""

    def __init__(self, repo: Repo, settings: RemoteSettings, upstream: Upstream, reactor: Any) -> None:
        self.repo = repo
        self.settings = settings
        self.upstream = upstream
        self._reactor = reactor
        self._error: UpstreamError | None = None
        self._until = 0.0

    def check(self) -> None:
        """Raises what it failed with lately: whoever asks again at once makes it no better."""
        if self._error is not None and self._reactor.seconds() < self._until:
            raise self._error

    def failed(self, error: UpstreamError) -> None:
        """Let it alone for a while, if the error says that it is not able to answer, or does not want to."""
        seconds = 0.0
        if isinstance(error, Limited):
            seconds = LIMITED if error.retry_after is None else error.retry_after
        elif isinstance(error, Broken) and (error.status is None or error.status >= 500):
            seconds = self.settings.backoff
        if seconds:
            self._error, self._until = error, self._reactor.seconds() + seconds
            log.warn("upstream of {repo}: {error}", repo=self.repo.name, error=str(error))

    def worked(self) -> None:
        """It answers."""
        self._error = None


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
        source = self._sources.get(repo.id)
        if source is None or source.repo.updated_at != repo.updated_at:
            settings = RemoteSettings.parse(repo.settings)
            secret = settings.password_secret
            password = await self._threads.run(self._secrets.read, secret) if secret else None
            upstream = Upstream(settings.origin(password), self._connections, self._threads, self._observe)
            source = self._sources[repo.id] = Source(repo, settings, upstream, self._reactor)
        return source


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
