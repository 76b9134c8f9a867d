"""A head that came before is read as it was then, and only where it is plain."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.gateway.test_http1_fuzz import RELAXED, answers, requests
from tests.support.http1_rig import Http1Rig, running_http1
from trunkline.gateway import http1_heads
from trunkline.gateway.http1_heads import HEAD_BYTES_MAX, HEADS_MAX, find_head, split_head

HEAD = b"POST /%s HTTP/1.1\r\nHost: test\r\n%s\r\n"


@pytest.fixture(scope="module", params=[True, False], ids=["uvloop", "asyncio"])
def rig(request: pytest.FixtureRequest) -> Iterator[Http1Rig]:
    with running_http1(is_uvloop=request.param) as rig:
        yield rig


@pytest.fixture(autouse=True)
def nothing_is_known(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(http1_heads, "_heads", {})


def with_length(path: bytes, body: bytes, line: bytes = b"") -> bytes:
    return HEAD % (path, b"Content-Length: %d\r\n%s" % (len(body), line)) + body


def test_one_head_with_other_bodies_from_other_clients(rig: Http1Rig) -> None:
    for _ in range(2):
        client = rig.client()
        for n in range(10, 15):
            reply = client.send(with_length(b"a?%d" % (n % 2), b"body %d" % n)).reply()
            said = reply.json
            assert (said["path"], said["query"], said["body"]) == ("/a", f"{n % 2}", f"body {n}")
            assert said["client"] == "{}:{}".format(*client.socket.getsockname())
        client.close()
    assert find_head(split_head(with_length(b"a?1", b"body 11"))) is not None


def test_a_body_that_comes_later_or_with_the_next_request_is_parsed(rig: Http1Rig) -> None:
    raw = with_length(b"a", b"0123456789")
    client = rig.client()
    assert client.send(raw).reply().json["body"] == "0123456789"
    assert client.send(raw[:-4]).send(raw[-4:]).reply().json["body"] == "0123456789"
    for reply in (client.send(raw + raw).reply(), client.reply(), client.send(raw).reply()):
        assert reply.json["body"] == "0123456789"
    client.close()


@pytest.mark.parametrize(
    "raw",
    [
        with_length(b"a", b"b", b"Expect: 100-continue\r\n"),
        with_length(b"a", b"b", b"Connection: close\r\n"),
        with_length(b"a", b"b", b"Connection: upgrade\r\nUpgrade: h2c\r\n"),
        with_length(b"a", b"b", b"X: %s\r\n" % (b"x" * HEAD_BYTES_MAX)),
        with_length(b"a", b"b").replace(b"HTTP/1.1", b"HTTP/1.0"),
        with_length(b"a", b"b", b"Connection: keep-alive\r\n").replace(b"HTTP/1.1", b"HTTP/1.0"),
        HEAD % (b"a", b"Transfer-Encoding: chunked\r\n") + b"1\r\nb\r\n0\r\n\r\n",
        b"\r\n\r\n" + with_length(b"a", b"b"),
        with_length(b"a", b"b") + with_length(b"a", b"b"),
        with_length(b"a", b"b")[:-1],
        with_length(b"a", b"b", b"Content-Length: 1\r\n"),
        b"CONNECT a:1 HTTP/1.1\r\n\r\n",
        b"nonsense\r\n\r\n",
    ],
)
def test_a_head_that_is_not_plain_is_parsed_each_time(raw: bytes) -> None:
    asyncio.run(answers([raw]))
    assert not http1_heads._heads


def test_what_is_remembered_is_bounded() -> None:
    asyncio.run(answers([with_length(b"%d" % n, b"") for n in range(HEADS_MAX + 10)]))
    assert 0 < len(http1_heads._heads) <= HEADS_MAX


@RELAXED
@given(stream=st.lists(requests(), min_size=1, max_size=4))
def test_requests_that_come_again_have_the_same_answers(stream: list[bytes]) -> None:
    again = [request.replace(b"/unread", b"/around") for request in stream * 3]
    # In one piece nothing is found by its head but the very first request.
    whole, _ = asyncio.run(answers([b"".join(again)]))
    http1_heads._heads.clear()
    single, held = asyncio.run(answers(again))
    assert single == whole and held == 0
