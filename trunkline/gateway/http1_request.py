"""A request over HTTP/1.1: its head, its body as it comes, and the way back.

The head is judged by llhttp before it gets here; what llhttp leaves to its user is decided here:
values without the white space around them, values that are not ASCII left out, names repeated
joined, the path decoded. The body gathers in one buffer whatever the size of its pieces, so a
sender of single bytes costs no more memory than its bytes.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path
from typing import BinaryIO, Protocol
from urllib.parse import unquote

from trunkline.gateway.http1_answers import format_head
from trunkline.gateway.wire import WireClosed

BODY_AHEAD_BYTES = 262_144  # what a connection reads before somebody asks for it

RawHeaders = list[tuple[bytes, bytes]]

_NAMES_MAX = 1024  # of header names that are remembered in lower case
_names: dict[bytes, str] = {}


def read_headers(raw: RawHeaders) -> dict[str, str]:
    """Return headers by their lower-case names; what came twice is joined, as HTTP defines it.

    A value that is not ASCII is left out: nobody has said what its bytes mean.
    """
    headers: dict[str, str] = {}
    for raw_name, raw_value in raw:
        name = _names.get(raw_name) or _remember(raw_name)
        try:
            value = raw_value.rstrip(b" \t").decode("ascii")
        except UnicodeDecodeError:
            continue
        headers[name] = value if name not in headers else f"{headers[name]}, {value}"
    return headers


def _remember(raw: bytes) -> str:
    name = raw.decode("ascii").lower()
    if len(_names) < _NAMES_MAX and len(raw) <= 64:
        _names[raw] = name
    return name


def split_target(target: bytes) -> tuple[str, str]:
    """Return the path, percent-decoded, and the query as it is.

    `http://host/path` is `/path`, as a proxy may send it. What is no percent code stays as it is.
    Bytes that are no UTF-8 become lone surrogates: a character in their place could make it a path
    that somebody else's id has. The gateway answers such a path itself (`failures.no_such_path`).
    """
    text = target.decode("latin-1").partition("#")[0]
    path, _, query = text.partition("?")
    if path[:1] != "/":
        _, scheme_end, rest = path.partition("://")
        if scheme_end:
            path = "/" + rest.partition("/")[2]
    if "%" in path:
        path = unquote(path, errors="surrogateescape")
    return path, query


_SHORT_BYTES = 128
_split_short = lru_cache(maxsize=1024)(split_target)


class Channel(Protocol):
    """What a request needs of its connection."""

    def write_answer(self, request: HttpRequest, head: str, body: bytes) -> None:
        """Send an answer whose head lacks its last lines."""

    def write_file(self, request: HttpRequest, head: str, file: BinaryIO, size: int) -> None:
        """Send an answer whose body is in an open file, which is closed afterwards."""

    def write_continue(self) -> None:
        """Tell the client that its body is wanted."""

    def body_changed(self) -> None:
        """Read on, or pause: somebody took of a body, or asked for all of it."""


class HttpRequest:
    """One request; it is its own `Scope` and `Wire`."""

    __slots__ = (
        "_body",
        "_channel",
        "_waiter",
        "client",
        "expects_continue",
        "headers",
        "is_answered",
        "is_broken",
        "is_collected",
        "is_old",
        "is_whole",
        "keeps_alive",
        "method",
        "path",
        "query_string",
        "under_way",
    )

    def __init__(
        self, channel: Channel, client: str, method: str, target: bytes, headers: dict[str, str]
    ) -> None:
        self._channel = channel
        self._body: bytes | bytearray = b""
        self._waiter: asyncio.Future[None] | None = None
        self.client = client
        self.method = method
        # Callers repeat their few targets: remembered, it costs 0.1 µs instead of 0.5.
        split = _split_short if len(target) <= _SHORT_BYTES else split_target
        self.path, self.query_string = split(target)
        self.headers = headers
        self.keeps_alive = True
        self.expects_continue = False
        self.is_answered = False
        self.is_broken = False
        self.is_collected = False
        self.is_old = False  # of HTTP/1.0
        self.is_whole = False
        self.under_way = 0  # how many tasks work on it

    # What the connection tells it.

    def add(self, piece: bytes) -> None:
        """Take a piece of the body."""
        if not self._body:
            self._body = piece
        elif isinstance(self._body, bytearray):
            self._body += piece
        else:
            self._body = bytearray(self._body) + piece
        if self._waiter is not None and not self.is_collected:
            self._wake()

    def complete(self) -> None:
        """The body is all there."""
        self.is_whole = True
        self._wake()

    def break_off(self) -> None:
        """There will be no more of the body, and it is not whole."""
        if not self.is_whole:
            self.is_broken = True
            self._wake()

    @property
    def ahead(self) -> int:
        """How many bytes of the body nobody has taken and nobody waits for."""
        return 0 if self.is_collected else len(self._body)

    @property
    def whole_body(self) -> bytes | None:
        """The body where all of it is in hand and nobody has read of it."""
        return bytes(self._body) if self.is_whole else None

    # What the application asks of it: `Wire`.

    async def __call__(self) -> bytes:
        """Collect what is left of the body. Raises `WireClosed` where it breaks off."""
        self.is_collected = True
        if not (self.is_whole or self.is_broken):
            self._channel.body_changed()
        try:
            while not self.is_whole:
                if self.is_broken:
                    raise WireClosed
                await self._wait()
        finally:
            self.is_collected = False
        return self._take()

    def __aiter__(self) -> HttpRequest:
        """Read the body in pieces, or go on reading it."""
        return self

    async def __anext__(self) -> bytes:
        """Return the next piece. Raises `WireClosed` where the body broke off."""
        while not self._body:
            if self.is_whole:
                raise StopAsyncIteration
            if self.is_broken:
                raise WireClosed
            await self._wait()
        piece = self._take()
        self._channel.body_changed()
        return piece

    def response_empty(self, status: int, headers: Sequence[tuple[str, str]]) -> None:
        """Answer without a body."""
        self.response_bytes(status, headers, b"")

    def response_bytes(self, status: int, headers: Sequence[tuple[str, str]], body: bytes) -> None:
        """Answer. Only the first answer counts; a client that is gone is no error."""
        self.answer(format_head(status, headers, len(body)), body)

    def answer(self, head: str, body: bytes) -> None:
        """Answer with a head of `format_head`."""
        if not self.is_answered:
            self.is_answered = True
            self._channel.write_answer(self, head, body)

    def response_file(self, status: int, headers: Sequence[tuple[str, str]], file: str) -> None:
        """Answer with the bytes of a file. Raises `OSError` where it cannot be read."""
        if self.is_answered:
            return
        opened = Path(file).open("rb")  # noqa: SIM115  the channel closes it
        size = os.fstat(opened.fileno()).st_size
        self.is_answered = True
        self._channel.write_file(self, format_head(status, headers, size), opened, size)

    def end_after(self) -> None:
        """End the connection after the answer; call it before."""
        self.keeps_alive = False

    def _take(self) -> bytes:
        body, self._body = self._body, b""
        return bytes(body)

    async def _wait(self) -> None:
        if self.expects_continue and not self.is_answered:
            self.expects_continue = False
            self._channel.write_continue()
        self._waiter = asyncio.get_running_loop().create_future()
        try:
            await self._waiter
        finally:
            self._waiter = None

    def _wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)
