"""What the sending side does with answers, over real sockets."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from trunkline_sdk import Closed, InvalidSetting, Limits, QueueFull, Rejected, Trunkline, Who
from trunkline_sdk.clock import now_ms
from trunkline_sdk.entry import Entry
from trunkline_sdk.queues import MemoryQueue
from trunkline_sdk.sender import SUSPECTS_MAX, Sender
from trunkline_sdk.transport import Transport
from trunkline_sdk.wires import TrackingWire

from tests.support.scripted_node import Asked, Line, ScriptedNode, refusal

PATIENCE = 60.0
QUICK = Limits(linger_seconds=0.0, retry_seconds_max=0.05, timeout_seconds=30)
DEVICE = "38400000-8cf0-11bd-b23e-10b96e40000d"

Make = Callable[..., Trunkline]


@pytest.fixture
def make(scripted: ScriptedNode) -> Iterator[Make]:
    made: list[Trunkline] = []

    def make(key: str = "tls_key", **settings: Any) -> Trunkline:
        settings = {"limits": QUICK, **settings}
        made.append(Trunkline(key, scripted.url, **settings))
        return made[-1]

    yield make
    for client in made:
        client.close(0.0)


def stored(scripted: ScriptedNode) -> list[str]:
    return [one for asked in scripted.asked for one in asked.message_ids]


def test_many_events_share_a_request_within_the_limits(scripted: ScriptedNode, make: Make) -> None:
    client = make(limits=Limits(batch_events_max=40, linger_seconds=PATIENCE))
    told = [client.track("u", "Seen") for _ in range(100)]
    assert client.flush(PATIENCE) and client.waiting() == 0
    assert [len(asked.message_ids) for asked in scripted.asked] == [40, 40, 20]
    assert stored(scripted) == told


def test_a_batch_stays_below_the_bytes_that_a_node_takes(
    scripted: ScriptedNode, make: Make
) -> None:
    client = make(compress=False)
    with client.batch() as batch:
        told = [batch.track("u", "Seen", {"x": "y" * 32_000}) for _ in range(40)]
    assert client.flush(PATIENCE)
    assert stored(scripted) == told and len(scripted.asked) == 3
    assert all(len(asked.body) <= 512 * 1024 for asked in scripted.asked)


def test_large_bodies_are_compressed_unless_told_not_to(scripted: ScriptedNode, make: Make) -> None:
    for compress in (True, False):
        client = make(compress=compress)
        client.track("u", "Seen", {"x": "y" * 5_000})
        assert client.flush(PATIENCE)
    packed, plain = scripted.asked
    assert packed.headers["content-encoding"] == "gzip" and len(packed.body) < 1_000
    assert "content-encoding" not in plain.headers
    assert packed.json["batch"][0]["properties"] == plain.json["batch"][0]["properties"]


def test_retry_after_is_waited_for_and_the_same_is_sent_again(
    scripted: ScriptedNode, make: Make
) -> None:
    scripted.script.append(refusal(429, "later", Retry_After="1"))
    client = make()
    told = client.track("u", "Seen")
    assert client.flush(PATIENCE)
    first, second = scripted.asked
    assert first.message_ids == second.message_ids == [told]
    assert second.at - first.at >= 0.99


def test_a_cut_connection_a_gateway_s_page_and_an_outage_lose_nothing(
    scripted: ScriptedNode, make: Make
) -> None:
    outage = [Line(cut=True), Line(502, b"<html>"), Line(200, b"<html>"), Line(500), Line(cut=True)]
    scripted.script.extend(outage)
    client = make()
    told = [client.track("u", "Seen", message_id=f"m-{n}") for n in range(5)]
    assert client.flush(PATIENCE) and client.waiting() == 0
    assert set(stored(scripted)) == set(told) and len(scripted.asked) > len(outage)


def test_an_idle_connection_that_the_node_closed_is_no_failure(
    scripted: ScriptedNode, make: Make, caplog: pytest.LogCaptureFixture
) -> None:
    client = make()
    client.track("u", "One")
    assert client.flush(PATIENCE)
    scripted.script.append(Line(cut=True))
    client.track("u", "Two")
    assert client.flush(PATIENCE)
    assert len(scripted.asked) == 3
    assert not [record for record in caplog.records if "events_wait" in record.message]


def test_refused_events_are_told_and_cost_the_others_nothing(
    scripted: ScriptedNode, make: Make
) -> None:
    rows = b'[{"index":1,"messageId":"b","code":"too_large","message":"so"}]'
    scripted.script.append(Line(body=b'{"success":true,"rejected":%s}' % rows))
    told: list[Rejected] = []
    client = make(on_rejected=told.extend, limits=Limits(linger_seconds=PATIENCE))
    for name in "abc":
        client.track("u", "Seen", {"of": name}, message_id=name)
    assert client.flush(PATIENCE) and client.waiting() == 0 and len(scripted.asked) == 1
    assert [(one.message_id, one.code, one.message) for one in told] == [("b", "too_large", "so")]
    assert told[0].event["properties"] == {"of": "b"}


def test_without_a_callback_refusals_are_logged_and_a_bad_callback_stops_nothing(
    scripted: ScriptedNode, make: Make, caplog: pytest.LogCaptureFixture
) -> None:
    def judge(asked: Asked) -> Line:
        return refusal(400, "bad") if "bad" in asked.message_ids else Line()

    scripted.judge = judge
    for callback in (None, lambda _: 1 / 0):
        client = make(on_rejected=callback)
        for name in ("bad", "good"):
            client.track("u", "Seen", message_id=name)
        assert client.flush(PATIENCE)
    logged = [record.getMessage() for record in caplog.records if record.levelno == logging.ERROR]
    assert "event_rejected message_id=bad code=bad HTTP 400 a bad" in logged
    assert "on_rejected failed for ['bad']" in logged


@pytest.mark.parametrize("status", [400, 413, 422])
def test_a_batch_that_cannot_be_taken_is_halved_until_the_bad_event_is_found(
    scripted: ScriptedNode, make: Make, status: int
) -> None:
    def judge(asked: Asked) -> Line:
        return refusal(status, "bad") if "m-5" in asked.message_ids else Line()

    scripted.judge = judge
    told: list[Rejected] = []
    client = make(on_rejected=told.extend)
    with client.batch() as batch:
        ids = [batch.track("u", "Seen", message_id=f"m-{n}") for n in range(12)]
    assert client.flush(PATIENCE)
    assert [one.message_id for one in told] == ["m-5"]
    good = [one for asked in scripted.asked if "m-5" not in asked.message_ids
            for one in asked.message_ids]  # fmt: skip
    assert good == [one for one in ids if one != "m-5"]


def test_a_key_that_is_refused_holds_the_events_until_it_is_mended(
    scripted: ScriptedNode, make: Make, caplog: pytest.LogCaptureFixture
) -> None:
    scripted.script.extend([refusal(401, "unknown_key"), refusal(403, "address")])
    told: list[Rejected] = []
    client = make(on_rejected=told.extend)
    client.track("u", "Seen", message_id="m")
    assert client.flush(PATIENCE) and not told
    assert [asked.message_ids for asked in scripted.asked] == [["m"]] * 3
    held = [record for record in caplog.records if record.levelno == logging.ERROR]
    assert "HTTP 401 a unknown_key" in held[0].getMessage()


def s2s_refusal() -> Line:
    return Line(403, b'{"type":"INVALID_PARAMETERS","description":"either"}')


def test_an_s2s_event_at_fault_is_told_from_a_key_at_fault(
    scripted: ScriptedNode, make: Make
) -> None:
    told: list[Rejected] = []
    client = make(on_rejected=told.extend)
    s2s = client.s2s("app", "dev")
    scripted.judge = lambda _: s2s_refusal()
    names = [f"m-{n}" for n in range(SUSPECTS_MAX)]
    for name in names:
        s2s.event("taqsq", user_id="u", idfa=DEVICE, message_id=name)
    scripted.wait_asked(3 * SUSPECTS_MAX)
    assert not told  # all alike: the key is at fault
    scripted.judge = lambda asked: s2s_refusal() if asked.message_ids == ["m-2"] else Line()
    assert client.flush(PATIENCE)
    assert [(one.message_id, one.code) for one in told] == [("m-2", "INVALID_PARAMETERS")]


def test_one_api_that_is_refused_does_not_hold_up_another(
    scripted: ScriptedNode, make: Make
) -> None:
    scripted.judge = lambda asked: Line() if asked.path == "/v1/messages" else refusal(401, "no")
    client = make()
    client.track("u", "Seen")
    client.rest("app", "tls_key").user(Who("u"), {"firstName": "Maryam"}, message_id="f-1")
    while "f-1" not in stored(scripted):
        scripted.wait_asked(len(scripted.asked) + 1)
    assert not client.flush(0.0)


def test_what_no_node_took_in_time_is_told_as_expired(scripted: ScriptedNode, make: Make) -> None:
    told: list[Rejected] = []
    scripted.script.append(refusal(503, "later"))
    client = make(
        on_rejected=told.extend,
        limits=Limits(linger_seconds=0, retry_seconds_max=0.05, keep_days_max=0.0),
    )
    client.track("u", "Seen", message_id="m")
    assert client.flush(PATIENCE)
    assert [(one.message_id, one.code) for one in told] == [("m", "expired")]


# A queue that is full, a client that is closed


def down(**settings: Any) -> Limits:
    return Limits(queue_events_max=2, retry_seconds_max=0.05, linger_seconds=0, **settings)


def test_a_full_queue_raises_waits_or_tells_and_never_drops_in_silence(
    scripted: ScriptedNode, make: Make
) -> None:
    scripted.judge = lambda _: refusal(503, "later")
    told: list[Rejected] = []
    raising = make(limits=down())
    waiting = make(limits=down(wait_seconds=0.2), when_full="wait")
    telling = make(limits=down(), when_full="reject", on_rejected=told.extend)
    for client in (raising, waiting, telling):
        client.track("u", "One")
        client.track("u", "Two")
    for client in (raising, waiting):
        with pytest.raises(QueueFull, match=r"2 events wait and the queue takes 2"):
            client.track("u", "Three")
    telling.track("u", "Three", message_id="m-3")
    assert [(one.message_id, one.code) for one in told] == [("m-3", "queue_full")]
    scripted.judge = lambda _: Line()
    patient = make(limits=down(wait_seconds=PATIENCE), when_full="wait")
    ids = [patient.track("u", "Seen") for _ in range(20)]
    assert patient.flush(PATIENCE) and set(ids) <= set(stored(scripted))


def test_what_is_left_in_memory_at_the_end_is_told(scripted: ScriptedNode, make: Make) -> None:
    scripted.judge = lambda _: refusal(503, "later")
    told: list[Rejected] = []
    client = make(on_rejected=told.extend)
    client.track("u", "Seen", message_id="m")
    scripted.wait_asked(1)
    assert client.close(0.0) is False
    assert [(one.message_id, one.code) for one in told] == [("m", "not_sent")]
    with pytest.raises(Closed, match="the client is closed"):
        client.track("u", "Seen")
    client.close()


def test_what_is_left_in_a_file_is_sent_by_the_next_client_without_a_call(
    scripted: ScriptedNode, make: Make, tmp_path: Path
) -> None:
    scripted.judge = lambda _: refusal(503, "later")
    told: list[Rejected] = []
    client = make(queue_path=tmp_path / "q.db", on_rejected=told.extend)
    ids = [client.track("u", "Seen") for _ in range(5)]
    assert client.close(0.0) is False and not told
    scripted.judge, seen = lambda _: Line(), len(scripted.asked)
    make(queue_path=tmp_path / "q.db")
    assert scripted.wait_asked(seen + 1)[-1].message_ids == ids


def test_events_are_never_sent_with_another_app_s_key(
    scripted: ScriptedNode, make: Make, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    scripted.judge = lambda _: refusal(503, "later")
    old = make("tls_old", queue_path=tmp_path / "q.db")
    old.track("u", "Seen", message_id="under-the-old-key")
    old.close(0.0)
    scripted.judge = lambda _: Line()
    scripted.asked.clear()
    with make("tls_other", queue_path=tmp_path / "q.db") as other:
        other.track("u", "Seen", message_id="of-another-app")
        assert other.flush(PATIENCE) and other.waiting() == 1
    assert stored(scripted) == ["of-another-app"]
    assert "whose key this client was not given" in caplog.text
    with make("tls_new", queue_path=tmp_path / "q.db", former_write_keys=["tls_old"]) as rotated:
        rotated.flush(PATIENCE)
        while rotated.waiting():
            scripted.wait_asked(2)
    login = {asked.headers["authorization"] for asked in scripted.asked[1:]}
    assert stored(scripted)[1:] == ["under-the-old-key"] and login == {"Basic dGxzX25ldzo="}


def test_threads_share_a_client(scripted: ScriptedNode, make: Make, tmp_path: Path) -> None:
    client = make(queue_path=tmp_path / "q.db")
    told: list[str] = []

    def call() -> None:
        told.extend([client.track("u", "Seen") for _ in range(25)])

    threads = [threading.Thread(target=call) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert client.flush(PATIENCE)
    assert sorted(stored(scripted)) == sorted(told) and len(told) == 100


def test_without_a_thread_the_caller_sends(scripted: ScriptedNode) -> None:
    """As at the very end of an interpreter, which starts no more threads."""
    queue, wire = MemoryQueue(10), TrackingWire("tls_key")
    transport = Transport(scripted.url, timeout_seconds=30, compress=True, ssl_context=None)
    sender = Sender(queue, transport, QUICK, None)
    sender.wires = {wire.route: wire}
    scripted.script.append(refusal(503, "later"))
    queue.put([Entry(wire.route, "", "m", b'{"messageId":"m"}', now_ms())])
    assert sender.send_here(lambda: queue.count() == 0, PATIENCE)
    assert stored(scripted) == ["m", "m"]
    assert sender.send_here(lambda: False, 0.0) is False
    transport.close()


@pytest.mark.parametrize(
    ("settings", "sentence"),
    [
        ({"host": "events.example.com"}, "give the address of the node's ingest port"),
        ({"host": "ftp://events.example.com"}, "give the address"),
        ({"host": "http://events.example.com:x"}, "host is"),
        ({"host": "http://[::1"}, "give the address"),
        ({"host": None}, "host is None; give the address"),
        ({"host": "http://events.example.com/?a=1"}, r"host holds something behind a \? or #"),
        ({"host": "http://me:secret@events.example.com"}, "host holds a user or password; give"),
        ({"write_key": ""}, "write_key must be text"),
        ({"write_key": None}, "write_key is None; give text"),
        ({"former_write_keys": "tls_old"}, "give a list of keys"),
        ({"former_write_keys": [None]}, "a key of former_write_keys is None"),
        ({"write_key": "کلید"}, "write_key must be text"),
        ({"when_full": "drop"}, "when_full is 'drop'"),
    ],
)
def test_settings_that_cannot_work_are_said_at_once(settings: Any, sentence: str) -> None:
    given = {"write_key": "tls_key", "host": "http://events.example.com", **settings}
    with pytest.raises(InvalidSetting, match=sentence):
        Trunkline(**given)
    with pytest.raises(InvalidSetting, match="a node takes 1 to 2500"):
        Limits(batch_events_max=2501)
    with pytest.raises(InvalidSetting, match="timeout_seconds too small"):
        Limits(timeout_seconds=0)
