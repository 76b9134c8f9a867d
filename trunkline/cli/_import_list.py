"""What `trunkline import --list` shows: the last imports, from a shell and over HTTP."""

from __future__ import annotations

from trunkline.cli._frame import say, say_json
from trunkline.kit.clock import SystemClock
from trunkline.reports.imports import ImportTold, tell_import
from trunkline.state.home import Home
from trunkline.state.imports import looking_at_imports

LISTED_MAX = 50


def show_imports(home: Home, app: str | None, *, is_json: bool) -> int:
    """Print the last imports of an app, or of all."""
    now_ms = SystemClock().now_ms()
    with looking_at_imports(home) as imports:
        rows = imports.latest(app, LISTED_MAX) if imports else []
    told = [tell_import(home, row, now_ms) for row in rows]
    if is_json:
        say_json(told)
        return 0
    if not told:
        say("no file was imported yet")
    for row, each in zip(rows, told, strict=True):
        say(f"{each.id}  {each.state:<8} {each.kind:<6} {row.path or 'over HTTP'}")
        say(f"  {_count(each)}")
        if each.problem:
            say(f"  {each.problem}")
    return 0


def _count(told: ImportTold) -> str:
    duplicates = f", {told.duplicate:,} duplicates" if told.judged else ""
    left = "" if told.seconds_left is None else f", {told.seconds_left:,.0f} s left"
    return (
        f"{told.started}: {told.share:.0%}, {told.lines:,} lines, {told.stored:,} stored"
        f"{duplicates}, {told.rejected:,} rejected{left}"
    )
