"""Heads that came before, byte for byte, and what the parser made of them.

A server sends its events with one head, over and over; only the length of its bodies changes. To
parse such a head again takes a quarter of what a stored request costs. So what a plain request was
made of is remembered by its bytes: the same bytes are read in the same way, whoever sends them. A
head is plain where nothing in it concerns the connection; everything else is parsed each time.
"""

from __future__ import annotations

from typing import NamedTuple

from trunkline.gateway.http1_request import HttpRequest

HEADS_MAX = 1024
HEAD_BYTES_MAX = 2048

_END = b"\r\n\r\n"
_SPECIAL = frozenset({"expect", "transfer-encoding", "upgrade"})


class Head(NamedTuple):
    """What a head says. `headers` are shared by all its requests, and never changed."""

    method: str
    target: bytes
    headers: dict[str, str]
    length: int  # of the body


_heads: dict[bytes, Head] = {}


def split_head(data: bytes) -> bytes:
    """Return the bytes up to the first empty line, with it; all that is there where none is."""
    end = data.find(_END)
    return data if end < 0 else data[: end + len(_END)]


def find_head(head: bytes) -> Head | None:
    """Return what a head says, where it came before."""
    return _heads.get(head)


def learn_head(head: bytes, target: bytes, request: HttpRequest, size: int) -> None:
    """Remember a head if it is plain; `size` is that of its request, which came in one piece."""
    length = request.headers.get("content-length", "0")
    if (
        len(head) > HEAD_BYTES_MAX
        or not (request.is_whole and request.keeps_alive)
        or request.is_old
        or not length.isdecimal()
        or int(length) != size - len(head)
        or not _SPECIAL.isdisjoint(request.headers)
    ):
        return
    if len(_heads) >= HEADS_MAX:
        _heads.clear()
    _heads[head] = Head(request.method, target, request.headers, int(length))
