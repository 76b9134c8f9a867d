"""Dotted paths: `properties.products.0.price` in an event, `user.email` in an output."""

from __future__ import annotations

from trunkline.playbook.nodes import Node
from trunkline.playbook.spec import DEPTH_MAX

WHOLE = "input"  # the path of the event itself


def path_parts(path: str) -> tuple[str, ...]:
    """Return the keys of a path of an event: none for the event itself."""
    return () if path == WHOLE else tuple(path.split("."))


def index_of(part: str) -> int | None:
    """Return the index that a part of a path is in a list, or None."""
    return int(part) if part.isascii() and part.isdecimal() and len(part) < 10 else None


def read_input_path(node: Node) -> str:
    """Read a path of an event, telling what is wrong with it."""
    path = node.text()
    if path.startswith("input."):
        node.complain(f"is {path[:80]!r}; a path begins in the event: {path[6:80]!r}")
    return _read(node, path)


def read_output_path(node: Node) -> str:
    """Read a path of an output, telling what is wrong with it."""
    return _read(node, node.text())


def _read(node: Node, path: str) -> str:
    parts = path.split(".")
    if not all(parts):
        node.complain(f"is {path[:80]!r}; expected names with one dot between two, as `user.email`")
    if len(parts) > DEPTH_MAX:
        node.complain(f"has {len(parts)} parts; at most {DEPTH_MAX} are taken")
    return path
