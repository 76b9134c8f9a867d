"""What a node and a jailed process say to each other, over one socket pair.

A frame is the size of its text and the number of its request (two big-endian 32-bit numbers), then
JSON: a message of this file. JSON and not msgpack, because what a jailed process says is believed
to be nothing: JSON holds no byte strings, no extension types and no keys but text, so whatever
decodes can be sent on. An answer bears its request's number.
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from os import read as _read  # bound here: code may tamper with `os`
from os import write as _write
from typing import Any

import msgspec
from msgspec import Struct

from trunkline.kit.shaping import Work
from trunkline.playbook.program import Failure, Moment, Problem, Shaped, Step

HEADER = struct.Struct(">II")


class Load(Struct, frozen=True, tag="load"):
    """Load this work, and stay within these sizes."""

    work: Work
    heap_bytes: int
    reply_bytes_max: int


class Shape(Struct, frozen=True, tag="shape"):
    """Shape these events."""

    events: tuple[tuple[dict[str, Any], Moment], ...]
    explain: bool


class Run(Struct, frozen=True, tag="run"):
    """Run named code over values."""

    name: str
    values: dict[str, Any]
    moment: Moment


class Ready(Struct, frozen=True, tag="ready"):
    """The jail is closed."""


class NoJail(Struct, frozen=True, tag="no_jail"):
    """The jail could not be closed."""

    reason: str


class Loaded(Struct, frozen=True, tag="loaded"):
    """The work is loaded, or has these problems."""

    problems: tuple[Problem, ...]


class Answers(Struct, frozen=True, tag="answers"):
    """One answer an event, in order, and what the code logged. It is heard as `Heard`."""

    shaped: tuple[Shaped, ...]
    notes: tuple[str, ...]


class HeardAnswer(Struct, frozen=True):
    """A `Shaped` whose outputs are JSON still: they are looked at before they are decoded."""

    outputs: tuple[msgspec.Raw, ...] = ()
    filtered: str = ""
    failure: Failure | None = None
    steps: tuple[Step, ...] = ()


class Heard(Struct, frozen=True, tag="answers"):
    """`Answers` as the node hears them."""

    shaped: tuple[HeardAnswer, ...]
    notes: tuple[str, ...]


class Value(Struct, frozen=True, tag="value"):
    """What named code returned."""

    value: Any
    notes: tuple[str, ...]


class CodeFailed(Struct, frozen=True, tag="code_failed"):
    """Named code failed."""

    message: str
    line: int
    notes: tuple[str, ...]


class TooLong(Struct, frozen=True, tag="too_long"):
    """The answer would have more bytes than a frame may have."""

    bytes: int


class Broken(Struct, frozen=True, tag="broken"):
    """Something failed that is not the code; the process ends."""

    reason: str


Asked = Load | Shape | Run
Said = Ready | NoJail | Loaded | Heard | Value | CodeFailed | TooLong | Broken

_SAID = msgspec.json.Decoder(Said)
_ASKED = msgspec.json.Decoder(Asked)
encode_message: Callable[[Asked | Said | Answers], bytes] = msgspec.json.Encoder().encode


def decode_said(text: bytes) -> Said:
    """Read what a jailed process said. Raises `ValueError`: it may say anything."""
    try:
        return _SAID.decode(text)
    except (msgspec.MsgspecError, RecursionError, UnicodeDecodeError) as error:
        raise ValueError(f"no message: {error}") from error


def decode_asked(text: bytes) -> Asked:
    """Read what the node asks."""
    return _ASKED.decode(text)


def receive_frame(descriptor: int) -> tuple[int, bytes] | None:
    """Read a frame, blocking: its number and text. None: the other end is closed."""
    header = _receive(descriptor, HEADER.size)
    if header is None:
        return None
    size, number = HEADER.unpack(header)
    text = _receive(descriptor, size)
    return None if text is None else (number, text)


def _receive(descriptor: int, size: int) -> bytes | None:
    parts: list[bytes] = []
    while size:
        part = _read(descriptor, min(size, 1 << 20))
        if not part:
            return None
        parts.append(part)
        size -= len(part)
    return parts[0] if len(parts) == 1 else b"".join(parts)


def send_frame(descriptor: int, number: int, text: bytes) -> None:
    """Write a frame, blocking. Raises `OSError`."""
    rest = memoryview(HEADER.pack(len(text), number) + text)
    while rest:
        rest = rest[_write(descriptor, rest) :]
