"""How a connection ends: by time, by the client, by a stop; and what it may hold until then."""

from __future__ import annotations

import gc
import socket
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from tests.support.gateway_rig import Client, Rig, running_gateway
from tests.support.http1_rig import Http1Rig, running_http1
from trunkline.gateway.http1 import (
    HEAD_SECONDS,
    IDLE_SECONDS,
    LINGER_SECONDS,
    UNREAD_SECONDS,
    Connection,
)
from trunkline.gateway.http1_request import BODY_AHEAD_BYTES
from trunkline.kit.addresses import ListenError

GET = b"GET %s HTTP/1.1\r\nHost: test\r\n\r\n"
EVENT = b'{"users":["1"]}'


@pytest.fixture(params=[True, False], ids=["uvloop", "asyncio"])
def rig(request: pytest.FixtureRequest) -> Iterator[Http1Rig]:
    with running_http1(is_uvloop=request.param) as rig:
        yield rig


def until_connections(rig: Http1Rig, count: int) -> None:
    rig.until(lambda: rig.server.connections == count, f"{count} connections")


def fill(client: Client, raw: bytes, bytes_max: int) -> int:
    """Send until the server takes no more, and return how much it took."""
    client.socket.settimeout(0.3)
    sent = 0
    with suppress(TimeoutError, ConnectionError):
        while sent < bytes_max:
            sent += client.socket.send(raw)
    client.socket.settimeout(60)
    return sent


# By time.


def test_a_head_that_drips_in_is_cut_with_408(rig: Http1Rig) -> None:
    client = rig.client().send(b"GET / HTTP/1.1\r\nHos")
    rig.until(lambda: rig.server.held_bytes > 0, "it came")
    for _ in range(3):
        rig.advance(HEAD_SECONDS / 4)
        client.send(b"t")
    assert rig.server.connections == 1
    rig.advance(HEAD_SECONDS)
    reply = client.reply()
    assert (reply.status, reply.headers["connection"]) == (408, "close")
    assert client.is_closed()
    client.close()
    until_connections(rig, 0)


def test_a_connection_that_says_nothing_is_closed(rig: Http1Rig) -> None:
    silent, idle = rig.client(), rig.client()
    assert idle.send(GET % b"/a").reply().status == 200
    until_connections(rig, 2)
    rig.advance(HEAD_SECONDS + 3)
    assert silent.is_closed()
    assert idle.send(GET % b"/a").reply().status == 200
    rig.advance(IDLE_SECONDS - 3)
    assert idle.send(GET % b"/a").reply().status == 200
    rig.advance(IDLE_SECONDS + 3)
    assert idle.is_closed()
    until_connections(rig, 0)


def test_a_request_that_is_being_answered_is_not_idle(rig: Http1Rig) -> None:
    client = rig.client().send(GET % b"/held")
    until_connections(rig, 1)
    rig.advance(10 * IDLE_SECONDS)
    rig.call(rig.app.gate.set)
    assert client.reply().json["path"] == "/held"


@pytest.mark.slow
@pytest.mark.parametrize("path", [b"/long", b"/file"])
def test_who_never_reads_its_answers_is_cut_and_costs_little(
    rig: Http1Rig, path: bytes, tmp_path: Path
) -> None:
    rig.app.file = tmp_path / "answer"
    with rig.app.file.open("wb") as file:
        file.truncate(20_000_000)
    client = rig.client()
    fill(client, GET % path * 2_000, 40_000_000)
    made = len(rig.app.requests)
    rig.until(lambda: rig.server.held_bytes < 600_000, "what waits is bounded")
    assert made < 100, "answers are not made while nobody reads them"
    until_connections(rig, 1)
    for _ in range(3):
        rig.advance(UNREAD_SECONDS / 2)
    until_connections(rig, 0)
    assert rig.server.held_bytes == 0


def test_who_reads_slowly_is_given_time_but_not_for_ever(rig: Http1Rig, tmp_path: Path) -> None:
    rig.app.file = tmp_path / "answer"
    with rig.app.file.open("wb") as file:
        file.truncate(400_000_000)
    client = rig.client().send(GET % b"/file")
    until_connections(rig, 1)

    def read_some() -> None:
        left = 8_000_000  # more than both kernels hold for a connection
        while left > 0 and (piece := client.socket.recv(min(left, 1_000_000))):
            left -= len(piece)

    spent = 0.0
    while spent < UNREAD_SECONDS * 3:
        read_some()
        rig.advance(UNREAD_SECONDS / 3)
        spent += UNREAD_SECONDS / 3
    assert rig.server.connections == 1
    for _ in range(1_000):  # it may write a little more before it is stuck again
        rig.advance(UNREAD_SECONDS / 2)
        if rig.server.connections == 0:
            return
    pytest.fail("it was waited for, for ever")


