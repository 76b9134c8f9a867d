"""Every golden case of the S2S API: the pages of its documentation, run.

Beside what every golden case knows: `X-Test-Plan: without s2s`; `X-Test-Failure: rate_limited 429
after 5`, what the gateway found outside `decode`; in the body `{{x*513}}` is 513 times x, and
b"\\xef..." gives raw bytes. A file's name begins with the status. `GOLDEN_WRITE=1` writes the part
below the request anew, for a person to read.
"""

from __future__ import annotations

import ast
import re
from pathlib import Path
from random import Random

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
)
from tests.support.s2s import ADDRESS, NOW_MS, SNAPSHOT, SNAPSHOT_WITHOUT_S2S
from trunkline.kit.protocol import Answer, Decoded, Failure, FailureCode
from trunkline.model.refusal import S2S_ERRORS, ErrorRow
from trunkline.protocols.s2s import S2SProtocol

FOLDER = Path(__file__).parent / "golden" / "s2s"
CASES = load_cases(FOLDER)
REPEAT = re.compile(r"\{\{(.+?)\*([0-9]+)\}\}")


def read_body(body: bytes) -> bytes:
    text = REPEAT.sub(lambda match: match[1] * int(match[2]), body.decode())
    return ast.literal_eval(text) if text.startswith(("b'", 'b"')) else text.encode()


def fail(case: Case, protocol: S2SProtocol) -> Answer:
    code, status, *rest = case.headers["x-test-failure"].split(" ")
    after = int(rest[1]) if rest else None
    known = msgspec.convert(code, FailureCode)
    return protocol.failure(case.path, Failure(known, int(status), "", after))


def decode(case: Case, protocol: S2SProtocol) -> Decoded:
    sent = msgspec.structs.replace(case, body=read_body(case.body))
    is_planned = case.headers.get("x-test-plan") != "without s2s"
    request = request_of(sent, protocol, NOW_MS, ADDRESS)
    return protocol.decode(request, SNAPSHOT if is_planned else SNAPSHOT_WITHOUT_S2S)


def show(decoded: Decoded, protocol: S2SProtocol) -> str:
    """Write the answer, and the canonical event or what is kept of the refusal."""
    if decoded.accepted:
        (record,) = decoded.accepted
        return render(decoded.answer, [protocol.normalise(record, SNAPSHOT.apps_by_id[record.app])])
    kept = [f"kept: {r.code}, {r.key}\n{r.body.decode()}" for r in decoded.refused]
    return "\n".join(
        [render_answer(decoded.answer), RULER, *(kept or ["nothing is kept"])]
    ).rstrip()


@pytest.mark.parametrize("case", CASES, ids=str)
def test_a_request_gets_the_answer_that_its_page_shows(case: Case) -> None:
    protocol = S2SProtocol(Random(7))
    is_failure = "x-test-failure" in case.headers
    shown = (
        render_answer(fail(case, protocol))
        if is_failure
        else show(decode(case, protocol), protocol)
    )
    check_case(FOLDER, case, shown)


def is_shown(row: ErrorRow, case: Case) -> bool:
    """Whether a case answers with this row: its type, and its sentence around the `{words}`."""
    pattern = ".+".join(re.escape(piece) for piece in re.split(r"\{\w+\}", row.sentence))
    answer = case.expected.split(RULER)[0]
    head = f'"type":"{row.code}","message":"{row.code}","description":"'
    return re.search(re.escape(head) + pattern, answer) is not None and answer.startswith(
        str(row.status)
    )


def test_every_error_of_the_table_is_shown_by_a_golden_case() -> None:
    assert [row for row in S2S_ERRORS if not any(is_shown(row, case) for case in CASES)] == []


def test_there_is_a_page_for_every_row_and_tolerance() -> None:
    assert len(CASES) >= 60
