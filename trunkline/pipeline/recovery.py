"""Opening what the pipeline works on, and bringing it up to date with EVENTS.

EVENTS is the truth: its append was synced, and each of its records names the record of ACCEPTED it
came from. The index and the books were written after it and without a sync, so after a crash they
may lag it, each by itself. What the index surely covers is known (`IdIndex.covered`); the rest of
EVENTS is read again and its ids put back. Then ACCEPTED is read from the saved position: an id that
is found with its own origin is in EVENTS and only has to be counted.
"""

from __future__ import annotations

import contextlib
from collections.abc import Sequence

import msgspec
from msgspec import Struct

from trunkline.kit.clock import Clock
from trunkline.kit.eventlog import Appender, EventLog, Fetched, Reader
from trunkline.kit.settings import PipelineSettings
from trunkline.model.record import ACCEPTED, EVENTS, decode_stored, read_given_id
from trunkline.pipeline.books import Books
from trunkline.state.home import Home
from trunkline.state.ids import IdEntry, IdIndex, given_key, id_key
from trunkline.telemetry import pipeline as telemetry

GROUP = "pipeline"
EVENTS_PARTITION = 0
_REPLAY_GROUP = "pipeline-replay"  # never commits, so it holds nothing back
_REPLAY_RECORDS = 2000
_WARM_IDS = 250_000  # learnt before the first step: a quarter of a second; the rest beside the work


class Parts(Struct, frozen=True):
    """What is open while the pipeline runs."""

    books: Books
    index: IdIndex
    appender: Appender
    reader: Reader

    def close(self) -> None:
        """Let go of everything, also where a part of it complains."""
        with contextlib.ExitStack() as all_of_it:
            for part in (self.books, self.index, self.appender, self.reader):
                all_of_it.callback(part.close)


def recover(
    log: EventLog, home: Home, settings: PipelineSettings, clock: Clock, vfs: str | None
) -> Parts:
    """Open everything, up to date. All of it is closed again where a part fails."""
    with contextlib.ExitStack() as undo:
        books = Books(home.pipeline_file, settings.refused_max, clock, vfs)
        undo.callback(books.close)
        index = IdIndex(home.ids_folder, settings.dedupe_ids_max, vfs)
        undo.callback(index.close)
        appender = log.appender(EVENTS, EVENTS_PARTITION)
        undo.callback(appender.close)
        _check_log(log, books, index)
        _hold_events(log)
        replay(log, books, index, index.covered(books.id_files, books.events_next))
        # Files that are gone with their EVENTS: nothing is expected of them any more.
        books.forget_id_files([name for name in books.id_files if name not in index.marks()])
        index.warm(_WARM_IDS)
        reader = log.reader(ACCEPTED, GROUP, books.positions)
        undo.pop_all()
        return Parts(books, index, appender, reader)


def replay(log: EventLog, books: Books, index: IdIndex, begin: int) -> None:
    """Put the ids of EVENTS from `begin` on into the index."""
    reader = log.reader(EVENTS, _REPLAY_GROUP, {EVENTS_PARTITION: begin})
    end = begin
    try:
        while batch := reader.read(_REPLAY_RECORDS):
            end = batch[-1].offset + 1
            index.put_many(_entries_of(batch), end)
            books.save_ids(end, index.marks())
    finally:
        reader.close()
    if end > begin:
        telemetry.recovered(begin, end)


def _check_log(log: EventLog, books: Books, index: IdIndex) -> None:
    """Start over from the log where the state knows of more than it holds.

    That is a home whose log came from an older backup than its state. Going on would skip every
    new event until the log is as long as it was. What lies behind the last origin that EVENTS names
    is taken again; where that was a duplicate or a refusal, it counts twice.
    """
    end = log.ends(EVENTS).get(EVENTS_PARTITION, 0)
    if books.events_next <= end:
        return
    telemetry.state_ahead(books.events_next, end)
    done = _origins_of(log)
    books.start_over({p: min(next_, done.get(p, 0)) for p, next_ in books.positions.items()})
    index.drop_all()


def _hold_events(log: EventLog) -> None:
    """Keep EVENTS until the index was synced past it (`Upkeep.sync`), from the first start on."""
    if not log.committed(EVENTS, GROUP):
        begin = log.begins(EVENTS).get(EVENTS_PARTITION, 0)
        log.commit(EVENTS, GROUP, {EVENTS_PARTITION: begin})


def _origins_of(log: EventLog) -> dict[int, int]:
    """Return for each partition of ACCEPTED the offset behind the last one that EVENTS names."""
    reader = log.reader(EVENTS, _REPLAY_GROUP, {})
    done: dict[int, int] = {}
    try:
        while batch := reader.read(_REPLAY_RECORDS):
            for _, entry in _entries_of(batch):
                done[entry.origin_partition] = entry.origin_offset + 1
    finally:
        reader.close()
    return done


def _entries_of(batch: Sequence[Fetched]) -> list[tuple[bytes, IdEntry]]:
    entries: list[tuple[bytes, IdEntry]] = []
    for fetched in batch:
        try:
            stored = decode_stored(fetched.record.value)
        except (msgspec.MsgspecError, UnicodeDecodeError) as error:
            # Its id is not known, so it cannot be a duplicate's first; the others can.
            telemetry.output_unreadable(fetched.partition, fetched.offset, str(error))
            continue
        place = (fetched.partition, fetched.offset, stored.received_ms)
        entry = IdEntry(stored.origin_partition, stored.origin_offset, *place)
        entries.append((id_key(stored.app, stored.message_id), entry))
        if stored.notes and (given := read_given_id(stored.notes)):
            entries.append((given_key(stored.app, given), entry))
    return entries
