"""Failures of the gateway itself, and the shape they take where no protocol gives one.

The shape is the superset that every known client library parses: a 400 without `code` and
`message` makes some of them crash and send for ever (tracking contract).
"""

from __future__ import annotations

import msgspec

from trunkline.gateway.limits import Scope, Wait
from trunkline.kit.eventlog import LogFailure
from trunkline.kit.json_repair import is_text
from trunkline.kit.protocol import Answer, Failure, Protocol

NOT_LOADED = Failure(
    "not_loaded", 503, "The catalog is not loaded yet; nothing was stored. Send again.", 2
)
INTERNAL = Failure(
    "internal", 503, "A defect on our side; nothing was stored. Send again, and tell us the id.", 5
)


NO_TEXT = Failure(
    "bad_path",
    400,
    "The path holds bytes that are no UTF-8, so it names nothing; write each id as UTF-8, then "
    "percent-encode its bytes (é is %C3%A9).",
)


def no_such_path(path: str) -> Failure:
    """Say that no protocol has this path, or that it is none."""
    if not is_text(path):
        return NO_TEXT
    return Failure("not_found", 404, f"There is no {path[:200]} here; check the path.")


def wrong_method(method: str, path: str, allow: tuple[str, ...]) -> Failure:
    """Say which methods the path has."""
    return Failure(
        "method_not_allowed", 405, f"{path[:200]} takes {', '.join(allow)}, not {method[:20]}."
    )


_WHOSE_RATE: dict[Scope, str] = {
    "app": "The app's rate limit",
    "key": "The rate limit of this key",
    "address": "The rate limit of this key for one address",
}


def rate_limited(wait: Wait) -> Failure:
    """Say whose limit it is, and when to come back."""
    sentence = f"{_WHOSE_RATE[wait.scope]} is reached; send again in {wait.seconds} s."
    return Failure("rate_limited", 429, sentence, wait.seconds)


def unavailable(failure: LogFailure) -> Failure:
    """Say that the log could not make it durable. The reason is for the operator, not for them."""
    return Failure(
        "unavailable",
        503,
        "The event could not be made durable; nothing was stored. Send again.",
        failure.retry_after_seconds,
    )


def shape_failure(protocol: Protocol | None, path: str, failure: Failure) -> Answer:
    """Return the failure in the protocol's shape, or in the superset where there is none."""
    if protocol is not None:
        return protocol.failure(path, failure)
    return Answer(failure.status, describe(failure.code, failure.sentence))


def describe(code: str, sentence: str) -> bytes:
    """Return a failure in the superset that every known client library parses."""
    return msgspec.json.encode(
        {
            "success": False,
            "code": code,
            "message": sentence,
            "error": {"code": code, "message": sentence},
            "Error": code,
            "Message": sentence,
            "Details": sentence,
        }
    )
