"""The upstreams of remote repos, with what is needed to ask them."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from twisted.logger import Logger

from artifactapi.metadata.repos import Repo
from artifactapi.registry.remote_settings import RemoteSettings
from artifactapi.registry.source import Source
from artifactapi.threads import Threads
from artifactapi.upstream.connections import Connections
from artifactapi.upstream.errors import Broken
from artifactapi.upstream.upstream import Upstream
from artifactapi.upstream.wire import Observe

MOST_SECRET = 10_000
log = Logger()


@dataclass(frozen=True, slots=True)
class Secrets:
    """The files of a directory: a repo's settings name one, and nobody is shown what is in it."""

    directory: Path | None

    def read(self, name: str) -> str:
        """What is in the file of that name, without its last line break. Raises OSError, ValueError."""
        if self.directory is None:
            raise FileNotFoundError("this daemon has no --secrets-dir")
        with (self.directory / name).open(encoding="utf-8") as file:
            return file.read(MOST_SECRET).rstrip("\r\n")


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
        """The repo's source."""
        known = self._sources.get(repo.id)
        current = known is not None and known.repo.updated_at == repo.updated_at
        if known is not None and current and not known.denied and known.fault is None:
            return known
        settings = RemoteSettings.parse(repo.settings)
        password, fault = await self._password(repo, settings)
        origin = settings.origin(password)
        if known is not None and current and (known.origin, known.fault) == (origin, fault):
            known.denied = False
            return known
        upstream = Upstream(origin, self._connections, self._threads, self._observe)
        made = self._sources[repo.id] = Source(repo, settings, origin, upstream, self._reactor, fault)
        return made

    async def _password(self, repo: Repo, settings: RemoteSettings) -> tuple[str | None, Broken | None]:
        """The password, if it needs one, or why it is not to be had."""
        name = settings.password_secret
        if name is None:
            return None, None
        try:
            return await self._threads.run(self._secrets.read, name), None
        except (OSError, ValueError) as error:
            log.warn(
                "upstream of {repo}: secret {name}: {error}", repo=repo.name, name=name, error=type(error).__name__
            )
            return None, Broken("secret")
