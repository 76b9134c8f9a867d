"""What is left of an event without its person: no personal fields, no click ids. Pure and total.

What an event says of its person, device and session has known places, so there only what is named
here stays. `properties` are whatever a sender put there: they stay, but for names that mean a
person or a click, texts that hold an e-mail address, and what stands behind the `?` of an address.
Doing it twice changes nothing more.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from functools import lru_cache
from typing import Any, cast

from trunkline.model.event import JsonObject

WITHHELD = "withheld"  # stands for an event's name that names a person
DEPTH_MAX = 40  # of properties; what lies deeper goes
_NAME_MAX = 100  # characters of a name that is looked at; a longer one goes

_KEPT = (
    "messageId", "type", "event", "name", "category", "timestamp", "originalTimestamp", "sentAt",
    "receivedAt", "app", "source", "historical",
)  # fmt: skip
_TITLES = ("event", "name", "category")
_KEPT_WHOLE = ("consent", "consentManagement")  # of the context: what vendors are told of it
_KEPT_IN_CONTEXT: Mapping[str, frozenset[str]] = {
    key: frozenset(names.split())
    for key, names in {
        "app": "name version build namespace",
        "library": "name version",
        "os": "name version",
        "device": "type manufacturer brand model adTrackingEnabled attStatus",
        "browser": "name version browserName browserVersion",
        "screen": "width height density innerWidth innerHeight",
        "network": "wifi cellular bluetooth",
        "location": "continent country countryCode country_code region state province",
        "campaign": "name source medium term content",
        "page": "path title url referrer",
    }.items()
}
_KEPT_SCALARS = ("locale", "timezone", "country", "countryCode", "country_code", "region")

# Names are compared without case, spaces and punctuation. A person wherever a word stands in them:
_WHO = (
    "user|anonymous|customer|client|visitor|member|membership|loyalty|account|profile|contact"
    "|person|subscriber|recipient|passenger|guest|buyer|payer|owner|session|device|distinct"
    "|external|advertising|advertiser|install|installation|instance"
)
_PERSON = re.compile(
    "email|phone|mobile|firstname|lastname|middlename|fullname|surname|familyname|givenname"
    "|nickname|birth|gender|passport|national(?:id|code|number)|socialsecurity|taxid|cookie"
    "|address|street|postal|postcode|zipcode|latitude|longitude|useragent|ipaddr|fingerprint"
    f"|(?:{_WHO})(?:uu|u)?(?:id|name|number|code|hash|key)"
    "|token|password|passwd|secret|clickid|clk?id\\Z|braid\\Z|hashed"
    "|ایمیل|موبایل|تلفن|همراه|کدملی|نشانی|آدرس|نامخانوادگی"
)
_NAMES = (
    "ip zip city dob age sex ssn lat lng lon ua uid uuid gps msisdn imei idfa idfv gaid aaid oaid "
    "adid gpsadid androidid em ph fn ln fbc fbp ttp lifatid rdtcid rdtuuid epik sccid sccookie "
    "sccookie1 hubspotutk adjustid appsflyerid brazeid onesignalid card cardnumber iban"
)
_HOLDERS = (
    "user customer person people contact profile member traits billing shipping buyer payer "
    "recipient passenger passengers travellers travelers attendees guests"
)
_PERSON_NAMES = frozenset(_NAMES.split())
_PERSON_OBJECTS = frozenset(_HOLDERS.split())  # as a number or a text they are something else
_PERSIAN = str.maketrans("يك", "یک")  # as Arabic keyboards write them
_EMAIL = re.compile(r"[^\s@/]{1,64}(?:@|%40)[^\s@]{1,255}\.[^\s@.]{2,}", re.IGNORECASE)
_PHONE = re.compile(r"\s*\+[0-9][0-9 ()-]{6,20}[0-9]\s*\Z")
_DIGEST = re.compile(r"[0-9a-fA-F]{64}\Z")
_PAIR = re.compile(r"(?:\A|[?#&;])[\w.\[\]-]{1,64}=")
_GONE: Any = object()


def withhold(event: JsonObject) -> JsonObject:
    """Return an event without what is personal; the same values where nothing is."""
    kept = {key: event[key] for key in _KEPT if key in event}
    for key, clean in _CLEANERS.items():
        value = clean(event[key]) if isinstance(event.get(key), dict) else None
        if value or value == event.get(key):
            kept[key] = value
    for key in _TITLES:
        if key in kept:
            text = _clean_text(kept[key])
            kept[key] = WITHHELD if text is _GONE else text
    # In the order of the event, so that what is untouched reads as it did.
    return {key: kept[key] for key in event if key in kept}


def _clean_context(context: JsonObject) -> JsonObject:
    return dict(_kept_in_context(context))


def _kept_in_context(context: JsonObject) -> Iterator[tuple[str, Any]]:
    for key, value in context.items():
        if key in _KEPT_WHOLE:
            yield key, value
        elif key in _KEPT_SCALARS and _is_scalar(value):
            text = _clean_text(value)
            if text is not _GONE:
                yield key, text
        names = _KEPT_IN_CONTEXT.get(key)
        if names is None or not isinstance(value, dict):
            continue
        inner = {
            name: text
            for name, one in cast("JsonObject", value).items()
            if name in names and _is_scalar(one) and (text := _clean_text(one)) is not _GONE
        }
        if inner:
            yield key, inner


def _clean_integrations(integrations: JsonObject) -> JsonObject:
    """Keep who may have the event, and switches as `limitedDataUse`; ids of vendors go."""
    kept: JsonObject = {}
    for name, value in integrations.items():
        if isinstance(value, dict):
            pairs = cast("JsonObject", value).items()
            kept[name] = {key: one for key, one in pairs if isinstance(one, bool)}
        elif isinstance(value, bool) or value in ("true", "false"):
            kept[name] = value
    return kept


def _clean_properties(properties: JsonObject) -> JsonObject:
    return cast("JsonObject", _clean(properties, 0))


def _clean(value: Any, depth: int) -> Any:
    if depth > DEPTH_MAX:
        return _GONE
    if isinstance(value, dict):
        pairs = [
            (name, _clean(one, depth + 1))
            for name, one in cast("JsonObject", value).items()
            if not _is_personal(name, one)
        ]
        return {name: one for name, one in pairs if one is not _GONE}
    if isinstance(value, list):
        items = [_clean(one, depth + 1) for one in cast("list[Any]", value)]
        return [one for one in items if one is not _GONE]
    return _clean_text(value)


def _clean_text(value: Any) -> Any:
    """Return a value; an address without what stands behind its path, and no text of a person."""
    if not isinstance(value, str) or not value:
        return value
    text = value
    pair = _PAIR.search(text) if "=" in text else None
    if pair is not None:
        text = text[: pair.start()]
    if "://" in text or text[:1] in ("/", "?", "#"):
        text = re.split("[?#]", text, maxsplit=1)[0]
    names_person = ("@" in text or "%40" in text) and _EMAIL.search(text)
    return _GONE if not text or names_person or _PHONE.match(text) or _DIGEST.match(text) else text


def _is_personal(name: str, value: Any) -> bool:
    if len(name) > _NAME_MAX:
        return True
    kind = _kind_of(name)
    if kind == "personal":
        return not isinstance(value, bool)  # as `email_opt_in: true`
    return kind == "holder" and isinstance(value, dict | list)


@lru_cache(maxsize=8192)
def _kind_of(name: str) -> str:
    plain = name.casefold().translate(_PERSIAN)
    folded = "".join(character for character in plain if character.isalnum())
    if folded in _PERSON_NAMES or _PERSON.search(folded):
        return "personal"
    return "holder" if folded in _PERSON_OBJECTS else ""


def _is_scalar(value: Any) -> bool:
    return value is None or isinstance(value, str | int | float | bool)


_CLEANERS = {
    "context": _clean_context,
    "integrations": _clean_integrations,
    "properties": _clean_properties,
}
