"""`twistd artifactapi`: options, and the service they ask for. The only reader of argv and the environment."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from ipaddress import ip_network
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from twisted.internet import endpoints
from twisted.python import usage

from artifactapi import __version__, logs
from artifactapi.api.origin import Network
from artifactapi.config import Config, RepoSpec
from artifactapi.daemon import Daemon
from artifactapi.oci.errors import OciError
from artifactapi.oci.names import parse_repo_name
from artifactapi.registry.repos import PACKAGE_TYPES
from artifactapi.service import Artifactapi
from artifactapi.workers.fleet import Fleet
from artifactapi.workers.listening import ENDPOINTS


@dataclass(frozen=True, slots=True)
class Option:
    """An option, its variable ARTIFACTAPI_<NAME>, its default, and how its text becomes a value."""

    name: str
    default: str
    help: str
    parse: Callable[[str], Any]

    @property
    def variable(self) -> str:
        """The environment variable."""
        return "ARTIFACTAPI_" + self.name.upper().replace("-", "_")


def listen_at(text: str) -> str:
    """A Twisted endpoint string."""
    from twisted.internet import reactor

    try:
        endpoints.serverFromString(reactor, text)
    except Exception as error:  # each endpoint parser has errors of its own
        raise ValueError(f"not an endpoint string like tcp:8000:interface=127.0.0.1 ({error})") from None
    return text


def directory(text: str) -> Path:
    """A path, made absolute before twistd changes its directory."""
    if not text or "\0" in text:
        raise ValueError("not a directory's path")
    try:
        return Path(text).expanduser().absolute()
    except (RuntimeError, OSError) as error:  # nobody's home; a working directory that is gone
        raise ValueError(f"not a directory's path ({error})") from None


def file(text: str) -> Path | None:
    """A file's path; None for none."""
    return directory(text) if text else None


def external_url(text: str) -> str | None:
    """scheme://host[:port]; None for what requests say."""
    try:
        url = urlsplit(text)
        if text and not (url.scheme in ("http", "https") and url.hostname and url.username is None and url.port != 0):
            raise ValueError
        if text and (url.path not in ("", "/") or url.query or url.fragment):
            raise ValueError
    except ValueError:
        raise ValueError("not a URL like https://registry.example.org") from None
    return text.rstrip("/") or None


def networks(text: str) -> tuple[Network, ...]:
    """Addresses and networks, separated by commas."""
    try:
        return tuple(ip_network(part.strip()) for part in text.split(",") if part.strip())
    except ValueError as error:
        raise ValueError(f"not networks like 10.0.0.0/8 ({error})") from None


def database_url(text: str) -> str | None:
    """A Postgres URL; None for the embedded one. The text is never in the message: it holds a password."""
    if text and not text.startswith(("postgresql://", "postgres://")):
        raise ValueError("not a URL like postgresql://user:password@host:5432/name")
    return text or None


def s3_endpoint(text: str) -> str | None:
    """The URL of an S3 server; None for Amazon's own."""
    try:
        url = urlsplit(text)
        if text and not (url.scheme in ("http", "https") and url.hostname and url.username is None and url.port != 0):
            raise ValueError
    except ValueError:
        raise ValueError("not a URL like http://s3.example.org:8333; credentials are AWS_* variables") from None
    return text.rstrip("/") or None


def s3_bucket(text: str) -> str | None:
    """A bucket's name; None for files instead of S3."""
    if text and not re.fullmatch(r"[a-zA-Z0-9][a-zA-Z0-9._-]{1,254}", text):
        raise ValueError("not a bucket's name")
    return text or None


def s3_region(text: str) -> str | None:
    """A region's name; None for what the environment says."""
    if not re.fullmatch(r"[a-zA-Z0-9-]{0,64}", text):
        raise ValueError("not a region's name")
    return text or None


def s3_prefix(text: str) -> str:
    """What every key begins with."""
    if not re.fullmatch(r"[a-zA-Z0-9!_.*'()/-]{0,512}", text):
        raise ValueError("may have letters, digits and !_.*'()/- only")
    return text.strip("/") + "/" if text.strip("/") else ""


