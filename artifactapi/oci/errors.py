"""The errors of the registry API, as exceptions that know their code and their HTTP status."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar


class OciError(Exception):
    """A request that cannot be served, in the words of the distribution-spec's error table.

    `message` is for people, `detail` is any JSON value for programs (None: left out), `headers` go with the answer.
    """

    code: ClassVar[str] = "UNKNOWN"
    status: ClassVar[int] = 500

    def __init__(self, message: str, detail: object = None, headers: Mapping[str, str] | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.detail = detail
        self.headers: dict[str, str] = dict(headers or {})


class InternalError(OciError):
    """Something here is broken; the client did nothing wrong."""


class Unauthorized(OciError):
    """Who is it? The answer carries WWW-Authenticate."""

    code = "UNAUTHORIZED"
    status = 401


class Denied(OciError):
    """Known, and not allowed."""

    code = "DENIED"
    status = 403


class BadRequest(OciError):
    """A request that cannot be understood: malformed HTTP, or JSON, or a parameter out of its values."""

    code = "BAD_REQUEST"
    status = 400


class BodyTooLarge(OciError):
    """More bytes than this address takes."""

    code = "SIZE_INVALID"
    status = 413


class NotFound(OciError):
    """No such address."""

    code = "NOT_FOUND"
    status = 404


class Unsupported(OciError):
    """The address exists, the method or the operation does not."""

    code = "UNSUPPORTED"
    status = 405


class RequestTimeout(OciError):
    """A request that comes too slowly."""

    code = "REQUEST_TIMEOUT"
    status = 408


class HeadTooLarge(OciError):
    """A request line and headers above the limit."""

    code = "HEADERS_TOO_LARGE"
    status = 431


class UriTooLong(OciError):
    """More in the query than is taken at once (end-point 7b)."""

    code = "URI_TOO_LONG"
    status = 414


class NameInvalid(OciError):
    """A name outside the grammar."""

    code = "NAME_INVALID"
    status = 400


class NameUnknown(OciError):
    """A name that nothing here has."""

    code = "NAME_UNKNOWN"
    status = 404


class TagInvalid(OciError):
    """A tag outside the grammar."""

    code = "TAG_INVALID"
    status = 400


class DigestInvalid(OciError):
    """A digest that cannot be one, or is not that of the content."""

    code = "DIGEST_INVALID"
    status = 400


class SizeInvalid(OciError):
    """A length that is not that of the content."""

    code = "SIZE_INVALID"
    status = 400


class PaginationInvalid(OciError):
    """A page that cannot be asked for (end-points 8 and 12)."""

    code = "PAGINATION_NUMBER_INVALID"
    status = 400


class ManifestUnknown(OciError):
    """No such manifest in the image."""

    code = "MANIFEST_UNKNOWN"
    status = 404


class ManifestInvalid(OciError):
    """A manifest that cannot be understood."""

    code = "MANIFEST_INVALID"
    status = 400


class ManifestTooLarge(OciError):
    """A manifest above the limit (end-point 7a)."""

    code = "SIZE_INVALID"
    status = 413


class ManifestBlobUnknown(OciError):
    """A manifest names content that its image does not have."""

    code = "MANIFEST_BLOB_UNKNOWN"
    status = 404


class BlobUnknown(OciError):
    """No such blob in the image."""

    code = "BLOB_UNKNOWN"
    status = 404


class BlobTooLarge(OciError):
    """A blob above the limit."""

    code = "SIZE_INVALID"
    status = 413


class RangeNotSatisfiable(OciError):
    """A download asks for bytes that do not exist (end-point 2)."""

    code = "RANGE_INVALID"
    status = 416


class BlobUploadUnknown(OciError):
    """No such upload session."""

    code = "BLOB_UPLOAD_UNKNOWN"
    status = 404


class BlobUploadInvalid(OciError):
    """An upload request that cannot be understood."""

    code = "BLOB_UPLOAD_INVALID"
    status = 400


class RangeInvalid(OciError):
    """A chunk that is not the next one (end-points 5 and 6)."""

    code = "BLOB_UPLOAD_INVALID"
    status = 416


class UploadConflict(OciError):
    """Another writer took the session over."""

    code = "BLOB_UPLOAD_INVALID"
    status = 409


class TooManyRequests(OciError):
    """Slow down. The answer carries Retry-After."""

    code = "TOOMANYREQUESTS"
    status = 429


class BadGateway(OciError):
    """The upstream of a remote repo cannot be reached, or does not do what it must."""

    code = "UPSTREAM_UNAVAILABLE"
    status = 502


class GatewayTimeout(OciError):
    """The upstream of a remote repo does not answer in time."""

    code = "UPSTREAM_UNAVAILABLE"
    status = 504


class Unavailable(OciError):
    """The database or the store does not answer now; the same request may succeed later."""

    code = "UNAVAILABLE"
    status = 503


class Refused(Unavailable):
    """The database or the store answers, and says no for a reason that no waiting will change."""


class StoreFull(OciError):
    """No room for more bytes."""

    code = "UNAVAILABLE"
    status = 507


def body(errors: Sequence[OciError]) -> bytes:
    """The JSON of an error answer: {"errors": [{"code", "message", "detail"}]}, ASCII only."""
    shown = [_entry(error) for error in errors]
    return json.dumps({"errors": shown}, separators=(",", ":"), default=str).encode("ascii")


def clip(text: str, most: int = 100) -> str:
    """`text` as it may be shown in a message: what a client sent is not echoed without end."""
    return text if len(text) <= most else f"{text[:most]}…"


def _entry(error: OciError) -> dict[str, Any]:
    entry: dict[str, Any] = {"code": error.code, "message": error.message}
    if error.detail is not None:
        entry["detail"] = error.detail
    return entry
