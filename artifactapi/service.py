"""The daemon: its parts are started in order, stopped in reverse, and a start that fails ends the process."""

from __future__ import annotations

import os
import sys
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from twisted.application.service import Service
from twisted.internet import endpoints
from twisted.internet.defer import Deferred
from twisted.internet.error import CannotListenError
from twisted.internet.task import LoopingCall, deferLater
from twisted.logger import Logger

from artifactapi.api.access import observer
from artifactapi.api.app import App
from artifactapi.api.downloads import Downloads
from artifactapi.api.health import Health
from artifactapi.api.repos import RepoRoutes
from artifactapi.api.root import Root
from artifactapi.api.site import Site
from artifactapi.api.v2 import V2
from artifactapi.embedded import EmbeddedError, EmbeddedPostgres, explained
from artifactapi.gc import outbox
from artifactapi.metadata.database import Database
from artifactapi.metadata.schema import migrate
from artifactapi.metrics import Metrics
from artifactapi.objects.filesystem import FilesystemStore, make_directory
from artifactapi.objects.interface import IObjectStore
from artifactapi.objects.observed import Observed
from artifactapi.oci.errors import OciError
from artifactapi.registry.registry import Registry
from artifactapi.shield import detached
from artifactapi.threads import Threads

log = Logger()


@dataclass(frozen=True, slots=True)
class RepoSpec:
    """A repo to be created at start."""

    name: str
    package_type: str
    repo_type: str


@dataclass(frozen=True, slots=True)
class Config:
    """What the options say; times in seconds."""

    listen: str
    data_dir: Path
    database_url: str | None
    database_pool: int
    s3_bucket: str | None
    s3_endpoint: str | None
    s3_region: str
    s3_prefix: str
    s3_redirect: bool
    threads: int
    repos: tuple[RepoSpec, ...]
    gc_interval: int
    idle_timeout: int
    shutdown_grace: int
    log_format: str


class StartError(Exception):
    """Why the daemon cannot start, in one line."""


