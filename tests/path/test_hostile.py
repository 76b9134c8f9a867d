"""Hostile clients at every endpoint of a whole node: each gets an answer, and nothing is stuck.

The endpoints come from the protocols themselves, so a new one is covered by being there.
"""

from __future__ import annotations

import gzip
import json
import socket
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.support import hostile_bodies as hostile
from tests.support.gateway_rig import Client
from tests.support.told_receiver import ToldReceiver
from tests.support.whole_node import (
    APP,
    DEV_KEY,
    KEY,
    SLUG,
    Reply,
    WholeNode,
    basic,
    webhook,
    workspace,
)
from trunkline.node import protocol_shelf

GATEWAY_MEGABYTES_MAX = 300
ONE_WAY_SECONDS_MAX = 2.0
RELAXED = (HealthCheck.too_slow, HealthCheck.function_scoped_fixture)
NOT_JSON = {"raw NUL", "raw control characters", "a leading zero"}  # so the envelope is none either
FILL = {"appId": APP, "writeKey": KEY, "type": "track"}


def concrete(path: str) -> str:
    """Return a route's path with its parameters filled in."""
    filled = [
        FILL.get(part[1:-1], "x") if part.startswith("{") else part for part in path.split("/")
    ]
    return "/".join(filled)


ROUTES = [
    (route.method, concrete(route.path))
    for protocol in protocol_shelf().values()
    for route in protocol.routes
]
POSTS = [path for method, path in ROUTES if method == "POST"]
GETS = [path for method, path in ROUTES if method == "GET"]
# One endpoint of each shape in the everyday loop, all of them in the whole suite.
FEW = {POSTS[0], "/v1/track", "/v1/batch"}
EVERY_POST = [p if p in FEW else pytest.param(p, marks=pytest.mark.slow) for p in POSTS]


