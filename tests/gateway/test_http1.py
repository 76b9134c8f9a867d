"""HTTP/1.1 over real sockets: what is taken, how it is answered, and what is refused."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.http1_rig import Http1Rig, running_http1
from trunkline.gateway.http1_intake import HEAD_BYTES_MAX, HEADERS_MAX, TARGET_BYTES_MAX

HOST = b"Host: test\r\n"
GET = b"GET %s HTTP/1.1\r\n" + HOST + b"\r\n"


@pytest.fixture(scope="module", params=[True, False], ids=["uvloop", "asyncio"])
def rig(request: pytest.FixtureRequest) -> Iterator[Http1Rig]:
    with running_http1(is_uvloop=request.param) as rig:
        yield rig


def post(path: bytes, body: bytes, *headers: bytes) -> bytes:
    lines = [b"POST " + path + b" HTTP/1.1", b"Host: test", *headers]
    return b"\r\n".join([*lines, b"Content-Length: %d" % len(body), b"", body])


def only(rig: Http1Rig, raw: bytes) -> object:
    """What the one answer to these bytes says."""
    replies, _ = rig.exchange(raw)
    assert len(replies) == 1 and replies[0].status == 200, [r.status for r in replies]
    return replies[0].json


def status(rig: Http1Rig, raw: bytes) -> list[int]:
    return [reply.status for reply in rig.exchange(raw)[0]]


def test_a_connection_goes_on_after_an_answer(rig: Http1Rig) -> None:
    client = rig.client()
    for n in range(5):
        reply = client.send(post(b"/a", b"body %d" % n)).reply()
        assert reply.json["body"] == f"body {n}"
        assert "connection" not in reply.headers and "GMT" in reply.headers["date"]
    assert reply.json["client"] == "{}:{}".format(*client.socket.getsockname())
    client.close()


def test_pipelined_requests_are_answered_in_order_whatever_they_need(rig: Http1Rig) -> None:
    kinds = [b"/a", b"/pieces", b"/b", b"/unread"]
    paths = [kinds[n % 4] + b"?%d" % n for n in range(200)]
    raw = b"".join(post(path, b"x" * 50) for path in paths)
    replies, _ = rig.exchange(raw)
    said = [f"{reply.json['path']}?{reply.json['query']}" for reply in replies]
    assert said == [path.decode() for path in paths]


@pytest.mark.parametrize(
    ("target", "path", "query"),
    [
        (b"/a%20b", "/a b", ""),
        (b"/a%2fb?x=%20&y", "/a/b", "x=%20&y"),
        (b"/a%zz", "/a%zz", ""),
        (b"/%ff", "/\udcff", ""),  # no text, and no other text either
        (b"/%ef%bf%bd", "/\ufffd", ""),
        (b"/%c3%a9", "/é", ""),
        (b"/a+b", "/a+b", ""),
        (b"//x//y", "//x//y", ""),
        (b"/a#f", "/a", ""),
        (b"http://h.example/abs?q", "/abs", "q"),
        (b"http://h.example", "/", ""),
        (b"http://h.example?q", "/", "q"),
        (b"*", "*", ""),
    ],
)
def test_a_target_is_split_and_its_path_decoded(
    rig: Http1Rig, target: bytes, path: str, query: str
) -> None:
    said = only(rig, GET % target)
    assert isinstance(said, dict) and (said["path"], said["query"]) == (path, query)


def test_headers_have_lower_case_names_and_are_joined_and_are_ascii(rig: Http1Rig) -> None:
    raw = b"GET / HTTP/1.1\r\nX-Two: a\r\nx-two:  b \t\r\nX-No: \xc3\xa9\r\nX-Empty:\r\n\r\n"
    said = only(rig, raw)
    assert isinstance(said, dict) and said["headers"] == {"x-two": "a, b", "x-empty": ""}


def test_chunks_are_put_together_and_trailers_are_nobodys_headers(rig: Http1Rig) -> None:
    raw = (
        b"POST /a HTTP/1.1\r\nTransfer-Encoding: Chunked\r\n\r\n"
        b"3;note=1\r\nabc\r\n02\r\nde\r\n0\r\nAuthorization: other\r\n\r\n"
    )
    replies, _ = rig.exchange(raw + GET % b"/b")
    assert [reply.json["body"] for reply in replies] == ["abcde", ""]
    assert [set(reply.json["headers"]) for reply in replies] == [{"transfer-encoding"}, {"host"}]


def test_head_has_the_length_and_no_body(rig: Http1Rig) -> None:
    client = rig.client().send(b"HEAD /a HTTP/1.1\r\n\r\n")
    reply = client.reply(has_body=False)
    assert reply.status == 200 and int(reply.headers["content-length"]) > 50
    assert client.send(GET % b"/b").reply().json["path"] == "/b"
    client.close()


def test_an_upgrade_is_a_request_like_others(rig: Http1Rig) -> None:
    asks = b"Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\n"
    chunked = (
        b"POST /c HTTP/1.1\r\n" + asks + b"Transfer-Encoding: chunked\r\n\r\n4\r\nbody\r\n0\r\n\r\n"
    )
    raw = (
        b"GET /a HTTP/1.1\r\n%s\r\n" % asks
        + post(b"/b", GET % b"/smuggled", asks[:-2])
        + chunked
        + GET % b"/d"
    )
    said = [reply.json for reply in rig.exchange(raw)[0]]
    assert [each["path"] for each in said] == ["/a", "/b", "/c", "/d"]
    assert [each["body"] for each in said] == ["", (GET % b"/smuggled").decode(), "body", ""]
    # And where the body comes later than the head.
    head, _, body = post(b"/b", GET % b"/smuggled", asks[:-2]).partition(b"\r\n\r\n")
    client = rig.client().send(head + b"\r\n\r\n")
    rig.until(lambda: rig.server.connections > 0, "it came")
    for byte in body:
        client.send(bytes([byte]))
    assert client.reply().json["body"] == body.decode()
    assert client.send(GET % b"/d").reply().json["path"] == "/d"
    client.close()


@pytest.mark.parametrize(
    ("head", "answer"),
    [
        (b"GET /a HTTP/1.1\r\nConnection: close\r\n\r\n", "close"),
        (b"GET /a HTTP/1.0\r\n\r\n", "close"),
        (b"GET /a HTTP/1.0\r\nConnection: keep-alive\r\n\r\n", "keep-alive"),
        (b"CONNECT a:1 HTTP/1.1\r\n\r\n", "close"),
    ],
)
def test_who_wants_the_connection_closed_gets_it_closed(
    rig: Http1Rig, head: bytes, answer: str
) -> None:
    client = rig.client().send(head)
    assert client.reply().headers["connection"] == answer
    if answer == "close":
        assert client.is_closed()
    else:
        assert client.send(GET % b"/b").reply().status == 200
    client.close()


def test_what_follows_a_request_that_closes_is_not_taken(rig: Http1Rig) -> None:
    raw = b"GET /a HTTP/1.1\r\nConnection: close\r\n\r\n" + GET % b"/b"
    assert [reply.json["path"] for reply in rig.exchange(raw)[0]] == ["/a"]


def test_100_continue_is_said_when_the_body_is_wanted_and_only_then(rig: Http1Rig) -> None:
    ask = b"POST %s HTTP/1.1\r\nExpect: 100-continue\r\nContent-Length: 5\r\n\r\n"
    client = rig.client().send(ask % b"/a")
    assert client.reply(has_body=False).status == 100
    assert client.send(b"hello").reply().json["body"] == "hello"
    client.send(ask % b"/a" + b"hello")  # it did not wait: it needs no word
    assert client.reply().json["body"] == "hello"
    client.send(ask % b"/unread")
    assert client.reply().json["path"] == "/unread"
    assert client.is_closed()  # nobody knows whether the body will come
    client.close()


SIZED = b"POST / HTTP/1.1\r\nContent-Length: "
CODED = b"POST / HTTP/1.1\r\nTransfer-Encoding: "
BAD = {
    "no HTTP": b"\0\1\2\r\n\r\n",
    "TLS": b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n",
    "a version that is none": b"GET / HTTP/9.9\r\n\r\n",
    "HTTP/2 at once": b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    "a space in the target": b"GET /a b HTTP/1.1\r\n\r\n",
    "lines without CR": b"GET / HTTP/1.1\nHost: a\n\n",
    "a header line without CR": b"GET / HTTP/1.1\r\nHost: a\n\r\n",
    "a lone CR": b"GET / HTTP/1.1\r\nA: x\ry\r\n\r\n",
    "a folded header": b"GET / HTTP/1.1\r\nA: x\r\n y\r\n\r\n",
    "a first line that is folded": b"GET / HTTP/1.1\r\n A: x\r\n\r\n",
    "a space before the colon": b"GET / HTTP/1.1\r\nA : x\r\n\r\n",
    "no name": b"GET / HTTP/1.1\r\n: x\r\n\r\n",
    "no colon": b"GET / HTTP/1.1\r\nnocolon\r\n\r\n",
    "NUL in a value": b"GET / HTTP/1.1\r\nA: x\0y\r\n\r\n",
    "length and chunks": SIZED + b"1\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "chunks and length": CODED + b"chunked\r\nContent-Length: 5\r\n\r\n0\r\n\r\n",
    "two lengths": SIZED + b"1\r\nContent-Length: 2\r\n\r\nab",
    "a list of lengths": SIZED + b"1, 1\r\n\r\na",
    "a length with a sign": SIZED + b"+1\r\n\r\na",
    "a negative length": SIZED + b"-1\r\n\r\na",
    "an empty length": SIZED + b"\r\n\r\na",
    "a length above all numbers": SIZED + b"99999999999999999999\r\n\r\n",
    "chunked, and then more": CODED + b"chunked, gzip\r\n\r\n0\r\n\r\n",
    "chunked twice": CODED + b"chunked, chunked\r\n\r\n0\r\n\r\n",
    "nearly chunked": CODED + b"xchunked\r\n\r\n0\r\n\r\n",
    "chunked behind a tab": CODED + b"\x0bchunked\r\n\r\n0\r\n\r\n",
    "identity": CODED + b"identity\r\n\r\n",
}
CHUNKS = {
    "a chunk's size with 0x": b"0x1\r\na\r\n0\r\n\r\n",
    "a negative size": b"-1\r\na\r\n0\r\n\r\n",
    "a size that is none": b"g\r\n",
    "a size behind a space": b" 1\r\na\r\n0\r\n\r\n",
    "a size before a space": b"1 \r\na\r\n0\r\n\r\n",
    "a size above all numbers": b"fffffffffffffffff\r\n",
    "an empty size": b"\r\n",
    "a chunk that is longer": b"1\r\nab\r\n0\r\n\r\n",
    "a size without CR": b"1\na\r\n0\r\n\r\n",
    "a chunk without CR": b"1\r\na\n0\r\n\r\n",
}


@pytest.mark.parametrize("raw", BAD.values(), ids=BAD.keys())
def test_what_is_malformed_is_400_and_the_end(rig: Http1Rig, raw: bytes) -> None:
    client = rig.client().send(raw)
    before = len(rig.app.requests)
    reply = client.reply()
    assert (reply.status, reply.headers["connection"]) == (400, "close"), reply.body
    assert reply.json["code"] == "malformed"
    assert client.is_closed()
    assert len(rig.app.requests) == before
    client.close()


@pytest.mark.parametrize("body", CHUNKS.values(), ids=CHUNKS.keys())
def test_a_chunked_body_that_is_malformed_is_400_and_the_end(rig: Http1Rig, body: bytes) -> None:
    head = b"POST /a HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n"
    before = len(rig.app.requests)
    assert status(rig, head + body + GET % b"/smuggled") == [400]
    # The same when the head came alone and the application is waiting for the body.
    client = rig.client().send(head)
    rig.until(lambda: rig.server.connections > 0, "it came")
    client.send(body + GET % b"/smuggled")
    replies, _ = rig.rest(client)
    assert [reply.status for reply in replies] == [400]
    assert len(rig.app.requests) == before


def test_what_came_before_a_malformed_request_is_answered(rig: Http1Rig) -> None:
    raw = GET % b"/a" + post(b"/pieces", b"x") + b"nonsense\r\n\r\n" + GET % b"/b"
    assert status(rig, raw) == [200, 200, 400]


@pytest.mark.parametrize(
    ("raw", "expected"),
    [
        (b"FROB / HTTP/1.1\r\n\r\n", 405),
        (b"GET / HTTP/2.0\r\n\r\n", 505),
        (b"GET / HTTP/0.9\r\n\r\n", 505),
        (b"GET /\r\n\r\n", 505),
        (b"POST / HTTP/1.1\r\nTransfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n", 415),
        (GET % (b"/" + b"a" * TARGET_BYTES_MAX), 414),
        (b"GET /" + b"a" * 2_000_000, 414),
        (b"GET / HTTP/1.1\r\nA: " + b"a" * 2_000_000, 431),
        (b"GET / HTTP/1.1\r\n" + b"a" * 2_000_000, 431),
        (b"GET / HTTP/1.1\r\n" + b"A: b\r\n" * (HEADERS_MAX + 1) + b"\r\n", 431),
        (b"GET / HTTP/1.1\r\n" + b"A: b\r\n" * 100_000, 431),
    ],
)  # fmt: skip
def test_what_is_beyond_a_limit_is_told_so(rig: Http1Rig, raw: bytes, expected: int) -> None:
    client = rig.client()
    try:
        client.send(raw)
    except ConnectionError:
        pytest.fail("the answer must be readable after all was sent")
    reply = client.reply()
    assert (reply.status, reply.headers["connection"]) == (expected, "close")
    assert client.is_closed()
    client.close()


@pytest.mark.parametrize("more", [b"0\r\n" + b"A: b\r\n" * 50_000, b"1;" + b"x" * 500_000])
def test_trailers_and_notes_on_chunks_are_bounded(rig: Http1Rig, more: bytes) -> None:
    client = rig.client().send(CODED + b"chunked\r\n\r\n" + more)
    reply = client.reply()  # from the application, where it was told before that a body comes
    assert (reply.status in (400, 431), reply.headers["connection"]) == (True, "close")
    assert client.is_closed()
    client.close()


def test_what_is_just_within_the_limits_is_taken(rig: Http1Rig) -> None:
    assert status(rig, GET % (b"/" + b"a" * (TARGET_BYTES_MAX - 1))) == [200]
    assert status(rig, b"GET / HTTP/1.1\r\n" + b"A: b\r\n" * HEADERS_MAX + b"\r\n") == [200]
    large = b"A: " + b"a" * (HEAD_BYTES_MAX - 20_000) + b"\r\n"
    assert status(rig, b"GET / HTTP/1.1\r\n" + large + b"\r\n") == [200]


def test_a_file_is_sent_as_an_answer(rig: Http1Rig, tmp_path: Path) -> None:
    rig.app.file = tmp_path / "answer"
    content = bytes(range(256)) * 8_000
    rig.app.file.write_bytes(content)
    client = rig.client().send(GET % b"/file" + GET % b"/a")
    assert client.reply().body == content
    assert client.reply().json["path"] == "/a"
    client.send(b"HEAD /file HTTP/1.1\r\n\r\n")
    assert client.reply(has_body=False).headers["content-length"] == str(len(content))
    assert client.send(GET % b"/b").reply().json["path"] == "/b"
    client.close()


def test_a_head_that_comes_byte_by_byte_is_one(rig: Http1Rig) -> None:
    client = rig.client()
    client.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    for byte in post(b"/a", b"hello", b"X-A: b"):
        client.send(bytes([byte]))
    assert client.reply().json["body"] == "hello"
    client.close()