def test_what_is_sent_after_a_fault_is_read_on_for_a_while_and_then_cut(rig: Http1Rig) -> None:
    client = rig.client().send(b"nonsense\r\n\r\n")
    assert client.reply().status == 400
    fill(client, b"x" * 100_000, 2_000_000)
    until_connections(rig, 1)
    rig.advance(LINGER_SECONDS + 2)
    until_connections(rig, 0)


# By the client.


def test_a_client_that_closes_its_side_is_answered_what_came_whole(rig: Http1Rig) -> None:
    client = rig.client().send(GET % b"/held" + GET % b"/a" + b"GET /b HTT")
    client.socket.shutdown(socket.SHUT_WR)
    until_connections(rig, 1)
    rig.call(rig.app.gate.set)
    replies, _ = rig.rest(client)
    assert [reply.json["path"] for reply in replies] == ["/held", "/a"]
    assert [reply.headers.get("connection") for reply in replies] == [None, "close"]
    until_connections(rig, 0)


@pytest.mark.parametrize("path", [b"/a", b"/pieces"])
def test_a_body_that_breaks_off_is_no_body(rig: Http1Rig, path: bytes) -> None:
    for body in (
        b"Content-Length: 9\r\n\r\nabc",
        b"Transfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n",
    ):
        replies, _ = rig.exchange(b"POST " + path + b" HTTP/1.1\r\n" + body)
        assert [reply.status for reply in replies] == [400]
    assert not rig.app.requests and rig.app.broken == 2


def test_a_client_that_resets_leaves_nothing(rig: Http1Rig) -> None:
    for raw in (GET % b"/held", b"POST /a HTTP/1.1\r\nContent-Length: 9\r\n\r\nabc", b"GET / H"):
        client = rig.client().send(raw)
        until_connections(rig, 1)
        linger = b"\1\0\0\0\0\0\0\0"
        client.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
        client.close()
        until_connections(rig, 0)
    rig.call(rig.app.gate.set)
    assert rig.server.held_bytes == 0


def test_a_connection_that_is_gone_needs_no_collector_to_be_freed() -> None:
    with running_http1() as rig:
        gc.disable()
        try:
            for raw in (
                GET % b"/a",
                b"POST /a HTTP/1.1\r\nContent-Length: 9\r\n\r\nabc",
                b"bad\r\n",
            ):
                client = rig.client().send(raw)
                until_connections(rig, 1)
                client.close()
                until_connections(rig, 0)
            rig.until(lambda: count_connections() == 0, "they are freed")
        finally:
            gc.enable()


def count_connections() -> int:
    return sum(type(each) is Connection for each in gc.get_objects())


# What it may hold.


def test_a_body_that_nobody_reads_is_not_read_from_the_socket(rig: Http1Rig) -> None:
    client = rig.client()
    size = 40_000_000
    client.send(b"POST /held HTTP/1.1\r\nContent-Length: %d\r\n\r\n" % size)
    sent = fill(client, b"x" * 100_000, size)
    assert sent < 30_000_000, "kernels hold some megabytes"
    most = 2 * BODY_AHEAD_BYTES + 300_000
    rig.until(lambda: BODY_AHEAD_BYTES <= rig.server.held_bytes < most, "it is not read further")
    rig.call(rig.app.gate.set)
    client.send(b"x" * (size - sent))
    assert client.reply().json["body"] == str(size)
    assert rig.server.held_bytes == 0


def test_pieces_are_read_as_they_are_asked_for(rig: Http1Rig) -> None:
    client = rig.client()
    size = 50_000_000
    client.send(b"POST /pieces HTTP/1.1\r\nContent-Length: %d\r\n\r\n" % size)
    client.send(b"x" * size)
    assert client.reply().json["body"] == str(size)
    assert rig.server.held_bytes == 0


