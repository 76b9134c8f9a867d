"""What a node and a jailed process say to each other, over one socket pair.

A frame is a header of three big-endian 32-bit numbers (the size of what follows, the number of its
request, the size of its message), then a message of this file as JSON, then the events or outputs
that the message tells the sizes of, each as JSON. They stand beside the message so that each is
read and written once, and one at a time. JSON and not msgpack, because what a jailed process says
is believed to be nothing: JSON holds no byte strings, no extension types and no keys but text, so
whatever decodes can be sent on. An answer bears its request's number.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterable, Sequence
from os import read as _read  # bound here: code may tamper with `os`
from os import write as _write
from typing import Any, NamedTuple

import msgspec
from msgspec import Struct

from trunkline.kit.shaping import Work
from trunkline.playbook.program import Failure, Moment, Problem, Step

HEADER = struct.Struct(">III")


class Frame(NamedTuple):
    """A frame that was read: its number, its message, and what stands beside it."""

    number: int
    message: bytes
    parts: bytes


class Load(Struct, frozen=True, tag="load"):
    """Load this work, and stay within these sizes."""

    work: Work
    heap_bytes: int
    reply_bytes_max: int


class Shape(Struct, frozen=True, tag="shape"):
    """Shape the events beside this: the size and the moment of each."""

    sizes: tuple[int, ...]
    moments: tuple[Moment, ...]
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


class Answer(Struct, frozen=True, omit_defaults=True):
    """A `Shaped` whose outputs stand beside the message: their sizes."""

    sizes: tuple[int, ...] = ()
    filtered: str = ""
    failure: Failure | None = None
    steps: tuple[Step, ...] = ()


class Answers(Struct, frozen=True, tag="answers"):
    """One answer an event, in order, and what the code logged. It is heard as `Heard`."""

    shaped: tuple[Answer, ...]
    notes: tuple[str, ...]


class Heard(Struct, frozen=True):
    """`Answers`, and the outputs as JSON: they are looked at before they are decoded."""

    shaped: tuple[Answer, ...]
    notes: tuple[str, ...]
    outputs: bytes


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
Written = Ready | NoJail | Loaded | Answers | Value | CodeFailed | TooLong | Broken

_WRITTEN = msgspec.json.Decoder(Written)
_ASKED = msgspec.json.Decoder(Asked)
encode_message: Callable[[Asked | Written], bytes] = msgspec.json.Encoder().encode


def decode_said(message: bytes, parts: bytes = b"") -> Said:
    """Read what a jailed process said. Raises `ValueError`: it may say anything."""
    try:
        said = _WRITTEN.decode(message)
    except (msgspec.MsgspecError, RecursionError, UnicodeDecodeError) as error:
        raise ValueError(f"no message: {error}") from error
    if isinstance(said, Answers):
        return Heard(said.shaped, said.notes, parts)
    if parts:
        raise ValueError(f"{len(parts):,} bytes that belong to no message")
    return said


def decode_asked(message: bytes) -> Asked:
    """Read what the node asks."""
    return _ASKED.decode(message)


def frame_of(number: int, message: bytes, parts: Sequence[bytes] = ()) -> bytes:
    """Return a frame."""
    size = len(message) + sum(map(len, parts))
    return b"".join((HEADER.pack(size, number, len(message)), message, *parts))


def parts_of(parts: bytes, sizes: Iterable[int]) -> list[bytes]:
    """Return what stands beside a message, one by one. Raises `ValueError`: sizes that lie."""
    found: list[bytes] = []
    at = 0
    for size in sizes:
        if size < 0:
            raise ValueError("a size below zero")
        found.append(parts[at : at + size])
        at += size
    if at != len(parts):
        raise ValueError(f"sizes of {at:,} bytes, where there are {len(parts):,}")
    return found


def receive_frame(descriptor: int) -> Frame | None:
    """Read a frame, blocking. None: the other end is closed."""
    header = _receive(descriptor, HEADER.size)
    if header is None:
        return None
    size, number, message_size = HEADER.unpack(header)
    text = _receive(descriptor, size)
    return None if text is None else Frame(number, text[:message_size], text[message_size:])


def _receive(descriptor: int, size: int) -> bytes | None:
    parts: list[bytes] = []
    while size:
        part = _read(descriptor, min(size, 1 << 20))
        if not part:
            return None
        parts.append(part)
        size -= len(part)
    return parts[0] if len(parts) == 1 else b"".join(parts)


def send_frame(descriptor: int, number: int, message: bytes, parts: Sequence[bytes] = ()) -> None:
    """Write a frame, blocking. Raises `OSError`."""
    rest = memoryview(frame_of(number, message, parts))
    while rest:
        rest = rest[_write(descriptor, rest) :]
