"""Countries by any of their names: `United States`, `USA` and `us` are `US`; and their parts."""

from __future__ import annotations

import unicodedata
from collections.abc import Callable, Iterable
from functools import lru_cache
from typing import Any, NamedTuple, cast

_NAME_MAX = 100  # characters
# What people write and ISO 3166 does not list.
_ALIASES = {
    "UK": "GB", "Great Britain": "GB", "Britain": "GB", "England": "GB", "Scotland": "GB",
    "Wales": "GB", "Northern Ireland": "GB", "U.S.": "US", "U.S.A.": "US", "America": "US",
    "United States of America": "US", "Turkey": "TR", "Ivory Coast": "CI", "Cape Verde": "CV",
    "Swaziland": "SZ", "Macedonia": "MK", "Burma": "MM", "Holland": "NL", "Czech Republic": "CZ",
    "Vatican": "VA", "Vatican City": "VA", "Palestine": "PS", "Syria": "SY", "Laos": "LA",
    "Brunei": "BN", "Russia": "RU", "South Korea": "KR", "North Korea": "KP", "Korea": "KR",
    "Iran": "IR", "Vietnam": "VN", "Viet Nam": "VN", "Tanzania": "TZ", "Bolivia": "BO",
    "Venezuela": "VE", "Moldova": "MD", "Taiwan": "TW", "Kosovo": "XK", "XK": "XK", "Macau": "MO",
    "Congo": "CG", "DR Congo": "CD", "Democratic Republic of the Congo": "CD", "UAE": "AE",
    "Emirates": "AE", "Micronesia": "FM", "East Timor": "TL", "The Gambia": "GM",
    "The Bahamas": "BS", "Falkland Islands": "FK", "British Virgin Islands": "VG",
    "US Virgin Islands": "VI", "Saint Martin": "MF", "Sint Maarten": "SX", "Reunion": "RE",
    "ایران": "IR", "مصر": "EG", "Deutschland": "DE", "España": "ES", "Österreich": "AT",
    "Schweiz": "CH", "Suisse": "CH", "Brasil": "BR", "Italia": "IT", "México": "MX",
}  # fmt: skip


def iso_country(value: Any) -> str | None:
    """Return the two capital letters of ISO 3166 for a code or a name; None for neither."""
    if not isinstance(value, str) or len(value) > _NAME_MAX:
        return None
    return country_table().get(_fold(value))


@lru_cache(maxsize=1)
def country_table() -> dict[str, str]:
    """Return every known name and code, folded, with its two letters. Reads a file once."""
    # Imported late: most nodes never ask for a country.
    import pycountry

    table: dict[str, str] = {}
    for country in pycountry.countries:
        code: str = country.alpha_2
        names = (code, country.alpha_3, country.name)
        extra = (getattr(country, "official_name", ""), getattr(country, "common_name", ""))
        # "Iran, Islamic Republic of" is known by what stands before the comma, too.
        for name in (*names, *extra, country.name.partition(",")[0]):
            table.setdefault(_fold(name), code)
    table.pop("", None)
    return {**table, **{_fold(name): code for name, code in _ALIASES.items()}}


class _Part(NamedTuple):
    """A part of a country, by ISO 3166-2. `above` is the part that it lies in, or ""."""

    code: str
    name: str
    above: str


@lru_cache(maxsize=64)
def _parts(country: str) -> tuple[_Part, ...]:
    import pycountry

    found = cast("Iterable[Any]", pycountry.subdivisions.get(country_code=country) or ())
    return tuple(_Part(part.code, part.name, part.parent_code or "") for part in found)


@lru_cache(maxsize=64)
def parts_of(country: str) -> dict[str, str]:
    """Return the parts of a country (two letters) by their code of ISO 3166-2, as `US-CA`.

    The value is the part that each lies in, "" for those that lie in no other.
    """
    return {part.code: part.above for part in _parts(country)}


@lru_cache(maxsize=64)
def part_table(country: str) -> Callable[[str], frozenset[str]]:
    """Return what finds the parts of a country that a name or the end of a code may mean."""
    table: dict[str, set[str]] = {}
    for part in _parts(country):
        # "Pontevedra [Pontevedra]" is one name in two languages.
        for name in (part.code[3:], *part.name.replace("]", "").split("[")):
            table.setdefault(_fold(name), set()).add(part.code)
    table.pop("", None)

    def find(name: str) -> frozenset[str]:
        return frozenset(table.get(_fold(name), ())) if len(name) <= _NAME_MAX else frozenset()

    return find


def _fold(name: str) -> str:
    """Return a name without case, accents, spaces and punctuation."""
    plain = unicodedata.normalize("NFKD", name).casefold()
    return "".join(character for character in plain if character.isalnum())
