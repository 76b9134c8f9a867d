"""Replacing records of a partition for good, at their offsets, while others append and read.

The **last** segment is changed where it is: a second writer for a short time, whose transaction
readers see whole or not at all; its appender waits for it. Where it is large and somebody appends,
it is left alone until it is closed, which is within the hour: `LogFailure` says so.

A **closed** segment may be open without locks, so it is never changed: a copy is, and takes its
place in one rename. Who has the old one open reads on in it and looks now and then whether it was
replaced (`SegmentReader.was_replaced`).

Either is then written anew (`VACUUM`) and its write-ahead log is cut to nothing, so that the old
bytes are in no file: SQLite leaves what it moves from page to page where it was. To have it
overwrite that at once (`secure_delete`) would cost each append 5 to 30 % more CPU, measured. A copy
that a kill left behind is removed by the next `sweep_copies`.
"""

from __future__ import annotations

import contextlib
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import apsw

from trunkline.kit.clock import Clock
from trunkline.kit.eventlog import Fetched, LogFailure, Record
from trunkline.kit.folders import sync_folder
from trunkline.state.segment import (
    SIDE_FILES,
    SegmentReader,
    close_quietly,
    connect,
    decode_block,
    encode_block,
    explained,
    list_segments,
)

COPY = ".copy"
MARK = ".scrub"
SMALL_BYTES = 33_554_432  # written anew in a few tenths of a second, for which its appender waits
QUIET_MS = 10_000  # nobody appended for so long: nobody waits
CUT_SECONDS = 30.0  # how long readers may be in the way of cutting a write-ahead log
_PAUSE_SECONDS = 0.05


def search_segment(
    reader: SegmentReader, partition: int, span: range, hints: Sequence[bytes], records_max: int
) -> tuple[list[Fetched], int]:
    """Return the records of a span that hold one of `hints`, and the offset to go on from.

    It ends behind the block that brings `records_max` records, else at the end of the segment. Read
    at about 1 GB a second, for blocks without a hint are not decoded.
    """
    found: list[Fetched] = []
    with explained(reader.path), contextlib.closing(reader.blocks(span.start)) as blocks:
        for base, data in blocks:
            if base >= span.stop:
                break
            if len(found) >= records_max:
                return found, base
            if any(hint in data for hint in hints):
                found += [
                    Fetched(partition, offset, record)
                    for offset, record in enumerate(decode_block(data), base)
                    if offset in span and any(hint in record.value for hint in hints)
                ]
    return found, span.stop


class Manner(NamedTuple):
    """How files are opened: SQLite's `synchronous`, a VFS; and whose time passes."""

    sync: str
    vfs: str | None
    clock: Clock


def replace_records(
    folder: Path, segment: Path, records: Mapping[int, Record], manner: Manner
) -> None:
    """Replace records of one segment; durable and gone from its files when it returns.

    Raises `LogFailure`; then some of them may be replaced. A segment that is gone is no failure.
    """
    with explained(segment):
        if not segment.exists():
            _unmark(segment)
            return
        db = connect(segment, apsw.SQLITE_OPEN_READWRITE, manner.sync, manner.vfs)
        try:
            # Looked at with the file open: as long as we have it open its log stays, and while
            # the log is there everybody who opens the file reads it with locks.
            if _is_last(folder, segment):
                _check_pause(segment, manner.clock)
                _mark(segment)
                _change(db, records)
                _cut_log(segment, db, manner.clock)
                _unmark(segment)
                return
            _cut_log(segment, db, manner.clock)
        finally:
            close_quietly(segment, db)
        _swap(segment, records, manner)
        _unmark(segment)


def find_unfinished(folder: Path) -> list[Path]:
    """Return the segments of a partition in which a kill may have left what was replaced.

    Between the change and the end of its traces no record tells of it any more: a file does.
    """
    marks = sorted(folder.glob(f"*{MARK}"))
    return [mark.with_name(mark.name.removesuffix(MARK)) for mark in marks]


def _mark(segment: Path) -> None:
    segment.with_name(segment.name + MARK).touch()
    sync_folder(segment.parent)


def _unmark(segment: Path) -> None:
    segment.with_name(segment.name + MARK).unlink(missing_ok=True)


def sweep_copies(folder: Path) -> None:
    """Remove what a kill left behind in a partition."""
    for path in folder.glob(f"*{COPY}*"):
        path.unlink(missing_ok=True)


def _is_last(folder: Path, segment: Path) -> bool:
    segments = list_segments(folder)
    return bool(segments) and segments[-1].path == segment


def _check_pause(segment: Path, clock: Clock) -> None:
    """Raise `LogFailure` where an appender would have to wait for too long."""
    if segment.stat().st_size <= SMALL_BYTES:
        return
    log = segment.with_name(segment.name + "-wal")
    if log.exists() and clock.now_ms() - log.stat().st_mtime * 1000 < QUIET_MS:
        raise LogFailure(f"{segment} is large and appended to; it waits until that is closed")


def _change(db: apsw.Connection, records: Mapping[int, Record]) -> None:
    db.execute("BEGIN IMMEDIATE")
    try:
        left = sorted(records)
        while left:
            row = db.execute(
                "SELECT base, count, data FROM block WHERE base<=? ORDER BY base DESC LIMIT 1",
                (left[0],),
            ).fetchone()
            if row is None or left[0] >= row[0] + row[1]:
                left.pop(0)  # retention or a gap: nothing is there
                continue
            base, count, data = int(row[0]), int(row[1]), bytes(row[2])
            here = [offset for offset in left if offset < base + count]
            left = left[len(here) :]
            block = decode_block(data)
            for offset in here:
                block[offset - base] = records[offset]
            db.execute("UPDATE block SET data=? WHERE base=?", (encode_block(block), base))
        db.execute("COMMIT")
    finally:
        if db.in_transaction:
            db.execute("ROLLBACK")
    db.execute("VACUUM")


def _cut_log(segment: Path, db: apsw.Connection, clock: Clock) -> None:
    """Bring the write-ahead log in and make it empty. Raises `LogFailure` where readers stay."""
    deadline = clock.monotonic() + CUT_SECONDS
    while True:
        row = db.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
        if row is not None and row[0] == 0:
            return
        if clock.monotonic() >= deadline:
            raise LogFailure(f"{segment}: somebody reads it all the time; it is tried again later")
        clock.pause(_PAUSE_SECONDS)


def _swap(segment: Path, records: Mapping[int, Record], manner: Manner) -> None:
    copy = segment.with_name(segment.name + COPY)
    _remove(copy)
    try:
        shutil.copyfile(segment, copy)
        db = connect(copy, apsw.SQLITE_OPEN_READWRITE, manner.sync, manner.vfs)
        try:
            _change(db, records)
            _cut_log(copy, db, manner.clock)
        finally:
            close_quietly(copy, db)
        # What is left of the old file's log is empty: nobody appends to a closed segment.
        for side in SIDE_FILES:
            segment.with_name(segment.name + side).unlink(missing_ok=True)
        if not segment.exists():
            return  # retention removed it meanwhile
        copy.rename(segment)
        sync_folder(segment.parent)
    finally:
        _remove(copy)


def _remove(copy: Path) -> None:
    for name in (copy, *(copy.with_name(copy.name + side) for side in SIDE_FILES)):
        name.unlink(missing_ok=True)
