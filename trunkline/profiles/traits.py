"""Writing the traits of an identifier: the newest by time stays, within limits.

A cleared trait leaves a row behind with its time, so that older data that comes later does not
bring it back; it counts as a name, and its bytes not.
"""

from __future__ import annotations

from typing import cast

import apsw

TRAITS_MAX = 500  # names, cleared ones among them
VALUE_BYTES_MAX = 8_192
BYTES_MAX = 262_144  # of all values of an identifier, and their names
NAME_CHARACTERS_MAX = 255
_NULL = b"null"

Given = dict[str, tuple[tuple[int, int], bytes]]  # name → (at_ms, offset), JSON


def write_traits(db: apsw.Connection, identifier: int, given: Given) -> int:
    """Write what is newer than what is there; return how many traits were past a limit."""
    rows = db.execute(
        "SELECT name, at_ms, offset, length(value) FROM trait WHERE identifier=?", (identifier,)
    )
    held = {
        name: ((at_ms, offset), size or 0)
        for name, at_ms, offset, size in cast("list[tuple[str, int, int, int | None]]", list(rows))
    }
    names = len(held)
    total = sum(len(name) + size for name, (_, size) in held.items())
    taken: list[tuple[int, str, int, int, bytes | None]] = []
    left = 0
    for name, (moment, json) in sorted(given.items()):
        before = held.get(name)
        if before is not None and before[0] >= moment:
            continue
        value = None if json == _NULL else json
        size = len(value or b"")
        grown = total + size - before[1] if before else total + size + len(name)
        if not _fits(name, size, names + (before is None), grown) and (value or before is None):
            left += 1
            continue
        names += before is None
        total = grown
        taken.append((identifier, name, *moment, value))
    db.executemany("INSERT OR REPLACE INTO trait VALUES (?, ?, ?, ?, ?)", taken)
    if left:
        db.execute("UPDATE identifier SET left_traits=left_traits+? WHERE id=?", (left, identifier))
    return left


def _fits(name: str, size: int, names: int, total: int) -> bool:
    if len(name) > NAME_CHARACTERS_MAX or size > VALUE_BYTES_MAX:
        return False
    return names <= TRAITS_MAX and total <= BYTES_MAX
