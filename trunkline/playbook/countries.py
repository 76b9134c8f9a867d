"""Countries by any of their names: `United States`, `USA` and `us` are `US`."""

from __future__ import annotations

import unicodedata
from functools import lru_cache
from typing import Any

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
    "Venezuela": "VE", "Moldova": "MD", "Taiwan": "TW", "Kosovo": "XK", "Macau": "MO",
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


def _fold(name: str) -> str:
    """Return a name without case, accents, spaces and punctuation."""
    plain = unicodedata.normalize("NFKD", name).casefold()
    return "".join(character for character in plain if character.isalnum())
