"""Decompressing a body within a bound: a bomb is cut off at the limit, never inflated.

Output is asked for in pieces that never exceed what is left of the limit, so memory is bounded by
the limit whatever was sent. A stream that ends early or is damaged is refused: half a body that
happens to parse would be an event that nobody sent.
"""

from __future__ import annotations

import zlib
from typing import Literal

MEMBERS_MAX = 128  # each member copies what is left, so many tiny ones would cost their square
_GZIP = 31
_ZLIB = 15
_RAW = -15

InflateFault = Literal["too_large", "broken"]


def inflate(data: bytes, encoding: Literal["gzip", "deflate"], bytes_max: int) -> bytes | None:
    """Return the decompressed bytes; None where there would be more than `bytes_max`.

    Raises `ValueError` with a sentence where the data is damaged, ends early, or has something
    behind its end. gzip may have several members, and zeros behind the last. deflate may come with
    or without its zlib header, as clients differ.
    """
    if not data:
        return b""
    if encoding == "deflate":
        output, rest = _inflate_member(data, _ZLIB if _has_zlib_header(data) else _RAW, bytes_max)
        if output is not None and rest:
            raise ValueError("there are bytes behind the end of the deflate stream")
        return output
    return _gunzip(data, bytes_max)


def _gunzip(data: bytes, bytes_max: int) -> bytes | None:
    output = b""
    rest = data
    for _ in range(MEMBERS_MAX):
        piece, rest = _inflate_member(rest, _GZIP, bytes_max - len(output))
        if piece is None:
            return None
        output = output + piece if output else piece
        if not rest or not rest.strip(b"\0"):
            return output
    raise ValueError(f"the gzip body has more than {MEMBERS_MAX} members")


def _inflate_member(data: bytes, window_bits: int, bytes_max: int) -> tuple[bytes | None, bytes]:
    machine = zlib.decompressobj(window_bits)
    try:
        # One byte more than allowed tells "exactly full" from "too much". 0 would mean no limit.
        output = machine.decompress(data, bytes_max + 1)
    except zlib.error as error:
        raise ValueError(f"the body is not what Content-Encoding says: {error}") from error
    if len(output) > bytes_max:
        return None, b""
    if not machine.eof:
        raise ValueError("the compressed body ends early")
    return output, machine.unused_data


def _has_zlib_header(data: bytes) -> bool:
    return len(data) > 1 and data[0] & 0x0F == 8 and (data[0] << 8 | data[1]) % 31 == 0
