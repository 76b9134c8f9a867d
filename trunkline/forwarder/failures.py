"""What a request that never became an answer means: one cause of a closed set, one outcome.

The HTTP client tells failures as a class and a chain of sentences. They are read here and nowhere
else, because the sentences are its words and not a contract: what none of them matches is
`failed`, a retry, so that a new version can make a reason vaguer but never lose an event.
"""

from __future__ import annotations

import socket
from typing import Literal, get_args

from pyreqwest.exceptions import (
    BuilderError,
    ClientClosedError,
    DecodeError,
    DetailedPyreqwestError,
    PyreqwestError,
    RequestTimeoutError,
)

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

# The first that is found in the client's sentences names the cause; "Connect" are those of a
# connection that was being made, when nothing had been sent.
_SENTENCES: tuple[tuple[str, Cause], ...] = (
    ("Connection refused", "connection refused"),
    ("Connection reset", "connection reset"),
    ("Broken pipe", "connection reset"),
    ("Connection aborted", "connection reset"),
    ("closed before message completed", "connection closed"),
    ("end of file before message length", "connection closed"),
    ("unexpected end of file", "connection closed"),
    ("unexpected EOF", "connection closed"),
    ("without sending TLS close_notify", "connection closed"),
    ("unreachable", "unreachable"),
    ("No route to host", "unreachable"),
    ("deadline has elapsed", "timeout"),
    ("timed out", "timeout"),
)
_CONNECTING = "client error (Connect)"
_CERTIFICATE = "invalid peer certificate"
_TLS_PHRASES = ("received corrupt message", "received fatal alert", "peer is incompatible", "tls")


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


def failure_of(error: PyreqwestError | TimeoutError, host: str) -> SendFailed:
    """Return what an exception of the HTTP client means for a request to `host`."""
    sentences = _sentences(error)
    is_unsent = any(_CONNECTING in sentence for sentence in sentences)
    for sentence in sentences:
        if _CERTIFICATE in sentence:
            why = sentence.partition(_CERTIFICATE)[2].lstrip(": ")[:200]
            return blocked("TLS certificate", f"TLS certificate of {host} refused: {why}")
    if isinstance(error, BuilderError):
        return blocked("invalid request", f"no request to {host} can be made: {sentences[-1]}")
    if isinstance(error, ClientClosedError):
        return retry("closing")
    return retry(_cause_of(error, sentences, is_unsent=is_unsent), is_unsent=is_unsent)


def lookup_failure_of(error: OSError | UnicodeError, host: str) -> SendFailed:
    """Return what a failed name lookup means: NXDOMAIN blocks, a resolver in trouble does not."""
    if isinstance(error, UnicodeError):
        return blocked("invalid URL", f"{host[:80]!r} is no host name; correct the URL")
    # EAI_NODATA: the name exists and has no address. Either way a person mends it.
    if error.errno in (socket.EAI_NONAME, socket.EAI_NODATA):
        return blocked("no such host", f"{host} does not exist in DNS; correct the URL or the name")
    return retry("name lookup failed", is_unsent=True)


def _cause_of(error: Exception, sentences: list[str], *, is_unsent: bool) -> Cause:
    if isinstance(error, TimeoutError | RequestTimeoutError):
        return "timeout"
    for text, cause in _SENTENCES:
        if any(text in sentence for sentence in sentences):
            return cause
    if isinstance(error, DecodeError):
        return "bad answer"
    if is_unsent and any(phrase in s for s in sentences for phrase in _TLS_PHRASES):
        return "TLS handshake failed"
    return "failed"


def _sentences(error: Exception) -> list[str]:
    causes = error.details["causes"] if isinstance(error, DetailedPyreqwestError) else None
    # A sentence that quotes the URL is left out: an operator's URL may hold any word, or a secret.
    said = [cause["message"] for cause in causes or () if " for url (" not in cause["message"]]
    return said or [type(error).__name__]
