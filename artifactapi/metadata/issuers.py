"""Rows of trusted issuers, and of the identities that are known by what these say."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from artifactapi.metadata.database import Json, Queryable


@dataclass(frozen=True, slots=True)
class Issuer:
    """An OpenID Connect issuer; `jwks_url`: None where its configuration says."""

    id: int
    name: str
    url: str
    audience: str
    jwks_url: str | None
    created_at: datetime


@dataclass(frozen=True, slots=True)
class Identity:
    """Whoever brings a token of that issuer with claims that match these patterns."""

    id: int
    name: str
    issuer: str
    claims: dict[str, str]
    created_at: datetime


COLUMNS = "id, name, url, audience, jwks_url, created_at"
IDENTITIES = """SELECT i.id, i.name, s.name, i.claims, i.created_at
                FROM identities i JOIN issuers s ON s.id = i.issuer_id"""


async def by_url(db: Queryable, url: str) -> Issuer | None:
    """The issuer whose tokens say that they come from there."""
    row = await db.one(f"SELECT {COLUMNS} FROM issuers WHERE url = %s", (url,))
    return Issuer(*row) if row else None


async def identities_of(db: Queryable, issuer: int) -> list[Identity]:
    """All that are known by what this issuer says, by name."""
    rows = await db.query(f"{IDENTITIES} WHERE i.issuer_id = %s ORDER BY i.name", (issuer,))
    return [Identity(*row) for row in rows]


async def listing(db: Queryable, last: str, count: int) -> list[Issuer]:
    """Up to `count` issuers after `last`, by name."""
    rows = await db.query(f"SELECT {COLUMNS} FROM issuers WHERE name > %s ORDER BY name LIMIT %s", (last, count))
    return [Issuer(*row) for row in rows]


async def identities(db: Queryable, last: str, count: int) -> list[Identity]:
    """Up to `count` identities after `last`, by name."""
    rows = await db.query(f"{IDENTITIES} WHERE i.name > %s ORDER BY i.name LIMIT %s", (last, count))
    return [Identity(*row) for row in rows]


async def create(db: Queryable, name: str, url: str, audience: str, jwks_url: str | None) -> Issuer | None:
    """The new issuer; None if its name or its URL is taken."""
    row = await db.one(
        "INSERT INTO issuers (name, url, audience, jwks_url) VALUES (%s, %s, %s, %s)"
        f" ON CONFLICT DO NOTHING RETURNING {COLUMNS}",
        (name, url, audience, jwks_url),
    )
    return Issuer(*row) if row else None


async def find(db: Queryable, name: str) -> Issuer | None:
    """The issuer of that name; it stays until the transaction ends."""
    row = await db.one(f"SELECT {COLUMNS} FROM issuers WHERE name = %s FOR KEY SHARE", (name,))
    return Issuer(*row) if row else None


async def create_identity(db: Queryable, name: str, issuer: Issuer, claims: dict[str, str]) -> Identity | None:
    """The new identity; None if the name is taken."""
    row = await db.one(
        "INSERT INTO identities (name, issuer_id, claims) VALUES (%s, %s, %s) ON CONFLICT (name) DO NOTHING"
        " RETURNING id, name, claims, created_at",
        (name, issuer.id, Json(claims)),
    )
    return Identity(row[0], row[1], issuer.name, row[2], row[3]) if row else None


async def find_identity(db: Queryable, name: str) -> Identity | None:
    """The identity of that name."""
    row = await db.one(f"{IDENTITIES} WHERE i.name = %s", (name,))
    return Identity(*row) if row else None


async def delete(db: Queryable, name: str) -> bool:
    """Trust it no more, with all identities of it; False if there is none."""
    return bool(await db.query("DELETE FROM issuers WHERE name = %s RETURNING id", (name,)))


async def delete_identity(db: Queryable, name: str) -> bool:
    """Forget the identity, with its grants; False if there is none."""
    return bool(await db.query("DELETE FROM identities WHERE name = %s RETURNING id", (name,)))
