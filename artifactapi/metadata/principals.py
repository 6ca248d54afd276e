"""What the database knows of who may what: read often, and kept by each process while `version` stays."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal

from artifactapi.metadata.database import Queryable

Kind = Literal["user", "token", "identity"]
KINDS: tuple[Kind, ...] = ("user", "token", "identity")


@dataclass(frozen=True, slots=True)
class Subject:
    """Whom a credential stands for; `token` is the id of the token that was used, if it was one."""

    kind: Kind
    id: int
    token: int | None = None


@dataclass(frozen=True, slots=True)
class Principal:
    """A subject as the rows have it: `grants` and `scopes` are JSON entries {"repo", "images", "rights"}.

    A scope is the limit of one of the tokens in use. `expires_at`: when the first of these ends.
    """

    name: str
    generation: int
    token_name: str | None
    expires_at: datetime | None
    grants: list[dict[str, Any]]
    scopes: list[list[dict[str, Any]]]


async def version(db: Queryable) -> int:
    """Grows with every change of what this module reads."""
    [[number]] = await db.query("SELECT version FROM access_state")
    return int(number)


Special = tuple[str, str, dict[str, Any]]
"""Name, type and settings of a repo that is virtual, or known by the name of a registry."""


async def special(db: Queryable) -> list[Special]:
    """Those there are."""
    rows: list[Any] = await db.query(
        """SELECT name, repo_type, settings FROM repos
           WHERE repo_type = 'virtual' OR settings ? 'mirror_of' OR settings ? 'hosts' ORDER BY name"""
    )
    return rows


async def general(db: Queryable) -> tuple[bool, list[str]]:
    """Whether there is any account; and the repos that may be pulled from without one."""
    [[accounts, repos]] = await db.query(
        """SELECT EXISTS (SELECT FROM users) OR EXISTS (SELECT FROM identities)
                  OR EXISTS (SELECT FROM tokens WHERE name IS NOT NULL),
           ARRAY(SELECT name FROM repos WHERE settings->'anonymous_pull' = 'true' ORDER BY name)"""
    )
    return accounts, repos


GRANTS = """
    SELECT coalesce(json_agg(json_build_object(
        'repo', coalesce(r.name, '*'), 'images', g.images, 'rights', g.rights)), '[]')
    FROM grants g LEFT JOIN repos r ON r.id = g.repo_id WHERE
"""
SUBJECTS: dict[Kind, str] = {
    "user": f"""
        SELECT u.name, u.generation, ({GRANTS} g.user_id = u.id OR g.group_name = ANY(u.groups))
        FROM users u WHERE u.id = %s AND NOT u.disabled
    """,
    "token": f"""
        SELECT t.name, 0, ({GRANTS} g.token_id = t.id)
        FROM tokens t WHERE t.id = %s AND t.user_id IS NULL AND t.name IS NOT NULL
    """,
    "identity": f"SELECT i.name, 0, ({GRANTS} g.identity_id = i.id) FROM identities i WHERE i.id = %s",
}
TOKENS = """
    WITH RECURSIVE used AS (
        SELECT id, name, parent_id, scope, expires_at FROM tokens WHERE id = %s
        UNION ALL SELECT t.id, t.name, t.parent_id, t.scope, t.expires_at
        FROM tokens t JOIN used u ON t.id = u.parent_id
    )
    SELECT max(name), min(expires_at), coalesce(json_agg(scope) FILTER (WHERE scope IS NOT NULL), '[]'), count(*)
    FROM used
"""


async def find(db: Queryable, subject: Subject) -> Principal | None:
    """The principal; None if it is gone, disabled, or its token is."""
    row = await db.one(SUBJECTS[subject.kind], (subject.id,))
    if row is None:
        return None
    name, generation, grants = row
    if subject.token is None:
        return Principal(name, generation, None, None, grants, [])
    [[token_name, expires_at, scopes, count]] = await db.query(TOKENS, (subject.token,))
    return Principal(name, generation, token_name, expires_at, grants, scopes) if count else None
