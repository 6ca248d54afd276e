"""Fixtures: a real Postgres, real stores, the real daemon in this process and in processes of its own."""

from __future__ import annotations

import inspect
import io
import itertools
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import psycopg2
import pytest
import pytest_twisted
from twisted.internet.defer import Deferred
from twisted.logger import LogEvent, formatEvent, globalLogPublisher

from artifactapi.config import Config, RepoSpec
from artifactapi.embedded import EmbeddedPostgres
from artifactapi.logs import text_observer
from artifactapi.metadata.database import Database
from artifactapi.metadata.schema import migrate
from artifactapi.objects.bucket import Bucket, Location
from artifactapi.objects.filesystem import FilesystemStore
from artifactapi.objects.s3 import S3Store
from artifactapi.objects.s3_writer import Memory
from artifactapi.registry.registry import Registry
from artifactapi.service import Artifactapi
from artifactapi.threads import Threads
from tests.client import Client
from tests.daemon import Daemon
from tests.onlooker import Onlooker
from tests.seaweed import BUCKET, CREDENTIALS, Seaweed
from tests.upstream.real import HTPASSWD, PASSWORD, PASSWORD_AUTH, TOKEN_AUTH, USER, DockerRegistry, TokenServer
from tests.upstream.scripted import Scripted, basic

NUMBERS = itertools.count(1)


def pytest_pycollect_makeitem(collector, name, obj):
    """Let `async def test_…` await Deferreds."""
    if name.startswith("test") and inspect.iscoroutinefunction(obj):
        setattr(collector.obj, name, pytest_twisted.ensureDeferred(obj))


@pytest.fixture(scope="session")
def postgres(tmp_path_factory) -> Iterator[str]:
    """The DSN of a Postgres for the whole run."""
    from twisted.internet import reactor

    server = EmbeddedPostgres(tmp_path_factory.mktemp("postgres"), reactor)
    yield pytest_twisted.blockon(Deferred.fromCoroutine(server.start()))
    pytest_twisted.blockon(Deferred.fromCoroutine(server.stop()))


def statement(dsn: str, sql: str) -> None:
    """Run a statement outside of any transaction."""
    connection = psycopg2.connect(dsn)
    try:
        connection.autocommit = True
        connection.cursor().execute(sql)
    finally:
        connection.close()


@pytest.fixture(scope="session")
def template(postgres: str) -> str:
    """The name of a database with the schema, of which each test gets a copy."""
    from twisted.internet import reactor

    statement(postgres, "CREATE DATABASE template_artifactapi")
    database = Database(f"{postgres} dbname=template_artifactapi", 1, reactor)

    async def prepare() -> None:
        await database.start()
        await migrate(database)
        await database.stop()

    pytest_twisted.blockon(Deferred.fromCoroutine(prepare()))
    return "template_artifactapi"


EMPTY = """DO $$ BEGIN
    PERFORM pg_terminate_backend(pid) FROM pg_stat_activity
        WHERE datname = current_database() AND pid <> pg_backend_pid();
    IF (SELECT count(*) FROM pg_class WHERE relnamespace = 'public'::regnamespace) <> {} THEN
        RAISE 'it has more than the schema';
    END IF;
    DELETE FROM upload_sessions; DELETE FROM repos; DELETE FROM blobs; DELETE FROM doomed_objects;
    DELETE FROM gc_runs; DELETE FROM users; DELETE FROM tokens; DELETE FROM issuers; DELETE FROM grants;
    DELETE FROM signing_keys; DELETE FROM login_attempts; DELETE FROM audit;
END $$"""


@pytest.fixture(scope="session")
def emptied(postgres: str, template: str) -> tuple[list[str], str]:
    """Databases that tests have left, which are quicker to empty than to make; and the statement that does it."""
    connection = psycopg2.connect(f"{postgres} dbname={template}")
    cursor = connection.cursor()
    cursor.execute("SELECT count(*) FROM pg_class WHERE relnamespace = 'public'::regnamespace")
    [relations] = cursor.fetchone()
    connection.close()
    return [], EMPTY.format(relations)


@pytest.fixture
def dsn(postgres: str, template: str, emptied: tuple[list[str], str]) -> Iterator[str]:
    """A database of the test's own, with the schema."""
    spare, empty = emptied
    if not spare:
        spare.append(f"test_{next(NUMBERS)}")
        statement(postgres, f"CREATE DATABASE {spare[-1]} TEMPLATE {template}")
    name = spare.pop()
    yield f"{postgres} dbname={name}"
    try:
        statement(f"{postgres} dbname={name}", empty)
    except psycopg2.Error:
        statement(postgres, f"DROP DATABASE {name} WITH (FORCE)")
    else:
        spare.append(name)


@pytest.fixture
def onlooker(dsn: str) -> Iterator[Onlooker]:
    """An onlooker of the test's database."""
    made = Onlooker(dsn)
    yield made
    made.close()


@pytest.fixture
def log_text() -> Iterator[io.StringIO]:
    """The log of the test."""
    text = io.StringIO()
    observer = text_observer(text)
    globalLogPublisher.addObserver(observer)
    yield text
    globalLogPublisher.removeObserver(observer)


@pytest_twisted.async_yield_fixture
async def database(dsn: str):
    """A pool on the test's database."""
    from twisted.internet import reactor

    pool = Database(dsn, 4, reactor)
    await pool.start()
    yield pool
    await pool.stop()


@pytest.fixture
def elsewhere() -> Iterator[Scripted]:
    """Another host: its name is one of this machine's, and not the upstream's."""
    server = Scripted("localhost")
    yield server
    server.close()


