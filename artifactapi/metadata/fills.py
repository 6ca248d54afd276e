"""Rows of blobs that are being fetched from an upstream: of all replicas, one fetches."""

from __future__ import annotations

from uuid import UUID

from artifactapi.metadata.database import Queryable
from artifactapi.oci.digest import Digest
from artifactapi.oci.names import ImageName

MINE = "repo_id = (SELECT id FROM repos WHERE name = %(repo)s) AND image = %(image)s AND digest = %(digest)s"


async def take(db: Queryable, name: ImageName, digest: Digest, session: UUID, seconds: float) -> UUID | None:
    """The session to fetch into, for whoever may fetch for `seconds` from now on: `session`, or that of a replica
    which is not heard of any more. None while another one fetches."""
    row = await db.one(
        """INSERT INTO fills (repo_id, image, digest, session_id, lease_until)
           SELECT id, %(image)s, %(digest)s, %(session)s, now() + make_interval(secs => %(seconds)s)
           FROM repos WHERE name = %(repo)s FOR KEY SHARE
           ON CONFLICT (repo_id, image, digest) DO UPDATE SET lease_until = excluded.lease_until
           WHERE fills.lease_until < now() RETURNING session_id""",
        {**_key(name, digest), "session": str(session), "seconds": seconds},
    )
    return UUID(row[0]) if row else None


async def renew(db: Queryable, name: ImageName, digest: Digest, session: UUID, seconds: float) -> bool:
    """Go on fetching for `seconds` from now on; False if nobody fetches into that session."""
    return bool(
        await db.query(
            f"UPDATE fills SET lease_until = now() + make_interval(secs => %(seconds)s) WHERE {MINE}"
            " AND session_id = %(session)s RETURNING 1",
            {**_key(name, digest), "session": str(session), "seconds": seconds},
        )
    )


async def release(db: Queryable, name: ImageName, digest: Digest, session: UUID) -> None:
    """Nobody fetches into that session any more."""
    await db.query(
        f"DELETE FROM fills WHERE {MINE} AND session_id = %(session)s",
        {**_key(name, digest), "session": str(session)},
    )


async def begin(db: Queryable, name: ImageName, digest: Digest, taken: UUID, into: UUID, size: int | None) -> None:
    """It is fetched into that session, and has `size` bytes, if that is known."""
    await db.query(
        f"UPDATE fills SET session_id = %(into)s, size = %(size)s WHERE {MINE} AND session_id = %(taken)s",
        {**_key(name, digest), "taken": str(taken), "into": str(into), "size": size},
    )


async def size(db: Queryable, name: ImageName, digest: Digest) -> int | None:
    """How many bytes the one has that is being fetched; None if nobody knows, or fetches it."""
    row = await db.one(f"SELECT size FROM fills WHERE {MINE} AND lease_until >= now()", _key(name, digest))
    return row[0] if row else None


def _key(name: ImageName, digest: Digest) -> dict[str, object]:
    return {"repo": name.repo, "image": name.image, "digest": str(digest)}
