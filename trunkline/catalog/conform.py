"""Holding a tree of plain values against a struct, and saying everything that is wrong at once.

msgspec's own `convert` stops at the first problem and calls a field by its position only. This
walker goes on, names the nearest thing that has a name, suggests what an unknown key may have
meant, and turns secrets into `SecretText` on its way, also when they are `{env: …}` or `{file: …}`.
It is used for the workspace's structs and, with the same words, for the settings of every kind of
destination.

Every message reads: place, what came, what was expected, what to do.
"""

from __future__ import annotations

import difflib
import json
import re
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any, cast

import msgspec.inspect as mi
from msgspec import Struct

from trunkline.catalog.formats import FORMATS, parse_instant
from trunkline.catalog.workspace import Instant, SecretText
from trunkline.kit.yaml_text import resolve_scalar

SECRET_FILE_BYTES_MAX = 65_536
SHOWN_MAX = 60
UNFIT = "a text that does not fit"  # never the secret itself
STANDS_OPEN = "stands in the file for all who read it; {env: NAME} keeps it out"

Notes = dict[str, Any]


class Invalid:
    """What stands for a value that was wrong; it was reported."""


INVALID = Invalid()


class Place(Struct, frozen=True):
    """Where in the file: the nearest thing with a name, and the path from there."""

    absolute: str = ""
    anchor: str = "workspace"
    path: str = ""

    def key(self, name: str) -> Place:
        """Return the place of a key of a mapping."""
        return Place(_join(self.absolute, name), self.anchor, _join(self.path, name))

    def item(self, index: int, value: Any) -> Place:
        """Return the place of an item of a list; one with a name becomes the anchor."""
        absolute = f"{self.absolute}[{index}]"
        label = _label(value)
        if label is None:
            return Place(absolute, self.anchor, f"{self.path}[{index}]")
        return Place(absolute, f"{absolute} `{label}`", "")

    def says(self, sentence: str) -> str:
        """Return a message about this place."""
        return (
            f"{self.anchor}: {self.path} {sentence}" if self.path else f"{self.anchor}: {sentence}"
        )


class Context(Struct):
    """What the walker is given beside the tree, and what it found."""

    environ: Mapping[str, str]
    base: Path
    problems: list[str] = []
    warnings: list[str] = []

    def wrong(self, place: Place, came: str, expected: str, advice: str) -> Invalid:
        """Report a value that is wrong."""
        self.problems.append(place.says(f"is {came}; expected {expected}; {advice}"))
        return INVALID

    def trial(self) -> Context:
        """Return a context whose findings count for nothing."""
        return Context(self.environ, self.base, [], [])


def conform(value: Any, info: mi.Type, place: Place, context: Context, notes: Notes = {}) -> Any:  # noqa: B006 never changed
    """Return the value with secrets and times decoded, or `INVALID` after reporting why."""
    handler = _HANDLERS.get(type(info))
    return value if handler is None else handler(value, info, place, context, notes)


def suggest(word: str, words: Iterable[str], otherwise: str = "write one of them") -> str:
    """Return what to do about an unknown word: the nearest known one, or something else."""
    near = difflib.get_close_matches(word.casefold(), list(words), n=1, cutoff=0.6)
    return f"did you mean `{near[0]}`?" if near else otherwise


def show(value: Any) -> str:
    """Return a value as a message shows it: short, and in one line."""
    if isinstance(value, dict):
        return "a mapping"
    if isinstance(value, list):
        return "a list"
    text = json.dumps(value, ensure_ascii=False)
    return text if len(text) <= SHOWN_MAX else text[: SHOWN_MAX - 1] + "…"


def describe(info: mi.Type) -> str:
    """Return what a type takes, in words."""
    if isinstance(info, mi.Metadata):
        notes = cast(Notes, info.extra_json_schema or {})
        form = FORMATS.get(notes.get("x-format", ""))
        return describe(info.type) if form is None else form.expected
    if isinstance(info, mi.LiteralType):
        return "one of " + ", ".join(str(word) for word in info.values if word != "")
    if isinstance(info, mi.IntType | mi.FloatType):
        return _describe_number(info)
    if isinstance(info, mi.UnionType):
        return " or ".join(describe(part) for part in info.types)
    if isinstance(info, mi.StructType):
        return "a mapping with " + ", ".join(field.encode_name for field in info.fields)
    if isinstance(info, mi.CustomType):
        return _CUSTOM.get(info.cls, ("a value", None))[0]
    return _WORDS.get(type(info), "a value")


