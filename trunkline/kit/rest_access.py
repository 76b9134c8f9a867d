"""Who asks, and how a refusal is said: what the REST API has alike on all its paths."""

from __future__ import annotations

import msgspec

from trunkline.kit.desk import Reply
from trunkline.kit.protocol import Answer, Failure, Request
from trunkline.kit.tracking_checks import Problem, describe, problem
from trunkline.kit.write_keys import Grant, Keyring
from trunkline.model import refusal_rest
from trunkline.model.refusal import ErrorRow
from trunkline.model.snapshot import Snapshot

FULL_SECONDS = 60  # when to come back where too many orders wait

_encode = msgspec.json.Encoder().encode


def find_grant(request: Request, snapshot: Snapshot) -> Grant | Problem:
    """Return the key of the request, if it is one of the app that the request names."""
    for header in ("X-Application-Id", "X-API-Key"):
        if not request.headers.get(header.lower(), "").strip():
            return problem(refusal_rest.REST_NO_KEY, header=header)
    grant = Keyring(request, snapshot).find(request.headers["x-api-key"].strip())
    if grant is None or grant.app.id != request.headers["x-application-id"].strip():
        return problem(refusal_rest.REST_KEY)
    return grant


def find_server_problem(grant: Grant) -> Problem | None:
    """Say why a key may not do what only back ends may, where it may not."""
    if grant.problem is None and grant.key.type == "client":
        return problem(refusal_rest.REST_SERVER_ONLY, key=describe(grant.key.name))
    return grant.problem


def tell_ordered(full: ErrorRow, reply: Reply) -> Answer:
    """Say that an order was taken, or that too many wait: `full` is the row that says so."""
    if reply.outcome == "full":
        answer = error_answer(problem(full))
        return msgspec.structs.replace(answer, headers=(("Retry-After", str(FULL_SECONDS)),))
    return Answer(202, reply.value)


def error_answer(found: Problem) -> Answer:
    """Return the answer that refuses a whole request."""
    return Answer(found.status, error_body(found.code, found.message, found.hint))


def failure_answer(failure: Failure) -> Answer:
    """Say a failure with every field that some client parses."""
    seconds = failure.retry_after_seconds
    headers = () if seconds is None else (("Retry-After", str(int(seconds))),)
    body = error_body(failure.code, failure.sentence, "")
    return Answer(failure.status, body, headers=headers)


def error_body(code: str, message: str, details: str) -> bytes:
    """Write an error. A mistyped path of the tracking API may land here, so its fields are too."""
    return _encode(
        {
            "status": "error",
            "success": False,
            "code": code,
            "message": message,
            "error": {"code": code, "message": message},
            "Error": code,
            "Message": message,
            "Details": details,
        }
    )
