"""What simulators ask of values and requests: small questions, each with a plain answer.

`is_…` say yes or no; `fault_of_…` return a sentence of what is wrong, or nothing; the others read
a part of a request and return nothing, empty or None where it is not there.
"""

from __future__ import annotations

import base64
import binascii
import math
import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, cast
from urllib.parse import parse_qsl

import msgspec
import pycountry

from trunkline.kit.times import parse_time_ms
from trunkline.simulators.simulator import Ask

SECOND_MS = 1_000
MINUTE_MS = 60_000
HOUR_MS = 3_600_000
DAY_MS = 86_400_000
EMPTY_SHA256 = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"

_SHA256 = re.compile(r"[0-9a-f]{64}")
_UUID = re.compile(r"[0-9a-fA-F]{8}-(?:[0-9a-fA-F]{4}-){3}[0-9a-fA-F]{12}")
_UUID_STRICT = re.compile(
    r"[0-9a-fA-F]{8}-[0-9a-fA-F]{4}-[1-8][0-9a-fA-F]{3}-[89abAB][0-9a-fA-F]{3}-[0-9a-fA-F]{12}"
)
_ULID = re.compile(r"[0-7][0-9A-HJKMNP-TV-Z]{25}")
_EMAIL = re.compile(r"[^\s@]+@[^\s@]+\.[^\s@]+")
_E164 = re.compile(r"\+[1-9][0-9]{6,14}")
_PHONE_DIGITS = re.compile(r"[1-9][0-9]{6,14}")
_CURRENCY = re.compile(r"[A-Z]{3}")
_IPV4 = re.compile(r"(?:(?:25[0-5]|2[0-4]\d|1?\d?\d)(?:\.(?!$)|$)){4}")
_CURRENCIES = frozenset(str(c.alpha_3) for c in cast("Iterable[Any]", pycountry.currencies))
_COUNTRIES = frozenset(str(c.alpha_2) for c in cast("Iterable[Any]", pycountry.countries))


# Values


def is_text(value: object, characters_max: int = 0) -> bool:
    """Say whether this is a text that is not empty, of at most so many characters (0: any)."""
    return (
        isinstance(value, str)
        and bool(value)
        and (not characters_max or len(value) <= characters_max)
    )


def is_number(value: object) -> bool:
    """Say whether this is a finite number of JSON; a boolean and a text are none."""
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def is_whole(value: object) -> bool:
    """Say whether this is a whole number of JSON (12, not 12.0 or "12")."""
    return isinstance(value, int) and not isinstance(value, bool)


def is_number_text(value: object) -> bool:
    """Say whether this is a text that writes a number: "29.90"."""
    return isinstance(value, str) and re.fullmatch(r"-?\d+(\.\d+)?", value) is not None


def is_object(value: object) -> bool:
    """Say whether this is a JSON object."""
    return isinstance(value, dict)


def is_list(value: object) -> bool:
    """Say whether this is a JSON list."""
    return isinstance(value, list)


def is_sha256(value: object) -> bool:
    """Say whether this is SHA-256 in lower-case hex, and not that of the empty text."""
    return isinstance(value, str) and bool(_SHA256.fullmatch(value)) and value != EMPTY_SHA256


def is_uuid(value: object, *, is_strict: bool = False) -> bool:
    """Say whether this has the shape of a UUID; strict: version and variant are right, too."""
    pattern = _UUID_STRICT if is_strict else _UUID
    return isinstance(value, str) and bool(pattern.fullmatch(value))


def is_ulid(value: object) -> bool:
    """Say whether this is a ULID: 26 characters of Crockford's base 32, in capitals."""
    return isinstance(value, str) and bool(_ULID.fullmatch(value))


def is_email(value: object) -> bool:
    """Say whether this looks like an e-mail address."""
    return isinstance(value, str) and bool(_EMAIL.fullmatch(value))


def is_e164(value: object) -> bool:
    """Say whether this is a phone number as `+989120001234`."""
    return isinstance(value, str) and bool(_E164.fullmatch(value))


def is_phone_digits(value: object) -> bool:
    """Say whether this is a phone number as `989120001234`: no plus and no zero in front."""
    return isinstance(value, str) and bool(_PHONE_DIGITS.fullmatch(value))


def is_currency(value: object) -> bool:
    """Say whether this is a code of ISO 4217 in capitals."""
    return isinstance(value, str) and bool(_CURRENCY.fullmatch(value)) and value in _CURRENCIES


def is_country(value: object) -> bool:
    """Say whether this is a code of ISO 3166-1 alpha-2 in capitals."""
    return isinstance(value, str) and value in _COUNTRIES


def is_ipv4(value: object) -> bool:
    """Say whether this is an IPv4 address in dotted decimals."""
    return isinstance(value, str) and bool(_IPV4.fullmatch(value))


def is_url(value: object) -> bool:
    """Say whether this is an http or https URL with a host."""
    return isinstance(value, str) and bool(re.fullmatch(r"https?://[^\s/]+\S*", value))


# Moments


def moment_ms(value: object, unit: str) -> int | None:
    """Return Unix milliseconds of a moment that is written in a unit, or None where it is not.

    Units: `seconds`, `millis`, `micros` (whole numbers) and `rfc3339` (a text with a zone).
    """
    factors = {"seconds": 1_000.0, "millis": 1.0, "micros": 0.001}
    if unit in factors:
        return int(cast("int", value) * factors[unit]) if is_whole(value) else None
    if not isinstance(value, str) or not re.search(r"(?:[zZ]|[+-]\d\d:?\d\d)$", value):
        return None
    return parse_time_ms(value)


