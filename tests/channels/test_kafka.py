"""`kafka` against a real broker: what arrives, what is refused, and what a kill costs: nothing."""

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
    make_event,
    outcomes_of,
)
from tests.support.servers.install import require
from tests.support.servers.kafka import PASSWORD, KafkaServer
from trunkline.destinations.kafka import Kafka, KafkaSettings
from trunkline.kit.destination import example_attempt, map_event
from trunkline.model.outcome import Delivered, Rejected, Retry

slow = pytest.mark.slow
pytestmark = pytest.mark.timeout(300)  # a busy machine starts servers slowly


@pytest.fixture(scope="module")
def server() -> Iterator[KafkaServer]:
    require("kafka")
    with KafkaServer.running() as server:
        yield server


def channel_to(server: KafkaServer, **settings: Any) -> Kafka:
    values = {"bootstrap_servers": server.address, "timeout_seconds": 30, **settings}
    return Kafka(msgspec.convert(values, KafkaSettings))


@pytest.mark.parametrize("example", Kafka.examples, ids=lambda example: example.title)
def test_an_example_shows_what_is_written(example: Any) -> None:
    channel = Kafka(msgspec.convert(example.settings, KafkaSettings))
    assert channel.encode([map_event(event) for event in example.events]) == example.text
    assert example_attempt(example).number == 1


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"topic": "{event}"}, r"topic holds \{event\}; expected one of \{app\}, \{type\}"),
        ({"topic": "a b"}, "topic may hold letters"),
        ({"topic": "{app"}, "a brace that is not closed"),
        ({"security": "sasl"}, "give username and password"),
        ({"tls_key": "/k.pem"}, "tls_certificate and tls_key go together"),
        ({"compression": "best"}, "compression"),
        ({"message_bytes_max": 10}, "message_bytes_max"),
    ],
)
def test_wrong_settings_are_refused_with_a_sentence(wrong: dict[str, Any], said: str) -> None:
    values = {"bootstrap_servers": "k:9092", "topic": "t", **wrong}
    with pytest.raises(msgspec.ValidationError, match=said):
        msgspec.convert(values, KafkaSettings)


def test_a_file_that_is_not_there_blocks_with_its_name() -> None:
    channel = Kafka(
        KafkaSettings(
            bootstrap_servers="127.0.0.1:1",
            topic="t",
            security="sasl_tls",
            username="u",
            password=PASSWORD,
            tls_ca="/nowhere/ca.pem",
        )
    )
    reason = blocked_reason(channel, [make_event(1)])
    with pytest.raises(ConnectionError) as caught:
        channel.check()
    for text in (reason, str(caught.value)):
        assert "ssl.ca.location" in text
        assert PASSWORD not in text


@slow
def test_a_message_has_the_users_key_the_event_and_its_headers(server: KafkaServer) -> None:
    server.make_topic("zcmwmxbkmuodelu.track")
    events = [make_event(n) for n in range(100)]
    channel = channel_to(server, topic="{app}.{type}", compression="zstd")
    assert deliver(channel, events) == [Delivered()] * 100
    found = server.read("zcmwmxbkmuodelu.track")
    assert sorted(m.value() for m in found) == sorted(event.body for event in events)
    for message in found:
        value = msgspec.json.decode(message.value())
        assert message.key().decode() == f"u:{value['userId']}"
        assert dict(message.headers()) == {
            "messageId": value["messageId"].encode(),
            "app": b"zcmwmxbkmuodelu",
            "type": b"track",
            "event": b"Order Completed",
        }
    by_user: dict[bytes, list[int]] = {}
    for message in found:
        number = msgspec.json.decode(message.value())["properties"]["number"]
        by_user.setdefault(message.key(), []).append(number)
    assert len(by_user) == 7
    assert all(numbers == sorted(numbers) for numbers in by_user.values())


@slow
def test_an_event_that_is_too_large_is_rejected_and_the_others_go(server: KafkaServer) -> None:
    server.make_topic("small", 1, max_message_bytes="20000")
    large = make_event(3, properties={"text": "x" * 30_000})
    huge = make_event(5, properties={"text": "x" * 2_000_000})
    events = [make_event(n) for n in range(200)]
    events[3], events[5] = large, huge
    outcomes = deliver(channel_to(server, topic="small", compression="none"), events)
    assert outcomes_of(outcomes, Rejected) == [3, 5]
    assert outcomes_of(outcomes, Retry) == []
    found = [msgspec.json.decode(m.value())["messageId"] for m in server.read("small")]
    assert set(found) == {e.message_id for e in events} - {large.message_id, huge.message_id}
    for user in range(7):
        mine = [m for m in dict.fromkeys(reversed(found)) if int(m[2:]) % 7 == user]
        assert mine == sorted(mine, reverse=True), "the last that is seen is the last that was"


