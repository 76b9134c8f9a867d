"""Python source of one route: fast because it is straight, safe because nobody's text is in it.

The source holds generated names only. Every text, number and function comes in through a table of
constants, and `compile_route` refuses a source with any other character or word in it.

What makes it fast: a part of the event is looked up once for all who read it; an output key that
no other part touches is written straight, its object held in a local name. Where parts overlap
(one key twice, a key inside another, or something merged over the whole output), `put` and
`merge` write what is under these top-level keys.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence
from typing import Any

from trunkline.playbook.paths import index_of
from trunkline.playbook.plan import Ask, Constant, Drop, Field, Group, Keys, Make, Spread, Test
from trunkline.playbook.writing import at, flatten, lay, make_uuid, merge, pour, put, seconds

Route = Callable[..., int]
Table = dict[str, Any]

_CHARACTERS = re.compile(r"[a-zN0-9_ \n=().,\[\]{}:]*")
_SYNTAX = ("def", "return", "if", "else", "is", "not", "and", "or", "in", "None")
_NAMES = ("run", "event", "name", "out", "moment", "note", "get", "now_ms")
_GENERATED = re.compile(r"[kvoc]\d{1,5}|\d{1,4}")
_FIXED: Table = {
    "kind": type, "obj": dict, "empty": {}, "yes": True, "no": False,
    "put": put, "merge": merge, "lay": lay, "pour": pour, "at": at, "flatten": flatten,
    "seconds": seconds, "make_uuid": make_uuid,
}  # fmt: skip
_WORDS = frozenset((*_SYNTAX, *_NAMES, *_FIXED))


class ForeignSource(Exception):
    """Something stands in a source that was not generated. A mistake of ours: it must not run."""


def write_route(
    drops: Sequence[Drop], makes: Sequence[Make], *, is_noting: bool
) -> tuple[str, Table]:
    """Return source and constants of `run(event, name, out, moment[, note])`.

    It returns 0, or the number (from 1) of the filter that drops the event.
    """
    writer = _Writer(makes, is_noting)
    for number, drop in enumerate(drops, 1):
        writer.write_drop(drop, number)
    for make in makes:
        writer.is_last = make is makes[-1]
        writer.write_make(make)
    writer.line("return 0")
    return "\n".join(writer.lines) + "\n", writer.table


def compile_route(source: str, table: Table) -> Route:
    """Return the function. Raises `ForeignSource` for a source that holds anything else."""
    foreign = [word for word in re.findall(r"\w+", source) if not _is_ours(word)]
    if foreign or not _CHARACTERS.fullmatch(source):
        raise ForeignSource(f"no generated source has this in it: {foreign[:3] or source[:80]!r}")
    names: Table = {**_FIXED, **table, "__builtins__": {}}
    exec(compile(source, "<playbook>", "exec"), names)
    return names["run"]


def _is_ours(word: str) -> bool:
    return word in _WORDS or _GENERATED.fullmatch(word) is not None


def touched_twice(makes: Iterable[Make]) -> frozenset[str] | None:
    """Return the top-level keys under which parts meet; None: all, for something merges into all.

    Two parts meet where one writes the key of the other, or a key inside it.
    """
    exact: set[Keys] = set()
    inner: set[Keys] = set()
    met: set[str] = set()
    for make in makes:
        keys = make.keys
        if not keys:
            return None
        above = [keys[:n] for n in range(1, len(keys))]
        if keys in exact or keys in inner or not exact.isdisjoint(above):
            met.add(keys[0])
        exact.add(keys)
        inner.update(above)
    return frozenset(met)


class _Writer:
    def __init__(self, makes: Sequence[Make], is_noting: bool) -> None:
        self.lines = [f"def run(event, name, out, moment{', note' if is_noting else ''}):"]
        self.table: Table = {}
        self.is_last = False  # nothing is written after the part that is at hand
        self._is_noting = is_noting
        self._met = touched_twice(makes)
        self._constants: dict[tuple[str, Any], str] = {}
        self._values: dict[Keys, str] = {(): "event"}
        self._objects: dict[Keys, str] = {(): "event"}
        self._containers: dict[Keys, str] = {(): "out"}
        self._certain: set[Keys] = {()}  # objects of the output that are there by now
        self._count = 0

    def line(self, text: str, indent: int = 1) -> None:
        self.lines.append(" " * indent + text)

    def constant(self, value: Any) -> str:
        """Return the name of a constant; equal texts share one."""
        key = (type(value).__name__, value if isinstance(value, str) else id(value))
        name = self._constants.get(key)
        if name is None:
            name = self._constants[key] = self._name("k")
            self.table[name] = value  # which also keeps the id from being used again
        return name

    def _name(self, letter: str) -> str:
        self._count += 1
        return f"{letter}{self._count}"

    def value(self, parts: Keys) -> str:
        """Return the name that holds what stands at a path."""
        name = self._values.get(parts)
        if name is None:
            key, index = self.constant(parts[-1]), index_of(parts[-1])
            if index is None:
                found = f"{self._object(parts[:-1])}.get({key})"
            else:
                found = f"at({self.value(parts[:-1])}, {key}, {self.constant(index)})"
            name = self._values[parts] = self._name("v")
            self.line(f"{name} = {found}")
        return name

    def _object(self, parts: Keys) -> str:
        """Return the name that holds the object at a path; an empty one where there is None."""
        name = self._objects.get(parts)
        if name is None:
            value = self.value(parts)
            name = self._objects[parts] = self._name("o")
            self.line(f"{name} = {value} if kind({value}) is obj else empty")
        return name

    def write_drop(self, drop: Drop, number: int) -> None:
        test = self._test(drop.test)
        self.line(f"if {test if drop.when else f'not {test}'}: return {number}")

    def _test(self, test: Test) -> str:
        if isinstance(test, Group):
            members = list(map(self._test, test.members))
            if not members:
                return "yes" if test.is_all else "no"
            return f"({(' and ' if test.is_all else ' or ').join(members)})"
        if isinstance(test, Ask):
            value = self.value(test.parts)
            if test.holds is None:
                return f"({value} is not None)"
            return f"{self.constant(test.holds)}({value})"
        return f"(name in {self.constant(test.keys)})"

    def write_make(self, make: Make) -> None:
        what = make.what
        if isinstance(what, Constant):
            self._write(make, self._constant_of(what), is_certain=True)
        elif isinstance(what, Field):
            self._write_field(make, what)
        elif isinstance(what, Spread):
            texts = map(self.constant, (what.prefix, what.separator, what.depth, make.path))
            self._pour(make, f"flatten({self.value(what.parts)}, {', '.join(texts)})")
        else:
            self._pour(make, f"{self.constant(what)}(event, moment)")

    def _constant_of(self, what: Constant) -> str:
        if what.kind == "uuid":
            return f"make_uuid(moment, {self.constant(what.value)})"
        if what.kind == "value":
            return self.constant(what.value)
        return "seconds(moment)" if what.kind == "seconds" else "moment.now_ms"

    def _write_field(self, make: Make, what: Field) -> None:
        value = self.value(what.parts)
        for step in what.chain:
            value = self._chained(value, step.run, step.is_code)
        if what.default is not None:
            held = self._held(value)
            self.line(f"if {held} is None: {held} = {self.constant(what.default)}")
            self._write(make, held, is_certain=True)
        else:
            self._write(make, value, is_certain=value == "event")

    def _chained(self, value: str, run: Callable[..., Any], is_code: bool) -> str:
        name = self.constant(run)
        if not is_code:
            return f"{name}({value})"
        held = self._held(value)
        self.line(f"if {held} is not None: {held} = {name}(event, moment)")
        return held

    def _held(self, value: str) -> str:
        """Return a fresh name for a value, which may be changed."""
        name = self._name("v")
        self.line(f"{name} = {value}")
        return name

    def _pour(self, make: Make, value: str) -> None:
        held = self._held(value)
        self.line(f"pour(out, {held}, {self.constant(make.path)})")
        self._note(make, held, 1)

    def _write(self, make: Make, value: str, *, is_certain: bool) -> None:
        if not make.keys:
            held = self._held(value)
            self.line(f"if kind({held}) is obj:")
            lays = self.is_last and not self._is_noting  # a note's value stays what it was
            self.line(f"{'lay' if lays else 'merge'}(out, {held})", 2)
            self._note(make, held, 2)
            return
        if not is_certain or self._is_noting:
            value = value if re.fullmatch(r"[vk]\d+|event", value) else self._held(value)
        indent = 1 if is_certain else 2
        straight = self._met is not None and make.keys[0] not in self._met
        if straight and not is_certain:
            self._announce(make.keys[:-1])
        if not is_certain:
            self.line(f"if {value} is not None:")
        if straight:
            container = self._container(make.keys[:-1], indent, is_certain)
            self.line(f"{container}[{self.constant(make.keys[-1])}] = {value}", indent)
        else:
            self.line(f"put(out, {self.constant(make.keys)}, {value})", indent)
        self._note(make, value, indent)

    def _announce(self, keys: Keys) -> None:
        """Give the objects on the way a name before a branch that may make them."""
        for n in range(1, len(keys) + 1):
            if keys[:n] not in self._containers:
                name = self._containers[keys[:n]] = self._name("c")
                self.line(f"{name} = None")

    def _container(self, keys: Keys, indent: int, is_certain: bool) -> str:
        """Write what makes the object of the output under some keys, and return its name."""
        if keys in self._certain:
            return self._containers[keys]
        known = keys in self._containers
        name = self._containers[keys] if known else self._name("c")
        self._containers[keys] = name
        above = self._container(keys[:-1], indent, is_certain)
        begin = f"if {name} is None: " if known else ""
        self.line(f"{begin}{name} = {above}[{self.constant(keys[-1])}] = {{}}", indent)
        if is_certain:
            self._certain.add(keys)
        return name

    def _note(self, make: Make, value: str, indent: int) -> None:
        if self._is_noting:
            key = self.constant(".".join(make.keys))
            self.line(f"note({self.constant(make.path)}, {key}, {value})", indent)
