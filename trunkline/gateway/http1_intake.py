"""From bytes to requests: one side of a connection of HTTP/1.1, parsed by llhttp.

Bytes go to the parser in pieces of at most 16 KiB; its callbacks note what they saw, and nothing
else. Requests wait here in the order they came in. llhttp is strict about everything that one
server could read differently from another (lengths that contradict, folded lines, spaces before
colons, chunk sizes); what it leaves open is bounded here: the size of a head, how many headers,
what comes after a body, and how many requests wait. At the first fault it goes deaf: nothing that
follows in the connection is believed.
"""

from __future__ import annotations

import re
from typing import NamedTuple

from httptools import (
    HttpParserError,
    HttpParserInvalidMethodError,
    HttpParserUpgrade,
    HttpRequestParser,
)

from trunkline.gateway.http1_heads import Head, find_head, learn_head, split_head
from trunkline.gateway.http1_request import Channel, HttpRequest, RawHeaders, read_headers

PIECE_BYTES = 16_384  # parsed at a time, so what one read can bring is bounded
TARGET_BYTES_MAX = 65_535
HEAD_BYTES_MAX = 131_072
HEADERS_MAX = 100
WAITING_MAX = 16  # requests that wait for their turn; more are not parsed
HEAD_SECONDS = 30.0

_VERSIONS = ("1.1", "1.0")
_OTHER_METHOD = re.compile(rb"[!-~]{1,40} [!-~]+ HTTP/1\.[01]\r\n")
_METHODS: dict[bytes, str] = {}  # llhttp knows some thirty


class Fault(NamedTuple):
    """What is wrong with what a client sent."""

    status: int
    code: str
    sentence: str


MALFORMED = Fault(
    400, "malformed", "This is not HTTP/1.1 as it is written; nothing was stored. Mend the client."
)
METHOD_UNKNOWN = Fault(405, "unknown_method", "No path here has this method; check it.")
VERSION_UNKNOWN = Fault(
    505, "unknown_version", "This server speaks HTTP/1.1 and HTTP/1.0; send one of them."
)
CODING_UNKNOWN = Fault(
    415, "bad_encoding", "Of transfer codings only `chunked` is known here; send the body so."
)
TARGET_TOO_LONG = Fault(
    414,
    "target_too_long",
    f"The request's target is above {TARGET_BYTES_MAX:,} bytes; send the rest as a body.",
)
HEAD_TOO_LARGE = Fault(
    431,
    "head_too_large",
    f"At most {HEADERS_MAX} headers of {HEAD_BYTES_MAX:,} bytes in all are accepted; send fewer.",
)
HEAD_TOO_SLOW = Fault(
    408, "timeout", f"The request's head took more than {HEAD_SECONDS:g} s to arrive; send again."
)
TOO_MUCH_HELD = Fault(
    503, "overloaded", "This server holds as much as it may; nothing was stored. Send again."
)


