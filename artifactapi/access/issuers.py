"""Trusted issuers: list, create, read, delete."""

from __future__ import annotations

from artifactapi.access.administered import NAME_FORM, Changes, Exists, Unknown, is_name
from artifactapi.access.claims import is_text
from artifactapi.access.urls import URL_FORM, is_issuer_url, is_keys_url
from artifactapi.metadata import issuers as rows
from artifactapi.metadata.audit import By, Event
from artifactapi.metadata.database import Database, Transaction
from artifactapi.metadata.issuers import Issuer
from artifactapi.oci.fields import Fields

MOST_AUDIENCE = 1000
AUDIENCE_FORM = f"text of 1 to {MOST_AUDIENCE} characters, what tokens must have as their aud"
KEYS_FORM = "an https:// URL, or http:// of a loopback address if url is one"


class Issuers:
    """Whom we believe who somebody is."""

    def __init__(self, database: Database, changes: Changes) -> None:
        self._database = database
        self._changes = changes

    async def listing(self, last: str, count: int) -> list[Issuer]:
        """Up to `count` issuers after `last`, by name."""
        return await rows.listing(self._database, last, count)

    async def read(self, name: str) -> Issuer:
        """An issuer. Raises Unknown."""
        return found(name, await rows.find(self._database, name))

    async def create(self, given: object, by: By) -> Issuer:
        """A new issuer from the fields name, url (the iss of its tokens), audience (their aud), and jwks_url (absent:
        where the issuer's own configuration says). Raises FieldsInvalid, Exists.
        """
        fields = Fields(given, ("name", "url", "audience", "jwks_url"))
        name = fields.need("name", is_name, NAME_FORM)
        url = fields.need("url", is_issuer_url, URL_FORM)
        audience = fields.need("audience", lambda value: is_text(value, MOST_AUDIENCE), AUDIENCE_FORM)
        keys = fields.read("jwks_url", lambda value: url is None or is_keys_url(value, url), KEYS_FORM)
        fields.check()

        async def work(transaction: Transaction) -> tuple[Issuer, Event]:
            issuer = await rows.create(transaction, name, url, audience, keys)
            if issuer is None:
                raise Exists(f"there is an issuer {name!r} already, or one with this url", {"field": "name"})
            detail = {"issuer": name, "url": url, "audience": audience, "jwks_url": keys}
            return issuer, Event("issuer.create", detail={k: v for k, v in detail.items() if v is not None})

        return await self._changes.make(by, work)

    async def delete(self, name: str, by: By) -> None:
        """Trust it no more: its identities go, and their grants. Raises Unknown."""

        async def work(transaction: Transaction) -> tuple[None, Event]:
            issuer = found(name, await rows.find(transaction, name))
            await rows.delete(transaction, name)
            return None, Event("issuer.delete", detail={"issuer": name, "url": issuer.url})

        await self._changes.make(by, work)


def found(name: str, issuer: Issuer | None) -> Issuer:
    """The issuer, if there is one of that name. Raises Unknown."""
    if issuer is None:
        raise Unknown(f"no issuer {name[:100]!r}", {"name": name[:255]})
    return issuer