def test_requests_behind_one_that_waits_are_bounded_and_all_answered(rig: Http1Rig) -> None:
    client = rig.client().send(GET % b"/held")
    sent = fill(client, GET % b"/a" * 1_000, 700_000)
    rig.until(lambda: 0 < rig.server.held_bytes < 300_000, "some of it is read")
    assert not rig.app.requests
    rig.call(rig.app.gate.set)
    client.socket.settimeout(60)
    count, expected, mark, rest = 0, 1 + sent // len(GET % b"/a"), b"GMT\r\n\r\n{", b""
    while count < expected:
        data = client.socket.recv(1_000_000)
        assert data, "closed too early"
        count += (rest + data).count(mark)
        rest = (rest + data)[1 - len(mark) :]


def test_all_connections_together_hold_at_most_so_much() -> None:
    with running_http1(held_bytes_max=300_000) as rig:
        first = rig.client().send(GET % b"/held" + GET % b"/a" * 3_000)
        rig.until(lambda: rig.server.held_bytes > 50_000, "they wait")
        late = rig.client().send(b"POST /held HTTP/1.1\r\nContent-Length: 1000000\r\n\r\n")
        rig.until(lambda: len(rig.app.begun) == 2, "it came")
        late.send(b"x" * 1_000_000)
        rig.call(rig.app.gate.set)
        assert late.reply().status == 400  # it was begun, so it is one that broke off
        late.close()
        assert first.reply().json["path"] == "/held"
        first.close()
        until_connections(rig, 0)
        assert rig.server.held_bytes == 0


def test_at_the_limit_of_connections_who_comes_waits_for_one_that_goes() -> None:
    with running_http1(connections_max=3) as rig:
        first = [rig.client().send(GET % b"/a") for _ in range(3)]
        assert [client.reply().status for client in first] == [200] * 3
        late = rig.client().send(GET % b"/late")
        late.socket.settimeout(0.3)
        with pytest.raises(TimeoutError):
            late.reply()
        assert rig.server.connections == 3
        first[0].close()
        late.socket.settimeout(60)
        assert late.reply().json["path"] == "/late"


# By a stop.


def test_a_stop_answers_what_was_taken_says_so_and_closes_the_rest(rig: Http1Rig) -> None:
    idle = rig.client().send(GET % b"/a")
    assert idle.reply().status == 200
    begun = rig.client().send(b"GET / HT")
    arriving = rig.client().send(b"POST /a HTTP/1.1\r\nContent-Length: 5\r\n\r\nhe")
    held = rig.client().send(GET % b"/held" + GET % b"/b")
    until_connections(rig, 4)
    rig.until(lambda: sorted(rig.app.begun) == ["/a", "/a", "/held"], "all came")
    rig.until(lambda: rig.server.held_bytes >= len(b"GET / HT"), "all came")
    rig.call(rig.server.stop_soon)
    assert idle.is_closed() and begun.is_closed()
    with pytest.raises(ConnectionRefusedError):
        rig.client()
    assert arriving.send(b"llo").reply().json["body"] == "hello"
    assert arriving.is_closed()
    rig.call(rig.app.gate.set)
    replies, _ = rig.rest(held)
    assert [reply.headers.get("connection") for reply in replies] == [None, "close"]
    assert rig.run(rig.server.wait_empty(60))


def test_a_port_that_is_taken_is_told_with_what_to_do() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with running_http1() as rig, pytest.raises(ListenError, match=rf":{port} cannot"):
            rig.call(lambda: rig.server.listen("127.0.0.1", port))


@pytest.fixture
def gateway() -> Iterator[Rig]:
    with running_gateway() as rig:
        yield rig


def test_no_yes_is_lost_when_a_stop_comes_under_load(gateway: Rig) -> None:
    clients = [gateway.client() for _ in range(30)]
    raw = b"POST /events/wallet HTTP/1.1\r\nContent-Length: %d\r\n\r\n" % len(EVENT) + EVENT
    for client in clients:
        client.send(raw * 20)
    gateway.until(lambda: gateway.appender.stored > 30, "they are being stored")
    gateway.stop()
    gateway.join(30)
    said = 0
    for client in clients:
        data = b""
        with suppress(ConnectionResetError):
            while piece := client.socket.recv(65_536):
                data += piece
        said += data.count(b"HTTP/1.1 200")
    assert 30 < said <= gateway.appender.stored
