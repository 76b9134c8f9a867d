"""Reading a tree that a person wrote, with every mistake told at once.

A `Node` is a value, where it stands, and the list that all nodes of one reading complain to. What
is wrong is told and read as its default, so that the reader after it can go on.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, cast

from trunkline.playbook.program import Problem

TEXT_MAX = 65_536
PROBLEMS_MAX = 200


class Node:
    """One value of the tree: `path` is where it stands, as `default.headers[2].key`."""

    __slots__ = ("path", "problems", "value")

    def __init__(self, value: Any, path: str, problems: list[Problem]) -> None:
        self.value = value
        self.path = path
        self.problems = problems

    def complain(self, message: str) -> None:
        """Tell what is wrong here."""
        if len(self.problems) < PROBLEMS_MAX:
            self.problems.append(Problem(self.path, message))

    def below(self, key: str, value: Any) -> Node:
        """Return the node of a value below this one."""
        path = f"{self.path}.{key}" if self.path else key
        return Node(value, path, self.problems)

    def named(self) -> dict[str, Node]:
        """Return what an object holds, by name; nothing where it is no object."""
        if not isinstance(self.value, dict):
            self.complain(f"is {kind_of(self.value)}; expected an object")
            return {}
        pairs = cast("dict[Any, Any]", self.value)
        return {str(key): self.below(str(key), value) for key, value in pairs.items()}

    def fields(self, known: Iterable[str], needed: Iterable[str] = ()) -> dict[str, Node]:
        """Return the known fields that an object holds; tell of the others, and what is missing.

        A field that is null counts as left out.
        """
        names = tuple(known)
        found = self.named()
        for name, node in found.items():
            if name not in names:
                node.complain(f"is not known here{near_miss(name, names)}")
        if isinstance(self.value, dict):
            for name in needed:
                if found.get(name) is None or found[name].value is None:
                    self.complain(f"{name} is missing")
        return {n: node for n, node in found.items() if n in names and node.value is not None}

    def entries(self) -> list[Node]:
        """Return what a list holds; nothing where it is no list."""
        if not isinstance(self.value, list):
            self.complain(f"is {kind_of(self.value)}; expected a list")
            return []
        values = cast("list[Any]", self.value)
        return [Node(v, f"{self.path}[{n}]", self.problems) for n, v in enumerate(values)]

    def text(self) -> str:
        """Return a text; empty where it is none."""
        if not isinstance(self.value, str):
            self.complain(f"is {kind_of(self.value)}; expected text")
            return ""
        if len(self.value) > TEXT_MAX:
            self.complain(f"has {len(self.value)} characters; at most {TEXT_MAX} are taken")
            return ""
        return self.value

    def scalar_text(self) -> str:
        """Return a text, or a number or boolean as text: a YAML author writes `7` for "7"."""
        if isinstance(self.value, bool):
            return "true" if self.value else "false"
        return str(self.value) if isinstance(self.value, int | float) else self.text()

    def whole(self, low: int, high: int) -> int:
        """Return a whole number within bounds; the lower bound where it is none."""
        is_whole = isinstance(self.value, int) and not isinstance(self.value, bool)
        if not is_whole or not low <= self.value <= high:
            shown = self.value if is_whole else kind_of(self.value)
            self.complain(f"is {shown}; expected a whole number from {low} to {high}")
            return low
        return self.value

    def flag(self) -> bool:
        """Return a boolean; False where it is none."""
        if not isinstance(self.value, bool):
            self.complain(f"is {kind_of(self.value)}; expected true or false")
        return self.value is True

    def choice(self, options: Sequence[str]) -> str:
        """Return one of the options; the first where it is none of them."""
        text = self.text()
        if text not in options:
            if text:
                self.complain(f"is {text[:80]!r}; expected {one_of(options)}")
            return options[0]
        return text


def kind_of(value: Any) -> str:
    """Say what a JSON value is, in words."""
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "true" if value else "false"
    words: Mapping[type, str] = {str: "text", dict: "an object", list: "a list"}
    return next((word for type_, word in words.items() if isinstance(value, type_)), "a number")


def one_of(options: Sequence[str]) -> str:
    """Return `a, b or c`."""
    quoted = [f"`{option}`" for option in options]
    return " or ".join([", ".join(quoted[:-1]), quoted[-1]] if len(quoted) > 1 else quoted)


def near_miss(name: str, known: Sequence[str]) -> str:
    """Return what to write instead of a name that is not known, as the end of a sentence."""
    close = difflib.get_close_matches(name, known, 1, 0.6)
    if close:
        return f"; did you mean `{close[0]}`?"
    return f"; expected {one_of(sorted(known))}" if known else ""
