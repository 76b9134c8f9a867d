"""Two versions of what is sent, side by side on a terminal."""

from __future__ import annotations

import shutil
from itertools import zip_longest
from typing import Any

import msgspec

from trunkline.cli._frame import say
from trunkline.reports.preview import Preview, Side

WIDTH_MIN = 60
LINES_MAX = 200  # of one payload
CHANGES_MAX = 20


def say_value(title: str, value: Any) -> None:
    """Print a JSON value under a title."""
    say(f"  {title}")
    say(_pretty(value))


def say_preview(found: Preview) -> None:
    """Print what was made then beside what would be sent now, and the paths that differ."""
    width = max(shutil.get_terminal_size((120, 24)).columns, WIDTH_MIN)
    half = (width - 5) // 2
    say(f"  {_title('then', found.then):<{half}} | {_title('now', found.now)}")
    left, right = _lines(found.then, half), _lines(found.now, half)
    for before, after in zip_longest(left, right, fillvalue=""):
        mark = "|" if before == after else "!"
        say(f"  {before:<{half}} {mark} {after}".rstrip())
    for change in found.changes[:CHANGES_MAX]:
        say(f"  changed {change}")


def _title(word: str, side: Side) -> str:
    return f"{word} (revision {side.revision})" if side.revision else f"{word} (as it is)"


def _lines(side: Side, width: int) -> list[str]:
    told = _told(side)
    lines = told[:LINES_MAX] + (["…"] if len(told) > LINES_MAX else [])
    return [line if len(line) <= width else f"{line[: width - 1]}…" for line in lines]


def _told(side: Side) -> list[str]:
    if side.note:
        return [side.note]
    if side.failure:
        partial = [] if side.partial is None else ["so far:", *_pretty(side.partial).splitlines()]
        return [f"cannot be shaped: {side.failure}", *partial]
    if not side.payload:
        return [f"dropped by {side.filtered or 'the playbook'}"]
    return [line for value in side.payload for line in _pretty(value).splitlines()]


def _pretty(value: Any) -> str:
    return msgspec.json.format(msgspec.json.encode(value), indent=2).decode()
