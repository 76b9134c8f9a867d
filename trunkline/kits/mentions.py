"""Events that an answer names in its sentences: `Index: 3, ERROR :: …`, `data.7.event_time: …`."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from msgspec import Struct

from trunkline.kits.paths import sites
from trunkline.playbook.conditions import compile_pattern
from trunkline.playbook.nodes import Node

TEXT_MAX = 65_536  # characters of one text that are looked through
TEXTS_MAX = 5_000
_GROUP = 1


class Mentions(Struct, frozen=True):
    """Texts of an answer, and what finds the position of an event in them, from 0.

    A path may hold `*` for each member. Only an answer that refuses the whole request is read so. A
    vendor may repeat what a sender wrote, so a pattern should be anchored, or name the vendor's own
    words around the position: else one event could condemn another.
    """

    paths: tuple[str, ...]
    pattern: str

    def positions(self, tree: Any, count: int) -> Iterator[int]:
        """Yield the positions that are named, of so many events; one may come twice."""
        find_all = compile_pattern(self.pattern).finditer
        for text in self._texts(tree):
            for match in find_all(text):
                digits = match.group(_GROUP) or ""
                if digits.isascii() and digits.isdigit() and int(digits[:9]) < count:
                    yield int(digits[:9])

    def _texts(self, tree: Any) -> Iterator[str]:
        left = TEXTS_MAX
        for path in self.paths:
            for site in sites(tree, path):
                left -= 1
                if left < 0:
                    return
                if isinstance(site.value, str):
                    # Half of a surrogate pair, which JSON can hold, is no text to RE2.
                    yield site.value[:TEXT_MAX].encode("utf-8", "replace").decode()


def read_mentions(node: Node) -> Mentions:
    """Read where sentences name events, telling what is wrong with it."""
    fields = node.fields(("path", "paths", "pattern"), ("pattern",))
    paths = [fields["path"]] if "path" in fields else []
    paths += fields["paths"].entries() if "paths" in fields else []
    if not paths and isinstance(node.value, dict):
        node.complain("path is missing; say where the answer's sentences stand")
    texts = [(path, path.text()) for path in paths]
    for path, text in texts:
        if not all(text.split(".")):
            path.complain(f"is {text[:80]!r}; expected names with one dot between two, as a.b")
    pattern = fields["pattern"].text() if "pattern" in fields else ""
    if pattern:
        _check_pattern(fields["pattern"], pattern)
    return Mentions(tuple(text for _, text in texts), pattern)


def _check_pattern(node: Node, pattern: str) -> None:
    try:
        groups = compile_pattern(pattern).groups
    except ValueError as error:
        node.complain(str(error))
        return
    if groups != _GROUP:
        node.complain(f"has {groups} groups; expected one, around the position, as `at ([0-9]+)`")
