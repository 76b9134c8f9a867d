"""The functions that code in a playbook may call: in Lua, Python and JavaScript the same ones.

They take and give plain JSON values (and `MAP` a function). nil, None or null goes in and comes out
of all of them; what does not fit gives null; nothing raises. What the kits call them, they are
called here. The examples are the reference page and the test in one.
"""

from __future__ import annotations

import base64
from collections.abc import Callable, Mapping
from typing import Any
from urllib.parse import parse_qsl, quote, quote_plus

from msgspec import Struct

from trunkline.playbook.countries import country_table, iso_country
from trunkline.playbook.hashing import md5_hex, sha256_hex
from trunkline.playbook.lists import (
    flatten,
    join,
    pluck,
    slice_items,
    split,
    substring,
    total,
    total_value,
    transform_items,
)
from trunkline.playbook.phones import load_phone_tables
from trunkline.playbook.scalars import (
    TEXT_MAX,
    bool_of,
    fields_of,
    float_of,
    json_text,
    rounded_int,
    text_of,
    truncated_float,
    truncated_int,
)
from trunkline.playbook.times import date_time, epoch_milliseconds, epoch_seconds

QUERY_FIELDS_MAX = 1000


class HelperExample(Struct, frozen=True):
    """What a function makes of some arguments. `shown` is what a page says for a function in it."""

    arguments: tuple[Any, ...]
    output: Any
    shown: str = ""


class Helper(Struct, frozen=True):
    """A function that code may call by name."""

    name: str
    signature: str
    description: str
    call: Callable[..., Any]
    examples: tuple[HelperExample, ...]


def load_tables() -> None:
    """Read now what functions and transforms would read from files later: a jail has no files."""
    country_table()
    load_phone_tables()


def _lower(value: Any = None) -> str | None:
    text = text_of(value)
    return None if text is None else text.lower()


def _upper(value: Any = None) -> str | None:
    text = text_of(value)
    return None if text is None else text.upper()


def _trim(value: Any = None) -> str | None:
    text = text_of(value)
    return None if text is None else text.strip()


def _replace(value: Any = None, old: Any = None, new: Any = None) -> str | None:
    text, wanted = text_of(value), text_of(old)
    if text is None or not wanted:
        return text
    by = text_of(new) or ""
    # Counted first: a megabyte for each of 64 K letters would be made before it could be cut.
    count = TEXT_MAX // max(len(by), 1)
    return text.replace(wanted, by, count)[:TEXT_MAX]


def _split(value: Any = None, separator: Any = None, count: Any = None) -> list[str] | None:
    return split(value, separator, count)


def _join(value: Any = None, separator: Any = None) -> str | None:
    return join(value, separator)


def _substring(value: Any = None, start: Any = None, end: Any = None) -> str | None:
    return substring(value, start, end)


def _map(value: Any = None, function: Callable[[Any], Any] | None = None) -> list[Any] | None:
    return transform_items(value, function) if callable(function) else None


def _pluck(value: Any = None, key: Any = None) -> list[Any] | None:
    return pluck(value, key)


def _slice(value: Any = None, first: Any = None, last: Any = None) -> list[Any] | None:
    return slice_items(value, first, last)


def _flatten(
    value: Any = None,
    prefix: Any = None,
    separator: Any = "_",
    depth: Any = None,
    options: Any = None,
) -> dict[str, Any] | None:
    start = truncated_int((fields_of(options) or {}).get("array_start_index"))
    return flatten(value, prefix, "_" if separator is None else separator, depth, start or 0)


def _truncated_float(value: Any = None, decimals: Any = None) -> float | None:
    return truncated_float(value, decimals)


def _date_time(value: Any = None, options: Any = None) -> str | None:
    return date_time(value, options)


def _decode_url_query(value: Any = None) -> dict[str, str] | None:
    text = text_of(value)
    if text is None:
        return None
    bare = text.partition("#")[0]
    _, mark, query = bare.partition("?")
    query = query if mark else bare if "=" in bare and "://" not in bare else ""
    # One field more than are taken: the last holds all the rest.
    pieces = "&".join(query.split("&", QUERY_FIELDS_MAX)[:QUERY_FIELDS_MAX])
    fields: dict[str, str] = {}
    for name, found in parse_qsl(pieces, keep_blank_values=True, errors="replace"):
        fields.setdefault(name, found)
    return fields


def _quoted(value: Any, quoting: Callable[[str], str]) -> str | None:
    text = text_of(value)
    return None if text is None else quoting(text.encode("utf-8", "replace").decode())[:TEXT_MAX]


def _query_escape(value: Any = None) -> str | None:
    return _quoted(value, lambda text: quote_plus(text, safe=""))


