"""The default Postgres: a child process of the daemon, in the data directory, on a unix socket. Linux only."""

from artifactapi.embedded.errors import EmbeddedError, explained
from artifactapi.embedded.server import EmbeddedPostgres

__all__ = ["EmbeddedError", "EmbeddedPostgres", "explained"]
