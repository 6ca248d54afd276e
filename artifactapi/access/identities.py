"""Identities, known by what an issuer says of them: list, create, read, delete."""

from __future__ import annotations

from artifactapi.access.administered import NAME_FORM, Changes, Exists, Unknown, is_name
from artifactapi.access.claims import CLAIMS_FORM, is_claims, too_wide
from artifactapi.metadata import issuers as rows
from artifactapi.metadata.audit import By, Event
from artifactapi.metadata.database import Database, Transaction
from artifactapi.metadata.issuers import Identity
from artifactapi.oci.fields import Fields


class Identities:
    """Whoever brings a token of an issuer with claims that match."""

    def __init__(self, database: Database, changes: Changes) -> None:
        self._database = database
        self._changes = changes

    async def listing(self, last: str, count: int) -> list[Identity]:
        """Up to `count` identities after `last`, by name."""
        return await rows.identities(self._database, last, count)

    async def read(self, name: str) -> Identity:
        """An identity. Raises Unknown."""
        return found(name, await rows.find_identity(self._database, name))

    async def create(self, given: object, by: By) -> Identity:
        """A new identity from the fields name, issuer and claims (patterns, all of which must match).

        Raises FieldsInvalid, Exists, NoAdministrator.
        """
        fields = Fields(given, ("name", "issuer", "claims"))
        name = fields.need("name", is_name, NAME_FORM)
        of = fields.need("issuer", is_name, NAME_FORM)
        claims = fields.need("claims", is_claims, CLAIMS_FORM)
        fields.check()

        async def work(transaction: Transaction) -> tuple[Identity, Event]:
            issuer = await rows.find(transaction, of)
            if issuer is None:
                fields.refuse("issuer", f"no issuer {of!r}")
            elif (mistake := too_wide(issuer.url, claims)) is not None:
                fields.refuse("claims", mistake)
            fields.check()
            assert issuer is not None
            identity = await rows.create_identity(transaction, name, issuer, claims)
            if identity is None:
                raise Exists(f"there is an identity {name!r} already", {"field": "name"})
            return identity, Event("identity.create", detail={"identity": name, "issuer": of, "claims": claims})

        return await self._changes.make(by, work)

    async def delete(self, name: str, by: By) -> None:
        """Forget it, with its grants. Raises Unknown, NoAdministrator."""

        async def work(transaction: Transaction) -> tuple[None, Event]:
            identity = found(name, await rows.find_identity(transaction, name))
            await rows.delete_identity(transaction, name)
            return None, Event("identity.delete", detail={"identity": name, "issuer": identity.issuer})

        await self._changes.make(by, work)


def found(name: str, identity: Identity | None) -> Identity:
    """The identity, if there is one of that name. Raises Unknown."""
    if identity is None:
        raise Unknown(f"no identity {name[:100]!r}", {"name": name[:255]})
    return identity