@slow
def test_a_missing_topic_parks_the_destination_and_is_not_made(server: KafkaServer) -> None:
    channel = channel_to(server, topic="nobody-made-me")
    assert "topic nobody-made-me is not there" in blocked_reason(channel, [make_event(1)])
    with pytest.raises(ConnectionError, match="topic nobody-made-me is not there"):
        channel.check()
    assert "nobody-made-me" not in server.admin().list_topics(timeout=30).topics


@slow
@pytest.mark.parametrize(
    ("username", "password", "said"),
    [("trunkline", "hunter2-wrong", "uthentication"), ("stranger", PASSWORD, "rights|not there")],
)
def test_who_may_not_sign_in_or_write_is_parked(
    server: KafkaServer, username: str, password: str, said: str
) -> None:
    server.make_topic(f"guarded-{username}")
    channel = channel_to(
        server,
        bootstrap_servers=f"127.0.0.1:{server.sasl_port}",
        topic=f"guarded-{username}",
        security="sasl",
        sasl_mechanism="PLAIN",
        username=username,
        password=password,
    )
    reason = blocked_reason(channel, [make_event(1), make_event(2)])
    with pytest.raises(ConnectionError) as caught:
        channel.check()
    for text in (reason, str(caught.value)):
        assert any(word in text for word in said.split("|")), text
        assert password not in text


@slow
def test_tls_is_checked(server: KafkaServer) -> None:
    server.make_topic("sealed")
    settings = {"bootstrap_servers": f"localhost:{server.tls_port}", "topic": "sealed"}
    trusting = channel_to(server, **settings, security="tls", tls_ca=str(server.authorities))
    assert deliver(trusting, [make_event(1)]) == [Delivered()]
    wary = channel_to(server, **settings, security="tls")
    assert "certificate" in blocked_reason(wary, [make_event(1)])


@slow
def test_a_check_says_what_is_there_and_writes_nothing(server: KafkaServer) -> None:
    server.make_topic("checked", 2)
    said = channel_to(server, topic="checked").check()
    assert said == "1 brokers answered; topic checked has 2 partitions. Nothing was written."
    assert "named by each event" in channel_to(server, topic="{app}").check()
    assert server.read("checked") == []


def test_a_cluster_that_is_away_is_a_retry_and_a_name_that_is_none_parks() -> None:
    away = Kafka(KafkaSettings(bootstrap_servers="127.0.0.1:1", topic="t", timeout_seconds=0.5))
    assert outcomes_of(deliver(away, [make_event(1), make_event(2)]), Retry) == [0, 1]
    none = Kafka(KafkaSettings(bootstrap_servers="no.invalid:1", topic="t", timeout_seconds=0.5))
    assert "no.invalid" in blocked_reason(none, [make_event(1)])
    for channel in (away, none):
        with pytest.raises(ConnectionError):
            channel.check()


@slow
def test_a_broker_killed_in_the_middle_loses_nothing_and_doubles_nothing(
    server: KafkaServer,
) -> None:
    server.make_topic("killed", 4)
    events = [make_event(n) for n in range(2000)]
    restart = Restart(server)
    channel = channel_to(server, topic="killed", timeout_seconds=90)
    assert deliver_all(channel, events, 100, restart.on_batch) == []
    restart.wait()
    found = [msgspec.json.decode(m.value())["messageId"] for m in server.read("killed")]
    assert sorted(found) == [event.message_id for event in events]
    for user in range(7):
        mine = [m for m in found if int(m[2:]) % 7 == user]
        assert mine == sorted(mine)


@slow
def test_a_broker_that_is_away_for_longer_than_an_attempt_loses_nothing(
    server: KafkaServer,
) -> None:
    server.make_topic("away", 2)
    events = [make_event(n) for n in range(600)]
    restart = Restart(server, batch=2)
    channel = channel_to(server, topic="away", timeout_seconds=3)
    assert deliver_all(channel, events, 100, restart.on_batch) == []
    restart.wait()
    found = [msgspec.json.decode(m.value())["messageId"] for m in server.read("away")]
    assert set(found) == {event.message_id for event in events}
    for user in range(7):
        last_first = dict.fromkeys(m for m in reversed(found) if int(m[2:]) % 7 == user)
        assert list(last_first) == sorted(last_first, reverse=True)