def yes_or_no(text: str) -> bool:
    """true or false."""
    if text not in ("true", "false"):
        raise ValueError("must be true or false")
    return text == "true"


def repos(text: str) -> tuple[RepoSpec, ...]:
    """`name=package_type:repo_type`, separated by commas."""
    return tuple(repo(part.strip()) for part in text.split(",") if part.strip())


def repo(text: str) -> RepoSpec:
    """`name=package_type:repo_type`."""
    name, _, types = text.partition("=")
    package_type, _, repo_type = types.partition(":")
    if package_type not in PACKAGE_TYPES or repo_type != "local":  # others need settings
        raise ValueError(f"{text!r} is not like docker-internal=docker:local")
    try:
        return RepoSpec(parse_repo_name(name), package_type, repo_type)
    except OciError as error:
        raise ValueError(error.message) from None


def log_format(text: str) -> str:
    """text or json."""
    if text not in logs.FORMATS:
        raise ValueError(f"must be one of: {', '.join(logs.FORMATS)}")
    return text


def whole(least: int, most: int) -> Callable[[str], int]:
    """A whole number between two bounds."""

    def parse(text: str) -> int:
        if not (text.isascii() and text.isdigit() and len(text) < 20 and least <= int(text) <= most):
            raise ValueError(f"must be a whole number from {least} to {most}")
        return int(text)

    return parse


AGES = 100_000_000
OPTIONS = (
    Option("listen", "tcp:8000:interface=127.0.0.1", "where to serve: a Twisted endpoint string", listen_at),
    Option("workers", "1", "processes that serve", whole(1, 64)),
    Option("data-dir", "artifactapi-data", "directory of the embedded Postgres and of the objects", directory),
    Option("database-url", "", "Postgres URL; empty: an embedded Postgres in the data directory", database_url),
    Option("database-pool", "8", "database connections of this process", whole(1, 200)),
    Option("s3-bucket", "", "bucket of the objects; empty: files in the data directory", s3_bucket),
    Option("s3-endpoint", "", "URL of the S3 server; empty: Amazon's", s3_endpoint),
    Option("s3-region", "", "region of the bucket; empty: as AWS_REGION says, else us-east-1", s3_region),
    Option("s3-prefix", "", "what the keys of all objects begin with", s3_prefix),
    Option("s3-redirect", "false", "true: pulls are sent to presigned URLs of the S3 server", yes_or_no),
    Option("threads", "8", "threads for hashing, and as many for storage and for downloads", whole(1, 200)),
    Option("repos", "docker-internal=docker:local", "repos created at start if missing, separated by commas", repos),
    Option("gc-interval", "300", "seconds between runs of the collector; 0: never, in this process", whole(0, AGES)),
    Option("gc-blob-grace", "3600", "seconds that a blob no image has any more is kept", whole(0, AGES)),
    Option(
        "gc-upload-grace",
        "86400",
        "seconds that idle uploads, and blobs no manifest names, are kept",
        whole(0, 100_000_000),
    ),
    Option("admin-password-file", "", "file with the password of the user admin, who is made if need be", file),
    Option("allow-anonymous-push", "false", "true: while there is no account, everybody may push", yes_or_no),
    Option("external-url", "", "what clients know this daemon as; empty: as their requests say", external_url),
    Option("trusted-proxies", "", "networks whose X-Forwarded-* headers are believed, separated by commas", networks),
    Option("token-seconds", "900", "seconds that a bearer token is good for", whole(30, 86_400)),
    Option(
        "login-attempts",
        "20",
        "failed logins of an account in 15 minutes, a tenth of those of an address; 0: any number",
        whole(0, 1_000_000),
    ),
    Option("audit-days", "365", "days that the audit is kept", whole(1, 36_500)),
    Option("secrets-dir", "", "directory with the passwords of upstreams, a file each", file),
    Option("idle-timeout", "60", "seconds a connection may send nothing before it is closed", whole(1, 86_400)),
    Option("max-connections", "10000", "connections at a time, of each process; 0: as many as can be", whole(0, 10**6)),
    Option("max-header-size", "32768", "bytes of a request's head", whole(1024, 1024**2)),
    Option("header-timeout", "30", "seconds in which a request's head must be whole", whole(1, 86_400)),
    Option("min-body-rate", "128", "bytes a second that a body must have, over a minute; 0: any", whole(0, 10**9)),
    Option("max-blob-size", "0", "bytes of a blob; 0: any number", whole(0, 10**15)),
    Option(
        "start-patience",
        "60",
        "seconds that a start waits for a database or S3 server that is not up yet",
        whole(0, 86_400),
    ),
    Option("drain-seconds", "0", "seconds that a daemon which stops is not ready, yet serves", whole(0, 3600)),
    Option("shutdown-grace", "30", "seconds that running requests get to end when the daemon stops", whole(0, 3600)),
    Option("log-format", "text", "text or json", log_format),
)


