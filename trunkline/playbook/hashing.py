"""Hashes as the vendors of advertising want them: of UTF-8, in lower-case hex."""

from __future__ import annotations

import hashlib
import re
from typing import Any

from trunkline.playbook.scalars import text_of

_SHA256 = re.compile(r"[0-9a-fA-F]{64}")


def sha256_hex(value: Any) -> str | None:
    """Return the SHA-256 of a text or number.

    An empty text has none: nobody wants the hash of nothing. A text that is such a hash already
    (64 hex digits) stays as it is, in lower case.
    """
    text = text_of(value)
    if not text:
        return None
    return sha256_in(text) or hashlib.sha256(_utf8(text)).hexdigest()


def sha256_in(text: str) -> str | None:
    """Return a text that is a SHA-256 already (64 hex digits) in lower case; None for another."""
    return text.lower() if len(text) == 64 and _SHA256.fullmatch(text) else None


def md5_hex(value: Any) -> str | None:
    """Return the MD5 of a text or number; an empty text has none."""
    text = text_of(value)
    return hashlib.md5(_utf8(text), usedforsecurity=False).hexdigest() if text else None


def _utf8(text: str) -> bytes:
    return text.encode("utf-8", "replace")
