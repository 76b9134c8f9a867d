"""`POST /push`: the pages of its documentation, run, and what is no page.

A golden case's name begins with its status; `X-Test-Plan` stands for a plan without anything.
`GOLDEN_WRITE=1` writes the part below the request anew, for a person to read.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec
import pytest

from tests.support.golden import RULER, check_case, render
from tests.support.golden_catalogs import PROTOCOLS, Staged, stage_cases
from tests.support.rest import headers_of
from tests.support.tracking_apps import SNAPSHOT, make_request
from trunkline.kit.protocol import Decoded
from trunkline.model.refusal_push import PUSH_ERRORS
from trunkline.protocols.push import MESSAGE_BYTES_MAX, RECIPIENTS_MAX, PushProtocol

FOLDER = Path(__file__).parent / "golden" / "push"
CASES = [staged for staged in stage_cases() if staged.protocol.name == "push"]
PROTOCOL = PROTOCOLS["push"]
# Their bodies are too large to be read as documentation, or raised by checks of other protocols.
NO_PAGE = {"too_many_recipients", "too_large", "too_deep", "origin_not_allowed"}


def decode(staged: Staged) -> Decoded:
    return staged.protocol.decode(staged.request, staged.snapshot)


def show(decoded: Decoded) -> str:
    shaped = [
        PROTOCOL.normalise(record, SNAPSHOT.apps_by_id[record.app]) for record in decoded.accepted
    ]
    kept = [f"kept: {r.code}, {r.key}, {r.count} of it\n{r.body.decode()}" for r in decoded.refused]
    return "\n".join([render(decoded.answer, shaped), *([RULER, *kept] if kept else [])])


@pytest.mark.parametrize("staged", CASES, ids=str)
def test_a_request_gets_the_answer_that_its_page_shows(staged: Staged) -> None:
    check_case(FOLDER, staged.case, show(decode(staged)))


def test_every_error_of_the_table_is_shown_by_a_case() -> None:
    shown = "\n".join(staged.case.expected for staged in CASES)
    assert {row.code for row in PUSH_ERRORS if f'"code":"{row.code}"' not in shown} == NO_PAGE


def push(**fields: Any) -> Decoded:
    body = {"recipients": ["u-1"], "channel": "SMS", "message": {"title": "t"}, **fields}
    request = make_request(
        PROTOCOL, "/push", msgspec.json.encode(body), headers=headers_of(idempotency_key="p-1")
    )
    return PushProtocol().decode(request, SNAPSHOT)


def test_a_push_has_its_bounds() -> None:
    most = [f"u-{number}" for number in range(RECIPIENTS_MAX)]
    assert len(push(recipients=most).accepted) == RECIPIENTS_MAX
    assert push(recipients=[*most, "u"]).answer.status == 413
    room = MESSAGE_BYTES_MAX - len('{"title":""}')
    assert len(push(message={"title": "t" * room}).accepted) == 1
    assert push(message={"title": "t" * (room + 1)}).answer.status == 413


def test_the_same_push_has_the_same_ids_and_another_has_others() -> None:
    ids = [[record.message_id for record in push().accepted] for _ in range(2)]
    assert ids[0] == ids[1]
    twice = push(recipients=["u-1", "u-1", "u-2"]).accepted
    assert len({record.message_id for record in twice}) == 2  # the same person is told once
    request = make_request(
        PROTOCOL,
        "/push",
        b'{"recipients":["u-1"],"channel":"SMS","message":{"title":"t"}}',
        headers=headers_of(),
    )
    thrown = {PushProtocol().decode(request, SNAPSHOT).accepted[0].message_id for _ in range(5)}
    assert len(thrown) == 5


def test_whoever_pushes_to_a_person_stands_in_one_line_with_their_events() -> None:
    assert [record.user for record in push(recipients=["u-1", 7]).accepted] == ["u:u-1", "u:7"]
