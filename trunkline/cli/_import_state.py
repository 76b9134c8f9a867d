"""What `trunkline doctor` says of files that came over HTTP: waiting, standing still, failed."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Literal

from trunkline.kit.clock import SystemClock
from trunkline.reports.imports import QUIET_MS
from trunkline.state.home import Home
from trunkline.state.imports import ImportRow, looking_at_imports
from trunkline.state.spool import PART, SPOOL

_LOOKED_AT_MAX = 200  # of the latest imports
_FAILED_MS = 86_400_000  # for so long a failure is told

Line = tuple[Literal["ok", "warning"], str]


def examine_imports(home: Home, *, is_running: bool) -> Iterator[Line]:
    """Yield what is worth knowing; nothing where no file came over HTTP."""
    if not home.imports_folder.exists():
        return
    with looking_at_imports(home) as imports:
        rows = imports.latest(None, _LOOKED_AT_MAX) if imports else []
        wanted = set(imports.open_spools()) if imports else set[str]()
    now_ms = SystemClock().now_ms()
    yield _count_files(home, wanted, is_running=is_running)
    for row in rows:
        if row.spool and not row.is_over and is_running and _is_still(row, now_ms):
            minutes = (now_ms - row.saved_ms) // 60_000
            yield (
                "warning",
                f"{row.name} has stood still for {minutes} min behind line {row.position:,}; see "
                "import_put_off in the node's log",
            )
        elif row.fault and now_ms - row.saved_ms < _FAILED_MS:
            yield "warning", f"{row.name} of the app {row.app} failed: {row.fault}"


def _is_still(row: ImportRow, now_ms: int) -> bool:
    # One that waits behind others has not begun, and that is no fault of its own.
    return bool(row.saved_ms) and now_ms - row.saved_ms > QUIET_MS


def _count_files(home: Home, wanted: set[str], *, is_running: bool) -> Line:
    sizes: dict[str, int] = {}
    for path in home.imports_folder.iterdir():
        if path.suffix in (PART, SPOOL):
            with contextlib.suppress(FileNotFoundError):  # it was through a moment ago
                sizes[path.name] = path.stat().st_size
    left = [name for name in sizes if name not in wanted]
    total = sum(sizes.values()) / 1e9
    text = f"{len(wanted)} files wait, {total:.1f} GB on disk with what is being received"
    if is_running:
        return "ok", text
    if left:
        text += f"; {len(left)} were left by a kill: the node removes them when it starts"
    if wanted:
        return "warning", f"{text}; no node runs, and only a node takes them in"
    return "ok", text
