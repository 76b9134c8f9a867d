"""What is known of a person, as each vendor wants it before it is hashed.

Always Unicode NFC, then without white space at the ends, then the field's rule of the vendor. What
is a SHA-256 already stays, in lower case. What comes to nothing is None, for the hash of an empty
text says nothing and is the same for everybody. Letters of every script stay what the person wrote.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable, Mapping
from datetime import date
from typing import Any

from trunkline.playbook.countries import iso_country
from trunkline.playbook.hashing import sha256_in
from trunkline.playbook.scalars import text_of
from trunkline.playbook.states import US_STATES

PersonRule = Callable[[str], str | None]
PERSON_RULES = (
    "meta", "google", "tiktok", "snap", "pinterest", "reddit", "linkedin", "x", "appsflyer",
    "microsoft",
)  # fmt: skip

_PERSON_MAX = 400  # characters
_ASCII_MARKS = {number: None for number in range(128) if not chr(number).isalnum()}
_MARKS_NOT_SPACE = {number: None for number in _ASCII_MARKS if not chr(number).isspace()}
_NOT_LETTERS = {number: None for number in range(128) if not chr(number).isalpha()}
_ZIP_US = re.compile(r"([0-9]{5})-?[0-9]{4}")
_ZIP_DIGITS_US = 5
_BIRTH = re.compile(r"([0-9]{4})([-/.]?)([0-9]{1,2})\2([0-9]{1,2})(?:[Tt ][0-9:.,Zz+-]{0,30})?")
_YEARS = range(1900, 2101)  # an earlier year is one of another calendar: 1369 is 1990 in Iran
# What programs write where they have no id.
_NO_IDS = frozenset({"null", "nil", "none", "undefined", "(null)", "nan", "0"})
_GENDERS = {
    word: letter
    for letter, words in {
        "m": "m male man boy masculine homme mann hombre مرد آقا ذكر",
        "f": "f female woman girl feminine femme frau mujer زن خانم أنثى",
        "n": "n non-binary nonbinary non_binary other o x diverse",
    }.items()
    for word in words.split()
}


def normalise_person(value: Any, rule: PersonRule) -> str | None:
    """Return a text or number by a rule of `person_rule`; None for what comes to nothing."""
    text = value if type(value) is str else text_of(value)
    if not text or len(text) > _PERSON_MAX:
        return None
    if not text.isascii():
        text = unicodedata.normalize("NFC", text)
    text = text.strip()
    return sha256_in(text) or (rule(text) or None)


def person_rule(field: str, vendor: str) -> PersonRule:
    """Return the rule of one of `PERSON_FIELDS` for one of `PERSON_RULES`."""
    rules = PERSON_FIELDS[field]
    return rules.get(vendor) or rules[""]


def _trim(text: str) -> str:
    return text


def _without_space(text: str) -> str:
    return "".join(text.lower().split())


def _words(text: str) -> str:
    """Return letters and digits of every script, with the spaces between them."""
    text = text.lower()
    if text.isascii():
        return text.translate(_MARKS_NOT_SPACE).strip()
    return "".join(c for c in text if c.isspace() or _is_kept(c, "LMN")).strip()


def _alphanumeric(text: str) -> str:
    return _only(text, _ASCII_MARKS, "LMN")


def _letters(text: str) -> str:
    return _only(text, _NOT_LETTERS, "LM")


def _only(text: str, dropped: Mapping[int, None], classes: str) -> str:
    text = text.lower()
    if text.isascii():
        return text.translate(dropped)
    return "".join(character for character in text if _is_kept(character, classes))


def _is_kept(character: str, classes: str) -> bool:
    # The joiners inside Persian and Indic words are part of how a name is spelt.
    return unicodedata.category(character)[0] in classes or character in "\u200c\u200d"


def _state(text: str) -> str:
    folded = _alphanumeric(text)
    return US_STATES.get(folded, folded)


def _digits(text: str) -> str:
    return "".join(str(unicodedata.decimal(c)) for c in text if c.isdecimal())


def latin_digits(text: str) -> str:
    """Return a text with the digits of other scripts (۱۲۳) as 123."""
    if text.isascii():
        return text
    return "".join(str(unicodedata.decimal(c)) if c.isdecimal() else c for c in text)


def _zip_without_space(text: str) -> str:
    return _without_space(latin_digits(text))


def _zip(text: str) -> str:
    code = _zip_without_space(text)
    american = _ZIP_US.fullmatch(code)
    return american[1] if american else code.replace("-", "")


def _zip_digits(text: str) -> str:
    american = _ZIP_US.fullmatch(_zip_without_space(text))
    return american[1] if american else _digits(text)


def _country(text: str) -> str:
    return (iso_country(text) or "").lower()


def _country_capitals(text: str) -> str | None:
    return iso_country(text)


def _gender(text: str) -> str | None:
    letter = _GENDERS.get(text.lower())
    return letter if letter != "n" else None


def _gender_of_three(text: str) -> str | None:
    return _GENDERS.get(text.lower())


def _birth_date(text: str) -> str | None:
    """Return `YYYYMMDD` of a date, year first; None for another calendar or order."""
    match = _BIRTH.fullmatch(latin_digits(text))
    if match is None or (not match[2] and len(match[3] + match[4]) != 4):
        return None
    try:
        born = date(int(match[1]), int(match[3]), int(match[4]))
    except ValueError:
        return None
    return f"{born.year}{born.month:02}{born.day:02}" if born.year in _YEARS else None


def _id(text: str) -> str | None:
    return None if text.lower() in _NO_IDS else text


def _id_lower(text: str) -> str | None:
    return _id(text.lower())


def _device(text: str) -> str | None:
    # A device whose owner refused has an id of zeros.
    return _id(text) if text.strip("0-") else None


def _device_lower(text: str) -> str | None:
    return _device(text.lower())


# Field → vendor → rule; under the empty name the rule of all others.
PERSON_FIELDS: Mapping[str, Mapping[str, PersonRule]] = {
    "name": {
        "": str.lower, "meta": _words, "snap": _words, "google": _without_space,
        "tiktok": _without_space, "linkedin": _trim,
    },
    "city": {
        "": _trim, "meta": _letters, "snap": _alphanumeric, "pinterest": _alphanumeric,
        "tiktok": _alphanumeric,
    },
    "state": {
        "": _trim, "meta": _state, "snap": _state, "pinterest": _state, "tiktok": _alphanumeric,
    },
    "zip": {
        "": _trim, "meta": _zip, "snap": _zip, "pinterest": _zip_digits,
        "tiktok": _zip_without_space,
    },
    "country": {"": _country, "google": _country_capitals, "linkedin": _country_capitals},
    "gender": {"": _gender, "pinterest": _gender_of_three},
    "birthDate": {"": _birth_date},
    "externalId": {"": _id, "tiktok": _id_lower},
    "advertisingId": {
        "": _device_lower, "google": _device, "appsflyer": _device, "microsoft": _device,
        "linkedin": _device,
    },
}  # fmt: skip
