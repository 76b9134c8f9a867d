"""Phone numbers as E.164, `+989120001234`, whatever way a person wrote them."""

from __future__ import annotations

import re
from functools import lru_cache
from typing import Any

from msgspec import Struct

from trunkline.playbook.hashing import sha256_in
from trunkline.playbook.scalars import text_of

_PHONE_MAX = 60  # characters
_TEXT_MAX = 320  # with the white space around it
_DIGITS = re.compile(r"\+[0-9]{7,15}")
_INTERNATIONAL = re.compile(r"\+[1-9][0-9 ().-]{5,}[0-9]")
_NO_DIGITS = {ord(mark): None for mark in "+ ().-"}
_CODE_DIGITS_MAX = 3


class _Plan(Struct, frozen=True):
    """Numbers of one country code: what is stripped off their beginning, and possible lengths."""

    stripped: re.Pattern[str] | None
    lengths: frozenset[int]


@lru_cache(maxsize=2000)
def _plan(code: str) -> _Plan | None:
    """Return the plan of a country code; None where there is none of that name."""
    import phonenumbers

    number = int(code)
    if number not in phonenumbers.COUNTRY_CODE_TO_REGION_CODE:
        return None
    region = phonenumbers.region_code_for_country_code(number)
    found = phonenumbers.PhoneMetadata.metadata_for_region_or_calling_code(number, region)
    if found is None or found.general_desc is None:
        return _Plan(None, frozenset())
    prefix, desc = found.national_prefix_for_parsing, found.general_desc
    return _Plan(
        re.compile(prefix) if prefix else None,
        frozenset(desc.possible_length) - frozenset(desc.possible_length_local_only),
    )


def _quick(text: str) -> str | None:
    """Return a number written as most are, with its country code; None where it is another.

    It takes a tenth of the time of the library, whose tables it asks: a number of which nothing
    is stripped, of a possible length, is what its digits say.
    """
    if not _INTERNATIONAL.fullmatch(text):
        return None
    digits = text.translate(_NO_DIGITS)
    for length in range(1, _CODE_DIGITS_MAX + 1):
        plan, rest = _plan(digits[:length]), digits[length:]
        if plan is not None:
            is_plain = rest[0] != "0" and not (plan.stripped and plan.stripped.match(rest))
            written = f"+{digits}"
            is_it = is_plain and len(rest) in plan.lengths and _DIGITS.fullmatch(written)
            return written if is_it else None
    return None


def _parse(text: str, country: str) -> str | None:
    # Imported late: a tenth of a second and some megabytes that most nodes never need.
    import phonenumbers

    try:
        number = phonenumbers.parse(text, country or None)
    except phonenumbers.NumberParseException:
        return None
    written = phonenumbers.format_number(number, phonenumbers.PhoneNumberFormat.E164)
    return (
        written if phonenumbers.is_possible_number(number) and _DIGITS.fullmatch(written) else None
    )


def e164(value: Any, country: str = "") -> str | None:
    """Return `+`, country code and number; None for what is no possible number.

    `country` (ISO 3166, two letters) is where a number without a country code belongs. Digits of
    every script count; an extension is cut off. The SHA-256 of a number stays, in lower case.
    """
    text = text_of(value)
    if text is None or len(text) > _TEXT_MAX:
        return None
    text = text.strip()
    if len(text) > _PHONE_MAX:
        return sha256_in(text)
    if not country and text.startswith("00"):
        text = "+" + text[2:]
    return _quick(text) or _parse(text, country)


@lru_cache(maxsize=1)
def phone_countries() -> frozenset[str]:
    """Return the codes of the countries that have phone numbers."""
    import phonenumbers

    return frozenset(phonenumbers.SUPPORTED_REGIONS)


def load_phone_tables() -> None:
    """Read the tables of all countries now: in a jail there are no files to read them from."""
    import phonenumbers

    phonenumbers.PhoneMetadata.load_all()
