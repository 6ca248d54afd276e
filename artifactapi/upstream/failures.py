"""What Twisted's failures mean."""

from __future__ import annotations

from collections.abc import Iterator

from OpenSSL.SSL import Error as TlsError
from service_identity import CertificateError, VerificationError
from twisted.internet import defer, error

from artifactapi.oci.errors import clip
from artifactapi.upstream.errors import Broken, Kind

# The first that fits one of the causes counts.
_KINDS: tuple[tuple[tuple[type[BaseException], ...], Kind], ...] = (
    ((TlsError, VerificationError, CertificateError), "tls"),
    ((error.DNSLookupError,), "dns"),
    ((error.TimeoutError, error.TCPTimedOutError, defer.TimeoutError), "timeout"),
    ((error.ConnectError,), "connect"),
)


def explained(failed: BaseException, lost: Kind) -> Broken:
    """The error to raise; `lost` is what a lost connection means here."""
    causes = list(_causes(failed))
    for types, kind in _KINDS:
        for cause in causes:
            if isinstance(cause, types):
                return Broken(kind, clip(str(cause), 200))
    return Broken(lost if all(map(_is_loss, causes)) else "malformed")


def _is_loss(cause: BaseException) -> bool:
    """Whether the other side ended the connection; we do it ourselves when headers are too long."""
    if isinstance(cause, error.ConnectionAborted):
        return False
    # That a body had not ended is a cause of its own, of a private type.
    return isinstance(cause, error.ConnectionDone | error.ConnectionLost) or type(cause).__name__ == "_DataLoss"


def _causes(failed: BaseException) -> Iterator[BaseException]:
    """Twisted puts the causes of a failed request into lists in exceptions."""
    reasons = getattr(failed, "reasons", None)
    if not reasons:
        yield failed
        return
    for reason in reasons:
        yield from _causes(reason.value)
