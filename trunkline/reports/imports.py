"""What is told of imports: how far each is, at which rate, what was rejected, what was known."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Literal, cast

import msgspec
from msgspec import Struct

from trunkline.kit.import_terms import ImportKind
from trunkline.kit.times import format_ms
from trunkline.model.record import ACCEPTED
from trunkline.reports.state import reading
from trunkline.state.home import Home
from trunkline.state.imports import ImportRow

PARTITION = 1000  # of ACCEPTED; gateways have the numbers below 64
SHOWN_REJECTS = 5
COUNTED_DAYS = 400  # for so long the pipeline keeps how many duplicates an import brought
QUIET_MS = 600_000  # saved nothing for so long, an import that began does not run
_REJECT_BYTES_MAX = 65_536  # of a file of rejects that is read for the first of them

State = Literal["waiting", "running", "stopped", "done", "failed"]


class FirstReject(Struct, frozen=True):
    """Why a row was not taken."""

    line: int
    code: str
    message: str


class ImportTold(Struct, frozen=True, rename="camel"):
    """An import as it is told. `stored` are its events that were new, `duplicate` those known.

    With `rejected` they add up to `lines`, always; a line that is a body of the REST API is one
    line and as many of the others as it has messages. Until the node has `judged` all of it, what
    it has yet to judge counts as stored. `rate` is lines a second of work, `seconds_left` None
    where nobody can say. `problem` says why it failed.
    """

    id: str
    kind: ImportKind
    state: State
    bytes: int
    lines: int
    stored: int
    duplicate: int
    judged: bool
    rejected: int
    rejects: list[FirstReject]
    share: float
    rate: float
    seconds_left: float | None
    started: str
    done: str | None
    problem: str | None
    columns: Mapping[str, str] | None


class Known(Struct, frozen=True):
    """How many events of an import the node knew before, and whether it has judged all of them."""

    duplicates: int
    is_all: bool


def tell_import(home: Home, row: ImportRow, now_ms: int) -> ImportTold:
    """Return how far an import is. Raises `OSError` and `apsw.Error` for broken disks."""
    known = count_known(home, row)
    state = state_of(row, now_ms)
    if state == "done" and row.spool and not known.is_all:
        state = "running"  # a node is there, and who waits for the end wants numbers that stay
    rate = row.rows / row.seconds if row.seconds > 0 else 0.0
    left = None
    if state == "running" and row.share > 0:
        left = round(row.seconds * (1.0 - row.share) / row.share, 1)
    return ImportTold(
        id=row.name,
        kind=row.kind,
        state=state,
        bytes=row.size,
        lines=row.rows,
        stored=row.accepted - known.duplicates,
        duplicate=known.duplicates,
        judged=known.is_all,
        rejected=row.rejected,
        rejects=first_rejects(rejects_file(home, row.name)) if row.spool else [],
        share=1.0 if row.done_ms else round(row.share, 4),
        rate=round(rate, 1),
        seconds_left=left,
        started=format_ms(row.started_ms),
        done=format_ms(row.done_ms) if row.done_ms else None,
        problem=row.fault or None,
        columns=msgspec.json.decode(row.columns, type=dict[str, str]) if row.columns else None,
    )


def state_of(row: ImportRow, now_ms: int) -> State:
    """Return what an import does. One that is over HTTP goes on by itself, so it never stops."""
    if row.done_ms:
        return "done"
    if row.fault:
        return "failed"
    if not row.saved_ms:
        return "waiting" if row.spool else "stopped"
    return "stopped" if not row.spool and now_ms - row.saved_ms > QUIET_MS else "running"


def import_of(request_id: str) -> str:
    """Return the import that a record of its partition came with."""
    return request_id.rpartition(":")[0]


def rejects_file(home: Home, name: str) -> Path:
    """Return where the rejects of an import over HTTP are, if it has some."""
    return home.imports_folder / f"{name}.rejects.ndjson"


def first_rejects(file: Path) -> list[FirstReject]:
    """Return the first rejects of a file; none where there is no file."""
    try:
        with file.open("rb") as opened:
            head = opened.read(_REJECT_BYTES_MAX)
    except FileNotFoundError:
        return []
    whole = head[: head.rfind(b"\n") + 1].splitlines()
    return [msgspec.json.decode(line, type=FirstReject) for line in whole[:SHOWN_REJECTS]]


def pipeline_position(home: Home) -> int:
    """Return the next record of the partition of imports that the pipeline will take up."""
    with reading(home, "pipeline") as db:
        if db is None:
            return 0
        found = db.execute(
            "SELECT next FROM position WHERE topic=? AND partition=?", (ACCEPTED, PARTITION)
        ).fetchone()
        return cast("int", found[0]) if found else 0


def count_known(home: Home, row: ImportRow) -> Known:
    """Return how many events of an import the pipeline found to be known, so far or in all.

    Behind a kill it may have judged more than the row tells of: no more than that is counted.
    """
    if row.duplicates >= 0:
        return Known(row.duplicates, is_all=True)
    with reading(home, "pipeline") as db:
        if db is None:
            return Known(0, is_all=row.done_ms > 0 and row.accepted == 0)
        found = db.execute(
            "SELECT coalesce((SELECT next FROM position WHERE topic=? AND partition=?), 0),"
            " coalesce((SELECT count FROM import_twin WHERE name=?), 0)",
            (ACCEPTED, PARTITION, row.name),
        ).fetchone()
    position, duplicates = cast("tuple[int, int]", found)
    is_all = row.is_over and position >= row.next_offset
    return Known(min(duplicates, row.accepted), is_all=is_all)
