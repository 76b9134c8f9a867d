"""Every golden case of bulk imports over HTTP: what was asked, what the desk is asked, the answer.

Beside what every golden case knows: `X-Test-Plan: without bulk`; `X-Test-Reply: missing`, what the
desk says (else yes); `X-Test-Failure: unavailable 507`, what the gateway found. A file's name
begins with the status. `GOLDEN_WRITE=1` writes the part below the request anew, to be read.
"""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest

from tests.support.golden import (
    RULER,
    Case,
    check_case,
    load_cases,
    render_answer,
    request_of,
    shows_row,
)
from tests.support.tracking_apps import ADDRESS, RECEIVED_MS, SNAPSHOT, make_request
from trunkline.kit.desk import ImportAsked, ImportOrdered, Inquiry, Reply
from trunkline.kit.protocol import Decoded, Failure, FailureCode
from trunkline.model.refusal_bulk import BULK_ERRORS
from trunkline.model.snapshot import Plan
from trunkline.protocols.bulk import BulkProtocol

FOLDER = Path(__file__).parent / "golden" / "bulk"
CASES = load_cases(FOLDER)
PROTOCOL = BulkProtocol()
WITHOUT_BULK = msgspec.structs.replace(SNAPSHOT, plan=Plan(features=("s2s", "rest")))
SAID = b'{"said":"by the desk"}'
OUTCOMES = {"taken": Reply("taken", SAID), "found": Reply("found", SAID), "full": Reply("full")}


def decode(case: Case) -> Decoded:
    is_planned = case.headers.get("x-test-plan") != "without bulk"
    request = request_of(case, PROTOCOL, RECEIVED_MS, ADDRESS)
    body = b"" if request.route.is_spooled else request.body  # as the gateway hands it over
    read = msgspec.structs.replace(request, body=body)
    return PROTOCOL.decode(read, SNAPSHOT if is_planned else WITHOUT_BULK)


def reply_to(inquiry: Inquiry, case: Case) -> Reply:
    usual = "taken" if isinstance(inquiry.question, ImportOrdered) else "found"
    return OUTCOMES.get(case.headers.get("x-test-reply", usual), Reply("missing"))


def show(case: Case) -> str:
    if "x-test-failure" in case.headers:
        code, status = case.headers["x-test-failure"].split(" ")
        failure = Failure(msgspec.convert(code, FailureCode), int(status), "What went wrong.", 5)
        return render_answer(PROTOCOL.failure(case.path, failure))
    decoded = decode(case)
    assert not decoded.accepted
    if decoded.inquiry is None:
        kept = [f"kept: {each.code}, {each.key}" for each in decoded.refused]
        leaks = ["the key has leaked"] if decoded.leaked else []
        told = [*kept, *leaks] or ["nothing is kept"]
        return "\n".join([render_answer(decoded.answer), RULER, *told])
    question = decoded.inquiry.question
    assert isinstance(question, ImportAsked | ImportOrdered) and decoded.used
    asked = msgspec.json.encode(msgspec.structs.asdict(question)).decode()
    answer = decoded.inquiry.tell(reply_to(decoded.inquiry, case))
    return "\n".join([render_answer(answer), RULER, f"asked: {type(question).__name__} {asked}"])


@pytest.mark.parametrize("case", CASES, ids=str)
def test_a_request_gets_the_answer_that_its_page_shows(case: Case) -> None:
    shown = show(case)
    assert "wk_" not in shown
    check_case(FOLDER, case, shown)


def test_every_error_of_the_table_is_shown_by_a_case() -> None:
    assert [row for row in BULK_ERRORS if not any(shows_row(case, row) for case in CASES)] == []


def test_every_route_is_shown_by_a_case() -> None:
    shown = {request_of(case, PROTOCOL, RECEIVED_MS, ADDRESS).route for case in CASES}
    assert shown == {*PROTOCOL.routes}


def test_a_name_for_the_download_is_safe_whatever_was_asked() -> None:
    headers = {"x-application-id": "shop", "x-api-key": "wk_backend"}
    asked = make_request(PROTOCOL, '/v1/bulk/a"b\r\nc é/rejects', method="GET", headers=headers)
    inquiry = PROTOCOL.decode(asked, SNAPSHOT).inquiry
    assert inquiry is not None
    answer = inquiry.tell(Reply("found", b"", Path("rejects")))
    assert answer.headers == (("Content-Disposition", 'attachment; filename="abc.rejects.ndjson"'),)
    assert answer.file == Path("rejects")
