"""What a request carries beside its path: parameters of the query, and a JSON body."""

from __future__ import annotations

import json
from typing import Any

from artifactapi.api.site import Request
from artifactapi.oci.errors import BadRequest, BodyTooLarge

MOST_BYTES = 1024 * 1024


def argument(request: Request, key: bytes) -> str | None:
    """The last value of a query parameter."""
    values = request.args.get(key)
    return values[-1].decode("utf-8", "replace") if values else None


def flag(request: Request, name: str) -> bool:
    """Whether a parameter is true; it is false where it is not given. Raises BadRequest."""
    value = argument(request, name.encode())
    if value not in (None, "true", "false"):
        raise BadRequest(f"{name} must be true or false", {"parameter": name})
    return value == "true"


def known(name: str) -> str:
    """A name the database can be asked for; nothing has a NUL in its name."""
    return name.replace("\0", "�")


async def read_document(request: Request) -> None:
    """Wait for the body of a request that changes something. Raises BodyTooLarge, ClientGone."""
    too_large = BodyTooLarge(f"the body has more than {MOST_BYTES} bytes")
    request.document = await request.body.read_all(MOST_BYTES, too_large)


def json_body(request: Request) -> Any:
    """The request's JSON. Raises BadRequest."""
    try:
        return json.loads(request.document)
    except (ValueError, RecursionError):
        raise BadRequest("the body is not valid JSON") from None
