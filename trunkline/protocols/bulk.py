"""Bulk imports over HTTP: `POST /v1/bulk` takes a file of history, `GET /v1/bulk/{id}` tells of it.

For back ends, with a Server key. The request is judged by its head alone: the file is as large as
it likes, and is read by the gateway into a file (`Route.is_spooled`). What its lines come to is
found out later (`bulk/worker.py`), so the answer is 202 with an id to ask by.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import ClassVar
from urllib.parse import parse_qsl

import msgspec

from trunkline.kit.desk import ImportAsked, ImportOrdered, Inquiry, Question, Reply
from trunkline.kit.import_terms import (
    ImportFormat,
    ImportKind,
    ImportTerms,
    MappingError,
    check_said,
)
from trunkline.kit.protocol import Answer, Decoded, Failure, Normalised, Protocol, Request, Route
from trunkline.kit.rest_access import (
    error_answer,
    failure_answer,
    find_grant,
    find_server_problem,
    tell_ordered,
)
from trunkline.kit.rest_intake import RestIntake
from trunkline.kit.tracking_checks import Problem, describe, problem
from trunkline.kit.write_keys import Grant
from trunkline.model import refusal_bulk
from trunkline.model.record import AcceptedEvent
from trunkline.model.snapshot import App, Snapshot

PARAMETERS = ("kind", "format", "mapping", "set", "historical")
FIELDS_MAX = 2_000  # of a query
COLUMNS_MAX = 1_000

_PATH = "/v1/bulk"
_KINDS: Mapping[str, ImportKind] = {"events": "events", "users": "users"}
_FORMATS: Mapping[str, ImportFormat] = {"ndjson": "ndjson", "jsonl": "ndjson", "csv": "csv"}
_TYPES: Mapping[str, ImportFormat] = {
    "application/x-ndjson": "ndjson",
    "application/ndjson": "ndjson",
    "application/jsonl": "ndjson",
    "application/x-jsonlines": "ndjson",
    "application/json-lines": "ndjson",
    "text/csv": "csv",
    "application/csv": "csv",
}
_ENCODINGS = ("", "identity", "gzip", "x-gzip", "zstd")
_WORDS = {"true": True, "false": False}

_Said = dict[str, list[str]]


class BulkProtocol(Protocol):
    """Bulk imports."""

    name: ClassVar[str] = "bulk"
    routes: ClassVar[Sequence[Route]] = (
        Route("POST", _PATH, 0, 0, is_spooled=True),
        Route("GET", _PATH, 0, 0),
        Route("GET", f"{_PATH}/{{id}}", 0, 0),
        Route("GET", f"{_PATH}/{{id}}/rejects", 0, 0),
    )

    def decode(self, request: Request, snapshot: Snapshot) -> Decoded:
        """Judge a request by its head. Never raises for what the client sent."""
        grant = find_grant(request, snapshot)
        if isinstance(grant, Problem):
            return Decoded(error_answer(grant))  # nobody's: whoever sends these may be anybody
        if "bulk" not in snapshot.plan.features:
            missing = problem(refusal_bulk.BULK_NOT_IN_PLAN)
            return RestIntake(self.name, request, snapshot, grant).refuse(missing)
        obstacle = find_server_problem(grant)
        if obstacle is not None:
            return RestIntake(self.name, request, snapshot, grant).refuse(obstacle)
        if request.route.method == "POST":
            terms = _read_terms(request)
            if isinstance(terms, Problem):
                return RestIntake(self.name, request, snapshot, grant).refuse(terms)
            order = ImportOrdered(app=grant.app.id, key=grant.key.name, terms=terms)
            return _inquire(order, partial(tell_ordered, refusal_bulk.BULK_FULL), grant)
        job = request.params.get("id", "")
        asks_rejects = request.route.path.endswith("/rejects")
        asked = ImportAsked(app=grant.app.id, job=job, rejects=asks_rejects)
        tell = partial(_tell_rejects if asks_rejects else _tell_import, job)
        return _inquire(asked, tell, grant)

    def failure(self, request_path: str, failure: Failure) -> Answer:  # noqa: ARG002
        """Say a failure as all paths of the REST API do."""
        return failure_answer(failure)

    def normalise(self, record: AcceptedEvent, app: App | None) -> Normalised:
        """Refuse: what is in a file is stored under the protocol whose shape its lines have."""
        raise LookupError(f"no event is stored as {record.protocol} of {app and app.id}")


def _inquire(question: Question, tell: Callable[[Reply], Answer], grant: Grant) -> Decoded:
    # The gateway sends what `tell` makes of the reply, and never this answer.
    return Decoded(Answer(503, b""), used=(grant.presented,), inquiry=Inquiry(question, tell))


# The terms of a file.


def _read_terms(request: Request) -> ImportTerms | Problem:
    """Return what the parameters and headers say of the file."""
    said = _read_said(request.query)
    if isinstance(said, Problem):
        return said
    kind = _KINDS.get(",".join(said["kind"]))
    if kind is None:
        return _explain_parameter("kind", said, "kind=events or kind=users")
    historical = _WORDS.get(",".join(said["historical"] or ["true"]))
    if historical is None:
        return _explain_parameter("historical", said, "true or false, or leave it out")
    format_ = _read_format(said, request.headers)
    if isinstance(format_, Problem):
        return format_
    obstacle = _judge_body(request.headers)
    if obstacle is not None:
        return obstacle
    return _read_columns(said, ImportTerms(format_, historical, {}, {}, kind))


def _read_said(query: str) -> _Said | Problem:
    try:
        pairs = parse_qsl(query, keep_blank_values=True, max_num_fields=FIELDS_MAX, errors="strict")
    except UnicodeDecodeError:
        row = refusal_bulk.BULK_PARAMETER
        return problem(row, name="list", came="no UTF-8", expected="percent-encoded UTF-8")
    except ValueError:
        row = refusal_bulk.BULK_PARAMETER
        expected = f"at most {FIELDS_MAX} parameters"
        return problem(row, name="list", came="too long", expected=expected)
    said: _Said = {name: [] for name in PARAMETERS}
    for name, value in pairs:
        if name not in said:
            row = refusal_bulk.BULK_UNKNOWN_PARAMETER
            return problem(row, name=describe(name), expected=", ".join(PARAMETERS))
        said[name].append(value)
    return said


def _explain_parameter(name: str, said: _Said, expected: str) -> Problem:
    came = describe(" and ".join(said[name])) if said[name] else "missing"
    return problem(refusal_bulk.BULK_PARAMETER, name=name, came=came, expected=expected)


def _read_format(said: _Said, headers: Mapping[str, str]) -> ImportFormat | Problem:
    """Return the format: as the parameter says, or else the content type."""
    if said["format"]:
        found = _FORMATS.get(said["format"][0]) if len(said["format"]) == 1 else None
        return found or _explain_parameter("format", said, "ndjson or csv, or leave it out")
    content_type = headers.get("content-type", "")
    found = _TYPES.get(content_type.partition(";")[0].strip().lower())
    return found or problem(refusal_bulk.BULK_FORMAT, came=describe(content_type))


def _judge_body(headers: Mapping[str, str]) -> Problem | None:
    encoding = headers.get("content-encoding", "").strip().lower()
    if encoding not in _ENCODINGS:
        return problem(refusal_bulk.BULK_ENCODING, came=describe(encoding))
    is_chunked = "transfer-encoding" in headers
    if not is_chunked and headers.get("content-length", "0").strip() == "0":
        return problem(refusal_bulk.BULK_EMPTY)
    return None


def _read_columns(said: _Said, terms: ImportTerms) -> ImportTerms | Problem:
    """Return the terms with what is said of columns."""
    for name, into in (("mapping", terms.mapping), ("set", terms.constants)):
        try:
            for text in said[name]:
                into |= _read_pairs(text, name)
            if into and terms.format != "csv":
                raise MappingError("it is for columns; a line of NDJSON is taken as it stands")
            if len(into) > COLUMNS_MAX:
                raise MappingError(f"it names {len(into)} columns; at most {COLUMNS_MAX} are taken")
            check_said(terms.kind, terms.mapping, terms.constants)
        except MappingError as error:
            return problem(refusal_bulk.BULK_COLUMNS, name=name, why=str(error))
    return terms


def _read_pairs(text: str, name: str) -> dict[str, str]:
    """Read `COLUMN=FIELD` or `FIELD=VALUE`, or a JSON object of them. Raises `MappingError`.

    No field has a `=` in it; what stands on its other side may.
    """
    if text.startswith("{"):
        try:
            return msgspec.json.decode(text, type=dict[str, str])
        except (msgspec.MsgspecError, RecursionError) as error:
            raise MappingError(f"no JSON object of texts: {error}") from error
    left, separator, right = text.partition("=") if name == "set" else text.rpartition("=")
    if not separator or not left or not right:
        raise MappingError(f"{describe(text)} is no pair")
    return {left: right}


# What is answered.


def _tell_import(job: str, reply: Reply) -> Answer:
    if reply.outcome == "missing":
        return error_answer(problem(refusal_bulk.BULK_UNKNOWN, came=describe(job)))
    return Answer(200, reply.value)


def _tell_rejects(job: str, reply: Reply) -> Answer:
    if reply.outcome == "missing":
        return error_answer(problem(refusal_bulk.BULK_NO_REJECTS, came=describe(job)))
    name = "".join(ch for ch in job if ch.isascii() and (ch.isalnum() or ch == "-"))[:64]
    disposition = f'attachment; filename="{name}.rejects.ndjson"'
    headers = (("Content-Disposition", disposition),)
    return Answer(200, reply.value, "application/x-ndjson", headers, reply.file)
