"""`nats` against a real server: what is stored, what is refused, and what a kill costs: nothing."""

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
from tests.support.servers.nats import PASSWORD, NatsServer, SealedNatsServer
from trunkline.destinations.nats import Nats, NatsSettings
from trunkline.kit.destination import map_event
from trunkline.model.outcome import Blocked, Delivered, Rejected, Retry

slow = pytest.mark.slow


@pytest.fixture(scope="module")
def server() -> Iterator[NatsServer]:
    require("nats", INSTALLERS)
    with NatsServer.running() as server:
        yield server


def channel_to(port: int, **settings: Any) -> Nats:
    values = {
        "servers": f"127.0.0.1:{port}",
        "username": "trunkline",
        "password": PASSWORD,
        "timeout_seconds": 30,
        **settings,
    }
    return Nats(msgspec.convert(values, NatsSettings))


def ids_in(server: NatsServer, stream: str) -> list[str]:
    return [message.headers["Nats-Msg-Id"].partition(":")[2] for message in server.read(stream)]


def assert_in_order(ids: list[str]) -> None:
    for user in range(7):
        mine = [message_id for message_id in ids if int(message_id[2:]) % 7 == user]
        assert mine == sorted(mine)


@pytest.mark.parametrize("example", Nats.examples, ids=lambda example: example.title)
def test_an_example_shows_what_is_published(example: Any) -> None:
    channel = Nats(msgspec.convert(example.settings, NatsSettings))
    assert channel.encode([map_event(event) for event in example.events]) == example.text


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"subject": "{user}"}, r"subject holds \{user\}; expected one of"),
        ({"subject": "a..b"}, "subject is no subject"),
        ({"subject": "a.*"}, "subject is no subject"),
        ({"subject": "$JS.API.STREAM.DELETE.x"}, "subject is no subject"),
        ({"subject": "{app"}, "a brace that is not closed"),
        ({"servers": "nats://u:hunter2@h"}, "servers holds what is no HOST"),
        ({"servers": " , "}, "servers"),
        ({"username": "u"}, "username and password go together"),
        ({"tls_key": "/k.pem"}, "tls_certificate and tls_key go together"),
    ],
)
def test_wrong_settings_are_refused_with_a_sentence(wrong: dict[str, Any], said: str) -> None:
    with pytest.raises(msgspec.ValidationError, match=said) as caught:
        msgspec.convert({"servers": "h:4222", **wrong}, NatsSettings)
    assert "hunter2" not in str(caught.value)


def test_what_comes_from_an_event_adds_no_level_and_no_header() -> None:
    event = make_event(1, event="a.b >*\r\nX: y خرید", messageId="m 1\r\nX: y ü")
    shown = channel_to(1).encode([event]).decode()
    assert shown.startswith("subject=events.zcmwmxbkmuodelu.track.a_b_X_y_خرید ")
    assert "Nats-Msg-Id=zcmwmxbkmuodelu:m%201%0D%0AX%3A%20y%20%C3%BC app=" in shown
    assert "event=a.b >* X: y خرید\n" in shown


def test_a_server_that_is_away_is_a_retry_and_a_host_that_is_none_parks() -> None:
    away = channel_to(1)
    assert outcomes_of(deliver(away, [make_event(1), make_event(2)]), Retry) == [0, 1]
    with pytest.raises(ConnectionError, match=r"127\.0\.0\.1:1"):
        away.check()
    none = channel_to(1, servers="no.invalid")
    assert "no.invalid" in blocked_reason(none, [make_event(1)])
    both = channel_to(1, servers="no.invalid, 127.0.0.1:1")
    assert outcomes_of(deliver(both, [make_event(1)]), Retry) == [0], "one may come back"


def test_a_file_of_authorities_that_is_not_there_parks() -> None:
    channel = channel_to(1, tls=True, tls_ca="/nowhere/ca.pem")
    assert "files of TLS cannot be used" in blocked_reason(channel, [make_event(1)])


@slow
def test_a_message_carries_the_event_its_ids_and_its_order(server: NatsServer) -> None:
    server.make_stream("EVENTS", "shop.>")
    events = [make_event(n) for n in range(500)]
    channel = channel_to(server.port, subject="shop.{type}.{event}", stream="EVENTS")
    assert deliver(channel, events) == [Delivered()] * 500
    found = server.read("EVENTS")
    assert {message.data for message in found} == {event.body for event in events}
    assert len(found) == 500
    assert_in_order(ids_in(server, "EVENTS"))
    first = next(message for message in found if message.data == events[0].body)
    assert first.subject == "shop.track.Order_Completed"
    assert first.headers == {
        "Nats-Msg-Id": "zcmwmxbkmuodelu:m-000000",
        "app": "zcmwmxbkmuodelu",
        "type": "track",
        "event": "Order Completed",
        "Nats-Expected-Stream": "EVENTS",
    }


