"""`redis` against a real server: what arrives, what is refused, and what a kill costs: nothing."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from typing import Any

import msgspec
import pytest

from tests.support.servers.driving import (
    Restart,
    blocked_reason,
    deliver,
    deliver_all,
    make_event,
    outcomes_of,
)
from tests.support.servers.install import require
from tests.support.servers.install_go import INSTALLERS
from tests.support.servers.redis import PASSWORD, ForgetfulRedisServer, RedisServer
from trunkline.destinations.redis import Redis, RedisSettings
from trunkline.kit.destination import map_event
from trunkline.model.outcome import Delivered, Rejected, Retry

slow = pytest.mark.slow


@pytest.fixture(scope="module")
def server() -> Iterator[RedisServer]:
    require("redis", INSTALLERS)
    with RedisServer.running() as server:
        yield server


def channel_to(port: int, **settings: Any) -> Redis:
    values = {
        "host": "127.0.0.1",
        "port": port,
        "username": "trunkline",
        "password": PASSWORD,
        "timeout_seconds": 30,
        **settings,
    }
    return Redis(msgspec.convert(values, RedisSettings))


def ids_in(server: RedisServer, stream: str) -> list[str]:
    return [fields["messageId"].decode() for fields in server.read(stream)]


@pytest.mark.parametrize("example", Redis.examples, ids=lambda example: example.title)
def test_an_example_shows_what_is_written(example: Any) -> None:
    channel = Redis(msgspec.convert(example.settings, RedisSettings))
    assert channel.encode([map_event(event) for event in example.events]) == example.text


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"stream": "{user}"}, r"stream holds \{user\}; expected one of"),
        ({"stream": "a b"}, "stream may hold no spaces"),
        ({"stream": "{app"}, "a brace that is not closed"),
        ({"port": 0}, "port is 0; give 1 to 65535"),
        ({"username": "u"}, "username has no password"),
        ({"length_max": 0}, "length_max"),
        ({"password": ""}, "password"),
    ],
)
def test_wrong_settings_are_refused_with_a_sentence(wrong: dict[str, Any], said: str) -> None:
    values = {"host": "h", "stream": "s", **wrong}
    with pytest.raises(msgspec.ValidationError, match=said):
        msgspec.convert(values, RedisSettings)


def test_a_server_that_is_away_is_a_retry_and_a_host_that_is_none_parks() -> None:
    away = channel_to(1, stream="s")
    assert outcomes_of(deliver(away, [make_event(1), make_event(2)]), Retry) == [0, 1]
    with pytest.raises(ConnectionError):
        away.check()
    none = channel_to(1, stream="s", host="no.invalid")
    assert "no.invalid" in blocked_reason(none, [make_event(1)])


def test_a_file_of_authorities_that_is_not_there_parks() -> None:
    channel = channel_to(1, stream="s", tls=True, tls_ca="/nowhere/ca.pem")
    assert "/nowhere/ca.pem" in blocked_reason(channel, [make_event(1)])


@slow
def test_an_entry_carries_the_event_its_ids_and_its_order(server: RedisServer) -> None:
    events = [make_event(n) for n in range(700)]
    channel = channel_to(server.port, stream="{app}:{event}")
    assert deliver(channel, events) == [Delivered()] * 700
    found = server.read("zcmwmxbkmuodelu:Order_Completed")
    assert [fields["body"] for fields in found] == [event.body for event in events]
    assert found[1] == {
        "messageId": b"m-000001",
        "app": b"zcmwmxbkmuodelu",
        "type": b"track",
        "event": b"Order Completed",
        "user": b"u:u-1",
        "body": events[1].body,
    }


@slow
def test_what_is_sent_again_is_written_once_while_its_marker_is_kept(server: RedisServer) -> None:
    events = [make_event(n) for n in range(300)]
    marked = channel_to(server.port, stream="marked")
    assert deliver(marked, events[:200]) == [Delivered()] * 200
    assert deliver(marked, events) == [Delivered()] * 300
    assert ids_in(server, "marked") == [event.message_id for event in events]
    other = make_event(1, app="otherotherother")
    assert deliver(marked, [other]) == [Delivered()]
    assert len(ids_in(server, "marked")) == 301, "another app's event of that id is another event"
    left = server.run("PTTL", server.run("KEYS", "trunkline:{marked}:*")[0])
    assert 23 * 3_600_000 < left <= 24 * 3_600_000
    plain = channel_to(server.port, stream="plain", dedupe_hours=0)
    for _ in range(2):
        assert deliver(plain, events[:5]) == [Delivered()] * 5
    assert len(ids_in(server, "plain")) == 10
    assert server.run("KEYS", "trunkline:{plain}:*") == []


@slow
def test_a_stream_keeps_about_as_many_as_it_may(server: RedisServer) -> None:
    channel = channel_to(server.port, stream="short", length_max=200)
    assert deliver(channel, [make_event(n) for n in range(1000)]) == [Delivered()] * 1000
    kept = ids_in(server, "short")
    assert 200 <= len(kept) < 400
    assert kept[-1] == "m-000999"


@slow
def test_an_event_that_is_too_large_is_rejected_and_the_others_go(server: RedisServer) -> None:
    events = [make_event(n) for n in range(50)]
    events[3] = make_event(3, properties={"text": "x" * 5_000})
    channel = channel_to(server.port, stream="sizes", message_bytes_max=4_000)
    assert outcomes_of(deliver(channel, events), Rejected) == [3]
    assert ids_in(server, "sizes") == [e.message_id for e in events if e is not events[3]]


@slow
def test_a_key_that_is_no_stream_parks_and_what_goes_elsewhere_goes(server: RedisServer) -> None:
    server.run("SET", "odd-identify", "x")
    channel = channel_to(server.port, stream="odd-{type}")
    odd = make_event(1, type="identify")
    assert outcomes_of(deliver(channel, [odd, make_event(2)]), Delivered) == [1]
    assert "WRONGTYPE" in blocked_reason(channel, [odd])
    with pytest.raises(ConnectionError, match="odd-identify is a string and no stream"):
        channel_to(server.port, stream="odd-identify").check()


@slow
@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"password": "hunter2-wrong"}, "sign-in is refused"),
        ({"username": "stranger"}, "sign-in is refused"),
        ({"username": None, "password": None}, "NOAUTH|unauthenticated"),
        ({"username": "reader"}, "permissions|can't run this command"),
    ],
)
def test_what_a_person_must_mend_parks(
    server: RedisServer, wrong: dict[str, Any], said: str
) -> None:
    channel = channel_to(server.port, **{"stream": "rights", **wrong})
    reason = blocked_reason(channel, [make_event(1), make_event(2)])
    assert any(word in reason for word in said.split("|")), reason
    assert "hunter2" not in reason
    if wrong != {"username": "reader"}:  # who may look, and not write
        with pytest.raises(ConnectionError) as caught:
            channel.check()
        assert "hunter2" not in str(caught.value)


@slow
def test_the_rights_that_the_guide_asks_for_are_enough(server: RedisServer) -> None:
    channel = channel_to(server.port, stream="narrow", username="narrow", length_max=1000)
    assert deliver(channel, [make_event(n) for n in range(20)]) == [Delivered()] * 20
    assert "stream narrow has 20 entries" in channel.check()
    elsewhere = channel_to(server.port, stream="wide", username="narrow")
    assert "correct" in blocked_reason(elsewhere, [make_event(1)])


@slow
def test_a_full_server_is_a_retry_and_nothing_changes_places(server: RedisServer) -> None:
    events = [make_event(n) for n in range(400)]
    channel = channel_to(server.port, stream="full")
    assert deliver(channel, events[:100]) == [Delivered()] * 100
    server.run("CONFIG", "SET", "maxmemory", "1")
    try:
        outcomes = deliver(channel, events)
    finally:
        server.run("CONFIG", "SET", "maxmemory", "0")
    assert outcomes_of(outcomes, Retry) == list(range(100, 400)), "the others are there"
    assert "maxmemory" in str(outcomes[100])
    assert deliver(channel, events) == [Delivered()] * 400
    assert ids_in(server, "full") == [event.message_id for event in events]


@slow
def test_a_server_that_hangs_is_a_retry_and_what_it_wrote_meanwhile_counts_once(
    server: RedisServer,
) -> None:
    events = [make_event(n) for n in range(100)]
    channel = channel_to(server.port, stream="hung", timeout_seconds=1)
    assert deliver(channel, events[:1]) == [Delivered()]
    server.signal(signal.SIGSTOP)
    try:
        outcomes = deliver(channel, events)
    finally:
        server.signal(signal.SIGCONT)
    assert outcomes_of(outcomes, Retry) == list(range(100))
    assert deliver(channel_to(server.port, stream="hung"), events) == [Delivered()] * 100
    assert ids_in(server, "hung") == [event.message_id for event in events]


@slow
def test_tls_is_checked(server: RedisServer) -> None:
    settings = {"host": "localhost", "stream": "sealed", "tls": True}
    trusting = channel_to(server.tls_port, **settings, tls_ca=str(server.authorities))
    assert deliver(trusting, [make_event(1)]) == [Delivered()]
    wary = channel_to(server.tls_port, **settings)
    assert "certificate" in blocked_reason(wary, [make_event(1)])


@slow
def test_a_check_says_what_is_there_and_writes_nothing(server: RedisServer) -> None:
    fresh = channel_to(server.port, stream="checked")
    said = fresh.check()
    assert said.startswith("Signed in to Redis ")
    assert said.endswith("stream checked comes with its first event. Nothing was written.")
    assert server.run("EXISTS", "checked") == 0
    assert "names its stream" in channel_to(server.port, stream="{app}").check()
    assert deliver(fresh, [make_event(1)]) == [Delivered()]
    assert "stream checked has 1 entries" in fresh.check()
    server.run("CONFIG", "SET", "maxmemory-policy", "allkeys-lru")
    server.run("CONFIG", "SET", "maxmemory", "100mb")
    said = fresh.check()
    server.run("CONFIG", "SET", "maxmemory", "0")
    server.run("CONFIG", "SET", "maxmemory-policy", "noeviction")
    assert "maxmemory-policy is allkeys-lru" in said
    assert "appendonly" not in said


@slow
def test_a_check_warns_of_a_server_that_keeps_nothing_on_the_disk() -> None:
    require("redis", INSTALLERS)
    with ForgetfulRedisServer.running() as server:
        assert "appendonly is off" in channel_to(server.port, stream="s").check()


@slow
def test_a_server_killed_in_the_middle_loses_nothing_and_doubles_nothing(
    server: RedisServer,
) -> None:
    events = [make_event(n) for n in range(2000)]
    restart = Restart(server)
    channel = channel_to(server.port, stream="killed")
    assert deliver_all(channel, events, 100, restart.on_batch) == []
    restart.wait()
    assert ids_in(server, "killed") == [event.message_id for event in events]
