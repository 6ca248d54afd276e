"""The registry: which parts it has, and how they are put together."""

from __future__ import annotations

import re
import secrets
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from ipaddress import ip_address
from pathlib import Path
from typing import Any

from twisted.internet import endpoints
from twisted.internet.defer import Deferred
from twisted.internet.error import CannotListenError
from twisted.internet.task import LoopingCall, deferLater
from twisted.logger import Logger

from artifactapi.access import passwords
from artifactapi.access.access import Access
from artifactapi.access.policy import without_accounts
from artifactapi.api.access import observer
from artifactapi.api.app import application
from artifactapi.api.audit import AuditRoutes
from artifactapi.api.downloads import Downloads
from artifactapi.api.gc import GcRoutes
from artifactapi.api.grants import GrantRoutes
from artifactapi.api.guard import Guard
from artifactapi.api.health import Health
from artifactapi.api.identities import IdentityRoutes
from artifactapi.api.issuers import IssuerRoutes
from artifactapi.api.keys import KeyRoutes
from artifactapi.api.limits import Limits
from artifactapi.api.origin import Outside
from artifactapi.api.repos import RepoRoutes
from artifactapi.api.root import Root
from artifactapi.api.site import Site
from artifactapi.api.token import TokenRoutes
from artifactapi.api.tokens import TokenListRoutes
from artifactapi.api.users import UserRoutes
from artifactapi.api.v2 import V2
from artifactapi.config import Config
from artifactapi.daemon import Daemon, StartError
from artifactapi.descriptors import make_room
from artifactapi.gc.collector import Collector, Graces
from artifactapi.metadata.audit import SYSTEM
from artifactapi.metadata.database import Database
from artifactapi.metadata.schema import migrate
from artifactapi.metrics import Metrics, Report
from artifactapi.objects.bucket import Bucket, Location
from artifactapi.objects.filesystem import FilesystemStore
from artifactapi.objects.interface import IObjectStore
from artifactapi.objects.observed import Observed
from artifactapi.objects.s3 import S3Store
from artifactapi.objects.s3_writer import Memory
from artifactapi.oci.errors import OciError
from artifactapi.registry.elsewhere import Elsewhere
from artifactapi.registry.fills import Fills
from artifactapi.registry.registry import Registry
from artifactapi.registry.remote import Remote
from artifactapi.registry.remote_lists import RemoteLists
from artifactapi.registry.uploads import Uploads
from artifactapi.registry.upstreams import Secrets, Upstreams
from artifactapi.registry.uses import Uses
from artifactapi.threads import Threads
from artifactapi.upstream.connections import Connections

UPLOAD_MEMORY = 256 * 1024 * 1024
"""Bytes of uploads that wait to be a part; beyond, writers send what they have."""
DOWNLOADS = 64
"""Connections to S3 that are kept for downloads; more are made when needed."""
DAY = 86_400.0
NO_ADMINISTRATOR = (
    "there is no administrator, and this address can be reached from elsewhere: give --admin-password-file, or make one"
    " with `artifactapi user add admin --admin`, or let everybody push with --allow-anonymous-push true"
)
log = Logger()


@dataclass(frozen=True, slots=True)
class Parts:
    """What keeps rows and bytes, and counts."""

    metrics: Metrics
    database: Database
    hashing: Threads
    store: IObjectStore