@slow
def test_what_is_sent_again_within_the_window_is_stored_once(server: NatsServer) -> None:
    server.make_stream("TWICE", "twice")
    events = [make_event(n) for n in range(100)]
    channel = channel_to(server.port, subject="twice")
    for _ in range(2):
        assert deliver(channel, events) == [Delivered()] * 100
    assert deliver(channel, [make_event(1, app="otherotherother")]) == [Delivered()]
    found = ids_in(server, "TWICE")
    assert len(found) == 101, "another app's event of that id is another event"
    assert set(found) == {event.message_id for event in events}


@slow
def test_what_comes_after_an_event_of_its_user_waits_with_it(server: NatsServer) -> None:
    server.make_stream("LANES", "lanes.track")
    events = [make_event(1, type="identify"), make_event(8), make_event(2), make_event(15)]
    channel = channel_to(server.port, subject="lanes.{type}")
    outcomes = deliver(channel, events)
    assert outcomes_of(outcomes, Delivered) == [2]
    assert outcomes_of(outcomes, Blocked) == [0, 1, 3]
    assert ids_in(server, "LANES") == ["m-000002"]


@slow
def test_events_of_nobody_go_side_by_side(server: NatsServer) -> None:
    server.make_stream("NOBODY", "nobody")
    events = [make_event(n, userId=None) for n in range(300)]
    lanes = [msgspec.structs.replace(event, user="") for event in events]
    channel = channel_to(server.port, subject="nobody")
    assert deliver(channel, lanes) == [Delivered()] * 300
    assert set(ids_in(server, "NOBODY")) == {event.message_id for event in events}


@slow
def test_an_event_that_is_too_large_is_rejected_and_the_others_go(server: NatsServer) -> None:
    server.make_stream("SIZES", "sizes", max_msg_size=20_000)
    events = [make_event(n) for n in range(50)]
    events[3] = make_event(3, properties={"text": "x" * 30_000})
    events[30] = make_event(30, properties={"text": "x" * 400_000})
    channel = channel_to(server.port, subject="sizes")
    outcomes = deliver(channel, events)
    assert outcomes_of(outcomes, Rejected) == [3, 30]
    assert "max_msg_size" in str(outcomes[3])
    assert "max_payload is 300000" in str(outcomes[30])
    assert outcomes_of(outcomes, Delivered) == [n for n in range(50) if n not in (3, 30)]
    found = ids_in(server, "SIZES")
    assert len(found) == 48
    assert_in_order(found)


@slow
def test_an_event_that_just_fits_with_its_headers_is_stored(server: NatsServer) -> None:
    server.make_stream("EDGE", "edge")
    channel = channel_to(server.port, subject="edge")
    events: list[Any] = []
    for size in range(299_700, 300_001, 4):
        event = make_event(size, properties={"text": ""})
        text = b"x" * (size - len(event.body))
        body = event.body.replace(b'"text":""', b'"text":"%s"' % text)
        events.append(msgspec.structs.replace(event, body=body, user=""))
    outcomes = deliver(channel, events)
    fit = outcomes_of(outcomes, Delivered)
    assert fit == list(range(len(fit))), "up to a size, and never an ended connection"
    assert outcomes_of(outcomes, Rejected) == list(range(len(fit), len(events)))
    assert 0 < len(fit) < len(events)


@slow
def test_a_full_stream_is_a_retry_and_nothing_changes_places(server: NatsServer) -> None:
    server.make_stream("FULL", "full", max_msgs=40, discard="new")
    events = [make_event(n) for n in range(100)]
    channel = channel_to(server.port, subject="full")
    outcomes = deliver(channel, events)
    assert outcomes_of(outcomes, Rejected) == outcomes_of(outcomes, Blocked) == []
    assert len(outcomes_of(outcomes, Delivered)) == 40
    assert_in_order(ids_in(server, "FULL"))
    retried = outcomes_of(outcomes, Retry)
    assert "maximum messages exceeded" in str(outcomes[retried[0]])
    for number in outcomes_of(outcomes, Delivered):
        assert all(n > number for n in retried if n % 7 == number % 7)


