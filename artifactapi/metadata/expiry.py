"""What has had its time: logins, failures, keys, entries of the audit, and what nobody goes on fetching."""

from __future__ import annotations

from artifactapi.metadata.database import Queryable
from artifactapi.metadata.garbage import Batch

SHOWN = 30 * 86_400
"""Seconds that an expired token is still shown in the lists, if it had a name."""
BELIEVED = 2 * 86_400
"""Seconds after which nothing is good any more that a key has signed before there was a newer one."""

EXPIRED = """
    WITH logins AS (
        DELETE FROM tokens WHERE id IN (
            SELECT id FROM tokens WHERE expires_at < now() - CASE WHEN name IS NULL THEN interval '0'
            ELSE make_interval(secs => %(shown)s) END LIMIT %(count)s
        ) RETURNING 1
    ), failures AS (
        DELETE FROM login_attempts WHERE key IN (
            SELECT key FROM login_attempts WHERE at < now() - interval '1 day' LIMIT %(count)s
        ) RETURNING 1
    ), keys AS (
        DELETE FROM signing_keys k WHERE EXISTS (
            SELECT FROM signing_keys newer WHERE newer.created_at > k.created_at
            AND newer.created_at < now() - make_interval(secs => %(believed)s)
        ) RETURNING 1
    ), entries AS (
        DELETE FROM audit WHERE id IN (
            SELECT id FROM audit WHERE at < now() - make_interval(secs => %(audit)s) ORDER BY at LIMIT %(count)s
        ) RETURNING 1
    ), fetches AS (
        DELETE FROM fills WHERE session_id IN (
            SELECT session_id FROM fills f WHERE lease_until < now() - interval '1 hour'
            AND NOT EXISTS (SELECT FROM upload_sessions u WHERE u.id = f.session_id) LIMIT %(count)s
        ) AND lease_until < now() RETURNING 1
    )
    SELECT (SELECT count(*) FROM logins) + (SELECT count(*) FROM failures) + (SELECT count(*) FROM keys)
         + (SELECT count(*) FROM entries) + (SELECT count(*) FROM fetches)
"""


async def expired(db: Queryable, audit: float, count: int) -> Batch:
    """Delete up to `count` of each; entries of the audit after `audit` seconds."""
    given = {"shown": SHOWN, "believed": BELIEVED, "audit": audit, "count": count}
    [[gone]] = await db.query(EXPIRED, given)
    return Batch(gone, gone)