class Artifactapi(Daemon):
    """The registry: all of it, on one reactor."""

    def __init__(self, config: Config, reactor: Any = None) -> None:
        super().__init__(reactor)
        self.config = config
        self._ports: Any = self._reactor
        # Set by a start that got so far.
        self.metrics: Metrics
        self.health: Health
        self.registry: Registry
        self.site: Site
        self.address: Any = None

    async def open(self) -> Parts:
        """Start what keeps rows and bytes. Raises StartError, EmbeddedError, OciError."""
        config = self.config
        metrics = self.metrics = Metrics()
        if not (config.database_url and config.s3_bucket):
            self._make_directory(config.data_dir)
        database = await self._start_database()
        metrics.watch_pool(lambda: database.busy, lambda: database.idle)
        hashing = self._start_threads("hashing", config.threads)
        return Parts(metrics, database, hashing, await self._start_store(metrics))

    async def start(self) -> None:
        """Start all parts, the listener last."""
        config, parts = self.config, await self.open()
        metrics, database, hashing, store = parts.metrics, parts.database, parts.hashing, parts.store
        registry = self.registry = Registry.over(
            database,
            store,
            hashing,
            config.s3_redirect,
            config.gc_upload_grace,
            config.max_blob_size,
            self._start_elsewhere(parts),
        )
        for repo in config.repos:
            await registry.repos.ensure(repo.name, repo.package_type, repo.repo_type)
        access = await self._start_access(database)
        collector = self.collector(parts)
        if config.gc_interval:
            self._start_collector(collector)
        checks = {"database": lambda: database.query("SELECT 1"), "store": store.check}
        health = self.health = Health(checks, metrics, registry, collector.backlog, self._reports, self._reactor)
        downloads = Downloads(self._start_threads("downloads", config.threads), self._reactor)
        guard = Guard(access.policy, access.login, Outside(config.trusted_proxies, config.external_url))
        routes = (
            TokenRoutes(access.tickets, access.exchange, guard),
            RepoRoutes(registry, guard),
            GcRoutes(collector),
            UserRoutes(access.users, guard),
            TokenListRoutes(access.tokens, guard),
            GrantRoutes(access.grants, guard),
            IssuerRoutes(access.issuers, guard),
            IdentityRoutes(access.identities, guard),
            KeyRoutes(access.keys, guard),
            AuditRoutes(database),
            health,
        )
        self.endpoints = [endpoint for part in routes for endpoint in part.endpoints]
        self.v2 = V2(registry, downloads, guard)
        root = Root(self.v2, application(self.endpoints, guard))
        site = self.site = Site(root, observer(metrics, self._reactor.seconds), self._reactor, self._limits())
        metrics.watch_running(lambda: len(site.active))
        await self._listen(site, health)

    @cached_property
    def _connections(self) -> Connections:
        """Those to other servers, of issuers and of upstreams."""
        made = Connections(self._reactor)
        self._stops.append(made.close)
        return made

    def access(self, database: Database) -> Access:
        """Access control over these rows."""
        config = self.config
        everybody = without_accounts(is_loopback(config.listen), config.allow_anonymous_push)
        threads = self._start_threads("passwords", passwords.AT_ONCE)
        return Access.over(database, threads, everybody, config.login_attempts, config.token_seconds, self._connections)

    async def _start_access(self, database: Database) -> Access:
        config, access = self.config, self.access(database)
        self._stops.append(access.policy.stop)
        await access.start()
        if config.admin_password_file is not None:
            await access.users.ensure_administrator("admin", read_password(config.admin_password_file), SYSTEM)
        if not is_loopback(config.listen) and not config.allow_anonymous_push:
            await self._require_administrator(access)
        return access

    async def _require_administrator(self, access: Access) -> None:
        """Nobody serves to a network without one. On a terminal one is made, and its password is shown, this once."""
        if await access.users.has_administrator():
            return
        terminal = sys.__stderr__
        if terminal is None or not terminal.isatty():
            raise StartError(NO_ADMINISTRATOR)
        password = secrets.token_urlsafe(18)
        await access.users.ensure_administrator("admin", password, SYSTEM)
        print(f"the first user is admin, with the password {password}", file=terminal, flush=True)

    def _start_elsewhere(self, parts: Parts) -> Elsewhere:
        """What is asked where a repo is not local."""
        uses = Uses(parts.database, self._reactor)
        uses.start()
        passwords_of, hashing = Secrets(self.config.secrets_dir), parts.hashing
        upstreams = Upstreams(self._connections, passwords_of, hashing, parts.metrics.upstream, self._reactor)
        fills = Fills(parts.database, parts.store, Uploads(parts.database, parts.store, hashing), self._reactor)
        self._stops += [uses.stop, fills.stop]
        remote = Remote(parts.database, hashing, upstreams, fills, self._reactor)
        return Elsewhere(remote, RemoteLists(parts.database, hashing, upstreams, remote), uses)

    def collector(self, parts: Parts) -> Collector:
        """The collector over these parts."""
        graces = Graces(self.config.gc_upload_grace, self.config.gc_blob_grace, self.config.audit_days * DAY)
        return Collector(parts.database, parts.store, graces, parts.metrics)

    def _limits(self) -> Limits:
        config = self.config
        connections = make_room(config.max_connections)
        if connections < config.max_connections:
            log.info("at most {count} connections: file descriptors (ulimit -n) do for no more", count=connections)
        return Limits(
            connections, config.max_header_size, config.header_timeout, config.idle_timeout, config.min_body_rate
        )

    async def _start_database(self) -> Database:
        url = self.config.database_url or await self._start_embedded(self.config.data_dir)
        database = Database(url, self.config.database_pool, self._reactor)
        self._stops.append(database.stop)
        await self._patiently(database.start, self.config.start_patience)
        await self._patiently(lambda: migrate(database), self.config.start_patience)
        return database

    def _start_threads(self, name: str, size: int) -> Threads:
        threads = Threads(name, size, self._reactor)
        threads.start()
        self._stops.append(threads.stop)
        return threads

    async def _start_store(self, metrics: Metrics) -> IObjectStore:
        config = self.config
        threads = self._start_threads("storage", config.threads)
        store = (
            self._s3_store(config.s3_bucket, threads) if config.s3_bucket else FilesystemStore(config.data_dir, threads)
        )
        where = f"bucket {config.s3_bucket}" if config.s3_bucket else f"data directory {config.data_dir}"
        try:
            # A directory is there or it is not; a server may still be starting.
            await self._patiently(store.start, config.start_patience if config.s3_bucket else 0)
        except OciError as error:
            raise StartError(f"{where}: {error.message}") from error
        return Observed(store, metrics.store)

    def _s3_store(self, bucket: str, threads: Threads) -> S3Store:
        config = self.config
        location = Location(bucket, config.s3_endpoint, config.s3_region, config.s3_prefix)
        senders = max(1, config.threads - 2)  # some threads are always there for downloads
        return S3Store(Bucket(location, threads, config.threads + DOWNLOADS), Memory(UPLOAD_MEMORY, senders))

    def _start_collector(self, collector: Collector) -> None:
        async def run() -> None:
            try:
                await collector.run()
            except OciError as error:
                log.warn("a run of the collector failed; the next one tries again: {error}", error=error.message)
            except Exception:  # LoopingCall would end with its first error
                log.failure("a run of the collector failed; the next one tries again")

        loop = LoopingCall(lambda: Deferred.fromCoroutine(run()))
        loop.clock = self._reactor
        ended = loop.start(self.config.gc_interval)

        async def stop() -> None:
            loop.stop()
            collector.stop()
            await ended

        self._stops.append(stop)

    async def _listen(self, site: Site, health: Health) -> None:
        try:
            port = await endpoints.serverFromString(self._ports, self.config.listen).listen(site)
        except CannotListenError as error:
            raise StartError(f"cannot listen on {self.config.listen}: {error.socketError}") from error
        except (OSError, OverflowError) as error:  # a unix socket's folder, a port above 65535
            raise StartError(f"cannot listen on {self.config.listen}: {error}") from error
        self.address = port.getHost()
        self._announce(address_text(self.config.listen, self.address))

        async def stop() -> None:
            health.draining = site.draining = True
            await deferLater(self._reactor, self.config.drain_seconds)
            await port.stopListening()
            await self._drain(site)

        self._stops.append(stop)

    def _announce(self, address: str) -> None:
        log.info("serving on {address}", address=address)

    async def _reports(self) -> Mapping[str, Report] | None:
        """The metrics of each process, if there are several."""
        return None

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


