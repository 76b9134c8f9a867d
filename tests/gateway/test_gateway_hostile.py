"""Clients that send too much, too little, too slowly, or something else than they say."""

from __future__ import annotations

import gzip
import resource
import socket
import zlib
from collections.abc import Iterator

import pytest

from tests.support.gateway_rig import INFLATED_MAX, WIRE_MAX, Client, Rig, running_gateway
from trunkline.kit.clock import FakeClock
from trunkline.kit.settings import GatewaySettings

EVENT = b'{"users":["1"]}'


@pytest.fixture(scope="module")
def rig() -> Iterator[Rig]:
    with running_gateway() as rig:
        yield rig


@pytest.fixture(autouse=True)
def nothing_is_left_in_flight(rig: Rig) -> Iterator[None]:
    yield
    inflight = rig.gateway.inflight
    rig.until(lambda: (inflight.requests, inflight.bytes) == (0, 0), "limits are released")
    rig.until(lambda: rig.gateway.bodies_being_read == 0, "nobody reads")


def chunked(*pieces: bytes) -> bytes:
    return b"".join(b"%x\r\n%s\r\n" % (len(p), p) for p in pieces) + b"0\r\n\r\n"


def chunks(rig: Rig, *headers: str) -> Client:
    return rig.client().head("POST", "/events/wallet", "Transfer-Encoding: chunked", *headers)


def test_a_chunked_body_is_read(rig: Rig) -> None:
    client = chunks(rig).send(chunked(EVENT[:3], EVENT[3:]))
    assert client.reply().status == 200
    # The connection goes on.
    assert client.post("/events/wallet", EVENT).reply().status == 200
    client.close()


def test_a_chunked_body_with_announced_trailers_is_whole(rig: Rig) -> None:
    body = b"%x\r\n%s\r\n0\r\nX-Sum: 1\r\n\r\n" % (len(EVENT), EVENT)
    assert chunks(rig, "Trailer: X-Sum").send(body).reply().status == 200


def test_a_gzipped_chunked_body_is_read(rig: Rig) -> None:
    packed = gzip.compress(EVENT)
    client = chunks(rig, "Content-Encoding: gzip").send(chunked(packed[:5], packed[5:]))
    assert client.reply().status == 200


def test_a_chunked_body_over_the_limit_is_413_while_it_streams(rig: Rig) -> None:
    client = chunks(rig)
    piece = b"x" * 16_384
    for _ in range(5):
        client.send(b"%x\r\n%s\r\n" % (len(piece), piece))
    reply = client.reply()
    assert (reply.status, reply.json["code"]) == (413, "payload_too_large")
    client.close()


def test_broken_chunks_are_refused(rig: Rig) -> None:
    before = rig.appender.stored
    client = chunks(rig).send(b"%x\r\n%s\r\nzz\r\n" % (len(EVENT), EVENT))
    try:
        assert client.reply().status == 400
    except ConnectionError:
        pass  # the server below may close before our answer is out
    assert rig.appender.stored == before


@pytest.mark.parametrize("size", [100, 100_000])
def test_a_client_that_goes_away_mid_body_stores_nothing(rig: Rig, size: int) -> None:
    before = len(rig.protocol.requests)
    path = "/events/wallet" if size < WIRE_MAX else "/big"
    client = rig.client().head("POST", path, f"Content-Length: {size}").send(EVENT)
    rig.until(lambda: rig.gateway.bodies_being_read == 1, "the body is being read")
    client.close()
    rig.until(lambda: rig.gateway.inflight.requests == 0, "the request ended")
    assert len(rig.protocol.requests) == before


def test_a_chunked_client_that_goes_away_stores_nothing(rig: Rig) -> None:
    before = len(rig.protocol.requests)
    client = chunks(rig).send(b"%x\r\n%s\r\n" % (len(EVENT), EVENT))
    rig.until(lambda: rig.gateway.bodies_being_read == 1, "the body is being read")
    client.close()
    rig.until(lambda: rig.gateway.inflight.requests == 0, "the request ended")
    assert len(rig.protocol.requests) == before


