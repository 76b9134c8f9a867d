"""Bytes of HTTP/1.1 to an `Ask` and a `Reply` to bytes: the part that needs no socket."""

from __future__ import annotations

import zlib
from collections.abc import Mapping
from http import HTTPStatus
from urllib.parse import parse_qs, unquote, urlsplit

import msgspec
from msgspec import Struct

from trunkline.simulators.simulator import Ask, Reply

HEAD_BYTES_MAX = 65_536
BODY_BYTES_MAX = 20_000_000  # before it is unpacked and after
FIELDS_MAX = 1_000  # query values of one request


class WireError(Exception):
    """A request that is not read: the status that says so, and why."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status


class Head(Struct, frozen=True):
    """The request line and the headers, their names in lower case."""

    method: str
    target: str
    version: str
    headers: Mapping[str, str]

    @property
    def keeps_alive(self) -> bool:
        """Whether the connection stays open for another request."""
        said = self.headers.get("connection", "").lower()
        return said != "close" if self.version == "HTTP/1.1" else said == "keep-alive"

    @property
    def is_chunked(self) -> bool:
        """Whether the body comes in chunks instead of with a length."""
        return self.headers.get("transfer-encoding", "").lower() == "chunked"

    @property
    def length(self) -> int:
        """How many bytes of body follow. Raises `WireError`."""
        said = self.headers.get("content-length", "0")
        if not (said.isascii() and said.isdigit()):
            raise WireError(400, f"Content-Length {said[:20]!r} is no number of bytes")
        if len(said) > 12 or int(said) > BODY_BYTES_MAX:
            raise WireError(413, f"{said[:20]} bytes of body; at most {BODY_BYTES_MAX} are read")
        return int(said)


def read_head(data: bytes) -> Head:
    """Return the head of a request, from its first byte to the empty line. Raises `WireError`."""
    lines = data.decode("latin-1").rstrip("\r\n").split("\r\n")
    parts = lines[0].split(" ")
    if len(parts) != 3 or parts[2] not in ("HTTP/1.1", "HTTP/1.0"):
        raise WireError(400, f"the request line {lines[0][:80]!r} is not HTTP/1.1")
    headers: dict[str, str] = {}
    for line in lines[1:]:
        name, separator, value = line.partition(":")
        if not separator or not name or name != name.strip():
            raise WireError(400, f"the header line {line[:80]!r} is not NAME: VALUE")
        key = name.lower()
        headers[key] = f"{headers[key]}, {value.strip()}" if key in headers else value.strip()
    return Head(parts[0], parts[1], parts[2], headers)


def ask_of(head: Head, body: bytes, now_ms: int) -> Ask:
    """Return the request as a vendor sees it, its body unpacked. Raises `WireError`."""
    if head.headers.get("content-encoding", "").lower() == "gzip":
        body = _unpack(body)
    url = urlsplit(head.target)
    try:
        query = parse_qs(url.query, keep_blank_values=True, max_num_fields=FIELDS_MAX)
    except ValueError as error:
        raise WireError(400, f"the query cannot be read: {error}") from error
    return Ask(head.method, unquote(url.path), query, head.headers, body, now_ms)


def bytes_of(reply: Reply, *, closes: bool = False) -> bytes:
    """Return the answer as it is sent."""
    body = b"" if reply.body is None else reply.body
    if not isinstance(body, bytes):
        body = msgspec.json.encode(body)
    headers = {} if reply.body is None else {"Content-Type": "application/json"}
    headers |= dict(reply.headers)
    if reply.status != 204:
        headers["Content-Length"] = str(len(body))
    if closes:
        headers["Connection"] = "close"
    lines = [f"HTTP/1.1 {reply.status} {_phrase_of(reply.status)}"]
    lines += [f"{name}: {value}" for name, value in headers.items()]
    return "\r\n".join([*lines, "", ""]).encode("latin-1") + body


def _phrase_of(status: int) -> str:
    try:
        return HTTPStatus(status).phrase
    except ValueError:
        return "Unknown"


def _unpack(body: bytes) -> bytes:
    unpacker = zlib.decompressobj(wbits=31)
    try:
        found = unpacker.decompress(body, BODY_BYTES_MAX + 1)
    except zlib.error as error:
        raise WireError(400, f"the body is no gzip: {error}") from error
    if len(found) > BODY_BYTES_MAX:
        raise WireError(413, f"more than {BODY_BYTES_MAX} bytes come out of the gzip body")
    if not unpacker.eof:
        raise WireError(400, "the gzip body ends too early")
    return found