def address_text(listen: str, address: Any) -> str:
    """The address one may type into a client."""
    scheme = "https" if listen.startswith("ssl:") else "http"
    host, port = getattr(address, "host", None), getattr(address, "port", None)
    return f"{scheme}://{host}:{port}" if host else str(address)


def is_loopback(listen: str) -> bool:
    """Whether an endpoint string is for this machine alone; what cannot be told is not."""
    kind, *fields = [re.sub(r"\\(.)", r"\1", field) for field in re.split(r"(?<!\\):", listen)]
    if kind not in ("tcp", "tcp6", "ssl"):
        return kind == "unix"  # the others stand for a door of somebody else's
    # The last of several, as Twisted has it.
    interface = dict(field.split("=", 1) for field in fields if "=" in field).get("interface", "")
    try:
        return ip_address(interface).is_loopback
    except ValueError:
        return interface == "localhost"


def read_password(path: Path) -> str:
    """The password in a file, without its last line break. Raises StartError."""
    try:
        password = path.read_text("utf-8").rstrip("\r\n")
    except (OSError, ValueError) as error:
        raise StartError(f"cannot read the password in {path}: {type(error).__name__}") from None
    mistake = passwords.mistake(password)
    if mistake is not None:
        raise StartError(f"{path}: {mistake}")
    return password
