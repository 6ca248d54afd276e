"""The database in the cluster, seen through one short connection; the pool is metadata/database.py's."""

from __future__ import annotations

import psycopg2
from psycopg2.extensions import make_dsn

from artifactapi.embedded.errors import EmbeddedError
from artifactapi.embedded.settings import NAME

_CREATE = f"CREATE DATABASE {NAME} TEMPLATE template0 ENCODING 'UTF8' LC_COLLATE 'C' LC_CTYPE 'C'"


def dsn(host: str, database: str = NAME) -> str:
    """The keyword form for the socket in the folder `host`."""
    return make_dsn(host=host, port=5432, user=NAME, dbname=database)


def ready(host: str) -> bool:
    """Whether postgres accepts connections; if it does, the database is there afterwards. Blocks.

    Raises EmbeddedError if it cannot be made (no space is left, say).
    """
    try:
        connection = psycopg2.connect(dsn(host, "postgres"), connect_timeout=10)
    except psycopg2.OperationalError:
        return False
    try:
        connection.autocommit = True  # CREATE DATABASE runs in no transaction
        with connection.cursor() as cursor:
            cursor.execute("SELECT FROM pg_database WHERE datname = %s", (NAME,))
            if cursor.rowcount == 0:
                cursor.execute(_CREATE)
    except psycopg2.Error as error:
        if error.pgcode is None or error.pgcode.startswith("57P"):  # postgres has died, or is being ended, meanwhile
            return False
        raise EmbeddedError(f"postgres cannot make the database {NAME}: {' '.join(str(error).split())}") from error
    finally:
        connection.close()
    return True