def _path_escape(value: Any = None) -> str | None:
    return _quoted(value, lambda text: quote(text, safe="$&+=:@"))


def _escape(value: Any = None) -> str | None:
    return _quoted(value, lambda text: quote(text, safe=""))


def _base64(value: Any = None) -> str | None:
    text = text_of(value)
    return None if text is None else base64.b64encode(text.encode("utf-8", "replace")).decode()


def _one(function: Callable[[Any], Any]) -> Callable[..., Any]:
    """Return a function of one value that may be called with none and ignores what is too many."""

    def call(value: Any = None, *_: Any) -> Any:
        return function(value)

    return call


def _helper(
    name: str, signature: str, description: str, call: Callable[..., Any], *examples: HelperExample
) -> Helper:
    return Helper(name, f"{name}({signature})", description, call, examples)


def _example(*arguments: Any, gives: Any, shown: str = "") -> HelperExample:
    return HelperExample(arguments, gives, shown)


def _double(item: Any) -> Any:
    return item * 2


_PRODUCTS = [
    {"id": 7, "price": 3, "quantity": 2},
    {"id": 8, "price": 18.99},
]
_TIME = "2026-11-20T10:15:30.250Z"
_NESTED = {"id": 1, "user": {"name": "Jo", "tags": ["a", "b"]}}

