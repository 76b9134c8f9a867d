"""Where a playbook holds code: to name the part of it when its process was killed."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, cast

import msgspec


def code_path(playbook: bytes) -> str:
    """Return the path of the only code in a playbook's JSON, or `code` where there is more."""
    if not playbook:
        return "code"
    found = list(_code_in(msgspec.json.decode(playbook), ""))
    return found[0] if len(found) == 1 else "code"


def _code_in(tree: Any, path: str) -> Iterator[str]:
    if isinstance(tree, dict):
        branches = cast("dict[str, Any]", tree)
        if "lang" in branches and "body" in branches:
            yield path
        for key, value in branches.items():
            yield from _code_in(value, f"{path}.{key}" if path else key)
    elif isinstance(tree, list):
        for index, value in enumerate(cast("list[Any]", tree)):
            yield from _code_in(value, f"{path}[{index}]")