_WORDS: dict[type, str] = {
    mi.StrType: "text",
    mi.BoolType: "true or false",
    mi.NoneType: "null",
    mi.ListType: "a list",
    mi.VarTupleType: "a list",
    mi.DictType: "a mapping",
}


def _describe_number(info: mi.IntType | mi.FloatType) -> str:
    noun = "a whole number" if isinstance(info, mi.IntType) else "a number"
    bounds = (("from", info.ge), ("above", info.gt), ("to", info.le), ("below", info.lt))
    words = [f"{word} {bound}" for word, bound in bounds if bound is not None]
    return " ".join([noun, *words])


def _join(path: str, name: str) -> str:
    shown = name if re.fullmatch(r"[A-Za-z0-9_.-]{1,80}", name) else show(name)
    return f"{path}.{shown}" if path else shown


def _label(value: Any) -> str | None:
    if not isinstance(value, dict):
        return None
    entry = cast(dict[str, Any], value)
    # A destination is known by its id, everything else by its name.
    labels = ("id", "name") if "kind" in entry else ("name", "slug", "id")
    found = [entry.get(key) for key in labels]
    label = next((text for text in found if isinstance(text, str) and text), None)
    return None if label is None else label[:SHOWN_MAX].replace("\n", " ").replace("`", "'")


# ── one handler for each shape of type ──


def _conform_struct(
    value: Any, info: mi.StructType, place: Place, context: Context, _notes: Notes
) -> Any:
    if not isinstance(value, dict):
        return context.wrong(place, show(value), describe(info), "write it so, or leave it out")
    fields = {field.encode_name: field for field in info.fields}
    result: dict[str, Any] = {}
    given = cast(dict[str, Any], value)
    for name, inner in given.items():
        if name not in fields:
            context.wrong(
                place.key(name),
                "no key we know",
                f"one of {', '.join(fields)}",
                suggest(name, fields, "remove or correct it"),
            )
            continue
        result[name] = conform(inner, fields[name].type, place.key(name), context)
    for name, field in fields.items():
        if field.required and name not in given:
            expected = describe(field.type)
            context.problems.append(
                place.key(name).says(f"is missing; expected {expected}; set it")
            )
    return result


def _conform_list(
    value: Any,
    info: mi.ListType | mi.VarTupleType,
    place: Place,
    context: Context,
    _notes: Notes,
) -> Any:
    if not isinstance(value, list):
        return context.wrong(
            place, show(value), "a list", "write it in [brackets], or leave it out"
        )
    items = cast(list[Any], value)
    return [
        conform(item, info.item_type, place.item(index, item), context)
        for index, item in enumerate(items)
    ]


def _conform_dict(
    value: Any, info: mi.DictType, place: Place, context: Context, _notes: Notes
) -> Any:
    if not isinstance(value, dict):
        return context.wrong(
            place, show(value), "a mapping", "write {name: value}, or leave it out"
        )
    pairs = cast(dict[str, Any], value)
    return {
        name: conform(inner, info.value_type, place.key(name), context)
        for name, inner in pairs.items()
    }


def _conform_union(
    value: Any, info: mi.UnionType, place: Place, context: Context, notes: Notes
) -> Any:
    parts = [part for part in info.types if not isinstance(part, mi.NoneType)]
    if value is None and len(parts) < len(info.types):
        return None
    for part in parts if len(parts) > 1 else ():
        trial = context.trial()
        result = conform(value, part, place, trial, notes)
        if not trial.problems:
            context.warnings += trial.warnings
            return result
    if len(parts) == 1:
        return conform(value, parts[0], place, context, notes)
    return context.wrong(place, show(value), describe(info), "correct it")


