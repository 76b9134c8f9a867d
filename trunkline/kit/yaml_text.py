"""Reading YAML from strangers: plain values out, nothing executed, everything bounded.

The tree is built from the parser's events, so that no constructor runs at all. Scalars follow YAML
1.2's core schema: `no` and `on` are text, a time is text, and `1:30` is not ninety. Duplicate keys
are refused (the second would silently win), so are tags. Aliases are allowed but counted at their
expanded size, which is what a "billion laughs" file is made of.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable
from typing import Any, cast

import yaml
from msgspec import Struct

CHARACTERS_MAX = 8_388_608
DEPTH_MAX = 32
VALUES_MAX = 1_000_000

_INTEGER = re.compile(r"[-+]?[0-9]{1,18}\Z")
_FLOAT = re.compile(r"[-+]?(?:[0-9]+\.[0-9]*|\.[0-9]+|[0-9]+(?=[eE]))(?:[eE][-+]?[0-9]{1,4})?\Z")
_WORDS: dict[str, Any] = {
    **dict.fromkeys(("", "~", "null", "Null", "NULL"), None),
    **dict.fromkeys(("true", "True", "TRUE"), True),
    **dict.fromkeys(("false", "False", "FALSE"), False),
}
_LOADER: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


class YamlError(Exception):
    """The text is no YAML that we take; the message says where and why."""


def read_yaml(text: str) -> Any:
    """Return the one document of a text as dicts, lists, text, numbers, booleans and None.

    Raises `YamlError`, and nothing else, whatever the text.
    """
    if len(text) > CHARACTERS_MAX:
        raise YamlError(
            f"the file has {len(text)} characters; at most {CHARACTERS_MAX} are read; split it"
        )
    builder = _Builder()
    try:
        events = cast(Iterable[Any], yaml.parse(text.removeprefix("\ufeff"), Loader=_LOADER))
        for event in events:
            builder.take(event)
    except yaml.MarkedYAMLError as error:
        mark: Any = error.problem_mark or error.context_mark
        raise YamlError(f"{_line(mark)}not YAML: {error.problem or error.context}") from None
    except yaml.YAMLError as error:
        first = str(error).splitlines()[0]
        raise YamlError(f"not YAML: {first}; save the file as UTF-8 text") from None
    except UnicodeEncodeError:
        raise YamlError("not YAML: half a surrogate pair; save the file as UTF-8 text") from None
    return builder.root


def resolve_scalar(text: str) -> Any:
    """Return what an unquoted scalar means: null, a boolean, a number, or itself."""
    if text in _WORDS:
        return _WORDS[text]
    if _INTEGER.match(text):
        return int(text)
    if _FLOAT.match(text) and math.isfinite(number := float(text)):
        return number
    return text


class _Open(Struct):
    """A collection that is being read. `size` counts its values, aliases at full size."""

    value: Any
    line: int
    anchor: str | None
    size: int = 1
    key: str | None = None


class _Builder:
    """Builds the tree without recursion."""

    def __init__(self) -> None:
        self.root: Any = None
        self._has_root = False
        self._open: list[_Open] = []
        self._anchors: dict[str, tuple[Any, int]] = {}
        self._handlers: dict[type, Any] = {
            yaml.DocumentStartEvent: self._document,
            yaml.ScalarEvent: self._scalar,
            yaml.AliasEvent: self._alias,
            yaml.MappingStartEvent: self._start,
            yaml.SequenceStartEvent: self._start,
            yaml.MappingEndEvent: self._end,
            yaml.SequenceEndEvent: self._end,
        }

    def take(self, event: Any) -> None:
        handler = self._handlers.get(type(event))  # pyright: ignore[reportUnknownArgumentType] PyYAML has no types
        if handler is not None:
            if getattr(event, "tag", None) is not None:
                raise YamlError(f"{_at(event)}the tag {event.tag} is not taken; write the value")
            handler(event)

    def _document(self, event: Any) -> None:
        if self._has_root:
            raise YamlError(f"{_at(event)}a second document; a workspace is one; remove the ---")

    def _scalar(self, event: Any) -> None:
        if "\0" in event.value or any("\ud800" <= ch <= "\udfff" for ch in event.value):
            raise YamlError(f"{_at(event)}a character that no text holds; remove it")
        if self._takes_key():
            self._set_key(event, event.value)
            return
        value = resolve_scalar(event.value) if event.implicit[0] else event.value
        self._remember(event.anchor, value, 1)
        self._add(event, value, 1)

    def _alias(self, event: Any) -> None:
        if self._takes_key():
            raise YamlError(f"{_at(event)}an alias as a key; write the key")
        if event.anchor not in self._anchors:
            raise YamlError(f"{_at(event)}*{event.anchor} has no &{event.anchor} finished above it")
        value, size = self._anchors[event.anchor]
        self._add(event, value, size)

    def _start(self, event: Any) -> None:
        if self._takes_key():
            raise YamlError(f"{_at(event)}a list or mapping as a key; keys are text")
        if len(self._open) >= DEPTH_MAX:
            raise YamlError(f"{_at(event)}nested more than {DEPTH_MAX} levels deep; flatten it")
        value: Any = {} if isinstance(event, yaml.MappingStartEvent) else []
        self._open.append(_Open(value, event.start_mark.line, event.anchor))

    def _end(self, event: Any) -> None:
        closed = self._open.pop()
        self._remember(closed.anchor, closed.value, closed.size)
        self._add(event, closed.value, closed.size)

    def _takes_key(self) -> bool:
        return bool(self._open) and isinstance(self._open[-1].value, dict) and self._top_key is None

    @property
    def _top_key(self) -> str | None:
        return self._open[-1].key

    def _set_key(self, event: Any, key: str) -> None:
        if key in self._open[-1].value:
            raise YamlError(f"{_at(event)}the key {key[:60]!r} stands twice; remove one")
        self._open[-1].key = key

    def _remember(self, anchor: str | None, value: Any, size: int) -> None:
        if anchor is not None:
            self._anchors[anchor] = (value, size)

    def _add(self, event: Any, value: Any, size: int) -> None:
        if not self._open:
            self.root, self._has_root = value, True
            return
        top = self._open[-1]
        top.size += size
        if top.size > VALUES_MAX:
            raise YamlError(
                f"{_at(event)}more than {VALUES_MAX} values with its aliases written out; split it"
            )
        if isinstance(top.value, dict):
            top.value[top.key] = value
            top.key = None
        else:
            top.value.append(value)


def _at(event: Any) -> str:
    return _line(event.start_mark)


def _line(mark: Any) -> str:
    return f"line {mark.line + 1}, column {mark.column + 1}: " if mark is not None else ""
