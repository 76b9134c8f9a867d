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
QUIET_MS = 600_000  # saved nothing for so long, an import that began does not run
_REJECT_BYTES_MAX = 65_536  # of a file of rejects that is read for the first of them

State = Literal["waiting", "running", "stopped", "done", "failed"]


class FirstReject(Struct, frozen=True):
    """Why a row was not taken."""

    line: int
    code: str
    message: str


class ImportTold(Struct, frozen=True, rename="camel"):
    """An import as it is told. `stored` rows lie in the log; `duplicate` of them were known.

    `duplicate` is None until the node has judged all of them. `rate` is lines a second of work,
    `seconds_left` None where nobody can say. `problem` says why it failed.
    """

    id: str
    kind: ImportKind
    state: State
    bytes: int
    lines: int
    stored: int
    duplicate: int | None
    rejected: int
    rejects: list[FirstReject]
    share: float
    rate: float
    seconds_left: float | None
    started: str
    done: str | None
    problem: str | None
    columns: Mapping[str, str] | None


def tell_import(home: Home, row: ImportRow, now_ms: int) -> ImportTold:
    """Return how far an import is. Raises `OSError` and `apsw.Error` for broken disks."""
    state = state_of(row, now_ms)
    duplicates = row.duplicates if row.duplicates >= 0 else None
    if duplicates is None and row.done_ms:
        duplicates = count_duplicates(home, row)
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
        stored=row.accepted,
        duplicate=duplicates,
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


def count_duplicates(home: Home, row: ImportRow) -> int | None:
    """Return how many events of an import the pipeline knew already; None where it is not through.

    Counted among the duplicates it keeps: for a week, a million of them.
    """
    if pipeline_position(home) < row.next_offset:
        return None
    with reading(home, "pipeline") as db:
        if db is None:
            return None
        found = db.execute(
            "SELECT count(*) FROM twin WHERE at_ms>=? AND partition=? AND offset>=? AND offset<?"
            " AND request_id GLOB ?",
            (row.started_ms, PARTITION, row.first_offset, row.next_offset, f"{row.name}:*"),
        ).fetchone()
        return cast("int", found[0]) if found else 0