def _conform_metadata(
    value: Any, info: mi.Metadata, place: Place, context: Context, _notes: Notes
) -> Any:
    notes = cast(Notes, info.extra_json_schema or {})
    if notes.get("x-other-pass"):
        return value
    if notes.get("x-secret") and value is not None:
        return _conform_setting_secret(value, info.type, place, context)
    return conform(value, info.type, place, context, notes)


def _conform_text(
    value: Any, info: mi.StrType, place: Place, context: Context, notes: Notes
) -> Any:
    if not isinstance(value, str):
        is_plain = not isinstance(value, dict | list | None)
        advice = "put it in quotes" if is_plain else "write text"
        if isinstance(value, dict) and set(value) & {"env", "file"}:  # pyright: ignore[reportUnknownArgumentType]
            advice = "only secrets can be references; write the value itself"
        return context.wrong(place, show(value), "text", advice)
    return value if _fits_text(value, show(value), info, place, context, notes) else INVALID


def _fits_text(
    text: str, shown: str, info: mi.StrType, place: Place, context: Context, notes: Notes
) -> bool:
    form = FORMATS.get(notes.get("x-format", ""))
    if form is not None and not form.fits(text):
        context.wrong(place, shown, form.expected, form.advice)
        return False
    low, high = info.min_length or 0, info.max_length
    if len(text) < low or (high is not None and len(text) > high):
        bounds = f"at least {low}" if high is None else f"{low} to {high}"
        expected = f"text of {bounds} characters"
        context.wrong(place, shown, expected, "correct it")
        return False
    if info.pattern is not None and re.search(info.pattern, text) is None:
        context.wrong(place, shown, f"text like {info.pattern}", "correct it")
        return False
    return True


def _conform_number(
    value: Any, info: mi.IntType | mi.FloatType, place: Place, context: Context, _notes: Notes
) -> Any:
    kinds = (int,) if isinstance(info, mi.IntType) else (int, float)
    is_number = isinstance(value, kinds) and not isinstance(value, bool)
    if is_number and _is_within(value, info):
        return value
    is_quoted = isinstance(value, str) and not isinstance(resolve_scalar(value), str)
    advice = "write it without quotes" if is_quoted else "correct it"
    return context.wrong(place, show(value), describe(info), advice)


def _is_within(value: float, info: mi.IntType | mi.FloatType) -> bool:
    return (
        (info.ge is None or value >= info.ge)
        and (info.gt is None or value > info.gt)
        and (info.le is None or value <= info.le)
        and (info.lt is None or value < info.lt)
    )


def _conform_bool(
    value: Any, info: mi.BoolType, place: Place, context: Context, _notes: Notes
) -> Any:
    if isinstance(value, bool):
        return value
    return context.wrong(place, show(value), describe(info), "write one of them, without quotes")


def _conform_none(
    value: Any, _info: mi.NoneType, place: Place, context: Context, _notes: Notes
) -> Any:
    return None if value is None else context.wrong(place, show(value), "null", "remove it")


def _conform_literal(
    value: Any, info: mi.LiteralType, place: Place, context: Context, _notes: Notes
) -> Any:
    if value in info.values and not isinstance(value, bool):
        return value
    words = [str(word) for word in info.values]
    advice = suggest(value, words) if isinstance(value, str) else "write one of them"
    return context.wrong(place, show(value), describe(info), advice)


def _conform_custom(
    value: Any, info: mi.CustomType, place: Place, context: Context, notes: Notes
) -> Any:
    _, read = _CUSTOM.get(info.cls, ("", None))
    return value if read is None else read(value, place, context, notes)


# ── secrets and times ──


def _read_instant(value: Any, place: Place, context: Context, _notes: Notes) -> Any:
    instant = parse_instant(value) if isinstance(value, str) else None
    if instant is not None:
        return instant
    expected = "a time with its zone (RFC 3339), say 2026-12-01T00:00:00Z"
    return context.wrong(place, show(value), expected, "write it so")


def _read_key_secret(value: Any, place: Place, context: Context, notes: Notes) -> Any:
    secret = read_secret(value, place, context)
    if not isinstance(secret, SecretText):
        return INVALID
    is_fit = _fits_text(secret.text, UNFIT, mi.StrType(), place, context, notes)
    return secret if is_fit else INVALID