class Intake:
    """Parses one connection's bytes. `waiting` holds requests that nobody has begun yet.

    `current` is the request whose body is arriving; it may wait or have been begun. `is_deaf`: no
    byte that comes is looked at any more. `fault` says why, where somebody is to be told.
    """

    __slots__ = (
        "_channel",
        "_lines",
        "_parser",
        "_seen",
        "_stash",
        "_target",
        "_upgrading",
        "client",
        "current",
        "fault",
        "heads",
        "in_head",
        "is_deaf",
        "waiting",
    )

    def __init__(self, channel: Channel) -> None:
        """`channel` is given to each request, to answer on."""
        self._channel = channel
        self._parser = HttpRequestParser(self)
        self._target = b""
        self._lines: RawHeaders = []
        self._seen = 0  # bytes since a head began, or since something of a body came
        self._stash = b""  # what was read and is not parsed: too many wait
        self._upgrading: HttpRequest | None = None  # its body is for another parser
        self.client = ""
        self.current: HttpRequest | None = None
        self.fault: Fault | None = None
        self.heads = 0  # how many have begun, to see that one did
        self.in_head = False
        self.is_deaf = False
        self.waiting: list[HttpRequest] = []

    @property
    def is_full(self) -> bool:
        """Say whether no more should be read: requests wait, or bytes behind them."""
        return bool(self._stash) or len(self.waiting) > WAITING_MAX

    @property
    def held_bytes(self) -> int:
        """What is held beside requests: of a head, of a body that nobody reads yet, of a stash."""
        ahead = self.current.ahead if self.current is not None else 0
        return (max(0, self._seen) if self.in_head else 0) + len(self._stash) + ahead

    def feed(self, data: bytes) -> None:
        """Parse what came."""
        if self.is_deaf:
            return
        if len(data) <= PIECE_BYTES and not self._stash:
            self._take(data)
        else:
            self._stash += data
            self.feed_stash()

    def feed_stash(self) -> None:
        """Parse on, where requests were taken away that stood in the way."""
        data, begin = self._stash, 0
        while begin < len(data) and not self.is_deaf and len(self.waiting) <= WAITING_MAX:
            self._parse(data[begin : begin + PIECE_BYTES])
            begin += PIECE_BYTES
        self._stash = b"" if self.is_deaf else data[begin:]

    def fail(self, fault: Fault) -> None:
        """Go deaf. A request that was begun is told as one that broke off, any other by `fault`."""
        if self.is_deaf:
            return
        request = self.current
        if request is None:
            self.fault = fault
        elif request in self.waiting:
            self.waiting.remove(request)
            self.fault = fault
        self.end()

    def end(self) -> None:
        """Go deaf: the client has ended, or it is told to."""
        self.is_deaf = True
        self.in_head = False
        self._stash = b""
        request, self.current = self.current, None
        if request is not None:
            request.break_off()

    def close(self) -> None:
        """Let go of everything: the connection is gone, and no cycle is left to a collector."""
        self.end()
        self.waiting.clear()
        del self._parser, self._channel

    # What the parser tells.

    def on_message_begin(self) -> None:
        self.in_head = True
        self.heads += 1
        self._lines = []
        self._target = b""
        self._seen = 0

    def on_url(self, url: bytes) -> None:
        self._target += url

    def on_header(self, name: bytes, value: bytes) -> None:
        self._lines.append((name, value))

    def on_headers_complete(self) -> None:
        self.in_head = False
        raw, self._lines = self._lines, []  # what comes after the body is nobody's header
        if self._upgrading is not None:
            self.current, self._upgrading = self._upgrading, None
        elif len(raw) > HEADERS_MAX:
            self._note(HEAD_TOO_LARGE)
        elif len(self._target) > TARGET_BYTES_MAX:
            self._note(TARGET_TOO_LONG)
        elif self.fault is None and not self.is_deaf:
            self._add_request(read_headers(raw))

    def on_body(self, body: bytes) -> None:
        if self.current is not None:
            self.current.add(body)
            self._seen = -1

    def on_message_complete(self) -> None:
        request, self.current = self.current, None
        if request is not None:
            request.complete()
            if not request.keeps_alive:
                self.is_deaf = True

    def _add_request(self, headers: dict[str, str]) -> None:
        parser = self._parser
        raw = parser.get_method()
        method = _METHODS.get(raw) or _METHODS.setdefault(raw, raw.decode())
        request = HttpRequest(self._channel, self.client, method, self._target, headers)
        request.keeps_alive = parser.should_keep_alive()
        # The plain case is HTTP/1.1 without any of these.
        if not request.keeps_alive or "connection" in headers:
            self._read_version(request, parser.get_http_version())
        if "expect" in headers or "transfer-encoding" in headers:
            self._read_rare(request)
        if self.fault is None:
            self.waiting.append(request)
            self.current = request
            if "upgrade" in headers and parser.should_upgrade() and _has_body(headers):
                self.current, self._upgrading = None, request

    def _read_version(self, request: HttpRequest, version: str) -> None:
        if version not in _VERSIONS:
            self._note(VERSION_UNKNOWN)
        request.is_old = version == "1.0"
        if request.is_old and "transfer-encoding" in request.headers:
            request.keeps_alive = False  # HTTP/1.0 has none: who stands between us may not know it

    def _read_rare(self, request: HttpRequest) -> None:
        headers = request.headers
        if headers.get("transfer-encoding", "chunked").strip().lower() != "chunked":
            self._note(CODING_UNKNOWN)
        expects = headers.get("expect", "").strip().lower() == "100-continue"
        request.expects_continue = expects and not request.is_old

    def _note(self, fault: Fault) -> None:
        # In a callback: what the parser still sees in this piece is dropped, then it ends.
        if not self.is_deaf:
            self.fault = self.fault or fault

    # Around the parser.

    def _take(self, data: bytes) -> None:
        """Parse a piece, unless it is one whole request whose head came before.

        That is begun only where the parser waits for a request, so it ends where it stands.
        """
        if self.in_head or self.current is not None or self._upgrading is not None:
            self._parse(data)
            return
        head = split_head(data)
        known = find_head(head)
        if known is not None and known.length == len(data) - len(head):
            self._add_known(known, data[len(head) :])
            return
        heads, waiting = self.heads, len(self.waiting)
        self._parse(data)
        if self.heads == heads + 1 and len(self.waiting) == waiting + 1 and not self.is_deaf:
            learn_head(head, self._target, self.waiting[-1], len(data))

    def _add_known(self, known: Head, body: bytes) -> None:
        request = HttpRequest(self._channel, self.client, *known[:3])
        if body:
            request.add(body)
        request.complete()
        self.heads += 1
        self.waiting.append(request)

    def _parse(self, data: bytes) -> None:
        rest = data
        while True:
            try:
                self._parser.feed_data(rest)
            except HttpParserUpgrade as upgrade:
                rest = rest[upgrade.args[0] :]
                self._stay_with_http()
                if rest and not self.is_deaf:
                    continue
            except HttpParserInvalidMethodError:
                is_other = not self.waiting and _OTHER_METHOD.match(rest)
                self.fail(METHOD_UNKNOWN if is_other else MALFORMED)
            except HttpParserError:
                self.fail(MALFORMED)
            break
        if self.fault is not None:
            self.end()
        elif self.in_head or self.current is not None:
            self._count(len(data))

    def _stay_with_http(self) -> None:
        """Go on after a request that asked for another protocol, as after one that did not.

        The parser takes what follows its head for the other protocol's. Where a body follows, a
        new parser is brought to where this one would be.
        """
        if self._upgrading is not None:
            length = self._upgrading.headers.get("content-length")
            body = f"Content-Length: {length}" if length else "Transfer-Encoding: chunked"
            self._parser = HttpRequestParser(self)
            self._parser.feed_data(f"POST / HTTP/1.1\r\n{body}\r\n\r\n".encode())
        elif self.waiting and self.waiting[-1].method == "CONNECT":
            self.waiting[-1].end_after()  # what follows was meant for somebody else
            self.is_deaf = True

    def _count(self, size: int) -> None:
        """Bound what is swallowed without anything of a body coming of it: heads and trailers."""
        self._seen = max(0, self._seen + size)
        if self.in_head and len(self._target) > TARGET_BYTES_MAX:
            self.fail(TARGET_TOO_LONG)
        elif self._seen > HEAD_BYTES_MAX or len(self._lines) > HEADERS_MAX:
            self.fail(HEAD_TOO_LARGE)


def _has_body(headers: dict[str, str]) -> bool:
    return headers.get("content-length", "0").strip("0") != "" or "transfer-encoding" in headers
