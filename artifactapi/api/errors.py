"""Exceptions into answers: the only place that does."""

from __future__ import annotations

from klein import Response
from twisted.internet.defer import CancelledError
from twisted.logger import Logger
from twisted.python.failure import Failure
from werkzeug.exceptions import HTTPException

from artifactapi.api.responses import respond
from artifactapi.oci.errors import InternalError, NotFound, OciError, Unsupported, body
from artifactapi.oci.fields import FieldsInvalid
from artifactapi.registry.intake import ClientGone

log = Logger()


def answer(error: OciError) -> Response:
    """The error's status, headers and JSON."""
    errors = error.errors if isinstance(error, FieldsInvalid) else [error]
    return respond(error.status, body(errors), error.headers)


def from_failure(failure: Failure, request_id: str) -> Response:
    """The answer for whatever a handler raised."""
    error = failure.value
    if isinstance(error, OciError):
        if error.status >= 500:
            log.warn("request {request_id}: {error}", request_id=request_id, error=error.message)
        return answer(error)
    if isinstance(error, HTTPException):
        return answer(from_http(error))
    if isinstance(error, CancelledError | ClientGone):  # nobody is there to read it
        return respond(499)
    log.failure("request {request_id} failed", failure, request_id=request_id)
    return answer(InternalError("internal error", {"request": request_id}))


def from_http(error: HTTPException) -> OciError:
    """Werkzeug's routing errors in the OCI form."""
    if error.code == 405:
        allowed = sorted(getattr(error, "valid_methods", None) or ())
        return Unsupported("method not allowed here", headers={"Allow": ", ".join(allowed)})
    return NotFound("no such address")
