"""Grants: list, create, take back."""

from __future__ import annotations

from artifactapi.access.administered import Changes, Unknown, is_name
from artifactapi.access.rights import Right
from artifactapi.access.tokens import are_rights, is_repo
from artifactapi.metadata import grants as rows
from artifactapi.metadata import repos as repo_rows
from artifactapi.metadata.audit import By, Event
from artifactapi.metadata.database import Database, Transaction
from artifactapi.metadata.grants import SUBJECTS, Granted
from artifactapi.oci.fields import Fields
from artifactapi.oci.globs import is_image_glob

TO_FORM = f"like user:alice; before the colon is one of: {', '.join(SUBJECTS)}"


class Grants:
    """Who may do what to which images."""

    def __init__(self, database: Database, changes: Changes) -> None:
        self._database = database
        self._changes = changes

    async def listing(self, last: int, count: int, repo: str | None, to: str | None) -> list[Granted]:
        """Up to `count` grants after id `last`; only those on `repo` (* for every repo), and to `to`, if given."""
        return await rows.listing(self._database, last, count, repo, to)

    async def read(self, grant: int) -> Granted:
        """A grant. Raises Unknown."""
        found = await rows.read(self._database, grant)
        if found is None:
            raise unknown(grant)
        return found

    async def create(self, given: object, by: By) -> Granted:
        """A new grant from the fields to, repo (or *), images (a pattern, * if absent) and rights.

        Raises FieldsInvalid, NoAdministrator.
        """
        fields = Fields(given, ("to", "repo", "images", "rights"))
        to = fields.need("to", is_subject, TO_FORM)
        repo = fields.need("repo", is_repo, "a repo's name, or * for every repo")
        images = fields.read("images", is_image_glob, 'a pattern like "team/*"', "*")
        rights = fields.need("rights", are_rights, f"a list of some of: {', '.join(Right)}")
        fields.check()

        async def work(transaction: Transaction) -> tuple[int, Event]:
            kind, _, name = to.partition(":")
            subject = name if kind == "group" else await rows.subject(transaction, kind, name)
            on = None if repo == "*" else await repo_rows.find(transaction, repo)
            if subject is None:
                fields.refuse("to", f"no {kind} {name!r}")
            if on is None and repo != "*":
                fields.refuse("repo", f"no repo {repo!r}")
            fields.check()
            assert subject is not None
            grant = await rows.create(transaction, kind, subject, on.id if on else None, images, rights, by.actor)
            detail = {"to": to, "images": images, "rights": rights, "grant": grant}
            return grant, Event("grant.create", repo, detail=detail)

        return await self.read(await self._changes.make(by, work))

    async def delete(self, grant: int, by: By) -> None:
        """Take it back. Raises Unknown, NoAdministrator."""

        async def work(transaction: Transaction) -> tuple[None, Event]:
            found = await rows.read(transaction, grant)
            if found is None:
                raise unknown(grant)
            await rows.delete(transaction, grant)
            detail = {"to": found.to, "images": found.images, "rights": found.rights, "grant": grant}
            return None, Event("grant.delete", found.repo, detail=detail)

        await self._changes.make(by, work)


def is_subject(value: object) -> bool:
    """Whether it may be whom something is granted to."""
    if not isinstance(value, str):
        return False
    kind, _, name = value.partition(":")
    return kind in SUBJECTS and is_name(name)


def unknown(grant: int) -> Unknown:
    """The error for a grant that does not exist."""
    return Unknown("no such grant", {"id": grant})
