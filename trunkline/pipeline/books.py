"""What the pipeline writes down: positions, ledger, refused events, twins. One transaction a step.

`state/pipeline.db` is the only place where a step becomes final: a record is counted in the
transaction that moves the position past it, so whatever a crash takes back, it is counted once.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import cast

from trunkline.kit.clock import Clock
from trunkline.kit.erasure import Person, mentions
from trunkline.model.record import (
    ACCEPTED,
    EVENTS,
    AcceptedEvent,
    AcceptedRefusal,
    encode_record,
)
from trunkline.pipeline.judge import MINUTE_MS, Verdicts
from trunkline.reports.imports import COUNTED_DAYS, PARTITION, import_of
from trunkline.state.db import checkpoint, open_writer, wipe
from trunkline.state.ids import DAY_MS, Mark
from trunkline.state.pipeline import MIGRATIONS

KEEP_REFUSED_DAYS = 7
KEEP_TWINS_DAYS = 7
KEEP_LEDGER_DAYS = 400
TWINS_MAX = 1_000_000
SAMPLE = 100  # past `refused_max`, one refusal in so many is kept, in place of the app's oldest
CHUNK_ROWS = 1000  # removed at a time, so that a step never waits long

_REFUSED_COLUMNS = (
    "app, at_ms, protocol, key, address, request_id, code, message, message_id, body, count, origin"
)


class Books:
    """The one writer of the pipeline's state file."""

    def __init__(self, path: Path, refused_max: int, clock: Clock, vfs: str | None = None) -> None:
        self._db = open_writer(path, MIGRATIONS, vfs=vfs)
        self._db.execute("PRAGMA journal_size_limit=16777216")
        self._clock = clock
        self._refused_max = refused_max
        self._refused: defaultdict[str, int] = defaultdict(int)
        self._unsampled: defaultdict[str, int] = defaultdict(int)
        rows = self._db.execute("SELECT topic, partition, next FROM position")
        positions = cast("list[tuple[str, int, int]]", list(rows))
        self.positions = {p: next_ for topic, p, next_ in positions if topic == ACCEPTED}
        self.events_next = next((next_ for topic, _, next_ in positions if topic == EVENTS), 0)
        rows = self._db.execute("SELECT name, first, next FROM id_file")
        files = cast("list[tuple[str, int, int]]", list(rows))
        self.id_files: dict[str, Mark] = {name: (first, next_) for name, first, next_ in files}
        rows = self._db.execute("SELECT app, count(*) FROM refused GROUP BY app")
        self._refused.update(cast("list[tuple[str, int]]", list(rows)))
        self._twins = cast("int", self._db.execute("SELECT count(*) FROM twin").get)

    def save(
        self,
        verdicts: Verdicts,
        positions: Mapping[int, int],
        events_next: int,
        ids: Mapping[str, Mark],
    ) -> None:
        """Write down a step that is in EVENTS and whose ids are in the index."""
        refused = self._choose(verdicts.refused)
        with self._db:
            self._count(verdicts)
            self._keep_refused(refused)
            self._keep_twins(verdicts.twins)
            self._count_imported(verdicts.twins)
            self._move(positions, events_next, ids)
        for refusal, evicts in refused:
            self._refused[refusal.app] += 0 if evicts else 1
        self._twins += len(verdicts.twins)
        self.positions.update(positions)
        self._moved(events_next, ids)

    def save_ids(self, events_next: int, ids: Mapping[str, Mark]) -> None:
        """Write down that the index covers EVENTS this far."""
        with self._db:
            self._move({}, events_next, ids)
        self._moved(events_next, ids)

    def start_over(self, positions: Mapping[int, int]) -> None:
        """Take positions back to what the log holds, and forget what the index covered."""
        with self._db:
            self._db.execute("DELETE FROM id_file")
            self._db.execute("UPDATE position SET next=0 WHERE topic=?", (EVENTS,))
            self._move(positions, 0, {})
        self.positions.update(positions)
        self.events_next, self.id_files = 0, {}

    def forget_id_files(self, names: Sequence[str], since_ms: int | None = None) -> None:
        """Write down that files of the index are gone; `since_ms`: because it was full."""
        if not names:
            return
        with self._db:
            self._db.executemany("DELETE FROM id_file WHERE name=?", [(name,) for name in names])
            if since_ms is not None:
                self._db.execute(
                    "INSERT INTO setting VALUES ('dedupe_since_ms', ?)"
                    " ON CONFLICT DO UPDATE SET value=excluded.value",
                    (str(since_ms),),
                )
        for name in names:
            self.id_files.pop(name, None)

    def mend_window(self, needed_since_ms: int) -> None:
        """Forget that the window was shortened once it is whole again."""
        self._db.execute(
            "DELETE FROM setting WHERE name='dedupe_since_ms' AND CAST(value AS INTEGER)<=?",
            (needed_since_ms,),
        )

    def tidy(self) -> None:
        """Remove a chunk of what is too old or too much."""
        now_ms = self._clock.now_ms()
        with self._db:
            self._tidy_refused(now_ms - KEEP_REFUSED_DAYS * DAY_MS)
            self._tidy_twins(now_ms - KEEP_TWINS_DAYS * DAY_MS)
            self._db.execute(
                "DELETE FROM import_twin WHERE at_ms<?", (now_ms - COUNTED_DAYS * DAY_MS,)
            )
            self._db.execute(
                "DELETE FROM ledger WHERE (app, minute, snapshot, kind, reason) IN (SELECT app,"
                " minute, snapshot, kind, reason FROM ledger WHERE minute<? LIMIT ?)",
                ((now_ms - KEEP_LEDGER_DAYS * DAY_MS) // MINUTE_MS, CHUNK_ROWS),
            )

    def checkpoint(self) -> bool:
        """Bring everything to the disk; False where a reader was in the way of a part."""
        return checkpoint(self._db)

    def erase(self, person: Person, message_ids: Sequence[str]) -> tuple[int, int]:
        """Blank refused events that name a person, forget repeats of theirs; return how many.

        Refused events were not understood, so one is theirs where one of their ids stands in it.
        """
        hints = person.hints()
        rows = self._db.execute(
            "SELECT id, message, message_id, body, origin FROM refused WHERE app=?", (person.app,)
        )
        refused = [(int(row[0]),) for row in list(rows) if _mentions(row[1:], hints)]
        before = self._db.total_changes()
        with self._db:
            self._db.executemany(
                "UPDATE refused SET address='', request_id='', message='erased', message_id='',"
                " body=x'', origin=NULL WHERE id=?",
                refused,
            )
            self._db.executemany(
                "DELETE FROM twin WHERE app=? AND message_id=?",
                [(person.app, message_id) for message_id in message_ids],
            )
        repeats = self._db.total_changes() - before - len(refused)
        self._twins -= repeats
        return len(refused), repeats

    def wipe(self) -> bool:
        """Leave nothing of what was deleted on the disk; False: a reader is in the way."""
        return wipe(self._db)

    def close(self) -> None:
        """Let go of the file."""
        self._db.close()

    def _count(self, verdicts: Verdicts) -> None:
        self._db.executemany(
            "INSERT INTO ledger (app, minute, snapshot, kind, reason, count)"
            " VALUES (?, ?, ?, ?, ?, ?) ON CONFLICT DO UPDATE SET count=count+excluded.count",
            [(*key, count) for key, count in verdicts.ledger.items()],
        )

    def _choose(self, refusals: Sequence[AcceptedRefusal]) -> list[tuple[AcceptedRefusal, bool]]:
        """Return the refusals to keep, and whether each takes the place of an older one."""
        chosen: list[tuple[AcceptedRefusal, bool]] = []
        coming: defaultdict[str, int] = defaultdict(int)
        for refusal in refusals:
            app = refusal.app
            if self._refused[app] + coming[app] < self._refused_max:
                coming[app] += 1
                chosen.append((refusal, False))
                continue
            self._unsampled[app] += 1
            if self._unsampled[app] >= SAMPLE:
                self._unsampled[app] = 0
                chosen.append((refusal, True))
        return chosen

    def _keep_refused(self, refused: Sequence[tuple[AcceptedRefusal, bool]]) -> None:
        for r, evicts in refused:
            if evicts:
                self._db.execute(
                    "DELETE FROM refused WHERE id=(SELECT min(id) FROM refused WHERE app=?)",
                    (r.app,),
                )
            self._db.execute(
                f"INSERT INTO refused ({_REFUSED_COLUMNS}) VALUES (?,?,?,?,?,?,?,?,?,?,?,?)",
                (
                    r.app, r.received_ms, r.protocol, r.key, r.address, r.request_id, r.code,
                    r.message, r.message_id, r.body, r.count,
                    None if r.origin is None else encode_record(r.origin),
                ),
            )  # fmt: skip

    def _keep_twins(self, twins: Sequence[tuple[AcceptedEvent, int, int]]) -> None:
        self._db.executemany(
            "INSERT OR IGNORE INTO twin (app, message_id, at_ms, protocol, key, address,"
            " request_id, partition, offset) VALUES (?,?,?,?,?,?,?,?,?)",
            [
                (
                    r.app, r.message_id, r.received_ms, r.protocol, r.key, r.address,
                    r.request_id, partition, offset,
                )
                for r, partition, offset in twins
            ],
        )  # fmt: skip

    def _count_imported(self, twins: Sequence[tuple[AcceptedEvent, int, int]]) -> None:
        """Count the duplicates of imports: the twins themselves are kept by number and for days."""
        found = Counter(
            import_of(record.request_id) for record, partition, _ in twins if partition == PARTITION
        )
        now_ms = self._clock.now_ms() if found else 0
        self._db.executemany(
            "INSERT INTO import_twin VALUES (?, ?, ?) ON CONFLICT DO UPDATE SET"
            " count=count+excluded.count, at_ms=excluded.at_ms",
            [(name, count, now_ms) for name, count in found.items()],
        )

    def _move(
        self, positions: Mapping[int, int], events_next: int, ids: Mapping[str, Mark]
    ) -> None:
        rows = [(ACCEPTED, partition, next_) for partition, next_ in positions.items()]
        self._db.executemany(
            "INSERT INTO position VALUES (?, ?, ?) ON CONFLICT DO UPDATE SET next=excluded.next",
            [*rows, (EVENTS, 0, events_next)],
        )
        changed = [(name, *mark) for name, mark in ids.items() if self.id_files.get(name) != mark]
        self._db.executemany(
            "INSERT INTO id_file VALUES (?, ?, ?) ON CONFLICT DO UPDATE SET"
            " first=excluded.first, next=excluded.next",
            changed,
        )

    def _moved(self, events_next: int, ids: Mapping[str, Mark]) -> None:
        self.events_next = events_next
        self.id_files.update(ids)

    def _tidy_refused(self, before_ms: int) -> None:
        rows = self._db.execute(
            "SELECT id, app, at_ms FROM refused ORDER BY id LIMIT ?", (CHUNK_ROWS,)
        )
        for id_, app, at_ms in cast("list[tuple[int, str, int]]", list(rows)):
            if at_ms < before_ms:
                self._db.execute("DELETE FROM refused WHERE id=?", (id_,))
                self._refused[app] -= 1

    def _tidy_twins(self, before_ms: int) -> None:
        over = max(0, self._twins - TWINS_MAX)
        rows = "SELECT app, message_id, partition, offset FROM twin"
        for where, bindings in (
            (f"{rows} WHERE at_ms<? LIMIT ?", (before_ms, CHUNK_ROWS)),
            (f"{rows} ORDER BY at_ms LIMIT ?", (min(over, 10 * CHUNK_ROWS),)),
        ):
            self._db.execute(
                f"DELETE FROM twin WHERE (app, message_id, partition, offset) IN ({where})",
                bindings,
            )
            self._twins -= self._db.changes()


def _mentions(values: Sequence[object], hints: Sequence[bytes]) -> bool:
    parts = [each if isinstance(each, bytes) else str(each or "").encode() for each in values]
    return any(mentions(part, hints) for part in parts)
