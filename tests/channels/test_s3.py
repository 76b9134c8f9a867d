"""`s3` against a real server: what is written, what is refused, and what a kill costs: nothing."""

from __future__ import annotations

import gzip
import signal
from collections.abc import Iterator
from io import BytesIO
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
from tests.support.servers.s3 import (
    KEY,
    SECRET,
    STRANGER,
    STRANGERS_SECRET,
    S3Server,
    SealedS3Server,
)
from trunkline.destinations.s3 import S3, S3Settings
from trunkline.kit.destination import map_event
from trunkline.model.outcome import Delivered, Retry

slow = pytest.mark.slow


@pytest.fixture(scope="module")
def server() -> Iterator[S3Server]:
    require("s3", INSTALLERS)
    with S3Server.running() as server:
        yield server


def channel_to(address: str, **settings: Any) -> S3:
    values = {
        "endpoint": address,
        "access_key_id": KEY,
        "secret_access_key": SECRET,
        "timeout_seconds": 30,
        **settings,
    }
    return S3(msgspec.convert(values, S3Settings))


def lines_in(server: S3Server, bucket: str) -> list[bytes]:
    found = server.read(bucket)
    return [line for body in found.values() for line in gzip.decompress(body).splitlines()]


@pytest.mark.parametrize("example", S3.examples, ids=lambda example: example.title)
def test_an_example_shows_what_is_written(example: Any) -> None:
    channel = S3(msgspec.convert(example.settings, S3Settings))
    assert channel.encode([map_event(event) for event in example.events]) == example.text


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"bucket": "a/b"}, "bucket is no name of a bucket"),
        ({"bucket": ""}, "bucket is no name of a bucket"),
        ({"prefix": "/a"}, "prefix may hold"),
        ({"prefix": "a//b"}, "prefix may hold"),
        ({"endpoint": "s3.example.com"}, "endpoint is no URL"),
        ({"endpoint": "https://u:hunter2@s3.example.com"}, "endpoint is no URL"),
        ({"file_format": "csv"}, "file_format"),
        ({"access_key_id": "A"}, "access_key_id and secret_access_key go together"),
        ({"session_token": "T"}, "session_token goes with"),
    ],
)
def test_wrong_settings_are_refused_with_a_sentence(wrong: dict[str, Any], said: str) -> None:
    with pytest.raises(msgspec.ValidationError, match=said) as caught:
        msgspec.convert({"bucket": "lake", **wrong}, S3Settings)
    assert "hunter2" not in str(caught.value)


def test_a_storage_that_is_away_is_a_retry_and_a_host_that_is_none_parks() -> None:
    away = channel_to("http://127.0.0.1:1", bucket="lake")
    assert outcomes_of(deliver(away, [make_event(1), make_event(2)]), Retry) == [0, 1]
    with pytest.raises(ConnectionError, match=r"127\.0\.0\.1:1"):
        away.check()
    none = channel_to("http://no.invalid", bucket="lake")
    assert "has no address" in blocked_reason(none, [make_event(1)])
    lost = channel_to("https://127.0.0.1:1", bucket="lake", tls_ca="/nowhere/ca.pem")
    assert "/nowhere/ca.pem" in blocked_reason(lost, [make_event(1)])


