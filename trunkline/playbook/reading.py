"""What the readers of a playbook's parts share: open params, numbers that are text, the count."""

from __future__ import annotations

import math
import re
from typing import Any, TypeVar, cast

from trunkline.playbook.nodes import Node, kind_of

T = TypeVar("T", bool, int, float)

MARK = re.compile(r"\$\$([A-Za-z0-9_]+)\$\$")
_WHOLE = re.compile(r"[+-]?\d{1,18}", re.ASCII)


class Reading:
    """One reading of one playbook: whether params are filled in, and how many rules it has."""

    def __init__(self, is_filled: bool) -> None:
        self.is_filled = is_filled
        self.rules = 0

    def entries(self, fields: dict[str, Node], name: str) -> list[Node]:
        """Return the entries of a list, each one a rule."""
        nodes = fields[name].entries() if name in fields else []
        self.rules += len(nodes)
        return nodes

    def is_open(self, value: Any) -> bool:
        """Say whether a param stands in a value whose content is not known yet."""
        if self.is_filled:
            return False
        if isinstance(value, str):
            return MARK.search(value) is not None
        if isinstance(value, list):
            return any(map(self.is_open, cast("list[Any]", value)))
        if isinstance(value, dict):
            return any(map(self.is_open, cast("dict[str, Any]", value).values()))
        return False

    def whole(self, node: Node) -> int | str:
        """Read a whole number; the kits write some as text."""
        value = node.value
        if isinstance(value, str):
            if self.is_open(value):
                return value
            if _WHOLE.fullmatch(value.strip()):
                return int(value)
        elif isinstance(value, int) and not isinstance(value, bool):
            return value
        return _miss(node, "a whole number", 0)

    def number(self, node: Node) -> float | str:
        """Read a number, as a float."""
        value = node.value
        if isinstance(value, str):
            if self.is_open(value):
                return value
            value = _float_of(value)
        if isinstance(value, int | float) and not isinstance(value, bool):
            return float(value)
        return _miss(node, "a number", 0.0)

    def flag(self, node: Node) -> bool | str:
        """Read true or false, or their names as text."""
        value = node.value
        if isinstance(value, str):
            if self.is_open(value):
                return value
            value = {"true": True, "false": False}.get(value.strip().lower())
        return value if isinstance(value, bool) else _miss(node, "true or false", False)

    def word(self, node: Node, options: tuple[str, ...]) -> str:
        """Read one of a few words, or a param that will be one."""
        return node.value if self.is_open(node.value) else node.choice(options)


def _float_of(text: str) -> float | None:
    try:
        number = float(text) if len(text) <= 40 and "_" not in text else math.nan
    except ValueError:
        return None
    return number if math.isfinite(number) else None


def _miss(node: Node, expected: str, instead: T) -> T:
    shown = repr(node.value)[:80] if isinstance(node.value, str) else kind_of(node.value)
    node.complain(f"is {shown}; expected {expected}")
    return instead