def test_a_client_that_goes_away_after_sending_has_its_event_stored(rig: Rig) -> None:
    before = rig.appender.stored
    rig.appender.gate.clear()
    client = rig.client().post("/events/wallet", EVENT)
    rig.until(lambda: rig.gateway.inflight.requests == 1, "the request came")
    client.close()
    rig.appender.gate.set()
    rig.until(lambda: rig.appender.stored == before + 1, "the event is stored")


def test_a_gigabyte_by_content_length_is_refused_at_once(rig: Rig) -> None:
    client = rig.client(2).head("POST", "/events/wallet", "Content-Length: 1073741824")
    reply = client.reply()
    assert (reply.status, reply.json["code"]) == (413, "payload_too_large")
    assert f"{WIRE_MAX:,}" in reply.json["message"]
    client.close()


def test_who_sends_all_before_reading_gets_to_read_the_413(rig: Rig) -> None:
    client = rig.client()
    reply = client.post("/events/wallet", b"x" * 3_000_000).reply()
    assert reply.status == 413
    assert client.post("/events/wallet", EVENT).reply().status == 200
    client.close()


def test_who_waits_for_100_continue_is_answered_without_it(rig: Rig) -> None:
    client = rig.client(2)
    client.head("POST", "/events/wallet", "Content-Length: 100000", "Expect: 100-continue")
    assert client.reply().status == 413
    client.close()
    client = rig.client(2)
    client.head("POST", "/events/wallet", f"Content-Length: {len(EVENT)}", "Expect: 100-continue")
    assert client.reply(has_body=False).status == 100
    assert client.send(EVENT).reply().status == 200
    client.close()


@pytest.mark.parametrize("name", ["gzip", "x-gzip", "GZIP"])
def test_gzip_is_decompressed(rig: Rig, name: str) -> None:
    reply = rig.post("/events/wallet", gzip.compress(EVENT), f"Content-Encoding: {name}")
    assert reply.json["bytes"] == len(EVENT)


def test_gzip_without_its_header_is_decompressed_too(rig: Rig) -> None:
    assert rig.post("/events/wallet", gzip.compress(EVENT)).json["bytes"] == len(EVENT)


def test_deflate_is_decompressed_with_and_without_its_zlib_header(rig: Rig) -> None:
    for data in (zlib.compress(EVENT), zlib.compress(EVENT)[2:-4]):
        reply = rig.post("/events/wallet", data, "Content-Encoding: deflate")
        assert reply.json["bytes"] == len(EVENT)


@pytest.mark.parametrize(
    "body",
    [gzip.compress(EVENT)[:-5], b"no gzip", gzip.compress(EVENT) + b"x"],
    ids=["cut", "none", "more"],
)
def test_damaged_gzip_is_400_bad_encoding(rig: Rig, body: bytes) -> None:
    reply = rig.post("/events/wallet", body, "Content-Encoding: gzip")
    assert (reply.status, reply.json["code"]) == (400, "bad_encoding")


def test_an_unknown_encoding_is_415_and_names_the_known_ones(rig: Rig) -> None:
    reply = rig.post("/events/wallet", EVENT, "Content-Encoding: br")
    assert (reply.status, reply.json["code"]) == (415, "bad_encoding")
    assert "gzip" in reply.json["message"]


@pytest.mark.slow
def test_bombs_are_cut_off_and_memory_stays_flat(rig: Rig) -> None:
    bomb = zlib.compressobj(9, zlib.DEFLATED, 31)
    zeros = b"\0" * 1_000_000
    packed = b"".join(bomb.compress(zeros) for _ in range(400)) + bomb.flush()
    assert WIRE_MAX < len(packed) < 512_000
    before_kib = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    for _ in range(20):
        reply = rig.post("/big", packed, "Content-Encoding: gzip")
        assert (reply.status, reply.json["code"]) == (413, "payload_too_large")
    small = gzip.compress(b"\0" * 20_000_000)
    reply = rig.post("/events/wallet", small, "Content-Encoding: gzip")
    assert reply.status == 413
    assert f"{INFLATED_MAX:,}" in reply.json["message"]
    grown_kib = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before_kib
    assert grown_kib < 100_000