def _conform_setting_secret(value: Any, inner: mi.Type, place: Place, context: Context) -> Any:
    secret = read_secret(value, place, context)
    if not isinstance(secret, SecretText):
        return INVALID
    parts = inner.types if isinstance(inner, mi.UnionType) else (inner,)
    text = next((part for part in parts if isinstance(part, mi.StrType)), mi.StrType())
    return secret if _fits_text(secret.text, UNFIT, text, place, context, {}) else INVALID


def read_secret(value: Any, place: Place, context: Context) -> SecretText | Invalid:
    """Return a secret that was given as text, `{env: NAME}` or `{file: PATH}`."""
    expected = "text, {env: NAME} or {file: PATH}"
    if isinstance(value, str) and value:
        context.warnings.append(place.says(STANDS_OPEN))
        return SecretText(value)
    if isinstance(value, dict) and len(value) == 1:  # pyright: ignore[reportUnknownArgumentType]
        ((source, name),) = cast(dict[str, Any], value).items()
        read = _SOURCES.get(source)
        if read is not None and isinstance(name, str) and name:
            return read(name, place, context)
        return context.wrong(place, f"{{{source[:SHOWN_MAX]}: …}}", expected, "write it so")
    came = '""' if value == "" else _kind_of(value)  # never the value: it may be half a secret
    advice = "put it in quotes" if isinstance(value, int | float) else "write it so"
    return context.wrong(place, came, expected, advice)


def _kind_of(value: Any) -> str:
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "true or false"
    if isinstance(value, int | float):
        return "a number"
    return "a list" if isinstance(value, list) else "a mapping"


def _secret_of_env(name: str, place: Place, context: Context) -> SecretText | Invalid:
    text = context.environ.get(name, "")
    if text:
        return SecretText(text)
    came = "empty" if name in context.environ else "not set"
    return context.wrong(
        place,
        f"the variable {name[:SHOWN_MAX]}, which is {came}",
        "a variable that holds the secret",
        "set it and run again",
    )


def _secret_of_file(name: str, place: Place, context: Context) -> SecretText | Invalid:
    path = context.base / name
    shown = f"the file {name[:200]}"
    expected = "a file that holds the secret as text"
    advice = "correct the path; it starts at the workspace file"
    if not path.is_file():  # a pipe or a device could block us for ever
        return context.wrong(place, f"{shown}, which is not there", expected, advice)
    try:
        with path.open("rb") as file:
            data = file.read(SECRET_FILE_BYTES_MAX + 1)
        text = data.decode("utf-8").rstrip("\r\n")
    except OSError as error:
        came = f"{shown}, which cannot be read ({error.strerror})"
        return context.wrong(place, came, expected, advice)
    except ValueError:
        return context.wrong(place, f"{shown}, which is no UTF-8 text", expected, "correct it")
    if not text or len(data) > SECRET_FILE_BYTES_MAX:
        came = "empty" if not text else f"longer than {SECRET_FILE_BYTES_MAX} bytes"
        return context.wrong(place, f"{shown}, which is {came}", expected, "correct it")
    return SecretText(text)


_SOURCES: dict[str, Callable[[str, Place, Context], SecretText | Invalid]] = {
    "env": _secret_of_env,
    "file": _secret_of_file,
}
_CUSTOM: dict[type, tuple[str, Callable[[Any, Place, Context, Notes], Any] | None]] = {
    SecretText: ("text, {env: NAME} or {file: PATH}", _read_key_secret),
    Instant: ("a time with its zone", _read_instant),
}
_HANDLERS: dict[type, Any] = {
    mi.StructType: _conform_struct,
    mi.ListType: _conform_list,
    mi.VarTupleType: _conform_list,
    mi.DictType: _conform_dict,
    mi.UnionType: _conform_union,
    mi.Metadata: _conform_metadata,
    mi.StrType: _conform_text,
    mi.IntType: _conform_number,
    mi.FloatType: _conform_number,
    mi.BoolType: _conform_bool,
    mi.NoneType: _conform_none,
    mi.LiteralType: _conform_literal,
    mi.CustomType: _conform_custom,
}
