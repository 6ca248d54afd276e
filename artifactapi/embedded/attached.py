"""The default Postgres of a daemon that runs already, for a tool beside it."""

from __future__ import annotations

import os
from pathlib import Path

from artifactapi.embedded import database
from artifactapi.embedded.cluster import Cluster


def attached(directory: Path) -> str | None:
    """The DSN of the Postgres that another process runs in this data directory; None if there is none. Blocks."""
    cluster = Cluster(Path(os.path.abspath(directory)))
    try:
        folder = os.open(cluster.path, os.O_RDONLY | os.O_DIRECTORY)  # for the life of the tool: see Cluster.host
    except OSError:
        return None
    host = cluster.host(folder)
    return database.dsn(host) if database.ready(host) else None