@slow
@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"password": "hunter2-wrong"}, "sign-in is refused"),
        ({"username": "stranger"}, "sign-in is refused"),
        ({"username": None, "password": None}, "sign-in is refused"),
        ({"username": None, "password": None, "token": "hunter2-token"}, "sign-in is refused"),
        ({"subject": "nobody-takes-this"}, "no stream takes"),
        ({"stream": "OTHER"}, "stream does not match|stream not found"),
        ({"username": "reader"}, "ermissions"),
    ],
)
def test_what_a_person_must_mend_parks(
    server: NatsServer, wrong: dict[str, Any], said: str
) -> None:
    server.make_stream("RIGHTS", "rights")
    channel = channel_to(server.port, **{"subject": "rights", **wrong})
    reason = blocked_reason(channel, [make_event(1), make_event(2), make_event(8)])
    assert any(word in reason for word in said.split("|")), reason
    assert "hunter2" not in reason
    if wrong != {"username": "reader"}:  # who may look, and not publish
        with pytest.raises(ConnectionError) as caught:
            channel.check()
        assert any(word in str(caught.value) for word in said.split("|")), caught.value
        assert "hunter2" not in str(caught.value)


@slow
def test_the_rights_that_the_guide_asks_for_are_enough(server: NatsServer) -> None:
    server.make_stream("NARROW", "narrow.>")
    channel = channel_to(server.port, subject="narrow.{type}", username="narrow")
    assert deliver(channel, [make_event(n) for n in range(20)]) == [Delivered()] * 20
    assert "each event names its subject" in channel.check()
    for settings in ({"subject": "narrow.all"}, {"stream": "NARROW"}):
        narrow = channel_to(server.port, **settings, username="narrow")
        assert "stream NARROW takes narrow.>" in narrow.check()


@slow
def test_a_server_that_hangs_is_a_retry_and_what_it_stored_meanwhile_counts_once(
    server: NatsServer,
) -> None:
    server.make_stream("HUNG", "hung")
    events = [make_event(n) for n in range(100)]
    channel = channel_to(server.port, subject="hung", timeout_seconds=1)
    channel.open()
    assert deliver(channel, events[:1]) == [Delivered()]
    server.signal(signal.SIGSTOP)
    try:
        outcomes = deliver(channel, events)
    finally:
        server.signal(signal.SIGCONT)
    assert outcomes_of(outcomes, Retry) == list(range(100))
    assert deliver(channel_to(server.port, subject="hung"), events) == [Delivered()] * 100
    found = ids_in(server, "HUNG")
    assert sorted(found) == [event.message_id for event in events]
    assert_in_order(found)


@slow
def test_tls_is_checked_and_nobody_signs_in_without_it(server: NatsServer) -> None:
    with SealedNatsServer.running() as sealed:
        sealed.make_stream("SEALED", "sealed")
        settings = {"servers": f"localhost:{sealed.port}", "subject": "sealed", "tls": True}
        trusting = channel_to(0, **settings, tls_ca=str(sealed.authorities))
        assert deliver(trusting, [make_event(1)]) == [Delivered()]
        wary = channel_to(0, **settings)
        assert "certificate" in blocked_reason(wary, [make_event(1)])
    clear = channel_to(server.port, tls=True)
    assert "offers no TLS" in blocked_reason(clear, [make_event(1)])


@slow
def test_a_check_says_what_is_there_and_publishes_nothing(server: NatsServer) -> None:
    server.make_stream("CHECKED", "checked.>", duplicate_window=3600)
    said = channel_to(server.port, subject="checked.{type}", stream="CHECKED").check()
    assert said.startswith("Signed in to nats-server ")
    assert said.endswith(
        "stream CHECKED takes checked.>, keeps 1 copies and looks 3600 s back for what came "
        "before. Nothing was published."
    )
    assert "stream CHECKED" in channel_to(server.port, subject="checked.all").check()
    assert "each event names its subject" in channel_to(server.port).check()
    assert server.read("CHECKED") == []


@slow
def test_a_server_killed_in_the_middle_loses_nothing_and_doubles_nothing(
    server: NatsServer,
) -> None:
    server.make_stream("KILLED", "killed.>", duplicate_window=3600)
    events = [make_event(n) for n in range(2000)]
    restart = Restart(server)
    channel = channel_to(server.port, subject="killed.{type}")
    assert deliver_all(channel, events, 100, restart.on_batch) == []
    restart.wait()
    found = ids_in(server, "KILLED")
    assert sorted(found) == [event.message_id for event in events]
    assert_in_order(found)
