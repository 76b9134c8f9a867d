"""The golden cases of the tracking API: what real clients send, what they are told."""

from __future__ import annotations

import random
from pathlib import Path

import msgspec
import pytest

from tests.support.golden import Case, load_cases, render, request_of
from tests.support.tracking_apps import ADDRESS, RECEIVED_MS, SNAPSHOT
from trunkline.kit.protocol import Normalised
from trunkline.model.record import AcceptedEvent
from trunkline.model.refusal import TRACKING_ERRORS
from trunkline.protocols.tracking import TrackingProtocol

CASES = load_cases(Path(__file__).parent / "golden" / "tracking")
# Their bodies are too large to be read as documentation; test_tracking.py raises them.
TOO_LARGE_FOR_A_PAGE = {"too_large", "too_many_events"}


def shape(protocol: TrackingProtocol, record: AcceptedEvent) -> Normalised:
    """Return the canonical event with all that its trace says, as the pipeline puts it together."""
    shaped = protocol.normalise(record, SNAPSHOT.apps_by_id[record.app])
    return msgspec.structs.replace(shaped, notes=record.notes + shaped.notes)


@pytest.mark.parametrize("case", CASES, ids=str)
def test_the_answer_and_the_events_are_what_the_case_says(case: Case) -> None:
    protocol = TrackingProtocol(random.Random(7))
    decoded = protocol.decode(request_of(case, protocol, RECEIVED_MS, ADDRESS), SNAPSHOT)
    events = [shape(protocol, record) for record in decoded.accepted]
    assert render(decoded.answer, events) == case.expected


def test_every_code_of_the_error_table_is_shown_by_a_case() -> None:
    shown = "\n".join(case.expected for case in CASES)
    unseen = {row.code for row in TRACKING_ERRORS if f'"code":"{row.code}"' not in shown}
    assert unseen == TOO_LARGE_FOR_A_PAGE


def test_every_route_is_shown_by_a_case() -> None:
    protocol = TrackingProtocol()
    shown = {request_of(case, protocol, RECEIVED_MS, ADDRESS).route.path for case in CASES}
    assert shown == {route.path for route in protocol.routes}


@pytest.mark.parametrize("case", [c for c in CASES if c.expected.startswith("4")], ids=str)
def test_an_error_carries_every_field_that_some_client_reads(case: Case) -> None:
    body = msgspec.json.decode(case.expected.split("\n\n", 1)[1])
    assert body["success"] is False
    assert body["code"] == body["error"]["code"]
    assert body["message"] == body["error"]["message"] == body["Message"]
    assert body["Error"]
    assert body["Details"]
    assert "{" not in body["message"] + body["Details"]


@pytest.mark.parametrize("case", CASES, ids=str)
def test_no_write_key_comes_out_of_the_pipeline(case: Case) -> None:
    _, _, events = case.expected.partition("\n----------\n")
    assert "wk_" not in events
    assert "writeKey" not in events