class Artifactapi(Service):
    """All of it, on one reactor."""

    def __init__(self, config: Config, reactor: Any = None) -> None:
        if reactor is None:
            from twisted.internet import reactor
        self.config = config
        self._reactor = reactor
        self._stops: list[Callable[[], Awaitable[object]]] = []
        self._started: Deferred[None] | None = None
        self._stopping = False
        self._failed = False
        # Set by a start that got so far.
        self.registry: Registry
        self.site: Site
        self.address: Any = None

    def startService(self) -> None:
        """Start; twistd would stay up, listening to nothing, if this failed and we let it."""
        super().startService()
        self._reactor.addSystemEventTrigger("after", "shutdown", self._settle_status)
        self._started = detached(self._start_or_exit())

    async def stopService(self) -> None:
        """Stop in reverse order, a start that is under way too."""
        super().stopService()
        self._stopping = True
        await self._stop_parts()
        if self._started is not None:
            await self._started
        await self._stop_parts()  # those that the start began in its last moments

    async def _stop_parts(self) -> None:
        while self._stops:
            await self._stops.pop()()

    async def _start_or_exit(self) -> None:
        try:
            await self.start()
        except (StartError, EmbeddedError) as error:
            self._fail(str(error))
        except OciError as error:
            self._fail(error.message)
        except Exception:  # the last resort: whatever it is, the process must not stay up
            if not self._stopping:
                log.failure("cannot start")
            self._fail("unexpected error, see above")

    def _fail(self, reason: str) -> None:
        if self._stopping or self._failed:
            return  # what breaks because the rest is going away is no news
        self._failed = True
        log.critical("artifactapi: {reason}", reason=" ".join(reason.split()))
        # Not now: a start that fails at once runs before the reactor does.
        self._reactor.callWhenRunning(self._reactor.callLater, 0, self._stop_reactor)

    def _stop_reactor(self) -> None:
        if not self._stopping:
            self._reactor.stop()

    def _settle_status(self) -> None:
        # twistd knows no exit status of its own, and after a stop that went well it kills itself with the signal.
        self._reactor._exitSignal = None
        if self._failed:
            sys.stdout.flush()
            os._exit(1)

    async def start(self) -> None:
        """Start all parts. Raises StartError, EmbeddedError, OciError; what was started is stopped by stopService."""
        config = self.config
        metrics = Metrics()
        self._make_data_directory()
        database = await self._start_database()
        metrics.watch_pool(lambda: database.busy, lambda: database.idle)
        hashing = self._start_threads("hashing", config.threads)
        store = await self._start_store(metrics)
        registry = self.registry = Registry.over(database, store, hashing)
        for repo in config.repos:
            await registry.repos.ensure(repo.name, repo.package_type, repo.repo_type)
        self._start_sweeps(database, store)
        health = Health({"database": lambda: database.query("SELECT 1"), "store": store.check}, metrics, registry)
        downloads = Downloads(self._start_threads("downloads", config.threads), self._reactor)
        root = Root(V2(registry, downloads), App(RepoRoutes(registry), health).klein.resource())
        site = self.site = Site(root, observer(metrics, self._reactor.seconds), self._reactor, config.idle_timeout)
        metrics.watch_running(lambda: len(site.active))
        await self._listen(site, health)

    def _make_data_directory(self) -> None:
        try:
            make_directory(self.config.data_dir)
        except OSError as error:
            raise explained(error, self.config.data_dir) from error

    async def _start_database(self) -> Database:
        url = self.config.database_url or await self._start_embedded()
        database = Database(url, self.config.database_pool, self._reactor)
        self._stops.append(database.stop)
        await database.start()
        await migrate(database)
        return database

    async def _start_embedded(self) -> str:
        postgres = EmbeddedPostgres(self.config.data_dir, self._reactor)
        postgres.on_failure = lambda error: self._fail(str(error))
        self._stops.append(postgres.stop)
        return await postgres.start()

    def _start_threads(self, name: str, size: int) -> Threads:
        threads = Threads(name, size, self._reactor)
        threads.start()

        async def stop() -> None:
            threads.stop()

        self._stops.append(stop)
        return threads

    async def _start_store(self, metrics: Metrics) -> IObjectStore:
        store = FilesystemStore(self.config.data_dir, self._start_threads("storage", self.config.threads))
        try:
            await store.start()
        except OciError as error:
            raise StartError(f"data directory {self.config.data_dir}: {error.message}") from error
        return Observed(store, metrics.store)

    def _start_sweeps(self, database: Database, store: IObjectStore) -> None:
        async def sweep() -> None:
            try:
                await outbox.sweep(database, store)
            except Exception:  # LoopingCall would end with its first error
                log.failure("a sweep failed; the next one tries again")

        loop = LoopingCall(lambda: Deferred.fromCoroutine(sweep()))
        loop.clock = self._reactor
        ended = loop.start(self.config.gc_interval)

        async def stop() -> None:
            loop.stop()
            await ended

        self._stops.append(stop)

    async def _listen(self, site: Site, health: Health) -> None:
        try:
            port = await endpoints.serverFromString(self._reactor, self.config.listen).listen(site)
        except CannotListenError as error:
            raise StartError(f"cannot listen on {self.config.listen}: {error.socketError}") from error
        except (OSError, OverflowError) as error:  # a unix socket's folder, a port above 65535
            raise StartError(f"cannot listen on {self.config.listen}: {error}") from error
        self.address = port.getHost()
        scheme = "https" if self.config.listen.startswith("ssl:") else "http"
        log.info("serving on {address}", address=address_text(scheme, self.address))

        async def stop() -> None:
            health.draining = True
            await port.stopListening()
            await self._drain(site)

        self._stops.append(stop)

    async def _drain(self, site: Site) -> None:
        """Let running requests end, for a while; then cut their connections."""
        site.close_idle()
        deadline = self._reactor.seconds() + self.config.shutdown_grace
        # The channels too: the end of an answer is still on its way when its request is no longer active.
        while (site.active or site.writing or site.channels) and self._reactor.seconds() < deadline:
            await deferLater(self._reactor, 0.05)
        if site.active or site.channels:
            log.warn("{count} connections were cut after the grace", count=len(site.channels))
        for channel in list(site.channels):
            channel.transport.abortConnection()


def address_text(scheme: str, address: Any) -> str:
    """The address one may type into a client."""
    host, port = getattr(address, "host", None), getattr(address, "port", None)
    return f"{scheme}://{host}:{port}" if host else str(address)