class Stage(WholeNode):
    """The node, its receiver, and one connection that is made again when it breaks."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.receiver = ToldReceiver()
        self.apply(workspace(webhook("receiver", f"{self.receiver.url}/all")))
        self.first_children: dict[str, int] = {}
        self._client: Client | None = None

    def ask(self, method: str, path: bytes | str, body: bytes = b"", *headers: bytes) -> Reply:
        """Make one request, byte by byte as given, on the kept connection."""
        target = path.encode() if isinstance(path, str) else path
        key = DEV_KEY if b"/inappevent/" in target else basic(KEY)
        own = [b"Host: test", b"Content-Length: %d" % len(body)]
        if not any(header.lower().startswith(b"authorization") for header in headers):
            own.append(b"Authorization: " + key.encode())
        head = b"\r\n".join([method.encode() + b" " + target + b" HTTP/1.1", *own, *headers])
        self.client().send(head + b"\r\n\r\n" + body)
        reply = self.client().reply(has_body=method != "HEAD")
        if reply.headers.get("connection") == "close" or reply.status == 413:
            self.hang_up()
        return Reply(reply.status, reply.headers, reply.body)

    def client(self) -> Client:
        """Return the connection."""
        if self._client is None:
            self._client = Client(self.node.ingest_port, 30.0)
        return self._client

    def hang_up(self) -> None:
        """Let go of the connection."""
        if self._client is not None:
            self._client.close()
            self._client = None

    def one_way_seconds(self) -> float:
        """Send a good event and return how long it took to be at the receiver."""
        shelf = self.receiver.shelf("/all")
        begin = self.clock.monotonic()
        message_id = self.track("good-user")
        assert self.receiver.wait(lambda: message_id in shelf.events, 60), self.log()[-3000:]
        return self.clock.monotonic() - begin


@pytest.fixture(scope="module")
def stage(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    stage = Stage(tmp_path_factory.mktemp("hostile") / "home")
    try:
        stage.node.start()
        stage.first_children = stage.node.children()
        yield stage
    finally:
        stage.hang_up()
        stage.close()
        stage.receiver.close()


@pytest.fixture(autouse=True)
def nothing_is_harmed(stage: Stage) -> Iterator[None]:
    """After each test: the processes live, and all that was accepted gets through at once."""
    yield
    stage.hang_up()
    assert stage.node.children() == stage.first_children, stage.log()[-3000:]
    stage.until_settled("receiver")
    # The best of three: what is tested is a stuck path, not the neighbours of this machine.
    fastest = min(stage.one_way_seconds() for _ in range(3))
    assert fastest < ONE_WAY_SECONDS_MAX
    stage.until_settled("receiver")
    line = stage.line("receiver")
    assert (line.delivered, line.dead, line.filtered) == (line.accepted, {}, {})
    assert stage.memory_peak_mb("gateway-0") < GATEWAY_MEGABYTES_MAX
    told = stage.log()
    assert "request_broke" not in told
    assert "Traceback" not in told


def check(reply: Reply, path: bytes | str, what: object) -> Reply:
    """Hold an answer against what stands on every one; `what` is for the complaint."""
    target = path.encode() if isinstance(path, str) else path
    said = (path[:100], what, reply.status, reply.body[:300])
    assert 200 <= reply.status < 500, said
    assert reply.headers.get("access-control-allow-origin"), said
    assert reply.headers.get("x-request-id"), said
    kind = reply.headers.get("content-type", "")
    if kind.startswith("image/gif"):
        assert target.startswith(b"/v1/pixel/"), said
        assert reply.body[:3] == b"GIF" or what == "HEAD", said
    elif kind.startswith("text/javascript"):
        assert target.startswith((b"/analytics.js/", b"/analytics-next/", b"/s/")), said
        assert reply.status == 200 or reply.body[:3] == b"// " or what == "HEAD", said
    elif reply.body:
        assert kind.startswith("application/json"), said
        assert isinstance(reply.json, dict), said
    return reply


@pytest.mark.parametrize("path", EVERY_POST)
def test_every_strange_body_gets_an_answer_in_json(stage: Stage, path: str) -> None:
    for what, body in hostile.BODIES.items():
        check(stage.ask("POST", path, body), path, what)


@pytest.mark.parametrize("path", EVERY_POST)
def test_every_strange_value_in_a_valid_event_gets_an_answer(stage: Stage, path: str) -> None:
    for what, raw in hostile.VALUES.items():
        for name in ("properties", "context", "userId", "messageId", "timestamp", "integrations"):
            event = hostile.valid_with(raw, name)
            check(stage.ask("POST", path, event), path, (what, name))
        check(stage.ask("POST", path, hostile.batch_of(hostile.valid_with(raw))), path, what)


def test_a_strange_event_costs_its_neighbours_of_a_batch_nothing(stage: Stage) -> None:
    shelf = stage.receiver.shelf("/all")
    for path in ("/v1/batch", "/b", "/v1/import"):
        for what, raw in hostile.VALUES.items():
            ids = [str(uuid.uuid4()) for _ in range(2)]
            first, last = (json.dumps({**hostile.VALID, "messageId": one}).encode() for one in ids)
            strange = b'{"type":"track","event":"E","userId":"u","properties":{"a":' + raw + b"}}"
            reply = check(
                stage.ask("POST", path, hostile.batch_of(first, strange, last)), path, what
            )
            if reply.status == 200:
                arrived = stage.receiver.wait(lambda: set(ids) <= shelf.events.keys(), 40)  # noqa: B023
                assert arrived, (what, reply.body)
            else:
                assert reply.status == 400, (what, reply.body)
                assert what in NOT_JSON, (what, reply.body)


@pytest.mark.parametrize("path", EVERY_POST)
def test_bodies_that_lie_about_their_compression_are_told_so(stage: Stage, path: str) -> None:
    for what, (encoding, body) in hostile.packed_bodies().items():
        header = b"Content-Encoding: " + encoding.encode()
        check(stage.ask("POST", path, body, header), path, what)


@pytest.mark.parametrize("path", ["/v1/batch", "/v1/import", "/batch"])
def test_2500_events_are_taken_and_2501_are_refused_whole(stage: Stage, path: str) -> None:
    before = stage.acceptance().accepted
    event = b'{"type":"track","event":"E","userId":"u-%d"}'
    events = [event % (number % 50) for number in range(2501)]
    taken = check(stage.ask("POST", path, hostile.batch_of(*events[:2500])), path, "2500")
    assert taken.json == {"success": True}
    refused = check(stage.ask("POST", path, hostile.batch_of(*events)), path, "2501")
    assert refused.status in (400, 413), refused.body
    stage.until(lambda: stage.acceptance().accepted == before + 2500, "2,500 are counted, no more")


def test_every_strange_header_gets_an_answer(stage: Stage) -> None:
    body = json.dumps(hostile.VALID).encode()
    for what, lines in hostile.HEADERS.items():
        for method, path in ROUTES:
            check(stage.ask(method, path, body if method == "POST" else b"", *lines), path, what)


@pytest.mark.parametrize(
    "lines",
    [
        [b"Content-Length: 5", b"Content-Length: 6"],
        [b"Content-Length: -1"],
        [b"Content-Length: 99999999999999999999999"],
        [b"Content-Length: 1e3"],
        [b"Content-Length: 4", b"Transfer-Encoding: chunked"],
        [b"Transfer-Encoding: gzip"],
        [b"Transfer-Encoding: chunked, chunked"],
        [b"Bad Header Name: 1", b"Content-Length: 0"],
        [b"X-Nul: a\0b", b"Content-Length: 0"],
        [b"No colon at all", b"Content-Length: 0"],
        [b" folded: 1", b"Content-Length: 0"],
        [b"X-Huge: " + b"h" * 1_000_000, b"Content-Length: 0"],
        [b"X-Many-%d: 1" % n for n in range(5000)],
    ],
    ids=lambda lines: lines[0][:30].decode("latin-1"),
)
def test_a_head_that_is_no_http_is_refused_below_and_harms_nobody(
    stage: Stage, lines: list[bytes]
) -> None:
    begin = stage.acceptance().accepted
    client = Client(stage.node.ingest_port, 30.0)
    head = [b"POST /v1/track HTTP/1.1", b"Host: test", b"Authorization: " + basic(KEY).encode()]
    body = b'{"event":"E","userId":"u"}'
    try:
        client.send(b"\r\n".join([*head, *lines]) + b"\r\n\r\n" + body)
        client.socket.shutdown(socket.SHUT_WR)
        assert 200 <= client.reply().status < 500
    except OSError:
        pass  # closed without a word, or while we were still writing: nothing was promised
    finally:
        client.close()
    assert stage.acceptance().accepted - begin <= 1


def test_every_strange_path_gets_an_answer(stage: Stage) -> None:
    for what, path in hostile.PATHS.items():
        for method in ("GET", "POST"):
            check(stage.ask(method, path, b"" if method == "GET" else b"{}"), path, what)


def test_every_method_gets_an_answer_at_every_path(stage: Stage) -> None:
    paths = dict.fromkeys([*POSTS, *GETS, "/", "/health/live", "/nothing/here", "/metrics"])
    for method in hostile.METHODS:
        for path in paths:
            body = b"{}" if method in ("POST", "PUT", "PATCH") else b""
            reply = check(stage.ask(method, path, body), path, method)
            if method not in ("GET", "POST", "HEAD", "OPTIONS") and (method, path) not in ROUTES:
                assert reply.status in (404, 405), (method, path, reply.body)


def test_the_pixel_is_an_image_whatever_it_is_asked(stage: Stage) -> None:
    queries = ["", "?", "?data=%00", "?data=bm8gSlNPTg", "?userId=u&event=E&writeKey=" + KEY,
               "?writeKey=wrong", "?" + "a=1&" * 2000, "?data=" + "A" * 9000]  # fmt: skip
    for query in queries:
        for kind in ("track", "page", "nonsense", "%00"):
            reply = stage.ask("GET", f"/v1/pixel/{kind}{query}")
            check(reply, f"/v1/pixel/{kind}{query}", query[:40])
            assert (reply.status, reply.headers["content-type"]) == (200, "image/gif"), query[:40]


def test_pipelined_requests_are_answered_in_their_order(stage: Stage) -> None:
    client = Client(stage.node.ingest_port, 30.0)
    sent = b""
    for number in range(60):
        body = json.dumps({"event": "E", "userId": "u", "n": number}).encode()
        body = body if number % 3 else b"\xff not JSON"
        head = (
            f"POST /v1/track HTTP/1.1\r\nHost: test\r\nAuthorization: {basic(KEY)}\r\n"
            f"X-Request-Id: pipe-{number}\r\nContent-Length: {len(body)}\r\n\r\n"
        )
        sent += head.encode() + body
    client.send(sent)
    for number in range(60):
        reply = client.reply()
        assert reply.headers["x-request-id"] == f"pipe-{number}"
        assert reply.status == (200 if number % 3 else 400)
    client.close()


def test_half_closed_sockets_harm_nobody_and_cut_bodies_store_nothing(stage: Stage) -> None:
    stage.until_settled("receiver")
    before = stage.acceptance().accepted
    body = json.dumps(hostile.VALID).encode()
    head = f"Authorization: {basic(KEY)}"
    yes = 0
    for _ in range(20):
        whole = Client(stage.node.ingest_port, 30.0).post("/v1/track", body, head)
        whole.socket.shutdown(socket.SHUT_WR)
        try:
            yes += whole.reply().status == 200
        except ConnectionError:
            pass  # the server below hangs up on who hangs up first: nothing was promised
        whole.close()
    for size in (0, 1, len(body) - 1):
        cut = Client(stage.node.ingest_port, 30.0)
        cut.head("POST", "/v1/track", head, f"Content-Length: {len(body)}").send(body[:size])
        cut.socket.shutdown(socket.SHUT_WR)
        try:
            assert cut.reply().status == 400
        except ConnectionError:
            pass  # the server below may close first
        cut.close()
    for _ in range(50):
        Client(stage.node.ingest_port, 30.0).head("POST", "/v1/track", "Content-Length: 9").close()
    stage.track()
    stage.until_settled("receiver")
    assert before + yes < stage.acceptance().accepted <= before + 21


@settings(max_examples=80, deadline=None, suppress_health_check=RELAXED)
@given(body=st.binary(max_size=300), path=st.sampled_from(POSTS), is_packed=st.booleans())
def test_random_bytes_get_an_answer(stage: Stage, body: bytes, path: str, is_packed: bool) -> None:
    sent = gzip.compress(body) if is_packed else body
    check(stage.ask("POST", path, sent), path, body)


SCALARS = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=40)
TREES = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=9), inner),
    max_leaves=12,
)
FIELDS = [
    *hostile.VALID, "properties", "traits", "context", "integrations", "messageId", "timestamp",
    "sentAt", "originalTimestamp", "anonymousId", "writeKey", "customAttributes", "customMetrics",
    "eventTime", "deviceIp", "advertisingId", "oaid", "metrixSessionId", "batch", "channel",
]  # fmt: skip


@settings(max_examples=150, deadline=None, suppress_health_check=RELAXED)
@given(
    changes=st.dictionaries(st.sampled_from(FIELDS), TREES, max_size=5),
    missing=st.sets(st.sampled_from(FIELDS), max_size=3),
    path=st.sampled_from(POSTS),
    cut=st.none() | st.integers(0, 200),
)
def test_valid_events_that_were_changed_at_random_get_an_answer(
    stage: Stage, changes: dict[str, Any], missing: set[str], path: str, cut: int | None
) -> None:
    event = {k: v for k, v in {**hostile.VALID, **changes}.items() if k not in missing}
    body = json.dumps(event).encode()[:cut]
    check(stage.ask("POST", path, body), path, body)
    check(stage.ask("POST", path, hostile.batch_of(body)), path, body)


def test_an_s2s_event_of_every_strange_text_reaches_the_receiver(stage: Stage) -> None:
    shelf = stage.receiver.shelf("/all")
    for what in (
        "escaped NUL",
        "escaped lone surrogate",
        "control characters",
        "bidirectional marks",
    ):
        raw = hostile.VALUES[what]
        message_id = str(uuid.uuid4())
        event = {"metrixUserId": "m", "idfa": "i", "eventSlug": SLUG, "messageId": message_id,
                 "customAttributes": {"strange": "HERE"}}  # fmt: skip
        body = json.dumps(event).encode().replace(b'"HERE"', raw)
        reply = check(stage.ask("POST", f"/inappevent/{APP}", body), "s2s", what)
        assert (reply.status, reply.json["messageId"]) == (200, message_id)
        assert stage.receiver.wait(lambda: message_id in shelf.events, 40), what  # noqa: B023
