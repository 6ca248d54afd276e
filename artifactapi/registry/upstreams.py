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
        password, wrong = await self._password(settings.password_secret)
        origin = settings.origin(password)
        if known is not None and current and known.origin == origin and (known.fault is None) == (wrong is None):
            known.denied = False
            return known
        if wrong is not None:
            log.warn("upstream of {repo}: {wrong}", repo=repo.name, wrong=wrong)
        fault = None if wrong is None else Broken("secret")
        upstream = Upstream(origin, self._connections, self._threads, self._observe)
        made = self._sources[repo.id] = Source(repo, settings, origin, upstream, self._reactor, fault)
        return made

    async def _password(self, secret: str | None) -> tuple[str | None, str | None]:
        """The password, if there is one, and what is wrong with it."""
        if secret is None:
            return None, None
        try:
            return await self._threads.run(self._secrets.read, secret), None
        except (OSError, ValueError) as error:  # the text of some holds what was read
            return None, f"secret {secret}: {type(error).__name__}"
