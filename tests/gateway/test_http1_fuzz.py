"""Whatever is sent, however it is cut: the same answers, nothing thrown, nothing kept."""

from __future__ import annotations

import asyncio
import itertools
import socket
from collections.abc import Iterator
from contextlib import suppress

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.support.gateway_rig import Reply
from tests.support.http1_rig import Asked, Http1Rig, running_http1, split_replies
from trunkline.gateway.http1 import Connection, Shared

RELAXED = settings(
    deadline=None,
    max_examples=60,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture],
)


@pytest.fixture(scope="module")
def rig() -> Iterator[Http1Rig]:
    with running_http1() as rig:
        yield rig


class Pipe(asyncio.Transport):
    """A transport that keeps what is written; it takes everything at once."""

    def __init__(self) -> None:
        super().__init__()
        self.written = b""
        self.is_shut = False
        self.is_reading = True

    def write(self, data: bytes | bytearray | memoryview) -> None:
        assert not self.is_shut, "written behind the end"
        self.written += bytes(data)

    def write_eof(self) -> None:
        self.is_shut = True

    def close(self) -> None:
        self.is_shut = True

    def abort(self) -> None:
        self.is_shut = True

    def is_closing(self) -> bool:
        return self.is_shut

    def pause_reading(self) -> None:
        self.is_reading = False

    def resume_reading(self) -> None:
        self.is_reading = True


async def answers(pieces: list[bytes]) -> tuple[list[tuple[int, bytes]], int]:
    """Feed pieces to a connection without a socket; return its answers and what it still holds."""
    app = Asked()
    shared = Shared(app, asyncio.get_running_loop())
    shared.closings.renew(0)
    connection, pipe = Connection(shared), Pipe()
    connection.connection_made(pipe)
    for piece in pieces:
        connection.data_received(piece)
        for _ in range(3):
            await asyncio.sleep(0)
    for _ in range(50):
        await asyncio.sleep(0)
    if not pipe.is_shut:
        connection.eof_received()
    while shared.tasks:
        await asyncio.wait(shared.tasks)
    await asyncio.sleep(0)
    connection.connection_lost(None)
    assert not shared.connections
    replies: list[Reply] = split_replies(pipe.written)
    return [(reply.status, reply.body) for reply in replies], shared.held_bytes


def cut(data: bytes, places: list[int]) -> list[bytes]:
    """Cut bytes at these places."""
    marks = sorted({place % (len(data) + 1) for place in places} | {0, len(data)})
    return [data[a:b] for a, b in itertools.pairwise(marks)]


TOKEN = st.text("abcXYZ019-_", min_size=1, max_size=12).map(str.encode)
VALUE = st.binary(max_size=20).map(
    lambda raw: bytes(byte for byte in raw if byte >= 32 and byte != 127)
)
BODY = st.binary(max_size=300)


@st.composite
def requests(draw: st.DrawFn) -> bytes:
    """One well-formed request."""
    path = draw(st.sampled_from([b"/a", b"/pieces", b"/unread", b"/x%20y?q=1"]))
    names = draw(st.lists(TOKEN, max_size=4, unique=True))
    lines = [b"X-" + name + b": " + draw(VALUE) for name in names]
    if draw(st.booleans()):
        head = b"\r\n".join([b"GET " + path + b" HTTP/1.1", b"Host: a", *lines])
        return head + b"\r\n\r\n"
    if draw(st.booleans()):
        body = draw(BODY)
        lines.append(b"Content-Length: %d" % len(body))
    else:
        parts = draw(st.lists(BODY.filter(bool), max_size=4))
        body = b"".join(b"%x\r\n%s\r\n" % (len(part), part) for part in parts) + b"0\r\n\r\n"
        lines.append(b"Transfer-Encoding: chunked")
    head = b"\r\n".join([b"POST " + path + b" HTTP/1.1", b"Host: a", *lines])
    return head + b"\r\n\r\n" + body


@RELAXED
@given(stream=st.lists(requests(), min_size=1, max_size=6), places=st.lists(st.integers(0, 5000)))
def test_a_stream_has_the_same_answers_however_it_is_cut(
    stream: list[bytes], places: list[int]
) -> None:
    # Whether a body was whole when it was answered early is for the cut to say, so not here.
    data = b"".join(stream).replace(b"/unread", b"/around")
    whole, held = asyncio.run(answers([data]))
    assert len(whole) == len(stream) and {status for status, _ in whole} == {200} and held == 0
    pieces, held = asyncio.run(answers(cut(data, places)))
    assert pieces == whole and held == 0


@RELAXED
@given(
    stream=st.lists(requests(), min_size=1, max_size=4),
    places=st.lists(st.integers(0, 5000)),
    damage=st.lists(st.tuples(st.integers(0, 5000), st.binary(max_size=3)), max_size=5),
)
def test_a_damaged_stream_is_answered_and_leaves_nothing(
    stream: list[bytes], places: list[int], damage: list[tuple[int, bytes]]
) -> None:
    data = b"".join(stream)
    for place, other in damage:
        at = place % (len(data) + 1)
        data = data[:at] + other + data[at + len(other) :]
    found, held = asyncio.run(answers(cut(data, places)))
    assert {status for status, _ in found} <= {200, 400, 405, 408, 414, 415, 431, 503, 505}
    assert held == 0
    # What is refused ends the connection, so it can only be the last answer.
    assert all(status == 200 for status, _ in found[:-1])


@RELAXED
@given(
    pieces=st.lists(
        st.one_of(
            st.binary(max_size=400),
            requests(),
            st.sampled_from(
                [
                    b"\r\n", b"0\r\n\r\n", b"GET / HTTP/1.1\r\n", b"Transfer-Encoding: chunked\r\n",
                    b"Content-Length: 7\r\n", b"Connection: upgrade\r\nUpgrade: x\r\n",
                    b"CONNECT a:1 HTTP/1.1\r\n\r\n", b"Expect: 100-continue\r\n", b"\0" * 20_000,
                ]
            ),
        ),
        max_size=12,
    )
)  # fmt: skip
def test_bytes_of_any_kind_get_answers_over_a_socket_and_the_server_goes_on(
    rig: Http1Rig, pieces: list[bytes]
) -> None:
    client = rig.client()
    with suppress(ConnectionError):
        for piece in pieces:
            client.send(piece)
    with suppress(OSError):  # the server may have ended it: then there is no connection any more
        client.socket.shutdown(socket.SHUT_WR)
    data = b""
    with suppress(ConnectionResetError):
        while piece := client.socket.recv(65_536):
            data += piece
    client.close()
    data = data.replace(b"HTTP/1.1 100 Continue\r\n\r\n", b"")
    for reply in split_replies(data):
        assert reply.status in {200, 400, 405, 408, 414, 415, 431, 503, 505}
    rig.until(lambda: rig.server.connections == 0, "it is closed")
    assert rig.server.held_bytes == 0
    assert not rig.complaints
