"""Refused events sent again: what they come to, by every golden case of every protocol."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path
from typing import Any

import msgspec
import pytest

from tests.support.golden_catalogs import PROTOCOLS, Staged, stage_cases
from tests.support.tracking_apps import RECEIVED_MS, SNAPSHOT, basic, make_key, make_request
from trunkline.bulk.mending import Change
from trunkline.bulk.resending import PARTITION, Judged, Resender, ResendJudge, ResendStopped
from trunkline.eventlogs.memory import MemoryEventLog
from trunkline.kit.clock import FakeClock
from trunkline.kit.erasure import ERASED
from trunkline.kit.eventlog import EventLog
from trunkline.kit.redact import MASK
from trunkline.kit.times import format_ms
from trunkline.model.event import encode_event
from trunkline.model.record import (
    ACCEPTED,
    AcceptedEvent,
    AcceptedRefusal,
    decode_accepted,
    decode_origin,
    encode_record,
)
from trunkline.model.snapshot import S2S, Snapshot
from trunkline.reports.refused import Refused, RefusedOrigin
from trunkline.state.home import Home
from trunkline.state.resent import RefusedId, ResentBook, open_resent, read_resent

LATER_MS = 3 * 86_400_000
NOWHERE = ("192.0.2.0/32",)
CASES = list(stage_cases())
AHEAD = "403-time-ahead"  # three days later it is not ahead any more
TIMES = ("receivedAt",)


def through_a_log(refusal: AcceptedRefusal) -> AcceptedRefusal:
    """Return a refusal as it comes out of the log and out of the state file."""
    read = decode_accepted(encode_record(refusal))
    assert isinstance(read, AcceptedRefusal)
    if read.origin is not None:
        assert decode_origin(encode_record(read.origin)) == read.origin
    return read


def as_kept(refusal: AcceptedRefusal, id_: int = 17) -> RefusedOrigin:
    kept = through_a_log(refusal)
    shown = Refused(
        id_, kept.app, format_ms(kept.received_ms), kept.protocol, kept.key, kept.address,
        kept.request_id, kept.code, kept.message, kept.message_id, kept.body.decode(), kept.count,
    )  # fmt: skip
    return RefusedOrigin(shown, kept.received_ms, kept.body, kept.origin)


def judge(
    refusal: AcceptedRefusal,
    snapshot: Snapshot,
    change: Change | None = None,
    later_ms: int = LATER_MS,
) -> Judged:
    app = snapshot.apps_by_id[refusal.app]
    resending = ResendJudge(PROTOCOLS, snapshot, app, change or Change())
    return resending.judge(as_kept(refusal), refusal.received_ms + later_ms)


def stricter(snapshot: Snapshot, **fields: Any) -> Snapshot:
    apps = tuple(msgspec.structs.replace(app, **fields) for app in snapshot.apps)
    return msgspec.structs.replace(snapshot, apps=apps)


def fence(snapshot: Snapshot) -> Snapshot:
    """Return a catalog whose apps take nothing from where anybody is."""
    apps = tuple(
        msgspec.structs.replace(
            app, s2s=S2S(app.s2s.enabled, app.s2s.dev_keys, allowed_ips=NOWHERE)
        )
        for app in snapshot.apps
    )
    return msgspec.structs.replace(snapshot, apps=apps)


def canonical(record: AcceptedEvent, staged: Staged) -> dict[str, Any]:
    app = staged.snapshot.apps_by_id[record.app]
    shaped = staged.protocol.normalise(record, app)
    event: dict[str, Any] = msgspec.json.decode(encode_event(shaped.event, shaped.extra))
    for name in TIMES:
        event.pop(name, None)
    if event["messageId"].startswith("resend-") or "-4" in event["messageId"]:
        event.pop("messageId")  # thrown, or made because none was given
    return event


@pytest.mark.parametrize("staged", CASES, ids=str)
def test_what_is_sent_again_unmended_is_refused_as_before(staged: Staged) -> None:
    for refusal in staged.protocol.decode(staged.request, staged.snapshot).refused:
        judged = judge(refusal, staged.snapshot, later_ms=0)
        if judged.outcome == "refused":
            # A header that cannot be read is not noted: then what it should have said is missing.
            same = (refusal.code, {"invalid_metadata": "missing_event_name"}.get(refusal.code, "-"))
            assert judged.sentence.startswith(tuple(f"{code}: " for code in same))
        elif judged.outcome == "unable":
            assert judged.sentence
        else:
            # A leaked Server key: whoever sends again here presents no key that could leak.
            raise AssertionError(f"{refusal.code} was let in: {judged.body!r}")


BLOCKED: dict[str, Any] = {"unknown_events": "block", "events": ()}


def check_all_come_through(staged: Staged, strict: Snapshot) -> int:
    """Refuse a case under a stricter catalog, send it again under its own; return how many came."""
    good = staged.protocol.decode(staged.request, staged.snapshot)
    refused = staged.protocol.decode(staged.request, strict).refused
    wanted = [canonical(record, staged) for record in good.accepted]
    came: list[dict[str, Any]] = []
    for refusal in refused:
        judged = judge(refusal, staged.snapshot)
        if judged.outcome == "ready":
            for record in judged.records:
                assert record.refused_ms == staged.request.received_ms
                assert record.received_ms == staged.request.received_ms + LATER_MS
                assert record.notes[-1].startswith("sent again from refused 17: it came ")
                assert MASK.encode() not in record.body
            came += [canonical(record, staged) for record in judged.records]
    for event in came if staged.case.name != AHEAD else ():
        assert event in wanted, (str(staged), event, wanted)
    return len(came)


def test_what_a_tracking_plan_kept_out_becomes_what_it_would_have_become() -> None:
    came = dict.fromkeys(PROTOCOLS, 0)
    for staged in CASES:
        came[staged.protocol.name] += check_all_come_through(
            staged, stricter(staged.snapshot, **BLOCKED)
        )
    assert came.pop("push") == 0  # no plan keeps a push out
    assert all(count >= 3 for count in came.values()), came


def test_a_request_refused_whole_becomes_what_it_would_have_become() -> None:
    came = dict.fromkeys(PROTOCOLS, 0)
    for staged in CASES:
        came[staged.protocol.name] += check_all_come_through(staged, fence(staged.snapshot))
    assert came.pop("push") >= 1
    assert all(count >= 3 for count in came.values()), came


# Mending, with the shop of the tracking tests.

BLOCKING = stricter(SNAPSHOT, **BLOCKED)


def refuse_track(snapshot: Snapshot = BLOCKING, key: str = "wk_backend", **fields: Any) -> Any:
    event = {"event": "Order Completed", "userId": "u-1", **fields}
    request = make_request(
        PROTOCOLS["tracking"],
        "/v1/track",
        msgspec.json.encode(event),
        headers={"authorization": basic(f"{key}:")},
    )
    (refusal,) = PROTOCOLS["tracking"].decode(request, snapshot).refused
    return refusal


def properties_of(judged: Judged) -> Any:
    assert judged.outcome == "ready", judged.sentence
    return msgspec.json.decode(judged.body)["properties"]


def test_a_hidden_value_is_asked_for_and_never_sent_as_its_mask() -> None:
    refusal = refuse_track(properties={"pin": 1234, "items": [{"token": "t-1"}, {"id": 2}]})
    judged = judge(refusal, SNAPSHOT)
    assert judged.outcome == "unable"
    assert "properties.pin, properties.items.0.token; give them with --set" in judged.sentence
    half = judge(refusal, SNAPSHOT, Change({"properties.pin": 1}))
    assert half.outcome == "unable"
    values = {"properties.pin": 1234, "properties.items.0.token": None}
    given = properties_of(judge(refusal, SNAPSHOT, Change(values)))
    assert given == {"pin": 1234, "items": [{"token": None}, {"id": 2}]}


def test_a_body_is_kept_up_to_eight_kibibytes_to_be_sent_again() -> None:
    notes = {"notes": "n" * 7000}
    assert properties_of(judge(refuse_track(properties=notes), SNAPSHOT)) == notes
    judged = judge(refuse_track(properties={"notes": "n" * 9000}), SNAPSHOT)
    assert judged.outcome == "unable"
    assert judged.sentence.startswith("its body is larger than what is kept; give it whole")
    whole = {"event": "Order Completed", "userId": "u-1", "properties": {"notes": "n" * 9000}}
    change = Change(whole=msgspec.json.encode(whole))
    assert properties_of(judge(refuse_track(), SNAPSHOT, change)) == whole["properties"]


def test_a_wrong_value_is_put_right_and_judged_as_anew() -> None:
    refusal = refuse_track(SNAPSHOT, event="", properties={"size": "4"})
    assert judge(refusal, SNAPSHOT).outcome == "refused"
    values = {"event": "Order Completed", "properties.size": 4, "context.page.path": "/"}
    judged = judge(refusal, SNAPSHOT, Change(values))
    assert properties_of(judged) == {"size": 4}
    assert msgspec.json.decode(judged.body)["context"] == {"page": {"path": "/"}}
    wrong = judge(refusal, SNAPSHOT, Change({"event": 5}))
    assert (wrong.outcome, wrong.sentence[:14]) == ("refused", "invalid_field:")


@pytest.mark.parametrize("path", ["event.name.first", "properties.items.7", "properties.items.x"])
def test_a_path_that_leads_nowhere_is_told(path: str) -> None:
    refusal = refuse_track(properties={"items": [1, 2]})
    judged = judge(refusal, SNAPSHOT, Change({path: 1}))
    assert judged.outcome == "unable"
    assert judged.sentence.startswith(f"--set {path}: ")


def test_an_event_without_an_id_has_the_same_one_whenever_it_is_sent_again() -> None:
    refusal = refuse_track()
    first, second = (judge(refusal, SNAPSHOT).records[0] for _ in range(2))
    assert first.message_id == second.message_id
    assert first.message_id.startswith("resend-")
    (own,) = judge(refuse_track(messageId="m-1"), SNAPSHOT).records
    assert own.message_id == "m-1"


def test_what_a_key_may_send_counts_as_it_is_now() -> None:
    refusal = refuse_track(SNAPSHOT, key="wk_phone", event="Purchase Completed")
    assert refusal.code == "server_only_event"
    assert judge(refusal, SNAPSHOT).outcome == "refused"
    (record,) = judge(refusal, SNAPSHOT, Change(key="backend")).records
    assert (record.key, record.is_client) == ("backend", False)


def test_a_key_that_is_gone_is_named_with_those_there_are() -> None:
    refusal = refuse_track()
    judged = judge(refusal, stricter(SNAPSHOT, keys=(make_key("new", "wk_new"),)))
    assert judged.outcome == "unable"
    assert judged.sentence == "the app has no key 'backend'; name one of its keys with --key: new"


def test_what_the_pipeline_could_not_shape_goes_again_as_it_was_accepted() -> None:
    request = make_request(
        PROTOCOLS["tracking"], "/v1/track", b'{"event":"E","userId":"u","messageId":"m-9"}'
    )
    (record,) = PROTOCOLS["tracking"].decode(request, SNAPSHOT).accepted
    kept = as_kept(refuse_track())
    given_up = RefusedOrigin(kept.refused, kept.at_ms, record.body, record)
    judging = ResendJudge(PROTOCOLS, SNAPSHOT, SNAPSHOT.apps_by_id["shop"], Change())
    judged = judging.judge(given_up, RECEIVED_MS + LATER_MS)
    (again,) = judged.records
    assert (again.message_id, again.body, again.refused_ms) == ("m-9", record.body, RECEIVED_MS)
    broken = msgspec.structs.replace(record, body=b"{")
    judged = judging.judge(RefusedOrigin(kept.refused, kept.at_ms, b"{", broken), RECEIVED_MS)
    assert judged.outcome == "refused"


def test_what_was_only_counted_cannot_be_sent() -> None:
    refusal = msgspec.structs.replace(refuse_track(), body=b"", origin=None)
    judged = judge(refusal, SNAPSHOT)
    assert judged.outcome == "unable"
    assert judged.sentence.startswith("how it came was not kept")


def test_what_was_erased_with_its_person_cannot_be_sent() -> None:
    erased = msgspec.structs.replace(refuse_track(), body=b"", message=ERASED, origin=None)
    judged = judge(erased, SNAPSHOT)
    assert (judged.outcome, judged.sentence) == (
        "unable", "what it held was erased, with the person it was of",
    )  # fmt: skip


# Appending and marking, with a log and a state file.


@pytest.fixture
def home(tmp_path: Path) -> Home:
    made = Home(tmp_path)
    made.prepare()
    return made


def open_resender(home: Home, log: EventLog, book: ResentBook) -> Resender:
    stamps = iter(range(1, 1_000_000))
    return Resender(log, book, FakeClock(RECEIVED_MS + LATER_MS), lambda: next(stamps))


def test_what_was_appended_and_not_marked_is_marked_by_the_next_one(home: Home) -> None:
    log = MemoryEventLog(FakeClock(RECEIVED_MS))
    judged = [judge(refuse_track(messageId=f"m-{n}"), SNAPSHOT) for n in range(3)]
    for number, each in enumerate(judged):
        origin = each.origin
        known = RefusedOrigin(
            msgspec.structs.replace(origin.refused, id=number), origin.at_ms, b"", None
        )
        request_id = f"resend:{number}:{origin.at_ms}"
        records = [msgspec.structs.replace(r, request_id=request_id) for r in each.records]
        judged[number] = msgspec.structs.replace(each, origin=known, records=records)
    with open_resent(home) as book, closing(open_resender(home, log, book)) as resender:
        assert resender.send(judged[:1]) == 1
        assert [*read_resent(home)] == [(0, RECEIVED_MS)]
        assert resender.mark_appended() == []
        # A kill between the append and the mark: the record is there, the mark is not.
        saved, book.save = book.save, lambda *_: None  # type: ignore[method-assign]
        assert resender.send(judged[1:2]) == 1
        book.save = saved  # type: ignore[method-assign]
    with open_resent(home) as book, closing(open_resender(home, log, book)) as resender:
        assert resender.mark_appended() == [(1, RECEIVED_MS)]
        assert sorted(read_resent(home)) == [(0, RECEIVED_MS), (1, RECEIVED_MS)]
        assert resender.send(judged[2:]) == 1
    assert log.ends(ACCEPTED) == {PARTITION: 3}


def test_one_command_at_a_time_sends_again(home: Home) -> None:
    log = MemoryEventLog(FakeClock(RECEIVED_MS))
    stopped = pytest.raises(ResendStopped, match="one command does this at a time")
    with open_resent(home) as book, closing(open_resender(home, log, book)), stopped:
        open_resender(home, log, book)


def test_marks_go_after_thirty_days(home: Home) -> None:
    with open_resent(home) as book:
        book.save([RefusedId(1, RECEIVED_MS)], RECEIVED_MS, 1)
        book.save([RefusedId(2, RECEIVED_MS)], RECEIVED_MS + 31 * 86_400_000, 2)
        assert book.position == 2
    assert [*read_resent(home)] == [(2, RECEIVED_MS)]
