"""Every golden case of the REST API: the pages of its documentation, run.

Beside what every golden case knows: `X-Test-Plan: without rest`; `X-Test-Failure: rate_limited 429
after 5`, what the gateway found outside `decode`; in the body `{{x*513}}` is 513 times x. A file's
name begins with the status. `GOLDEN_WRITE=1` writes the part below the request anew, for a person
to read.
"""

from __future__ import annotations

import re
from pathlib import Path

import msgspec
import pytest

from tests.support.golden import (
    RULER,
    Case,
    check_case,
    load_cases,
    render,
    render_answer,
    request_of,
    shows_row,
)
from tests.support.tracking_apps import ADDRESS, RECEIVED_MS, SNAPSHOT
from trunkline.kit.protocol import Answer, Decoded, Failure, FailureCode
from trunkline.kit.rest_checks import MESSAGE_TYPES
from trunkline.model.refusal_rest import REST_ERRORS
from trunkline.model.snapshot import Plan
from trunkline.protocols.rest import RestProtocol

FOLDER = Path(__file__).parent / "golden" / "rest"
CASES = load_cases(FOLDER)
PROTOCOL = RestProtocol()
WITHOUT_REST = msgspec.structs.replace(SNAPSHOT, plan=Plan(features=("s2s",)))
REPEAT = re.compile(r"\{\{(.+?)\*([0-9]+)\}\}")
SHOWN_CHARS_MAX = 2000  # of what is kept; a larger body is no page


def fail(case: Case) -> Answer:
    code, status, *rest = case.headers["x-test-failure"].split(" ")
    after = int(rest[1]) if rest else None
    known = msgspec.convert(code, FailureCode)
    return PROTOCOL.failure(case.path, Failure(known, int(status), "What went wrong.", after))


def decode(case: Case) -> Decoded:
    body = REPEAT.sub(lambda match: match[1] * int(match[2]), case.body.decode()).encode()
    sent = msgspec.structs.replace(case, body=body)
    is_planned = case.headers.get("x-test-plan") != "without rest"
    request = request_of(sent, PROTOCOL, RECEIVED_MS, ADDRESS)
    return PROTOCOL.decode(request, SNAPSHOT if is_planned else WITHOUT_REST)


def show(decoded: Decoded) -> str:
    """Write the answer, the canonical events, and what is kept of refusals."""
    shaped = [
        PROTOCOL.normalise(record, SNAPSHOT.apps_by_id[record.app]) for record in decoded.accepted
    ]
    told = [
        msgspec.structs.replace(one, notes=record.notes + one.notes)
        for record, one in zip(decoded.accepted, shaped, strict=True)
    ]
    kept = [
        f"kept: {r.code}, {r.key}, {r.count} of it\n{r.body.decode()[:SHOWN_CHARS_MAX]}"
        for r in decoded.refused
    ]
    parts = [render(decoded.answer, told), *([RULER, *kept] if kept else [])]
    if not told and not kept:
        parts += [RULER, "nothing is kept"]
    return "\n".join(parts).rstrip()


@pytest.mark.parametrize("case", CASES, ids=str)
def test_a_request_gets_the_answer_that_its_page_shows(case: Case) -> None:
    is_failure = "x-test-failure" in case.headers
    shown = render_answer(fail(case)) if is_failure else show(decode(case))
    check_case(FOLDER, case, shown)


def test_every_error_of_the_table_is_shown_by_a_case() -> None:
    assert [row for row in REST_ERRORS if not any(shows_row(case, row) for case in CASES)] == []


def test_what_refuses_a_whole_request_has_the_status_of_its_row() -> None:
    statuses = {(row.code, row.status) for row in REST_ERRORS}
    for case in CASES:
        answer = msgspec.json.decode(case.expected.split(f"\n{RULER}")[0].split("\n\n", 1)[1])
        if "code" in answer and "x-test-failure" not in case.headers:
            assert (answer["code"], int(case.name[:3])) in statuses
            assert answer["error"]["message"] == answer["Message"] == answer["message"]
            assert "{" not in answer["message"] + answer["Details"]


def test_every_type_of_message_and_every_route_is_shown_by_a_case() -> None:
    taken = "\n".join(case.body.decode() for case in CASES if case.name.startswith("200"))
    assert [kind for kind in MESSAGE_TYPES if f'"type": "{kind}"' not in taken] == []
    shown = {request_of(case, PROTOCOL, RECEIVED_MS, ADDRESS).route.path for case in CASES}
    assert shown == {route.path for route in PROTOCOL.routes}


@pytest.mark.parametrize("case", CASES, ids=str)
def test_no_key_comes_out_of_it(case: Case) -> None:
    assert "wk_" not in case.expected
