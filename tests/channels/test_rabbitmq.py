"""`rabbitmq` against a real broker: what arrives, what is refused, and what a kill costs."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import msgspec
import pytest

from tests.support.servers.driving import (
    Restart,
    blocked_reason,
    deliver,
    deliver_all,
    make_attempt,
    make_event,
    outcomes_of,
)
from tests.support.servers.install import require
from tests.support.servers.rabbitmq import PASSWORD, RabbitServer
from trunkline.destinations.rabbitmq import Rabbitmq, RabbitmqSettings
from trunkline.kit.destination import map_event
from trunkline.model.outcome import Blocked, Delivered, Rejected, Retry

slow = pytest.mark.slow
pytestmark = pytest.mark.timeout(300)  # a busy machine starts servers slowly


@pytest.fixture(scope="module")
def server() -> Iterator[RabbitServer]:
    require("rabbitmq")
    with RabbitServer.running() as server:
        yield server


def channel_to(port: int, **settings: Any) -> Rabbitmq:
    values = {
        "host": "127.0.0.1",
        "port": port,
        "username": "trunkline",
        "password": PASSWORD,
        "timeout_seconds": 30,
        **settings,
    }
    return Rabbitmq(msgspec.convert(values, RabbitmqSettings))


def ids_of(found: list[tuple[Any, bytes]]) -> list[str]:
    return [properties.message_id for properties, _ in found]


@pytest.mark.parametrize("example", Rabbitmq.examples, ids=lambda example: example.title)
def test_an_example_shows_what_is_published(example: Any) -> None:
    channel = Rabbitmq(msgspec.convert(example.settings, RabbitmqSettings))
    assert channel.encode([map_event(event) for event in example.events]) == example.text


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"exchange": "{user}"}, r"exchange holds \{user\}; expected one of"),
        ({"routing_key": ""}, "routing_key is empty"),
        ({"routing_key": "a}"}, "a brace that is not closed"),
        ({"port": 70_000}, "port is 70000; give 1 to 65535"),
        ({"password": ""}, "password"),
    ],
)
def test_wrong_settings_are_refused_with_a_sentence(wrong: dict[str, Any], said: str) -> None:
    values = {"host": "h", "username": "u", "password": "p", **wrong}
    with pytest.raises(msgspec.ValidationError, match=said):
        msgspec.convert(values, RabbitmqSettings)


def test_what_comes_from_an_event_adds_no_word_to_a_routing_key() -> None:
    channel = channel_to(1)
    shown = channel.encode([make_event(1, event="a.b #*/ خرید"), make_event(2, event="…" * 400)])
    assert b"routing_key=zcmwmxbkmuodelu.track.a_b_" in shown
    assert "_خرید ".encode() in shown
    assert len(channel._route(make_event(1, event="ب" * 400))[1].encode()) <= 255


def test_a_broker_that_is_away_is_a_retry_and_a_host_that_is_none_parks() -> None:
    assert outcomes_of(deliver(channel_to(1), [make_event(1), make_event(2)]), Retry) == [0, 1]
    assert "no.invalid" in blocked_reason(channel_to(1, host="no.invalid"), [make_event(1)])
    with pytest.raises(ConnectionError):
        channel_to(1).check()


def test_a_file_of_authorities_that_is_not_there_parks() -> None:
    channel = channel_to(1, tls=True, tls_ca="/nowhere/ca.pem")
    assert "tls_ca cannot be used" in blocked_reason(channel, [make_event(1)])


@slow
def test_a_message_carries_the_event_its_ids_and_its_order(server: RabbitServer) -> None:
    server.make_queue("orders")
    connection = server.connect()
    channel = connection.channel()
    channel.exchange_declare("shop", "topic", durable=True)
    channel.queue_bind("orders", "shop", "*.track.Order_Completed")
    connection.close()
    events = [make_event(n) for n in range(300)]
    assert deliver(channel_to(server.port, exchange="shop"), events) == [Delivered()] * 300
    found = server.read("orders")
    assert [body for _, body in found] == [event.body for event in events]
    properties = found[0][0]
    assert properties.message_id == "m-000000"
    assert properties.type == "track"
    assert properties.app_id == "zcmwmxbkmuodelu"
    assert properties.delivery_mode == 2
    assert properties.content_type == "application/json"
    assert properties.headers == {"messageId": "m-000000", "event": "Order Completed"}


@slow
def test_what_no_queue_would_get_parks_unless_it_may_go(server: RabbitServer) -> None:
    server.make_queue("here")
    events = [make_event(1), make_event(2, type="identify"), make_event(3)]
    settings = {"routing_key": "here-{type}"}
    server.make_queue("here-track")
    outcomes = deliver(channel_to(server.port, **settings), events)
    assert outcomes_of(outcomes, Delivered) == [0, 2]
    assert outcomes_of(outcomes, Blocked) == [1]
    assert "has no queue for 'here-identify'" in str(outcomes[1])
    channel = channel_to(server.port, **settings)
    assert outcomes_of(channel.deliver(events, make_attempt(events)), Blocked) == [1]
    server.make_queue("here-identify")
    assert channel.deliver(events, make_attempt(events)) == [Delivered()] * 3
    channel.close()
    settings = {"routing_key": "there-{type}"}
    lax = channel_to(server.port, **settings, mandatory=False)
    assert deliver(lax, events) == [Delivered()] * 3


@slow
def test_an_event_that_is_too_large_is_rejected_and_the_others_go(server: RabbitServer) -> None:
    server.make_queue("sizes")
    events = [make_event(n) for n in range(50)]
    events[3] = make_event(3, properties={"text": "x" * 400_000})
    events[30] = make_event(30, properties={"text": "x" * 200_000})
    channel = channel_to(server.port, routing_key="sizes", message_bytes_max=350_000)
    assert outcomes_of(deliver(channel, events), Rejected) == [3]
    channel = channel_to(server.port, routing_key="sizes")
    server.read("sizes")
    outcomes = deliver(channel, events)
    assert outcomes_of(outcomes, Rejected) == [3], "found by the broker, which says not which"
    assert outcomes_of(outcomes, Delivered) == [n for n in range(50) if n != 3]
    found = dict.fromkeys(ids_of(server.read("sizes")))
    assert list(found) == [event.message_id for event in events if event is not events[3]]


@slow
def test_a_full_queue_is_a_retry(server: RabbitServer) -> None:
    server.make_queue("full", **{"x-max-length": 10, "x-overflow": "reject-publish"})
    events = [make_event(n, userId=f"u-{n}") for n in range(200)]
    channel = channel_to(server.port, routing_key="full")
    outcomes = deliver(channel, events)
    assert outcomes_of(outcomes, Rejected) == outcomes_of(outcomes, Blocked) == []
    delivered = [events[n].message_id for n in outcomes_of(outcomes, Delivered)]
    assert ids_of(server.read("full")) == delivered
    assert "a queue is full" in str(outcomes[outcomes_of(outcomes, Retry)[0]])


@slow
@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"password": "hunter2-wrong"}, "refuses the sign-in of trunkline"),
        ({"username": "stranger"}, "does not let stranger at vhost / in|refused"),
        ({"vhost": "nowhere"}, "nowhere"),
        ({"exchange": "missing", "routing_key": "x"}, "no exchange 'missing'"),
        ({"username": "reader"}, "ACCESS_REFUSED"),
    ],
)
def test_what_a_person_must_mend_parks(
    server: RabbitServer, wrong: dict[str, Any], said: str
) -> None:
    server.make_queue("rights")
    channel = channel_to(server.port, **{"routing_key": "rights", **wrong})
    reason = blocked_reason(channel, [make_event(1), make_event(2)])
    assert any(word in reason for word in said.split("|")), reason
    assert "hunter2" not in reason
    if wrong != {"username": "reader"}:  # who may look, and not write
        with pytest.raises(ConnectionError) as caught:
            channel.check()
        assert "hunter2" not in str(caught.value)


@slow
def test_tls_is_checked(server: RabbitServer) -> None:
    server.make_queue("sealed")
    settings = {"host": "localhost", "routing_key": "sealed", "tls": True}
    trusting = channel_to(server.tls_port, **settings, tls_ca=str(server.authorities))
    assert deliver(trusting, [make_event(1)]) == [Delivered()]
    wary = channel_to(server.tls_port, **settings)
    assert "certificate" in blocked_reason(wary, [make_event(1)])


@slow
def test_a_check_says_what_is_there_and_publishes_nothing(server: RabbitServer) -> None:
    server.make_queue("checked")
    said = channel_to(server.port, routing_key="checked").check()
    assert said == "Signed in to vhost /; queue checked is there. Nothing was published."
    assert "exchange amq.topic is there" in channel_to(server.port, exchange="amq.topic").check()
    assert "each event names its queue" in channel_to(server.port).check()
    with pytest.raises(ConnectionError, match="no queue 'none'"):
        channel_to(server.port, routing_key="none").check()
    assert server.read("checked") == []


@slow
def test_a_broker_killed_in_the_middle_loses_nothing(server: RabbitServer) -> None:
    server.make_queue("killed")
    server.wait_for_queue_on_disk("killed")
    events = [make_event(n) for n in range(2000)]
    restart = Restart(server)
    channel = channel_to(server.port, routing_key="killed")
    assert deliver_all(channel, events, 100, restart.on_batch) == []
    restart.wait()
    found = ids_of(server.read("killed"))
    assert set(found) == {event.message_id for event in events}
    twice = len(found) - len(events)
    assert twice <= 100, "no more comes twice than was under way"
    for user in range(7):
        last_first = dict.fromkeys(m for m in reversed(found) if int(m[2:]) % 7 == user)
        assert list(last_first) == sorted(last_first, reverse=True)
