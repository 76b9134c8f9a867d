"""Reads for back ends: a person, an event's story, and the erasure of a person.

`GET /v1/users/{id}`, `GET /v1/events/{id}`, `DELETE /v1/users/{id}`, `GET /v1/erasures/{job}`, with
a Server key in the headers of the REST API. The gateway hands paths over decoded, so an id with a
slash would be two segments: such an id may stand in the query instead, as `?id=`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import ClassVar

import msgspec

from trunkline.kit.desk import (
    ErasureAsked,
    ErasureOrdered,
    EventAsked,
    Inquiry,
    Question,
    Reply,
    UserAsked,
)
from trunkline.kit.identifiers import VALUE_CHARACTERS_MAX
from trunkline.kit.json_repair import is_text, mend_text
from trunkline.kit.protocol import Answer, Decoded, Failure, Normalised, Protocol, Request, Route
from trunkline.kit.rest_access import (
    error_answer,
    failure_answer,
    find_grant,
    find_server_problem,
    tell_ordered,
)
from trunkline.kit.rest_intake import RestIntake
from trunkline.kit.tracking_checks import MESSAGE_ID_MAX, Problem, describe, problem
from trunkline.kit.write_keys import Grant, read_query
from trunkline.model import refusal_reads, refusal_rest
from trunkline.model.record import AcceptedEvent
from trunkline.model.refusal import ErrorRow
from trunkline.model.snapshot import App, Snapshot

BODY_BYTES_MAX = 65_536  # of a body that nobody reads: some clients send one with DELETE

_USERS, _EVENTS, _ERASURES = "/v1/users", "/v1/events", "/v1/erasures"
_WORDS = {"": False, "false": False, "true": True}


def _routes() -> tuple[Route, ...]:
    asked = (("GET", _USERS), ("DELETE", _USERS), ("GET", _EVENTS), ("GET", _ERASURES))
    return tuple(
        Route(method, path + end, BODY_BYTES_MAX, BODY_BYTES_MAX)  # pyright: ignore[reportArgumentType] two literals
        for method, path in asked
        for end in ("/{id}", "")
    )


class ReadsProtocol(Protocol):
    """Reads and erasures."""

    name: ClassVar[str] = "reads"
    routes: ClassVar[Sequence[Route]] = _routes()

    def decode(self, request: Request, snapshot: Snapshot) -> Decoded:
        """Judge a request by its head. Never raises for what the client sent."""
        grant = find_grant(request, snapshot)
        if isinstance(grant, Problem):
            return Decoded(error_answer(grant))  # nobody's: whoever sends these may be anybody
        obstacle = _find_obstacle(grant, snapshot)
        if obstacle is not None:
            return RestIntake(self.name, request, snapshot, grant).refuse(obstacle)
        inquiry = _read(request, grant)
        used = (grant.presented,)
        if isinstance(inquiry, Problem):
            return Decoded(error_answer(inquiry), used=used)
        # The gateway sends what the inquiry tells, and never this answer.
        return Decoded(Answer(503, b""), used=used, inquiry=inquiry)

    def failure(self, request_path: str, failure: Failure) -> Answer:
        """Say a failure as all paths of the REST API do; and where an id with a slash belongs."""
        begin = "/".join(request_path.split("/")[:3])
        if failure.code == "not_found" and begin in (_USERS, _EVENTS, _ERASURES):
            sentence = (
                f"There is no {request_path[:200]} here; send an id that holds a slash in the "
                f"query, percent-encoded: {begin}?id="
            )
            failure = msgspec.structs.replace(failure, sentence=sentence)
        return failure_answer(failure)

    def normalise(self, record: AcceptedEvent, app: App | None) -> Normalised:
        """Refuse: no event comes this way."""
        raise LookupError(f"no event is stored as {record.protocol} of {app and app.id}")


def _find_obstacle(grant: Grant, snapshot: Snapshot) -> Problem | None:
    if "rest" not in snapshot.plan.features:
        return problem(refusal_rest.REST_NOT_IN_PLAN)
    return find_server_problem(grant)


def _read(request: Request, grant: Grant) -> Inquiry | Problem:
    """Return what is asked."""
    # Whose id it is is never guessed: U+FFFD for other bytes may be what somebody's id holds.
    query = read_query(request.query, errors="surrogateescape")
    id_ = request.params.get("id") or query.get("id", "")
    path, app = request.route.path.removesuffix("/{id}"), grant.app.id
    limit = VALUE_CHARACTERS_MAX if path == _USERS else MESSAGE_ID_MAX
    if not 0 < len(id_) <= limit or not is_text(id_):
        return problem(refusal_reads.READS_ID, came=_tell_id(id_), limit=str(limit))
    if path == _EVENTS:
        return _ask(EventAsked(app=app, id=id_), refusal_reads.READS_NO_EVENT, id_)
    if path == _ERASURES:
        return _ask(ErasureAsked(app=app, job=id_), refusal_reads.READS_NO_JOB, id_)
    if request.route.method == "GET":
        return _ask(UserAsked(app=app, id=id_), refusal_reads.READS_NO_USER, id_)
    said = query.get("suppress", "")
    suppress = _WORDS.get(said.lower())
    if suppress is None:
        return problem(refusal_reads.READS_SUPPRESS, came=describe(mend_text(said)))
    order = ErasureOrdered(app=app, id=id_, key=grant.key.name, suppress=suppress)
    return Inquiry(order, partial(tell_ordered, refusal_reads.READS_FULL))


def _tell_id(id_: str) -> str:
    if not id_:
        return "missing"
    return f"{len(id_)} characters long" if is_text(id_) else "no UTF-8"


def _ask(question: Question, row: ErrorRow, id_: str) -> Inquiry:
    tell: Callable[[Reply], Answer] = partial(_tell, row, id_)
    return Inquiry(question, tell)


def _tell(row: ErrorRow, id_: str, reply: Reply) -> Answer:
    if reply.outcome == "missing":
        return error_answer(problem(row, came=describe(id_)))
    return Answer(200, reply.value)
