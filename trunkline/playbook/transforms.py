"""The transforms of a mapping: what is done to one value on its way to the destination.

Each is a name, an argument that is checked once, and a function that is total: null stays null,
what does not fit becomes null, nothing raises. `expression`, the one that runs code, is not here.
The examples are the reference page and the test in one. Those for persons and for values in general
have files of their own; all are in `TRANSFORMS`.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Any, cast

from trunkline.playbook.arguments import choice, fields, flag, text, whole
from trunkline.playbook.emails import EMAIL_RULES, normalise_email
from trunkline.playbook.hashing import md5_hex, sha256_hex
from trunkline.playbook.layouts import LAYOUT_MAX
from trunkline.playbook.lists import join, pluck, substring
from trunkline.playbook.money import currency_code, minor_units
from trunkline.playbook.phones import e164, phone_countries
from trunkline.playbook.scalars import (
    fields_of,
    float_of,
    json_text,
    text_of,
    truncated_int,
)
from trunkline.playbook.times import epoch_milliseconds, epoch_seconds, rewrite_time
from trunkline.playbook.transform import Function, Transform, TransformExample, example
from trunkline.playbook.transforms_collect import collect_transform
from trunkline.playbook.transforms_items import MAP_ITEMS
from trunkline.playbook.transforms_keys import KEY_TRANSFORMS
from trunkline.playbook.transforms_kinds import KIND_TRANSFORMS
from trunkline.playbook.transforms_people import PEOPLE_TRANSFORMS
from trunkline.playbook.transforms_values import VALUE_TRANSFORMS

__all__ = ["TRANSFORMS", "Transform", "TransformExample"]


def _lowercase(value: Any) -> str | None:
    found = text_of(value)
    return None if found is None else found.lower()


def _uppercase(value: Any) -> str | None:
    found = text_of(value)
    return None if found is None else found.upper()


def _trim(value: Any) -> str | None:
    found = text_of(value)
    return None if found is None else found.strip()


_CASES: dict[str, Function] = {"lowercase": _lowercase, "uppercase": _uppercase, "trim": _trim}
_SCALARS: dict[str, Function] = {
    "string": json_text,
    "float": float_of,
    "truncated_int": truncated_int,
}
_HASHES: dict[str, Function] = {"sha256": sha256_hex, "md5": md5_hex}
_CLOCKS: dict[str, Function] = {"inSeconds": epoch_seconds, "inMillis": epoch_milliseconds}


def _by_name(functions: Mapping[str, Function], argument: Any) -> Function:
    return functions[choice(argument, tuple(functions))]


def _prepare_substring(argument: Any) -> Function:
    given = fields(argument, ("start", "end"))
    start, end = whole(given, "start", 0), whole(given, "end", None)
    return lambda value: substring(value, start, end)


def _prepare_date_time(argument: Any) -> Function:
    given = fields(argument, ("inputFormat", "outputFormat"))
    layouts = [text(given, key, "", LAYOUT_MAX) for key in ("inputFormat", "outputFormat")]
    return lambda value: rewrite_time(value, *layouts)


def _prepare_pluck(argument: Any) -> Function:
    key = text(fields(argument, ("extractKey",), ("extractKey",)), "extractKey")
    return lambda value: pluck(value, key)


def _prepare_join(argument: Any) -> Function:
    separator = text(fields(argument, ("separator",), ("separator",)), "separator")
    return lambda value: None if value is None else join(value, separator)


def _prepare_minor_units(argument: Any) -> Function:
    given = fields(argument, ("currency", "amountKey", "currencyKey"))
    currency = text(given, "currency", "")
    amount_key = text(given, "amountKey", "revenue")
    currency_key = text(given, "currencyKey", "currency")
    if currency and not currency_code(currency):
        raise ValueError(f"currency: {currency[:20]!r} is no code of ISO 4217; write it as `EUR`")

    def run(value: Any) -> int | None:
        object_ = fields_of(value)
        if object_ is None:
            return minor_units(value, currency)
        return minor_units(object_.get(amount_key), object_.get(currency_key) or currency)

    return run


def _prepare_e164(argument: Any) -> Function:
    given = fields(argument, ("country", "withoutPlus"))
    country = text(given, "country", "").upper()
    if country and country not in phone_countries():
        raise ValueError(f"country: {country[:20]!r} is no code of ISO 3166; write it as `IR`")
    if not flag(given, "withoutPlus"):
        return lambda value: e164(value, country)
    return lambda value: (e164(value, country) or "").removeprefix("+") or None


def _prepare_email(argument: Any) -> Function:
    return partial(normalise_email, rule=choice(argument, tuple(EMAIL_RULES)))


def _prepare_enum(argument: Any) -> Function:
    given = fields(argument, ("values", "else", "ignoreCase"), ("values",))
    values = given["values"]
    if not isinstance(values, dict) or not values:
        raise ValueError("values: expected an object, from what comes in to what goes out")
    table, otherwise = cast("dict[str, Any]", values), given.get("else")
    for key, made in (*table.items(), ("else", otherwise)):
        # An object would be the same one in every output, and a later mapping could write to it.
        if isinstance(made, dict | list):
            raise ValueError(
                f"{key[:60]}: is an object or a list; expected text, number or boolean"
            )
    if not flag(given, "ignoreCase"):
        return lambda value: None if value is None else table.get(text_of(value) or "", otherwise)
    folded = {key.casefold(): made for key, made in table.items()}
    return lambda value: (
        None if value is None else folded.get((text_of(value) or "").casefold(), otherwise)
    )


_PRODUCTS = [{"id": 7, "name": "Uno", "price": 3}, {"id": 8, "price": 18.99}]
_EMAIL = "  Jane.Doe+Shop@Gmail.com "
_TIME = "2026-11-20T10:15:30.250Z"


_ALL = (
    Transform(
        "modifyString",
        "Change the letters of a text.",
        "`lowercase`, `uppercase` or `trim` (white space at both ends)",
        partial(_by_name, _CASES),
        (
            example("uppercase", "usd", "USD"),
            example("lowercase", "Élodie", "élodie"),
            example("trim", "  a b ", "a b"),
        ),
    ),
    Transform(
        "toScalar",
        "Turn a value into a text, a number, or a whole number (decimals are cut off).",
        "`string` (an object becomes its JSON), `float` or `truncated_int`",
        partial(_by_name, _SCALARS),
        (
            example("string", 25.0, "25"),
            example("string", {"b": 1, "a": [True]}, '{"a":[true],"b":1}'),
            example("float", "25.50", 25.5),
            example("truncated_int", "18.99", 18),
            example("truncated_int", "many", None),
        ),
    ),
    Transform(
        "substring",
        "Keep some characters of a text.",
        "`{start, end}`: counted from 0, `end` not included; without `end`: to the end",
        _prepare_substring,
        (
            example({"start": 0, "end": 2}, "en-US", "en"),
            example({"start": 3}, "en-US", "US"),
        ),
    ),
    Transform(
        "toHash",
        "Hash a text, in lower-case hex. What is a SHA-256 already stays; an empty text has none.",
        "`sha256` or `md5`",
        partial(_by_name, _HASHES),
        (
            example("md5", "u-42", "7158d61cfc49fe506398fbbb569b418d"),
            example("sha256", "", None),
        ),
    ),
    Transform(
        "toTimestamp",
        "Turn a time into a number. What is finer than the unit is cut off.",
        "`inSeconds` or `inMillis`",
        partial(_by_name, _CLOCKS),
        (
            example("inSeconds", _TIME, 1795169730),
            example("inMillis", _TIME, 1795169730250),
            example("inMillis", "yesterday", None),
        ),
    ),
    Transform(
        "toDateTime",
        "Write a time in another way.",
        "`{inputFormat, outputFormat}`: layouts that spell 2 January 2006, 15:04:05, zone -07:00; "
        "without one: RFC 3339",
        _prepare_date_time,
        (
            example({"outputFormat": "2006-01-02 15:04:05.000"}, _TIME, "2026-11-20 10:15:30.250"),
            example(
                {"inputFormat": "02/01/2006", "outputFormat": "Jan 2, 2006"},
                "20/11/2026",
                "Nov 20, 2026",
            ),
            example({"inputFormat": "2006-01-02"}, "20/11/2026", None),
        ),
    ),
    Transform(
        "pluckValues",
        "Of a list of objects, keep one value of each.",
        "`{extractKey}`",
        _prepare_pluck,
        (example({"extractKey": "id"}, _PRODUCTS, [7, 8]),),
    ),
    Transform(
        "joinValues",
        "Put the values of a list into one text.",
        "`{separator}`",
        _prepare_join,
        (example({"separator": ", "}, ["a", 1, None, "b"], "a, 1, b"),),
    ),
    Transform(
        "toMinorUnits",
        "Turn an amount into the smallest unit of its currency, by ISO 4217.",
        "`{currency}` for a number; for an object `{amountKey, currencyKey}`, by default `revenue` "
        "and `currency`, with `{currency}` where the object names none",
        _prepare_minor_units,
        (
            example({"currency": "USD"}, 25.5, 2550),
            example({}, {"revenue": "1200", "currency": "JPY"}, 1200),
            example({}, {"revenue": 12, "currency": "shells"}, None),
        ),
    ),
    Transform(
        "toE164",
        "Write a phone number as `+`, country code and number. A SHA-256 stays.",
        "`{country, withoutPlus}`: the country of numbers without a code; digits alone",
        _prepare_e164,
        (
            example({}, "+98 (912) 000-1234", "+989120001234"),
            example({"country": "IR"}, "0912 000 1234", "+989120001234"),
            example({"country": "IR", "withoutPlus": True}, "۰۹۱۲۰۰۰۱۲۳۴", "989120001234"),
            example({}, "0912 000 1234", None),
        ),
    ),
    Transform(
        "normaliseEmail",
        "Write an e-mail address as a vendor wants it before it is hashed. A SHA-256 stays.",
        "`trim_lower` (most), `google` (without the dots of its own domains) or `reddit` (without "
        "dots and `+tag`)",
        _prepare_email,
        (
            example("trim_lower", _EMAIL, "jane.doe+shop@gmail.com"),
            example("google", _EMAIL, "janedoe+shop@gmail.com"),
            example("reddit", _EMAIL, "janedoe@gmail.com"),
            example("google", "nobody", None),
        ),
    ),
    Transform(
        "mapEnum",
        "Replace a value by another one.",
        "`{values, else, ignoreCase}`: from what comes in to what goes out; `else` for the rest, "
        "which otherwise is left out",
        _prepare_enum,
        (
            example({"values": {"ios": 2, "android": 1}, "ignoreCase": True}, "iOS", 2),
            example({"values": {"web": "site"}, "else": "app"}, "tv", "app"),
        ),
    ),
    MAP_ITEMS,
)

_MORE = (*PEOPLE_TRANSFORMS, *VALUE_TRANSFORMS, *KEY_TRANSFORMS, *KIND_TRANSFORMS)
_PLAIN = {one.name: one for one in (*_ALL, *_MORE)}
_COLLECT = collect_transform(_PLAIN)

TRANSFORMS: Mapping[str, Transform] = {**_PLAIN, _COLLECT.name: _COLLECT}
