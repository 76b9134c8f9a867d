"""Phone numbers as E.164, `+989120001234`, whatever way a person wrote them."""

from __future__ import annotations

import re
from functools import lru_cache
from typing import Any

from trunkline.playbook.hashing import sha256_in
from trunkline.playbook.scalars import text_of

_PHONE_MAX = 60  # characters
_TEXT_MAX = 320  # with the white space around it
_DIGITS = re.compile(r"\+[0-9]{7,15}")


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
    return _parse(text, country)


@lru_cache(maxsize=1)
def phone_countries() -> frozenset[str]:
    """Return the codes of the countries that have phone numbers."""
    import phonenumbers

    return frozenset(phonenumbers.SUPPORTED_REGIONS)


def load_phone_tables() -> None:
    """Read the tables of all countries now: in a jail there are no files to read them from."""
    import phonenumbers

    phonenumbers.PhoneMetadata.load_all()
