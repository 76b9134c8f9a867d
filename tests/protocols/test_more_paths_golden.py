"""The golden cases of the protocols that speak the tracking API under other paths."""

from __future__ import annotations

import random
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support.golden import Case, load_cases, render, request_of
from tests.support.tracking_apps import ADDRESS, RECEIVED_MS, SNAPSHOT, make_request
from trunkline.kit.protocol import Protocol
from trunkline.model.refusal import CUSTOM_ERRORS
from trunkline.protocols.custom_event import CustomEventProtocol
from trunkline.protocols.jitsu import JitsuProtocol

GOLDEN = Path(__file__).parent / "golden"
MAKERS: dict[str, Callable[[random.Random], Protocol]] = {
    "jitsu": JitsuProtocol,
    "custom_event": CustomEventProtocol,
}


class Shown(NamedTuple):
    """A case, and the protocol that it belongs to."""

    protocol: str
    case: Case

    def __str__(self) -> str:
        return f"{self.protocol}-{self.case.name}"


ALL = [Shown(name, case) for name in MAKERS for case in load_cases(GOLDEN / name)]


@pytest.mark.parametrize("shown", ALL, ids=str)
def test_the_answer_and_the_events_are_what_the_case_says(shown: Shown) -> None:
    protocol = MAKERS[shown.protocol](random.Random(7))
    decoded = protocol.decode(request_of(shown.case, protocol, RECEIVED_MS, ADDRESS), SNAPSHOT)
    events = [
        msgspec.structs.replace(shaped, notes=record.notes + shaped.notes)
        for record in decoded.accepted
        for shaped in (protocol.normalise(record, SNAPSHOT.apps_by_id[record.app]),)
    ]
    assert render(decoded.answer, events) == shown.case.expected


@pytest.mark.parametrize("name", MAKERS)
def test_every_route_is_shown_by_a_case(name: str) -> None:
    protocol = MAKERS[name](random.Random(7))
    mine = [shown.case for shown in ALL if shown.protocol == name]
    paths = {request_of(case, protocol, RECEIVED_MS, ADDRESS).route.path for case in mine}
    assert paths == {route.path for route in protocol.routes}


def test_every_code_of_the_metadata_is_shown_by_a_case() -> None:
    text = "\n".join(shown.case.expected for shown in ALL if shown.protocol == "custom_event")
    sentences = {row.say(where="_metarouter", came='\\"Order Paid\\"') for row in CUSTOM_ERRORS}
    assert {sentence for sentence in sentences if f'"message":"{sentence}"' not in text} == set()


@pytest.mark.parametrize("shown", ALL, ids=str)
def test_no_write_key_comes_out_of_the_pipeline(shown: Shown) -> None:
    _, _, events = shown.case.expected.partition("\n----------\n")
    assert "wk_" not in events
    assert "writeKey" not in events


@pytest.mark.parametrize("shown", [s for s in ALL if s.case.expected.startswith("200")], ids=str)
def test_each_yes_says_success_and_jitsus_say_ok_too(shown: Shown) -> None:
    said = msgspec.json.decode(shown.case.expected.split("\n\n", 1)[1].split("\n----------")[0])
    assert said["success"] is True
    if shown.protocol == "jitsu":
        assert said["ok"] is (said["receivedEvents"] == said["okEvents"])


@given(
    st.sampled_from(["/api/s/track", "/api/s/e", "/api/s/s2s/x", "/api/s/s2s/batch"]),
    st.binary(max_size=200),
    st.sampled_from(["x:wk_backend", "wk_phone", ":", "::wk_web"]) | st.text(max_size=40),
)
def test_any_bytes_with_any_key_get_an_answer(path: str, body: bytes, key: str) -> None:
    protocol = JitsuProtocol(random.Random(7))
    for sent in (body, b'{"batch":[{"type":"page","userId":"u","a":"' + body + b'"}]}'):
        request = make_request(protocol, path, sent, headers={"x-write-key": key})
        decoded = protocol.decode(request, SNAPSHOT)
        assert decoded.answer.status in (200, 400, 401, 403, 413)
        said = msgspec.json.decode(decoded.answer.body)
        assert said["success"] is (decoded.answer.status == 200)
