"""/token: Docker's token flow, and the exchange of an issuer's token for one of ours (RFC 8693)."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

from klein import Response
from twisted.web.http import parse_qs

from artifactapi.access.exchange import Exchange
from artifactapi.access.login import CredentialInvalid
from artifactapi.access.tickets import Ticket, Tickets
from artifactapi.api.endpoint import READS, Endpoint
from artifactapi.api.guard import Guard, Rule
from artifactapi.api.responses import json_response, rfc3339
from artifactapi.api.site import Request
from artifactapi.oci.errors import BadRequest, BodyTooLarge, OciError
from artifactapi.oci.scopes import Scope, parse_scopes

MOST_BYTES = 64 * 1024
EXCHANGE = "urn:ietf:params:oauth:grant-type:token-exchange"
NO_STORE = {"Cache-Control": "no-store"}
Form = dict[str, list[str]]


class TokenRoutes:
    """Parse, call, respond."""

    def __init__(self, tickets: Tickets, exchange: Exchange, guard: Guard) -> None:
        self._tickets = tickets
        self._exchange = exchange
        self._guard = guard

    @property
    def endpoints(self) -> list[Endpoint]:
        """What is served. Whoever comes here has a credential to show, or wants what everybody may have."""
        return [
            Endpoint("/token", READS, "token", Rule.ANYONE, self.get),
            Endpoint("/token", ("POST",), "token", Rule.ANYONE, self.post),
        ]

    async def get(self, request: Request) -> Response:
        """GET ?scope=…&scope=…&offline_token=true, with Basic credentials or without any."""
        form = decoded(request.args)
        offline, scopes = first(form, "offline_token") == "true", self._scopes(request, form)
        shown = request.requestHeaders.getRawHeaders(b"authorization")
        # Docker shows each mirror what it knows of Docker Hub: that is no failed login where none is needed.
        header = shown[0] if shown and not self._guard.needs_nobody(request, scopes) else None
        try:
            ticket = await self._tickets.for_header(header, scopes, offline, self._guard.origin(request))
        except CredentialInvalid as error:
            raise self._refused(error) from None
        return shown_ticket(ticket)

    async def post(self, request: Request) -> Response:
        """POST of a form: grant_type is password, refresh_token or the token exchange."""
        too_large = BodyTooLarge(f"the body has more than {MOST_BYTES} bytes")
        form = decoded(parse_qs(await request.body.read_all(MOST_BYTES, too_large), True))
        try:
            return shown_ticket(await self._ticket(request, form))
        except CredentialInvalid as error:
            raise self._refused(error) from None

    async def _ticket(self, request: Request, form: Form) -> Ticket:
        origin, kind, wanted = self._guard.origin(request), first(form, "grant_type"), self._scopes(request, form)
        if kind == "password":
            offline = first(form, "access_type") == "offline"
            return await self._tickets.for_password(
                needed(form, "username"), needed(form, "password"), wanted, offline, origin
            )
        if kind == "refresh_token":
            return await self._tickets.for_refresh(needed(form, "refresh_token"), wanted, origin)
        if kind == EXCHANGE:
            return await self._exchange.exchange(needed(form, "subject_token"), first(form, "identity"), origin)
        raise BadRequest(
            "grant_type must be password, refresh_token or the token exchange", {"parameter": "grant_type"}
        )

    def _scopes(self, request: Request, form: Form) -> list[Scope]:
        """What is asked for, in the names that are meant."""
        asked = parse_scopes(form.get("scope", []))
        return [
            replace(scope, name=self._guard.named(request, scope.name)) if scope.type == "repository" else scope
            for scope in asked
        ]

    def _refused(self, error: CredentialInvalid) -> OciError:
        # Basic, not Bearer: a client that is sent here again for a token would come for ever.
        error.headers["WWW-Authenticate"] = 'Basic realm="artifactapi"'
        return error


def decoded(args: dict[bytes, list[bytes]]) -> Form:
    """The parameters as text."""
    return {
        key.decode("utf-8", "replace"): [value.decode("utf-8", "replace") for value in values]
        for key, values in args.items()
    }


def first(form: Form, name: str) -> str | None:
    """The parameter, if it is there."""
    return form[name][0] if form.get(name) else None


def needed(form: Form, name: str) -> str:
    """The parameter. Raises BadRequest."""
    value = first(form, name)
    if value is None:
        raise BadRequest(f"{name} is required", {"parameter": name})
    return value


def shown_ticket(ticket: Ticket) -> Response:
    """The answer that Docker's clients, and OAuth's, understand."""
    shown: dict[str, Any] = {
        "token": ticket.token,
        "access_token": ticket.token,
        "token_type": "Bearer",
        "issued_token_type": "urn:ietf:params:oauth:token-type:access_token",
        "expires_in": ticket.seconds,
        "issued_at": rfc3339(datetime.now(UTC).replace(microsecond=0)),
    }
    if ticket.refresh is not None:
        shown["refresh_token"] = ticket.refresh
    return json_response(200, shown, NO_STORE)
