"""What differs between two outputs, by path: for fixtures, diffs, and old beside new."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, cast

from msgspec import Struct

ABSENT = "(absent)"
CHANGES_MAX = 200  # shown of one comparison


class Change(Struct, frozen=True):
    """A path whose value differs. A value that is not there on one side is `ABSENT`."""

    path: str
    before: Any
    after: Any

    def __str__(self) -> str:
        return f"{self.path or '(output)'}: {self.before!r} → {self.after!r}"


def changes(before: Any, after: Any) -> list[Change]:
    """Return what differs, in the order of `before`, at most `CHANGES_MAX`.

    1 and 1.0 are the same number; 1 and true are not the same value.
    """
    found: list[Change] = []
    for change in _compare("", before, after):
        found.append(change)
        if len(found) == CHANGES_MAX:
            break
    return found


def _compare(path: str, before: Any, after: Any) -> Iterator[Change]:
    if isinstance(before, dict) and isinstance(after, dict):
        left, right = cast("dict[str, Any]", before), cast("dict[str, Any]", after)
        for key in dict.fromkeys([*left, *right]):
            at = f"{path}.{key}" if path else key
            yield from _compare(at, left.get(key, ABSENT), right.get(key, ABSENT))
    elif isinstance(before, list) and isinstance(after, list):
        first, second = cast("list[Any]", before), cast("list[Any]", after)
        for at in range(max(len(first), len(second))):
            yield from _compare(f"{path}[{at}]", _item(first, at), _item(second, at))
    elif before != after or isinstance(before, bool) != isinstance(after, bool):
        yield Change(path, before, after)


def _item(values: list[Any], at: int) -> Any:
    return values[at] if at < len(values) else ABSENT