_TEXTS = (
    _helper(
        "LOWER", "text", "The text in lower case.", _one(_lower), _example("USD", gives="usd")
    ),
    _helper(
        "UPPER", "text", "The text in upper case.", _one(_upper), _example("usd", gives="USD")
    ),
    _helper(
        "TRIM",
        "text",
        "The text without white space at both ends.",
        _one(_trim),
        _example("  a b ", gives="a b"),
    ),
    _helper(
        "REPLACE",
        "text, old, new",
        "The text with every `old`, taken as it stands, replaced.",
        _replace,
        _example("a.b.c", ".", "-", gives="a-b-c"),
    ),
    _helper(
        "SPLIT",
        "text, separator, count",
        "The list of parts. With a count at most that many (two where it is 1); the last holds "
        "the rest.",
        _split,
        _example("a.b.c", ".", gives=["a", "b", "c"]),
        _example("a.b.c", ".", 2, gives=["a", "b.c"]),
        _example("https://a.example/?q=1", "?", 1, gives=["https://a.example/", "q=1"]),
    ),
    _helper(
        "JOIN",
        "list, separator",
        "One text of all items; nulls are left out.",
        _join,
        _example(["a", 1, "b"], ", ", gives="a, 1, b"),
    ),
    _helper(
        "SUBSTRING",
        "text, start, end",
        "The characters from `start`, counted from 0, up to and without `end`.",
        _substring,
        _example("en-US", 0, 2, gives="en"),
        _example("en-US", 3, gives="US"),
    ),
    _helper(
        "QUERY_ESCAPE",
        "text",
        "The text as a value in the query of a URL; a space becomes `+`.",
        _one(_query_escape),
        _example("a b&c", gives="a+b%26c"),
    ),
    _helper(
        "PATH_ESCAPE",
        "text",
        "The text as a part of the path of a URL; `$&+=:@` stay.",
        _one(_path_escape),
        _example("a b/c+d", gives="a%20b%2Fc+d"),
    ),
    _helper(
        "ESCAPE",
        "text",
        "The text with all but letters, digits and `-_.~` escaped.",
        _one(_escape),
        _example("a b/c+d", gives="a%20b%2Fc%2Bd"),
    ),
    _helper(
        "DECODE_URL_QUERY",
        "url",
        "The fields of the query of a URL; of a field that stands twice the first.",
        _one(_decode_url_query),
        _example("https://a.example/?x=1&y=a+b#top", gives={"x": "1", "y": "a b"}),
    ),
    _helper(
        "BASE64_ENCODE", "text", "Base64 of the text.", _one(_base64),
        _example("user:key", gives="dXNlcjprZXk="),
    ),
    _helper(
        "TO_SHA256_HASH",
        "text",
        "SHA-256 in hex. What is one already stays; an empty text has none.",
        _one(sha256_hex),
        _example(
            "u-42", gives="16ec525b74b75626eb93ecad8acc749885fcf4e83c95b139342769a4ab1828a3"
        ),
        _example("", gives=None),
    ),
    _helper(
        "TO_MD5_HASH",
        "text",
        "MD5 in hex; an empty text has none.",
        _one(md5_hex),
        _example("u-42", gives="7158d61cfc49fe506398fbbb569b418d"),
    ),
    _helper(
        "TO_ISO_COUNTRY",
        "name",
        "The two letters of a country, of any of its names or codes.",
        _one(iso_country),
        _example("United States", gives="US"),
        _example("irn", gives="IR"),
        _example("Atlantis", gives=None),
    ),
)  # fmt: skip
_NUMBERS = (
    _helper(
        "TO_STRING",
        "value",
        "The text of a value; of an object or list its JSON, keys sorted.",
        _one(json_text),
        _example(25.0, gives="25"),
        _example({"b": 1, "a": [True]}, gives='{"a":[true],"b":1}'),
    ),
    _helper(
        "TO_FLOAT", "value", "The number of a text.", _one(float_of), _example("25.50", gives=25.5)
    ),
    _helper(
        "TO_BOOL",
        "value",
        "True or false of a word or number: `true t yes y on 1`, `false f no n off 0` and empty.",
        _one(bool_of),
        _example("yes", gives=True),
        _example(0, gives=False),
        _example("maybe", gives=None),
    ),
    _helper(
        "TO_TRUNCATED_INT",
        "value",
        "The whole part of a number; 2498.9999999999995, which is 24.99 × 100, counts as 2499.",
        _one(truncated_int),
        _example("18.99", gives=18),
        _example(24.99 * 100, gives=2499),
    ),
    _helper(
        "TO_ROUNDED_INT",
        "value",
        "The nearest whole number; a half goes away from zero.",
        _one(rounded_int),
        _example(18.5, gives=19),
        _example(-18.5, gives=-19),
    ),
    _helper(
        "TO_TRUNCATED_FLOAT",
        "value, decimals",
        "The number with the decimals behind these cut off; 2 where none are given.",
        _truncated_float,
        _example("3.14159", 3, gives=3.141),
        _example(25.999, gives=25.99),
    ),
    _helper(
        "TO_DATE_TIME",
        "time, options",
        "A time in another form: `inputFormat` and `outputFormat` are layouts, "
        "`outputLocation.offset` seconds east of UTC.",
        _date_time,
        _example(_TIME, {"outputFormat": "20060102_1504"}, gives="20261120_1015"),
        _example(
            _TIME,
            {"outputFormat": "2006-01-02 15:04:05-07:00", "outputLocation": {"offset": -18000}},
            gives="2026-11-20 05:15:30-05:00",
        ),
        _example(_TIME, gives="2026-11-20T10:15:30.25Z"),
    ),
    _helper(
        "SECONDS_SINCE_EPOCH_FROM_RFC3999",
        "time",
        "Unix seconds of a time; what is finer is cut off.",
        _one(epoch_seconds),
        _example(_TIME, gives=1795169730),
    ),
    _helper(
        "MILLISECONDS_SINCE_EPOCH_FROM_RFC3999",
        "time",
        "Unix milliseconds of a time; what is finer is cut off.",
        _one(epoch_milliseconds),
        _example(_TIME, gives=1795169730250),
    ),
)
_LISTS = (
    _helper(
        "MAP",
        "list, function",
        "What the function makes of each item; nulls are left out.",
        _map,
        HelperExample(
            ([1, 2, 3], _double), [2, 4, 6], "[1, 2, 3], the double of an item"
        ),
    ),
    _helper(
        "SUM",
        "list",
        "The sum of the numbers of a list.",
        _one(total),
        _example([1, "2.5", "many"], gives=3.5),
        _example([], gives=0),
    ),
    _helper(
        "PLUCK",
        "list, key",
        "What each object of a list holds under the key; nulls are left out.",
        _pluck,
        _example(_PRODUCTS, "id", gives=[7, 8]),
    ),
    _helper(
        "TABLE_SLICE",
        "list, first, last",
        "The items from the first to the last place, counted from 1, both included.",
        _slice,
        _example([1, 2, 3], 1, 2, gives=[1, 2]),
    ),
    _helper(
        "TOTAL_VALUE",
        "products",
        "Price × quantity of a product, or its sum over a list; no quantity counts as 1.",
        _one(total_value),
        _example(_PRODUCTS, gives=24.99),
        _example({"price": "5.5", "quantity": 2}, gives=11.0),
    ),
    _helper(
        "FLATTEN",
        "object, prefix, separator, depth, options",
        "The object in one level, its keys joined; at most `depth` of them (0: no end). "
        "`options.array_start_index` numbers the items of lists.",
        _flatten,
        _example(
            _NESTED, "", "_", 0, {"array_start_index": 1},
            gives={"id": 1, "user_name": "Jo", "user_tags_1": "a", "user_tags_2": "b"},
        ),
        _example(
            _NESTED, "x", ".", 2,
            gives={"x.id": 1, "x.user.name": "Jo", "x.user.tags": ["a", "b"]},
        ),
    ),
)  # fmt: skip

FUNCTIONS: Mapping[str, Helper] = {helper.name: helper for helper in (*_TEXTS, *_NUMBERS, *_LISTS)}
