"""Rows judged by the protocols, and what an import changes of that."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import msgspec
import pytest

from tests.support.bulk_stage import LONG_AGO, LONG_AGO_MS, NOW_MS, SHOP, new_judge, row_of, track
from trunkline.bulk.judging import Verdict, number_of, request_id
from trunkline.bulk.mapping import map_columns
from trunkline.bulk.rows import Fault, Row
from trunkline.kit.eventlog import Fetched, Record
from trunkline.model.record import AcceptedEvent, decode_stored
from trunkline.node import protocol_shelf
from trunkline.pipeline.shape import shape
from trunkline.reports.push_tokens import PushTokens
from trunkline.state.home import Home

S2S_EVENT = {
    "eventSlug": "taqsq", "metrixUserId": "mu-1", "eventTime": LONG_AGO_MS,
    "advertisingId": "38400000-8cf0-11bd-b23e-10b96e40000d", "customAttributes": {"a": "b"},
}  # fmt: skip
REST_BODY = {
    "customUserId": "cu-1",
    "messages": [
        {"type": "action", "id": "x1", "time": LONG_AGO_MS, "name": "taqsq"},
        {"type": "nope", "id": "x2"},
        {"type": "user", "id": "x3", "time": LONG_AGO_MS, "email": "a@b.example"},
    ],
}


def judge(value: Any, number: int = 1, **fields: Any) -> Verdict:
    return new_judge(**fields).judge(row_of(value, number), NOW_MS)


NO_DEVICES = PushTokens(Home(Path("nowhere")))  # no import asks for any


def canonical(record: AcceptedEvent) -> dict[str, Any]:
    """Return the event as destinations get it."""
    fetched = Fetched(1000, 0, Record(b"", b"", 0))
    stored = decode_stored(shape(fetched, record, protocol_shelf(), SHOP, NO_DEVICES).value)
    assert stored.historical == record.historical
    event = msgspec.json.decode(stored.event)
    assert isinstance(event, dict)
    return event


def only(verdict: Verdict) -> AcceptedEvent:
    assert verdict.rejected == ()
    (record,) = verdict.accepted
    return record


def test_an_event_keeps_its_own_time_and_is_marked() -> None:
    sent = "2025-11-22T08:00:00Z"  # an hour before it is imported: no reason to move it
    event = canonical(only(judge(track(3, sentAt=sent))))
    assert (event["timestamp"], event["historical"]) == (LONG_AGO, True)
    assert event["source"] == {"protocol": "tracking", "key": "import"}
    assert event["properties"] == {"number": 3}


def test_a_live_import_is_not_marked() -> None:
    assert "historical" not in canonical(only(judge(track(), is_historical=False)))


def test_lines_of_the_s2s_api_become_what_a_request_would_make_of_them() -> None:
    event = canonical(only(judge(S2S_EVENT)))
    assert (event["event"], event["userId"]) == ("Purchase Completed", "mu-1")
    assert (event["timestamp"], event["historical"]) == (LONG_AGO, True)
    assert event["source"] == {"protocol": "s2s", "key": "import", "slug": "taqsq"}


def test_a_line_of_the_rest_api_may_hold_many_messages() -> None:
    verdict = judge(REST_BODY, number=12)
    events = [canonical(record) for record in verdict.accepted]
    assert [event["type"] for event in events] == ["track", "identify"]
    assert {event["timestamp"] for event in events} == {LONG_AGO}
    assert all(event["historical"] for event in events)
    (reject,) = verdict.rejected
    assert (reject.line, reject.code) == (12, "unknown_type")
    assert reject.message.startswith("message 1: ")


@pytest.mark.parametrize("value", [track(), S2S_EVENT, REST_BODY])
def test_ids_are_the_same_in_every_run(value: Any) -> None:
    ids = [[e.message_id for e in judge(value, name=name).accepted] for name in ("a", "b")]
    assert ids[0] == ids[1] and len(set(ids[0])) == len(ids[0])


@pytest.mark.parametrize("value", [track(), S2S_EVENT])
def test_two_equal_lines_are_two_events(value: Any) -> None:
    assert only(judge(value, 1)).message_id != only(judge(value, 2)).message_id


def test_a_derived_id_is_fixed_for_ever() -> None:
    # A second run, by any later version, must give the same; the digits are those of sha256sum.
    line = b'{"type":"track","event":"A","userId":"u","timestamp":"2021-02-03T04:05:06Z"}'
    found = only(new_judge().judge(Row(5, line), NOW_MS)).message_id
    assert found == "import-162023bf49711a93d24f54585ca4656f76058c3b"


@pytest.mark.parametrize("value", [track(messageId="m-1"), {**S2S_EVENT, "messageId": "m-1"}])
def test_an_id_that_was_given_stays(value: Any) -> None:
    assert only(judge(value)).message_id == "m-1"


@pytest.mark.parametrize("absent", [None, ""])
def test_an_empty_id_is_none(absent: Any) -> None:
    assert only(judge(track(messageId=absent))).message_id.startswith("import-")


@pytest.mark.parametrize(
    ("value", "code"),
    [
        (b"not json", "malformed_json"),
        (b"[]", "invalid_event"),
        (b'{"type":"track","event":"A","userId":"u","timestamp":"2021-01-01","p":NaN}',
         "invalid_number"),
        (track(timestamp=None), "no_time"),
        ({**S2S_EVENT, "eventTime": None}, "no_time"),
        (track(type="nope"), "unknown_type"),
        (track(timestamp="yesterday"), "invalid_timestamp"),
        (track(properties={"x": "y" * 40_000}), "too_large"),
        ({**S2S_EVENT, "advertisingId": ""}, "IDFA_AND_ADVERTISING_ID_SHOULD_NOT_BE_NULL"),
    ],
)  # fmt: skip
def test_what_a_protocol_would_refuse_is_rejected_with_its_reason(value: Any, code: str) -> None:
    verdict = judge(value, number=9)
    assert not verdict.accepted
    (reject,) = verdict.rejected
    assert (reject.line, reject.code) == (9, code)
    assert reject.message and reject.row == row_of(value).content[:4096].decode()  # type: ignore[index,union-attr]


def test_a_lone_surrogate_is_mended_and_its_event_keeps_one_id() -> None:
    line = b'{"type":"track","event":"A\\ud800","userId":"u","timestamp":"2021-02-03T04:05:06Z"}'
    first, second = (only(new_judge().judge(Row(1, line), NOW_MS)) for _ in range(2))
    assert first.message_id == second.message_id
    assert canonical(first)["event"] == "A�"


def test_a_row_of_columns_has_an_id_that_does_not_hang_on_the_mapping() -> None:
    row = Row(4, {"who": "u-1", "what": "Order", "when": LONG_AGO, "n": "5"})
    names = tuple(json.loads(json.dumps(row.content)))
    maps = [
        map_columns(names, {"who": "userId", "what": "event", "when": "timestamp", "n": field})
        for field in ("properties.n", "properties.number")
    ]
    first, second = (only(new_judge(columns=each).judge(row, NOW_MS)) for each in maps)
    assert first.message_id == second.message_id
    assert canonical(first)["properties"] == {"n": 5}
    assert canonical(second)["properties"] == {"number": 5}


def test_a_row_that_is_no_utf_8_is_rejected() -> None:
    columns = map_columns(("user_id", "event", "time"), {})
    row = Row(4, {"user_id": b"\xff".decode("utf-8", "surrogateescape"), "event": "A", "time": "1"})
    verdict = new_judge(columns=columns).judge(row, NOW_MS)
    assert [(r.line, r.code) for r in verdict.rejected] == [(4, "invalid_text")]
    json.dumps([msgspec.to_builtins(r) for r in verdict.rejected]).encode()


def test_a_fault_is_rejected_as_it_is() -> None:
    verdict = new_judge().judge(Row(3, Fault("invalid_row", "no row", "a,b")), NOW_MS)
    (reject,) = verdict.rejected
    assert (reject.line, reject.code, reject.message, reject.row) == (
        3, "invalid_row", "no row", "a,b",
    )  # fmt: skip


def test_the_rules_of_the_app_hold() -> None:
    strict = msgspec.structs.replace(SHOP, unknown_events="block")
    assert only(judge(track(), app=strict)).key == "import"  # an event of servers only
    verdict = judge(track(event="Never Heard Of"), app=strict)
    assert not verdict.accepted and "Never Heard Of" in verdict.rejected[0].message


def test_a_record_tells_which_row_of_which_import_it_was() -> None:
    record = only(judge(track(), number=17, name="import-x"))
    assert number_of(record.request_id, "import-x") == 17
    assert number_of(record.request_id, "import-y") is None
    assert number_of("import-x:", "import-x") is None
    assert request_id("import-x", 17) == record.request_id