def test_no_body_at_all_is_an_empty_body(rig: Rig) -> None:
    assert rig.client().head("POST", "/events/wallet").reply().json["bytes"] == 0
    reply = rig.post("/events/wallet", b"", "Content-Encoding: gzip")
    assert reply.json["bytes"] == 0


@pytest.mark.parametrize(
    "head", ["Content-Length: 10", "Transfer-Encoding: chunked", "Content-Length: 3000000"]
)
def test_a_slow_body_is_cut_with_408(rig: Rig, head: str) -> None:
    with running_gateway(clock=FakeClock()) as slow:
        client = slow.client().head("POST", "/big", head)
        slow.until(lambda: slow.gateway.bodies_being_read == 1, "the body is being read")
        slow.advance(GatewaySettings().body_seconds_max - 2)
        assert slow.gateway.bodies_being_read == 1
        slow.advance(4)
        reply = client.reply()
        assert (reply.status, reply.json["code"]) == (408, "timeout")
        assert client.is_closed()
        client.close()
        assert slow.post("/events/wallet", EVENT).status == 200


def test_more_requests_than_allowed_are_503_at_once_and_then_fine_again() -> None:
    with running_gateway(settings=GatewaySettings(inflight_requests_max=16)) as rig:
        rig.appender.gate.clear()
        waiting = [rig.client().post("/events/wallet", EVENT) for _ in range(16)]
        rig.until(lambda: rig.gateway.inflight.requests == 16, "all are in flight")
        reply = rig.post("/events/wallet", EVENT)
        assert (reply.status, reply.json["code"]) == (503, "overloaded")
        assert int(reply.headers["retry-after"]) >= 1
        assert rig.ask("GET", "/health/live").status == 200
        rig.appender.gate.set()
        assert {client.reply().status for client in waiting} == {200}
        assert rig.post("/events/wallet", EVENT).status == 200
        for client in waiting:
            client.close()


def test_more_bytes_than_allowed_are_503_at_once_and_then_fine_again() -> None:
    with running_gateway(settings=GatewaySettings(inflight_bytes_max=1_048_576)) as rig:
        rig.appender.gate.clear()
        body = EVENT + b" " * 60_000
        waiting = [rig.client().post("/events/wallet", body) for _ in range(17)]
        rig.until(lambda: rig.gateway.inflight.requests == 17, "all are in flight")
        assert rig.post("/events/wallet", body).json["code"] == "overloaded"
        assert rig.post("/big", body * 3).json["code"] == "overloaded"
        rig.appender.gate.set()
        assert {client.reply().status for client in waiting} == {200}
        assert rig.post("/events/wallet", body).status == 200
        for client in waiting:
            client.close()


def test_garbage_instead_of_http_is_survived(rig: Rig) -> None:
    for garbage in (b"\0\1\2\3\r\n\r\n", b"GET\r\n\r\n", b"POST / HTTP/9.9\r\n\r\n"):
        client = rig.client()
        client.send(garbage)
        client.socket.shutdown(socket.SHUT_WR)
        client.socket.recv(4096)
        client.close()
    smuggled = rig.client().head("POST", "/events/wallet", "Content-Length: 5", "Content-Length: 6")
    assert smuggled.reply().status == 400
    smuggled.close()
    assert rig.post("/events/wallet", EVENT).status == 200


@pytest.mark.slow
@pytest.mark.parametrize(
    ("trusted", "forwarded", "address"),
    [
        ((), "203.0.113.9", "127.0.0.1"),
        (("127.0.0.0/8",), "203.0.113.9", "203.0.113.9"),
        (("127.0.0.0/8",), "6.6.6.6, 203.0.113.9", "203.0.113.9"),
        (("127.0.0.0/8", "10.0.0.0/8"), "6.6.6.6, 203.0.113.9, 10.1.1.1", "203.0.113.9"),
    ],
)
def test_the_callers_address_is_what_trusted_proxies_say(
    trusted: tuple[str, ...], forwarded: str, address: str
) -> None:
    with running_gateway(settings=GatewaySettings(trusted_proxies=trusted)) as rig:
        rig.post("/events/wallet", EVENT, f"X-Forwarded-For: {forwarded}")
        assert rig.protocol.requests[-1].address == address
