"""What Twisted's failures mean."""

from __future__ import annotations

from collections.abc import Iterator

from OpenSSL.SSL import Error as TlsError
from service_identity import CertificateError, VerificationError
from twisted.internet import defer, error

from artifactapi.oci.errors import clip
from artifactapi.upstream.errors import Broken, Kind

_CANCELLED = (defer.CancelledError, error.ConnectingCancelledError)
# The first that fits one of the causes counts.
_KINDS: tuple[tuple[tuple[type[BaseException], ...], Kind], ...] = (
    ((TlsError, VerificationError, CertificateError), "tls"),
    ((error.DNSLookupError,), "dns"),
    ((error.TimeoutError, error.TCPTimedOutError, defer.TimeoutError), "timeout"),
    ((error.ConnectError,), "connect"),
)
_LOST = (error.ConnectionDone, error.ConnectionLost)


def explained(failed: BaseException, lost: Kind) -> Broken:
    """The error to raise; `lost` is what a lost connection means here. Raises CancelledError if we gave up."""
    causes = list(_causes(failed))
    if any(isinstance(cause, _CANCELLED) for cause in causes):
        raise defer.CancelledError from failed
    for types, kind in _KINDS:
        for cause in causes:
            if isinstance(cause, types):
                return Broken(kind, clip(str(cause), 200))
    # We abort a connection ourselves when headers are too long, and Twisted has one exception for each other fault.
    # That a body had not ended is among the causes as well, with a name that is private.
    clean = all(isinstance(cause, _LOST) or type(cause).__name__ == "_DataLoss" for cause in causes)
    return Broken(lost if clean else "malformed")


def _causes(failed: BaseException) -> Iterator[BaseException]:
    """Twisted puts the causes of a failed request into lists in exceptions."""
    reasons = getattr(failed, "reasons", None)
    if not reasons:
        yield failed
        return
    for reason in reasons:
        yield from _causes(reason.value)
