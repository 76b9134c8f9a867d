"""What a request that never became an answer means: one cause of a closed set, one outcome."""

from __future__ import annotations

import errno
import socket
import ssl
from typing import Literal, get_args

from trunkline.forwarder.http_connection import BadAnswer, Closed, Closing
from trunkline.kit.destination import NoAnswer
from trunkline.model.outcome import Blocked, Outcome, Rejected, Retry

Cause = Literal[
    "timeout",
    "connection refused",
    "connection reset",
    "connection closed",
    "unreachable",
    "bad answer",
    "TLS handshake failed",
    "TLS certificate",
    "name lookup failed",
    "no such host",
    "forbidden address",
    "invalid URL",
    "URL too long",
    "invalid request",
    "closing",
    "failed",
]
CAUSES: tuple[Cause, ...] = get_args(Cause)

# The first that an exception is one of.
_CAUSE_OF: tuple[tuple[type[Exception], Cause], ...] = (
    (TimeoutError, "timeout"),
    (ConnectionRefusedError, "connection refused"),
    (ConnectionResetError, "connection reset"),
    (ConnectionAbortedError, "connection reset"),
    (BrokenPipeError, "connection reset"),
    (Closed, "connection closed"),
    (ssl.SSLError, "connection closed"),  # one that was made: what came was cut
    (Closing, "closing"),
    (BadAnswer, "bad answer"),
)
_UNREACHABLE = (errno.ENETUNREACH, errno.EHOSTUNREACH, errno.ENETDOWN, errno.EHOSTDOWN)


class SendFailed(NoAnswer):
    """A request got no answer. `outcome` is what that means, `cause` the closed-set word for it.

    `is_unsent` says that no connection was made: another address of the host may be tried.
    """

    def __init__(self, cause: Cause, outcome: Outcome, *, is_unsent: bool = False) -> None:
        # What blocks or rejects is found before anything is sent.
        was_sent = isinstance(outcome, Retry) and not is_unsent
        super().__init__(outcome, f"{cause}: {outcome}", was_sent=was_sent)
        self.cause: Cause = cause
        self.is_unsent = is_unsent


def retry(cause: Cause, *, is_unsent: bool = False) -> SendFailed:
    """Return the failure that means: the same again, later."""
    return SendFailed(cause, Retry(cause), is_unsent=is_unsent)


def blocked(cause: Cause, sentence: str) -> SendFailed:
    """Return the failure that a person must mend; `sentence` tells them what."""
    return SendFailed(cause, Blocked(sentence))


def rejected(cause: Cause, sentence: str) -> SendFailed:
    """Return the failure that lies in this event and no other."""
    return SendFailed(cause, Rejected(sentence))


def failure_of(error: Exception) -> SendFailed:
    """Return what means that no answer came to a request which was sent."""
    return retry(_cause_of(error))


def connect_failure_of(error: Exception, host: str) -> SendFailed:
    """Return what it means that no connection to `host` was made."""
    if isinstance(error, ssl.SSLCertVerificationError):
        why = error.verify_message[:200]
        return blocked("TLS certificate", f"TLS certificate of {host} refused: {why}")
    if isinstance(error, UnicodeError):
        return _no_name(host)
    cause = "TLS handshake failed" if isinstance(error, ssl.SSLError) else _cause_of(error)
    return retry(cause, is_unsent=True)


def lookup_failure_of(error: OSError | UnicodeError, host: str) -> SendFailed:
    """Return what a failed name lookup means: NXDOMAIN blocks, a resolver in trouble does not."""
    if isinstance(error, UnicodeError):
        return _no_name(host)
    # EAI_NODATA: the name exists and has no address. Either way a person mends it.
    if error.errno in (socket.EAI_NONAME, socket.EAI_NODATA):
        return blocked("no such host", f"{host} does not exist in DNS; correct the URL or the name")
    return retry("name lookup failed", is_unsent=True)


def _no_name(host: str) -> SendFailed:
    return blocked("invalid URL", f"{host[:80]!r} is no host name; correct the URL")


def _cause_of(error: Exception) -> Cause:
    for kind, cause in _CAUSE_OF:
        if isinstance(error, kind):
            return cause
    if isinstance(error, OSError) and error.errno in _UNREACHABLE:
        return "unreachable"
    return "failed"
