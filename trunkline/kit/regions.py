"""Where the person of an event is, as far as the event states it, held against a list of regions.

A region is a country (ISO 3166-1, two letters), a part of one (ISO 3166-2, `US-CA`) or a group of
countries (`GROUPS`). Only what states a place counts. A time zone, a language, an address on the
internet or a currency proves nothing and is not read.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from typing import Any, cast

from trunkline.model.event import JsonObject
from trunkline.playbook.countries import country_table, iso_country, part_table, parts_of

# The outermost regions and Åland have codes of their own, and the law of the union holds there.
_MEMBERS = "AT BE BG CY CZ DE DK EE ES FI FR GR HR HU IE IT LT LU LV MT NL PL PT RO SE SI SK"
_OUTERMOST = "AX GF GP MF MQ RE YT"
_EU = frozenset([*_MEMBERS.split(), *_OUTERMOST.split()])
_EEA = _EU | {"IS", "LI", "NO"}
GROUPS = {"EU": _EU, "EEA": _EEA}
EVERYWHERE = "ALL"
REGIONS_MAX = 500  # in one list
COUNTRY_FIELDS_MAX = 10

_PART = re.compile(r"([A-Za-z]{2})-([A-Za-z0-9]{1,3})\Z")
_HOLDERS = (
    ("context", "location"),
    ("context", "traits", "address"),
    ("context", "traits"),
    ("traits", "address"),
    ("traits",),
    ("context",),
)
_COUNTRY = ("country", "countryCode", "country_code")
_STATE = ("region", "state", "province")


def is_region(code: str) -> bool:
    """Say whether a text is the code of a region, in capital letters."""
    if code == EVERYWHERE or code in GROUPS:
        return True
    if _PART.match(code):
        return code in parts_of(code[:2])
    return len(code) == 2 and iso_country(code) == code


class Regions:
    """A list of regions, prepared. `country_fields` are paths that state a country, too.

    The codes were checked when they were saved. ISO 3166-2 changes: a part that is no more stands
    for all of its country, which is the careful side.
    """

    def __init__(self, codes: Sequence[str], country_fields: Sequence[str] = ()) -> None:
        self._countries = _countries(codes)
        parts = [code for code in codes if _PART.match(code) and code[:2] not in self._countries]
        self._parts = {
            country: _Parts(country, [code for code in parts if code.startswith(country)])
            for country in {code[:2] for code in parts}
        }
        self._fields = [tuple(path.split(".")) for path in country_fields]
        self._lies_in_eea = (self._countries | self._parts.keys()) <= _EEA

    def hold(self, event: JsonObject) -> bool | None:
        """Say whether an event comes from one of the regions; None where that is not known.

        It does where one of the places that it states is in one. It does not where it states a
        place, and none that could be.
        """
        found = set(self._answers(event))
        if True in found:
            return True
        return None if None in found or not found else False

    def _answers(self, event: JsonObject) -> Iterator[bool | None]:
        consent = _at(event, ("context", "consent"))
        yield from self._said_by_consent(cast("JsonObject", consent))
        for holder in _HOLDERS:
            place = _at(event, holder)
            if isinstance(place, dict):
                yield from self._stated(cast("JsonObject", place))
        for path in self._fields:
            country = _at(event, path)
            if country is not None:
                yield self._in(country, None)
        properties = _at(event, ("properties",))
        # It may be the country of a shop or of a journey: reason to be careful, but no proof.
        if isinstance(properties, dict) and True in self._stated(cast("JsonObject", properties)):
            yield True

    def _said_by_consent(self, consent: Any) -> Iterator[bool | None]:
        if not isinstance(consent, dict):
            return
        said = cast("JsonObject", consent)
        region = said.get("region")
        if isinstance(region, str) and region.strip():
            yield self._in(region, None)
        in_eea = [_flag(said.get(name)) for name in ("eea", "gdpr_applies")]
        if True in in_eea:
            yield self._in_group(_EEA)
        elif in_eea[0] is False and self._lies_in_eea:
            yield False

    def _stated(self, place: JsonObject) -> Iterator[bool | None]:
        country = next((place[key] for key in _COUNTRY if place.get(key)), None)
        if country is not None:
            yield self._in(country, next((place[key] for key in _STATE if place.get(key)), None))

    def _in(self, country: Any, part: Any) -> bool | None:
        text = country.strip() if isinstance(country, str) else ""
        group = GROUPS.get(text.upper())
        if group is not None:
            return self._in_group(group)
        split = _PART.match(text)
        if split is not None:
            text, part = split.groups()
        code = iso_country(text)
        if code is None:
            return None
        if code in self._countries:
            return True
        parts = self._parts.get(code)
        return False if parts is None else parts.hold(part)

    def _in_group(self, group: frozenset[str]) -> bool | None:
        """Judge a person of whom nothing but a group is known."""
        if group <= self._countries:
            return True
        return None if group & (self._countries | self._parts.keys()) else False


class _Parts:
    """Parts of one country, with what lies in them and around them."""

    def __init__(self, country: str, codes: Sequence[str]) -> None:
        above = parts_of(country)
        chains = {code: _upwards(code, above) for code in above}
        self._names = part_table(country)
        self._within = frozenset(c for c, chain in chains.items() if chain & frozenset(codes))
        self._around = frozenset().union(*[chains[code] for code in codes]) - self._within

    def hold(self, part: Any) -> bool | None:
        text = part.strip() if isinstance(part, str) else ""
        split = _PART.match(text)
        codes = self._names(split[2] if split is not None else text)
        if not codes or codes & self._around:
            return True if codes & self._within else None
        return bool(codes & self._within)


def _countries(codes: Sequence[str]) -> frozenset[str]:
    found = {code for code in codes if len(code) == 2 and code not in GROUPS}
    found |= {code[:2] for code in codes if _PART.match(code) and not is_region(code)}
    for code in codes:
        found |= GROUPS.get(code, frozenset())
    return frozenset(country_table().values()) if EVERYWHERE in codes else frozenset(found)


def _upwards(code: str, above: dict[str, str]) -> frozenset[str]:
    """Return a part with all that it lies in."""
    chain: set[str] = set()
    while code and code not in chain:
        chain.add(code)
        code = above.get(code, "")
    return frozenset(chain)


def _flag(value: Any) -> bool | None:
    text = str(value).casefold() if isinstance(value, bool | int | str) else ""
    return True if text in ("true", "1") else False if text in ("false", "0") else None


def _at(value: Any, path: Sequence[str]) -> Any:
    for name in path:
        value = cast("JsonObject", value).get(name) if isinstance(value, dict) else None
    return value