@pytest.fixture
def lines() -> Iterator[list[str]]:
    """What was logged during the test."""
    logged: list[str] = []

    def observe(event: LogEvent) -> None:
        logged.append(formatEvent(event))

    globalLogPublisher.addObserver(observe)
    yield logged
    globalLogPublisher.removeObserver(observe)


@pytest.fixture
def threads() -> Iterator[Threads]:
    """A pool of threads."""
    from twisted.internet import reactor

    pool = Threads("test", 4, reactor)
    pool.start()
    yield pool
    pytest_twisted.blockon(Deferred.fromCoroutine(pool.stop()))


@pytest_twisted.async_yield_fixture
async def store(tmp_path: Path, threads: Threads):
    """A store in a directory of the test's own."""
    filesystem = FilesystemStore(tmp_path / "store", threads)
    await filesystem.start()
    yield filesystem


@pytest.fixture(scope="session")
def seaweed(tmp_path_factory) -> Iterator[Seaweed]:
    """An S3 server for the whole run."""
    server = Seaweed(tmp_path_factory.mktemp("seaweed"))
    server.start()
    yield server
    server.kill()


@pytest.fixture
def location(seaweed: Seaweed, monkeypatch: pytest.MonkeyPatch) -> Location:
    """A place in a bucket that is the test's own."""
    for name, value in CREDENTIALS.items():
        monkeypatch.setenv(name, value)
    return Location(BUCKET, seaweed.endpoint, "us-east-1", f"test-{next(NUMBERS)}/")


@pytest_twisted.async_yield_fixture
async def s3_store(location: Location, threads: Threads):
    """A store in a bucket."""
    made = S3Store(Bucket(location, threads, 10), Memory(64 * 1024 * 1024, 4))
    await made.start()
    yield made


@pytest_twisted.async_yield_fixture
async def registry(database: Database, store: FilesystemStore, threads: Threads):
    """The use cases, with a repo `docker-internal`."""
    made = Registry.over(database, store, threads)
    await made.repos.ensure("docker-internal", "docker", "local")
    yield made


@pytest.fixture
def config(dsn: str, tmp_path: Path) -> Config:
    """A daemon's configuration on the test's database, on a free port of the loopback interface."""
    return Config(
        listen="tcp:0:interface=127.0.0.1",
        workers=1,
        data_dir=tmp_path / "data",
        database_url=dsn,
        database_pool=4,
        s3_bucket=None,
        s3_endpoint=None,
        s3_region="us-east-1",
        s3_prefix="",
        s3_redirect=False,
        threads=4,
        repos=(RepoSpec("docker-internal", "docker", "local"), RepoSpec("other", "docker", "local")),
        gc_interval=0,
        gc_blob_grace=3600,
        gc_upload_grace=86_400,
        admin_password_file=None,
        allow_anonymous_push=False,
        external_url=None,
        trusted_proxies=(),
        token_seconds=900,
        login_attempts=20,
        audit_days=365,
        secrets_dir=None,
        idle_timeout=60,
        max_connections=1000,
        max_header_size=32_768,
        header_timeout=30,
        min_body_rate=128,
        max_blob_size=0,
        start_patience=0,
        drain_seconds=0,
        shutdown_grace=5,
        log_format="text",
    )


@pytest_twisted.async_yield_fixture
async def service(config: Config):
    """The daemon, in this process."""
    from twisted.internet import reactor

    running = Artifactapi(replace(config), reactor)
    await running.start()
    yield running
    await running.stopService()


@pytest_twisted.async_yield_fixture
async def replica(service: Artifactapi, config: Config):
    """A client of a second daemon over the same database."""
    from twisted.internet import reactor

    running = Artifactapi(config, reactor)
    await running.start()
    yield Client("127.0.0.1", running.address.port)
    await running.stopService()


@pytest.fixture
def scripted() -> Iterator[Scripted]:
    """An upstream that does what the test tells it."""
    server = Scripted()
    yield server
    server.close()


@pytest.fixture
def docker_registry(tmp_path: Path) -> Iterator[DockerRegistry]:
    """Debian's registry without access control."""
    registry = DockerRegistry(tmp_path)
    yield registry
    registry.stop()


@pytest.fixture
def password_registry(tmp_path: Path) -> Iterator[DockerRegistry]:
    """One with passwords."""
    path = tmp_path / "htpasswd"
    path.write_text(HTPASSWD)
    registry = DockerRegistry(tmp_path, PASSWORD_AUTH.format(path=path), basic(USER, PASSWORD))
    yield registry
    registry.stop()


@pytest.fixture
def token_registry(tmp_path: Path) -> Iterator[DockerRegistry]:
    """One with a token server, on another port of its host."""
    tokens = TokenServer(tmp_path)
    auth = TOKEN_AUTH.format(realm=f"{tokens.scripted.url}/token", bundle=tokens.bundle)
    registry = DockerRegistry(tmp_path, auth, f"Bearer {tokens.token('team/app', 'pull', 'push')}")
    yield registry
    registry.stop()
    tokens.scripted.close()


@pytest.fixture
def client(service: Artifactapi) -> Client:
    """An HTTP client of the daemon in this process."""
    return Client("127.0.0.1", service.address.port)


@pytest.fixture
def daemon(tmp_path: Path) -> Iterator[Daemon]:
    """`twistd artifactapi` as a process of its own, not yet started, with a data directory of its own."""
    process = Daemon(tmp_path / "daemon")
    yield process
    process.kill()