def test_a_machine_without_a_key_parks(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_PROFILE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    for name in ("AWS_SHARED_CREDENTIALS_FILE", "AWS_CONFIG_FILE"):
        monkeypatch.setenv(name, "/nowhere")
    values = {"endpoint": "http://127.0.0.1:1", "bucket": "lake"}
    channel = S3(msgspec.convert(values, S3Settings))
    assert "give access_key_id and secret_access_key" in blocked_reason(channel, [make_event(1)])


@slow
def test_events_lie_by_app_and_hour_in_their_order(server: S3Server) -> None:
    server.make_bucket("lake")
    events = [make_event(n) for n in range(100)]
    later = {"receivedAt": "2026-11-21T00:00:00.000Z"}
    events += [make_event(n, **later) for n in range(100, 150)]
    events += [make_event(n, app="otherotherother") for n in range(150, 160)]
    channel = channel_to(server.address, bucket="lake", prefix="raw/events")
    assert deliver(channel, events) == [Delivered()] * 160
    found = server.read("lake")
    lines = {key: gzip.decompress(body).splitlines() for key, body in found.items()}
    by_folder = {key.rpartition("/")[0]: value for key, value in lines.items()}
    assert by_folder == {
        "raw/events/app=zcmwmxbkmuodelu/date=2026-11-20/hour=10": [e.body for e in events[:100]],
        "raw/events/app=zcmwmxbkmuodelu/date=2026-11-21/hour=00": [e.body for e in events[100:150]],
        "raw/events/app=otherotherother/date=2026-11-20/hour=10": [e.body for e in events[150:]],
    }
    assert all(key.endswith(".ndjson.gz") for key in found)


@slow
def test_an_object_that_cannot_be_written_holds_what_comes_after_it(server: S3Server) -> None:
    server.make_bucket("holed")
    # Where a folder would be needed there lies an object: this server can keep no other below it.
    hole = "events/app=zcmwmxbkmuodelu/date=2026-11-21"
    server.connect().put_object(Bucket="holed", Key=hole, Body=b"x")
    days = [make_event(n, receivedAt=f"2026-11-2{n}T10:00:00.000Z") for n in range(3)]
    events = [days[n] for n in (0, 0, 1, 2)]
    outcomes = deliver(channel_to(server.address, bucket="holed"), events)
    assert outcomes_of(outcomes, Delivered) == [0, 1]
    assert outcomes_of(outcomes, Retry) == [2, 3]
    assert "HTTP 409" in str(outcomes[2])
    assert "waits for an object" in str(outcomes[3])
    server.connect().delete_object(Bucket="holed", Key=hole)
    assert deliver(channel_to(server.address, bucket="holed"), events) == [Delivered()] * 4
    assert lines_in(server, "holed") == [event.body for event in events]


@slow
def test_the_same_events_are_the_same_object_and_others_another(server: S3Server) -> None:
    server.make_bucket("same")
    channel = channel_to(server.address, bucket="same")
    events = [make_event(n) for n in range(20)]
    deliver(channel, events)
    first = server.read("same")
    deliver(channel, events)
    assert server.read("same") == first
    deliver(channel, events[:10])
    assert len(server.read("same")) == 2, "who puts other events together says so by the name"


@slow
def test_parquet_has_the_envelope_in_columns(server: S3Server) -> None:
    import pyarrow.parquet as pq

    server.make_bucket("columns")
    events = [make_event(n) for n in range(30)]
    events[2] = make_event(2, userId=None, anonymousId="a-2", event="خرید", timestamp="gone")
    channel = channel_to(server.address, bucket="columns", file_format="parquet")
    assert deliver(channel, events) == [Delivered()] * 30
    first = server.read("columns")
    (key,) = first
    assert key.endswith(".parquet")
    table = pq.read_table(BytesIO(first[key]))
    assert {field.name: str(field.type) for field in table.schema} == {
        "message_id": "string",
        "app": "string",
        "type": "string",
        "event": "string",
        "user_id": "string",
        "anonymous_id": "string",
        "timestamp": "timestamp[ms, tz=UTC]",
        "received_at": "timestamp[ms, tz=UTC]",
        "body": "string",
    }
    rows = table.to_pylist()
    assert [row["body"].encode() for row in rows] == [event.body for event in events]
    assert rows[1]["timestamp"].isoformat() == "2026-11-20T10:15:30+00:00"
    assert rows[1]["user_id"] == "u-1"
    assert rows[1]["anonymous_id"] is None
    assert (rows[2]["user_id"], rows[2]["anonymous_id"]) == (None, "a-2")
    assert (rows[2]["event"], rows[2]["timestamp"]) == ("خرید", None)
    assert rows[2]["received_at"].isoformat() == "2026-11-20T10:15:30.120000+00:00"
    deliver(channel, events)
    assert server.read("columns") == first


@slow
@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"secret_access_key": "hunter2-wrong"}, "SignatureDoesNotMatch"),
        ({"access_key_id": "NOBODY"}, "InvalidAccessKeyId"),
        ({"bucket": "nobody-made-me"}, "NoSuchBucket"),
        ({"access_key_id": STRANGER, "secret_access_key": STRANGERS_SECRET}, "AccessDenied"),
    ],
)
def test_what_a_person_must_mend_parks(server: S3Server, wrong: dict[str, Any], said: str) -> None:
    if "access_key_id" in wrong and wrong["access_key_id"] == STRANGER:
        server.make_stranger()
        server.make_bucket("guarded")
        wrong = {**wrong, "bucket": "guarded"}
    channel = channel_to(server.address, **{"bucket": "rights", **wrong})
    reason = blocked_reason(channel, [make_event(1), make_event(2)])
    assert said in reason
    assert "hunter2" not in reason
    with pytest.raises(
        ConnectionError, match=f"bucket {channel.settings.bucket}: HTTP 40"
    ) as caught:
        channel.check()
    assert "hunter2" not in str(caught.value)


@slow
def test_a_storage_that_hangs_is_a_retry_and_what_it_wrote_meanwhile_counts_once(
    server: S3Server,
) -> None:
    server.make_bucket("hung")
    events = [make_event(n) for n in range(100)]
    server.signal(signal.SIGSTOP)
    try:
        hasty = channel_to(server.address, bucket="hung", timeout_seconds=1)
        outcomes = deliver(hasty, events)
    finally:
        server.signal(signal.SIGCONT)
    assert outcomes_of(outcomes, Retry) == list(range(100))
    assert deliver(channel_to(server.address, bucket="hung"), events) == [Delivered()] * 100
    assert lines_in(server, "hung") == [event.body for event in events]


@slow
def test_tls_is_checked() -> None:
    require("s3", INSTALLERS)
    with SealedS3Server.running() as sealed:
        sealed.make_bucket("sealed")
        trusting = channel_to(sealed.address, bucket="sealed", tls_ca=str(sealed.authorities))
        assert deliver(trusting, [make_event(1)]) == [Delivered()]
        wary = channel_to(sealed.address, bucket="sealed")
        assert "certificate" in blocked_reason(wary, [make_event(1)])


@slow
def test_a_check_says_what_is_there_and_writes_nothing(server: S3Server) -> None:
    server.make_bucket("checked")
    said = channel_to(server.address, bucket="checked").check()
    assert said.startswith("Bucket checked is there and may be looked at. Nothing was written")
    assert server.read("checked") == {}


@slow
def test_a_server_killed_in_the_middle_loses_nothing_and_doubles_nothing(
    server: S3Server,
) -> None:
    server.make_bucket("killed")
    events = [make_event(n) for n in range(2000)]
    restart = Restart(server)
    channel = channel_to(server.address, bucket="killed")
    assert deliver_all(channel, events, 100, restart.on_batch) == []
    restart.wait()
    assert sorted(lines_in(server, "killed")) == sorted(event.body for event in events)
    assert len(server.read("killed")) == 20
