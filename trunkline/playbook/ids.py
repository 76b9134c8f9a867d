"""Ids of the shape that a vendor wants, made of an id that we have: the same one every time."""

from __future__ import annotations

import hashlib
import re
from typing import Any
from uuid import UUID

from trunkline.playbook.layouts import milliseconds_of, moment_of
from trunkline.playbook.scalars import text_of

_UUID = re.compile(r"[0-9a-fA-F]{8}(?:-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}")
_ULID = re.compile(r"[0-7][0-9A-HJKMNP-TV-Z]{25}")
_CROCKFORD = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"
_MILLISECONDS_MAX = 2**48


def uuid_of(value: Any) -> str | None:
    """Return a UUID (of the shape of version 4) made of the SHA-256 of a text; a UUID stays."""
    text = text_of(value)
    if not text:
        return None
    if len(text) == 36 and _UUID.fullmatch(text):
        return text
    return str(UUID(bytes=_digest(text)[:16], version=4))


def ulid_of(value: Any, moment: Any) -> str | None:
    """Return a ULID of a time and the SHA-256 of a text; a ULID stays. None without a time."""
    text, at = text_of(value), moment_of(moment)
    if not text:
        return None
    if len(text) == 26 and _ULID.fullmatch(text):
        return text
    milliseconds = -1 if at is None else milliseconds_of(at)
    if not 0 <= milliseconds < _MILLISECONDS_MAX:
        return None
    number = milliseconds << 80 | int.from_bytes(_digest(text)[:10])
    return "".join(_CROCKFORD[number >> shift & 31] for shift in range(125, -5, -5))


def _digest(text: str) -> bytes:
    return hashlib.sha256(text.encode("utf-8", "replace")).digest()
