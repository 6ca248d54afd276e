"""The Klein application: every address this daemon has beside /v2/."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from klein import Klein, Response
from twisted.python.failure import Failure
from twisted.web.resource import IResource

from artifactapi.api.endpoint import Endpoint
from artifactapi.api.errors import from_failure
from artifactapi.api.guard import Guard, Rule
from artifactapi.api.parameters import read_document
from artifactapi.api.site import Request
from artifactapi.shield import detached


def application(endpoints: Iterable[Endpoint], guard: Guard) -> IResource:
    """The resource that serves these."""
    klein = Klein()
    # Before the first rule, which copies them. Werkzeug would redirect to absolute http:// addresses.
    klein.url_map.merge_slashes = False
    klein.url_map.strict_slashes = False
    klein.handle_errors(Exception)(failed)  # type: ignore[arg-type]  # Klein's own type knows no Request of ours
    for number, endpoint in enumerate(endpoints):
        # Of two handlers of one name, Klein would call the second for both.
        klein.route(endpoint.path, methods=endpoint.methods, endpoint=str(number))(guarded(endpoint, guard))
    resource: IResource = klein.resource()
    return resource


def guarded(endpoint: Endpoint, guard: Guard) -> Callable[..., Any]:
    """The endpoint's handler, for whoever may use it."""

    async def admitted(request: Request, **parts: Any) -> Response:
        repo = endpoint.repo_of(parts)
        if endpoint.writes:
            guard.refuse_foreign(request)
        await guard.admit(request, endpoint.rule, repo=repo)
        if endpoint.writes and endpoint.rule is not Rule.ANYONE:
            await read_document(request)
            await guard.refresh()
            # Once more: who was an administrator when his body began could make himself one again, for ever.
            await guard.admit(request, endpoint.rule, repo=repo)
        return await endpoint.answer(request, **parts)

    def handler(request: Request, **parts: Any) -> Any:
        request.route = endpoint.name
        work = admitted(request, **parts)
        return detached(work) if endpoint.writes else work

    return handler


def failed(request: Request, failure: Failure) -> Response:
    """Whatever a handler raised."""
    return from_failure(failure, request.request_id)