EMBEDDED_CONNECTIONS = 90
"""Of its 100: some are kept for the superuser, and for those of a worker that was killed."""


class Options(usage.Options):
    """The options of `twistd artifactapi`: the command line first, then the environment, then the default."""

    longdesc = "A container registry. Each option can be given as the environment variable in brackets as well."
    optParameters = [  # noqa: RUF012 usage.Options wants a list
        [option.name, None, None, f"{option.help} [{option.variable}; default: {option.default or 'none'}]"]
        for option in OPTIONS
    ]
    environment: Mapping[str, str] = os.environ

    def parseOptions(self, options: list[str] | None = None) -> None:
        """Parse. A mistake is one line on standard error and exit status 1: twistd's own way prints all the help
        and exits with 0."""
        try:
            super().parseOptions(options)
        except usage.UsageError as error:
            raise SystemExit(f"artifactapi: {error}") from None

    def parseArgs(self) -> None:
        """There are no arguments."""

    def opt_version(self) -> None:
        """Print the version and exit."""
        print(f"artifactapi {__version__}")
        raise SystemExit(0)

    def postOptions(self) -> None:
        """Make the configuration, and settle what twistd itself should do."""
        values = {option.name.replace("-", "_"): self._value(option) for option in OPTIONS}
        self.config = Config(**values)
        self._check_workers()
        parent: Any = getattr(self, "parent", None)
        if parent is not None:
            self._settle(parent)

    def _value(self, option: Option) -> Any:
        given = self[option.name]
        named = f"--{option.name}"
        if given is None and (from_environment := self.environment.get(option.variable)) is not None:
            given, named = from_environment, option.variable
        try:
            return option.parse(option.default if given is None else given)
        except ValueError as error:
            raise usage.UsageError(f"{named}: {error}") from None

    def _check_workers(self) -> None:
        config = self.config
        if config.workers == 1:
            return
        if config.listen.partition(":")[0] not in ENDPOINTS:
            raise usage.UsageError(f"--workers needs an endpoint of one of: {', '.join(ENDPOINTS)}")
        if config.database_url is None and config.workers * config.database_pool > EMBEDDED_CONNECTIONS:
            raise usage.UsageError(
                f"--workers times --database-pool may be {EMBEDDED_CONNECTIONS} with the embedded Postgres"
            )

    def _settle(self, parent: Any) -> None:
        if parent["nodaemon"] and not (parent["logger"] or parent["logfile"] or parent["syslog"]):
            parent["logger"] = self._logger()
        elif self.config.log_format != "text":  # a daemon's standard output is /dev/null, and twistd.log is twistd's
            raise usage.UsageError("--log-format json needs twistd -n, without a --logfile, --logger or --syslog")
        if self.config.workers > 1 and (not parent["nodaemon"] or parent["logger"] != self._logger()):
            raise usage.UsageError("--workers needs twistd -n, without a --logfile, --logger or --syslog")
        if parent["nodaemon"] and parent["pidfile"] == "twistd.pid":
            # A pid file left by kill -9 would keep the next start from starting once its number is used again.
            parent["pidfile"] = ""

    def _logger(self) -> str:
        return f"artifactapi.logs.{self.config.log_format}_observer"


def makeService(options: Options) -> Daemon:
    """The daemon; nothing is opened before twistd has forked and starts it."""
    return Fleet(options.config) if options.config.workers > 1 else Artifactapi(options.config)
