"""The size of a tree that somebody wrote, before anything else looks at it.

YAML can say with anchors in a few lines what would take a terabyte to walk, and holds dates and
keys that JSON has not. After this the rest may walk freely.
"""

from __future__ import annotations

import math
from typing import Any, cast

from trunkline.playbook.program import Problem
from trunkline.playbook.spec import TEXT_MAX

NODES_MAX = 100_000
CHARACTERS_MAX = 1_048_576
LEVELS_MAX = 60
WHOLE_MAX = 2**63


class _Walk:
    def __init__(self) -> None:
        self.nodes = 0
        self.characters = 0
        self.problems: list[Problem] = []

    def visit(self, value: Any, path: str, level: int) -> bool:
        """Look at a value and what is below it; False where there is too much to go on."""
        self.nodes += 1
        if self.nodes > NODES_MAX or self.characters > CHARACTERS_MAX:
            return False
        if isinstance(value, str):
            self.characters += len(value)
            self._text(value, path)
        elif isinstance(value, dict | list):
            return self._below(cast("dict[Any, Any] | list[Any]", value), path, level)
        elif not _is_scalar(value):
            self._complain(path, f"is {_shown(value)}; JSON has no such value; quote it")
        return True

    def _below(self, value: dict[Any, Any] | list[Any], path: str, level: int) -> bool:
        if level == LEVELS_MAX:
            self._complain(path, f"nests more than {LEVELS_MAX} levels deep; flatten it")
            return True
        if isinstance(value, list):
            return all(self.visit(v, f"{path}[{n}]", level + 1) for n, v in enumerate(value))
        return all(self._entry(key, child, path, level) for key, child in value.items())

    def _entry(self, key: Any, child: Any, path: str, level: int) -> bool:
        if not isinstance(key, str):
            self._complain(path, f"has the key {key!r:.40}; quote it: every key is text")
            return True
        self.characters += len(key)
        place = f"{path}.{key[:100]}" if path else key[:100]
        if not _is_writable(key):
            self._complain(path, "has a key with half of a surrogate pair; write whole characters")
        return self.visit(child, place, level + 1)

    def _text(self, text: str, path: str) -> None:
        if len(text) > TEXT_MAX:
            self._complain(path, f"has {len(text)} characters; at most {TEXT_MAX} are taken")
        elif not _is_writable(text):
            self._complain(path, "has half of a surrogate pair; write whole characters")

    def _complain(self, path: str, message: str) -> None:
        if len(self.problems) < 20:
            self.problems.append(Problem(path, message))


def measure(tree: Any) -> list[Problem]:
    """Return why a tree cannot be looked at: it is too large, or no JSON. Empty: all is well."""
    walk = _Walk()
    if not walk.visit(tree, "", 0):
        size = f"{NODES_MAX:,} values and {CHARACTERS_MAX:,} characters"
        return [Problem("", f"is too large; a playbook has at most {size}")]
    return walk.problems


def _is_writable(text: str) -> bool:
    return text.isascii() or not any("\ud800" <= ch <= "\udfff" for ch in text)


def _is_scalar(value: Any) -> bool:
    if isinstance(value, float):
        return math.isfinite(value)
    if isinstance(value, int):
        return -WHOLE_MAX <= value < WHOLE_MAX
    return value is None


def _shown(value: Any) -> str:
    if isinstance(value, int):
        return "a number of more than 64 bits"
    return f"{value}" if isinstance(value, float) else f"a {type(value).__name__}"
