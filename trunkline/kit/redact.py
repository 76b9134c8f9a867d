"""Hiding secrets in what a person will look at: the bodies of refused events.

The structure stays, so that the owner of a refused event sees what their server sent wrongly;
values under keys that look secret, and digits that look like a payment card, are masked. What is
no JSON is treated as text. Bounded and total: any bytes give at most `bytes_max` bytes of UTF-8.
"""

from __future__ import annotations

import re
from functools import lru_cache
from typing import Any, cast

import msgspec

from trunkline.kit.json_repair import JsonError, read_json

MASK = "[redacted]"
MASK_START = MASK[:-1]  # of a masked card too, whose last digits follow
BODY_BYTES_MAX = 2048
CUT_MARK = "…".encode()
_KEY_MAX = 256  # characters of a key that are looked at
_TEXT_BYTES_MAX = 8192  # of what is no JSON only the beginning is looked at

_WORDS = (
    r"authorization|passw(?:or)?d|passphrase|passcode|secret|token|credential|cookie|signature"
    r"|(?:api|access|private|dev|write|sign|signing)[-_ ]?key"
)
# `key`, `pin` and the like count as whole words only: `keyboard` and `shopping` hide nothing.
_SECRET_KEY = re.compile(
    _WORDS + r"|(?:^|[-_ .])(?:key|pwd|pin|otp|cvv2?|cvc2?|pan|auth)(?:$|[-_ .0-9])",
    re.IGNORECASE,
)
_SECRET_TEXT = re.compile(
    rf"((?:{_WORDS}|\b(?:key|pwd|pin|otp|cvv2?|cvc2?|pan|auth))"
    r"""[\w-]{0,40}["']?\s{0,8}[:=]\s{0,8})"""
    r"""("(?:[^"\\]|\\.)*+"?|'[^']*+'?|[^\r\n,;&}\]]++)""",
    re.IGNORECASE,
)
# From 14 digits on: 13 are a time in milliseconds, which the owner needs to see.
_CARD_DIGITS_MIN = 14
_CARD = re.compile(r"(?<![0-9])[0-9](?:[ -]?[0-9]){13,18}(?![0-9])")

_encode = msgspec.json.Encoder().encode


def redact(body: bytes, bytes_max: int = BODY_BYTES_MAX) -> bytes:
    """Return a body without its secrets, cut to `bytes_max` bytes. Never raises."""
    try:
        hidden = _encode(_hide(read_json(body)[0]))
    except JsonError:
        hidden = _hide_text(body[:_TEXT_BYTES_MAX].decode("utf-8", "replace")).encode()
    return _cut(hidden, bytes_max)


def redact_pair(key: str, value: Any) -> Any:
    """Return a JSON value as it may be shown under its key."""
    is_shown = value is None or value == "" or isinstance(value, bool)
    return MASK if not is_shown and _is_secret(key[:_KEY_MAX]) else _hide(value)


@lru_cache(maxsize=4096)
def _is_secret(key: str) -> bool:
    return _SECRET_KEY.search(key) is not None


def _hide(value: Any) -> Any:
    if isinstance(value, str):
        return _hide_cards(value)
    if isinstance(value, dict):
        pairs = cast("dict[str, Any]", value)
        return {_hide_cards(key): redact_pair(key, item) for key, item in pairs.items()}
    if isinstance(value, list):
        return [_hide(item) for item in cast("list[Any]", value)]
    if isinstance(value, int) and not isinstance(value, bool):
        return _hide_integer(value)
    return value


def _hide_integer(value: int) -> int | str:
    text = str(value)
    hidden = _hide_cards(text)
    return value if hidden == text else hidden


def _hide_text(text: str) -> str:
    return _hide_cards(_SECRET_TEXT.sub(rf"\1{MASK}", text))


def _hide_cards(text: str) -> str:
    return text if len(text) < _CARD_DIGITS_MIN else _CARD.sub(_mask_card, text)


def _mask_card(match: re.Match[str]) -> str:
    digits = [int(digit) for digit in match.group() if digit.isdigit()]
    return f"{MASK_START} …{match.group()[-4:]}]" if _passes_luhn(digits) else match.group()


def _passes_luhn(digits: list[int]) -> bool:
    doubled = (sum(divmod(2 * digit, 10)) for digit in digits[-2::-2])
    return (sum(digits[-1::-2]) + sum(doubled)) % 10 == 0


def _cut(data: bytes, bytes_max: int) -> bytes:
    if len(data) <= bytes_max:
        return data
    kept = data[: max(0, bytes_max - len(CUT_MARK))].decode("utf-8", "ignore").encode()
    return (kept + CUT_MARK) if bytes_max >= len(CUT_MARK) else kept