def fault_of_age(
    at_ms: int | None, now_ms: int, past_ms_max: int | None, ahead_ms_max: int | None
) -> str:
    """Return what is wrong with a moment, or nothing. A limit of None is none.

    A moment in seconds where milliseconds are meant (or the other way round) is told as such.
    """
    if at_ms is None:
        return "it is no moment in the form that is expected"
    behind_ms = now_ms - at_ms
    if at_ms < now_ms / 500 or at_ms > now_ms * 500:
        return f"it is {at_ms} ms since 1970: its unit seems wrong"
    if past_ms_max is not None and behind_ms > past_ms_max:
        return (
            f"it is {behind_ms / DAY_MS:.1f} days old; at most {past_ms_max / DAY_MS:g} are taken"
        )
    if ahead_ms_max is not None and -behind_ms > ahead_ms_max:
        return f"it is {-behind_ms / 1_000:.0f} s ahead; at most {ahead_ms_max / 1_000:g} are taken"
    return ""


# Parts of a value


def at(value: Any, path: str) -> Any:
    """Return what stands at a dotted path, or None; a number is a position in a list."""
    for part in path.split("."):
        if isinstance(value, dict):
            value = cast("dict[str, Any]", value).get(part)
        elif isinstance(value, list) and part.isdigit() and int(part) < len(cast("Any", value)):
            value = cast("list[Any]", value)[int(part)]
        else:
            return None
    return value


def object_at(value: Any, path: str) -> dict[str, Any]:
    """Return the object at a dotted path; an empty one where there is none."""
    found = at(value, path)
    return cast("dict[str, Any]", found) if isinstance(found, dict) else {}


def list_at(value: Any, path: str) -> list[Any]:
    """Return the list at a dotted path; an empty one where there is none."""
    found = at(value, path)
    return cast("list[Any]", found) if isinstance(found, list) else []


def missing_of(value: Mapping[str, Any], names: Iterable[str]) -> list[str]:
    """Return those of the dotted names where nothing stands (nothing, null, empty text)."""
    return [name for name in names if at(value, name) in (None, "")]


def unknown_of(value: Mapping[str, Any], names: Iterable[str]) -> list[str]:
    """Return the keys of an object that are none of these."""
    return sorted(set(value) - set(names))


def nulls_of(value: Any, path: str = "") -> Iterator[str]:
    """Yield the dotted paths where null stands."""
    if value is None:
        yield path
    elif isinstance(value, dict):
        for key, one in cast("dict[str, Any]", value).items():
            yield from nulls_of(one, f"{path}.{key}" if path else key)
    elif isinstance(value, list):
        for position, one in enumerate(cast("list[Any]", value)):
            yield from nulls_of(one, f"{path}.{position}" if path else str(position))


def size_of(value: Any) -> int:
    """Return how many bytes a value has as compact JSON."""
    return len(msgspec.json.encode(value))


# Requests


def bearer_of(ask: Ask) -> str:
    """Return the token of `Authorization: Bearer …`, or nothing."""
    return authorization_of(ask, "Bearer")


def authorization_of(ask: Ask, scheme: str) -> str:
    """Return what stands behind a scheme in `Authorization`, or nothing."""
    head, _, rest = ask.headers.get("authorization", "").partition(" ")
    return rest.strip() if head.lower() == scheme.lower() else ""


def basic_of(ask: Ask) -> tuple[str, str]:
    """Return user and password of `Authorization: Basic …`, or two empty texts."""
    try:
        text = base64.b64decode(authorization_of(ask, "Basic"), validate=True).decode()
    except (binascii.Error, UnicodeDecodeError):
        return "", ""
    user, _, password = text.partition(":")
    return user, password


def content_type_of(ask: Ask) -> str:
    """Return the content type without its parameters, in lower case."""
    return ask.headers.get("content-type", "").partition(";")[0].strip().lower()


def form_of(ask: Ask) -> dict[str, str]:
    """Return the fields of a form; of a name that comes twice the last."""
    return dict(parse_qsl(ask.body.decode("utf-8", "replace"), keep_blank_values=True))


def json_object_of(ask: Ask) -> dict[str, Any] | str:
    """Return the JSON object of the body, or a sentence of what is wrong with it."""
    found = json_of(ask)
    if isinstance(found, Bad):
        return found.message
    if isinstance(found, dict):
        return cast("dict[str, Any]", found)
    return f"the body is {kind_of(found)}; an object is expected"


class Bad(msgspec.Struct, frozen=True):
    """A body that is no JSON, and why."""

    message: str


def json_of(ask: Ask) -> Any:
    """Return the JSON of the body, or a `Bad` that says what is wrong with it."""
    if content_type_of(ask) != "application/json":
        was = content_type_of(ask) or "missing"
        return Bad(f"the content type is {was}; application/json is expected")
    try:
        return ask.json()
    except msgspec.DecodeError as error:
        return Bad(f"the body is no JSON: {error}")


def kind_of(value: object) -> str:
    """Return what a JSON value is, in words: "an object", "a list", "a text", …."""
    names: dict[type, str] = {
        dict: "an object", list: "a list", str: "a text", bool: "a boolean", int: "a number",
        float: "a number",
    }  # fmt: skip
    return names.get(type(value), "nothing")
