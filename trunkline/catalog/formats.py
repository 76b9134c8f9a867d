"""What a text in a workspace file may look like: the check, and the words that explain it.

Each row is a name that `Meta(extra_json_schema={"x-format": …})` refers to. A message about a
wrong value is computed from its row, so the check and its explanation cannot differ.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from ipaddress import ip_network
from urllib.parse import urlsplit

from msgspec import Struct

from trunkline.catalog.workspace import Instant
from trunkline.kit.regions import is_region

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


class Format(Struct, frozen=True):
    """A check of a text, what was expected, and what to do about one that does not fit."""

    fits: Callable[[str], bool]
    expected: str
    advice: str


def _like(pattern: str) -> Callable[[str], bool]:
    compiled = re.compile(rf"(?:{pattern})\Z")
    return lambda text: compiled.match(text) is not None


def _is_name(text: str) -> bool:
    return 0 < len(text) <= 128 and text.strip() == text and text.isprintable()


def _is_network(text: str) -> bool:
    try:
        ip_network(text, strict=False)
    except ValueError:
        return False
    return True


def _is_origin(text: str) -> bool:
    try:
        parts = urlsplit(text)
        _ = parts.port
    except ValueError:
        return False
    has_only_origin = text == f"{parts.scheme}://{parts.netloc}" and "@" not in parts.netloc
    return bool(has_only_origin and parts.scheme and parts.hostname and "*" not in text)


FORMATS: dict[str, Format] = {
    "name": Format(
        _is_name,
        "text of 1 to 128 characters without line breaks or spaces at its ends",
        "give another name",
    ),
    "app-id": Format(
        _like("[a-z]{15}"),
        "15 lower-case letters",
        "leave it out and one is generated",
    ),
    "slug": Format(
        _like("[A-Za-z0-9_-]{1,64}"),
        "1 to 64 letters, digits, _ or -",
        "leave it out and one of 5 lower-case letters is generated",
    ),
    "destination-id": Format(
        _like("[A-Za-z0-9][A-Za-z0-9._-]{0,63}"),
        "1 to 64 letters, digits, '.', _ or -",
        "give another id",
    ),
    "platform": Format(
        _like("[a-z][a-z0-9_-]{0,31}"),
        "a word in lower case, say android, ios, web or server",
        "write it so",
    ),
    "currency": Format(
        _like("[A-Z]{3}"),
        "three capital letters as in ISO 4217, say IRR",
        "write the code of the currency",
    ),
    "region": Format(
        is_region,
        "EEA, EU or ALL, a country of ISO 3166-1 as GB, or a part of one as US-CA",
        "write its code in capital letters (the United Kingdom is GB)",
    ),
    "network": Format(
        _is_network,
        "an IPv4 or IPv6 address or range, say 203.0.113.7 or 2001:db8::/32",
        "correct it; no list at all lets every address in",
    ),
    "origin": Format(
        _is_origin,
        "scheme://host[:port] and no more, say https://shop.example",
        "correct it; no list at all lets every origin in",
    ),
    "digest": Format(
        _like("[0-9a-f]{16}"),
        "16 digits of 0-9 a-f, as `trunkline export` writes them",
        "leave it out for the kit as it is imported now",
    ),
    "key-secret": Format(
        _like("[!-~]{1,512}"),
        "1 to 512 visible ASCII characters, because it travels in a header",
        "leave it out and one is generated",
    ),
}


def parse_instant(text: str) -> Instant | None:
    """Return the time that an RFC 3339 text with a zone names; None where it is none."""
    if not re.match(r"\d{4}-\d\d-\d\d[Tt ]\d\d:\d\d:\d\d(\.\d{1,9})?([Zz]|[-+]\d\d:\d\d)\Z", text):
        return None
    try:
        # Nine digits of a second are RFC 3339, but more than datetime reads.
        moment = datetime.fromisoformat(re.sub(r"(\.\d{6})\d+", r"\1", text.upper()))
        return Instant((moment - EPOCH) // timedelta(milliseconds=1))  # exact, as no float is
    except (ValueError, OverflowError):
        return None


def format_instant(instant: Instant) -> str:
    """Return a time as RFC 3339, UTC, milliseconds."""
    moment = EPOCH + timedelta(milliseconds=instant.ms)
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")
