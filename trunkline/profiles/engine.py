"""The profiles: EVENTS → the profile store, on a thread of the background process.

    read ≤ 40,000 records → whom do they name → gather what changes → one transaction: that, and
    how far was read

So a batch is in the store whole or not at all, and whatever ends the process, each event counts
once. Segments of EVENTS are kept until the store was synced past them. Where it cannot be written
for long, it must not fill the disk: after a day, or when EVENTS takes a quarter of the disk, the
log is let go, and what is removed unread is counted as missed once the store works again.
"""

from __future__ import annotations

import shutil
import threading
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from typing import Literal, cast

import apsw

from trunkline.kit.clock import Clock
from trunkline.kit.eventlog import EventLog, Fetched, LogFailure, Reader
from trunkline.kit.identifiers import identifiers_of, ids_of, read_named
from trunkline.kit.suppression import Suppressed, suppressed_of
from trunkline.model.record import EVENTS, StoredEvent, decode_stored
from trunkline.model.snapshot import Snapshot
from trunkline.profiles.batch import Batch, Memory
from trunkline.state.db import StateVersionError, checkpoint
from trunkline.state.home import Home
from trunkline.state.profiles import (
    add_missed,
    open_for_writing,
    read_erased,
    read_position,
    save_position,
    transaction,
)
from trunkline.telemetry import profiles as telemetry

GROUP = "profiles"
PARTITION = 0
# A batch costs a row of each user it names, whatever it holds of them, and nobody waits for a
# profile by the millisecond. So it gathers.
BATCH_RECORDS = 40_000
_GATHER_SECONDS = 1.0
_GATHER_LOADED_SECONDS = 4.0
_LOADED_RECORDS = 2000  # that a second brought: then a person has several events in a batch
_BATCH_SECONDS = 1.5  # of reading: merges and erasures wait for it, five seconds at most
_CHUNK_RECORDS = 1000
_TRAIT_BYTES_MAX = 8_388_608  # that a batch gathers, and at most as much again
WAIT_SECONDS = 0.5  # the bell wakes us; this bounds how long a stop may take
_NO_CATALOG_SECONDS = 0.2
SYNC_SECONDS = 60.0
_SYNC_AGAIN_SECONDS = 5.0
FAILING_SECONDS_MAX = 86_400.0
LOG_SHARE_OF_DISK = 4
_PAUSE_SECONDS = (0.5, 1.0, 2.0, 5.0, 15.0, 60.0)


class Profiles:
    """EVENTS → the profile store. `run` on a thread of its own; the only reader of its group."""

    def __init__(
        self,
        *,
        log: EventLog,
        snapshot: Callable[[], Snapshot | None],
        home: Home,
        clock: Clock,
        vfs: str | None = None,
    ) -> None:
        self._log = log
        self._snapshot = snapshot
        self._home = home
        self._clock = clock
        self._vfs = vfs
        self._db: apsw.Connection | None = None
        self._reader: Reader | None = None
        self._memory = Memory()
        self._position = 0
        self._is_behind = False  # the last batch ended at a limit: there may be more
        self._version = -1  # of the store, as SQLite counts what others write
        self._erased: Mapping[tuple[str, str, str], int] = {}
        self._seen_snapshot: Snapshot | None = None
        self._suppressed: dict[str, Suppressed] = {}
        self._off: frozenset[str] = frozenset()
        self._sync_due = clock.monotonic() + SYNC_SECONDS
        self._failures = 0
        self._failing_since: float | None = None
        self._has_let_go = False

    def run(self, stop: threading.Event) -> None:
        """Take events in until told to stop. Blocking; nothing that fails gets out."""
        while not stop.is_set():
            pause = self._try_step()
            end = self._clock.monotonic() + pause
            while not stop.is_set() and (left := end - self._clock.monotonic()) > 0:
                self._clock.pause(min(left, WAIT_SECONDS))

    def step(self) -> int:
        """Take one batch in and return how many records it had; 0 where nothing is there.

        Raises `LogFailure`, `apsw.Error`, `StateVersionError`: nothing of the batch was kept, and
        the next step begins with opening everything again.
        """
        try:
            self._open()
            snapshot = self._snapshot()
            if snapshot is None:
                return 0
            self._follow(snapshot)
            return self._step()
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        """Let go of everything. What was taken in is saved already."""
        db, self._db = self._db, None
        reader, self._reader = self._reader, None
        self._memory.clear()
        if reader is not None:
            reader.close()
        if db is not None:
            db.close()

    def sync(self) -> bool:
        """Bring the store to the disk and let go of what was read; False: try again later."""
        assert self._db is not None
        if not checkpoint(self._db):
            return False
        self._log.commit(EVENTS, GROUP, {PARTITION: self._position})
        self._has_let_go = False
        return True

    # Opening

    def _open(self) -> None:
        if self._db is not None:
            return
        self._db = open_for_writing(self._home, vfs=self._vfs)
        self._version = -1
        self._position = self._begin(self._db)
        self._reader = self._log.reader(EVENTS, GROUP, {PARTITION: self._position})
        # From its first start on: before that retention does not know of us.
        if not self._has_let_go and not self._log.committed(EVENTS, GROUP):
            self._log.commit(EVENTS, GROUP, {PARTITION: self._position})

    def _begin(self, db: apsw.Connection) -> int:
        """Return where to go on, mending what does not fit the log."""
        saved = read_position(db)
        begin = self._log.begins(EVENTS).get(PARTITION, 0)
        end = self._log.ends(EVENTS).get(PARTITION, 0)
        if saved is None:
            return begin
        if saved > end:
            telemetry.state_ahead(saved, end)
            return end
        if saved < begin:
            with transaction(db):
                add_missed(db, begin - saved)
                save_position(db, begin)
            telemetry.events_missed(begin - saved)
            return begin
        return saved

    # A batch

    def _step(self) -> int:
        assert self._reader is not None and self._db is not None
        records = self._reader.read(_CHUNK_RECORDS)
        taken = self._take(self._db, self._reader, records) if records else 0
        if not taken:
            telemetry.caught_up()
        if self._clock.monotonic() >= self._sync_due:
            again = SYNC_SECONDS if self.sync() else _SYNC_AGAIN_SECONDS
            self._sync_due = self._clock.monotonic() + again
        return taken

    def _take(self, db: apsw.Connection, reader: Reader, records: Sequence[Fetched]) -> int:
        started = self._clock.monotonic()
        results: dict[telemetry.Result, int] = defaultdict(int)
        taken, following, is_full = 0, self._position, False
        with transaction(db):
            self._look_at_others(db)
            batch = Batch(db, self._memory)
            while records:
                for record in records:
                    results[self._offer(batch, record)] += 1
                taken += len(records)
                following = records[-1].offset + 1
                is_full = self._is_full(batch, taken, started)
                records = () if is_full else reader.read(_CHUNK_RECORDS)
            batch.write()
            save_position(db, following)
        self._position, self._is_behind = following, is_full
        lag = self._log.ends(EVENTS).get(PARTITION, following) - following
        seconds = self._clock.monotonic() - started
        telemetry.batch_done(results, batch.left_out, seconds, max(0, lag))
        return taken

    def _is_full(self, batch: Batch, taken: int, started: float) -> bool:
        if taken >= BATCH_RECORDS or batch.trait_bytes >= _TRAIT_BYTES_MAX:
            return True
        return self._clock.monotonic() - started >= _BATCH_SECONDS

    def _look_at_others(self, db: apsw.Connection) -> None:
        """Forget what is remembered where another process wrote: a merge, an erasure."""
        version = cast("int", db.pragma("data_version"))
        if version != self._version:
            self._version = version
            self._memory.clear()
            self._erased = read_erased(db)

    def _offer(self, batch: Batch, record: Fetched) -> telemetry.Result:
        try:
            return self._judge(batch, decode_stored(record.record.value), record.offset)
        except (apsw.Error, MemoryError):
            raise
        except Exception as error:  # bytes that are no event, or a defect: it must not hold others
            telemetry.record_unreadable(record.offset, error)
            return "unreadable"

    def _judge(self, batch: Batch, event: StoredEvent, offset: int) -> telemetry.Result:
        if event.erased_ms:
            return "erased"
        named = read_named(event.event)
        ids = ids_of(named, event.protocol)
        key = (event.app, event.type == "identify", ids)
        if key not in batch.seen:  # else they are somebody's, and kept
            if key not in self._memory.sets and not identifiers_of(ids):
                return "nobody"
            if event.app in self._off:
                return "off"
        if self._suppressed and self._is_suppressed(event):
            return "suppressed"
        if self._erased and self._is_erased(event.app, identifiers_of(ids), offset):
            return "erased"
        batch.take(event, named, key, offset)
        return "kept"

    def _is_suppressed(self, event: StoredEvent) -> bool:
        suppressed = self._suppressed.get(event.app)
        return suppressed is not None and suppressed.holds(event.event)

    def _is_erased(self, app: str, identifiers: Sequence[tuple[str, str]], offset: int) -> bool:
        return any(offset < self._erased.get((app, kind, value), -1) for kind, value in identifiers)

    def _follow(self, snapshot: Snapshot) -> None:
        if snapshot is not self._seen_snapshot:
            self._seen_snapshot = snapshot
            self._suppressed = suppressed_of(snapshot, self._suppressed)
            self._off = frozenset(app.id for app in snapshot.apps if not app.profiles.enabled)

    # Going on, whatever happens

    def _try_step(self) -> float:
        """Do a step, or wait for one; return how long to pause, in seconds."""
        try:
            taken = self.step()
        except LogFailure as error:
            return self._failed("log", error)
        except (apsw.Error, StateVersionError, OSError) as error:
            return self._failed("state", error)
        except Exception as error:
            return self._failed("defect", error)
        self._failures, self._failing_since = 0, None
        if self._seen_snapshot is None:
            return _NO_CATALOG_SECONDS
        if taken and self._is_behind:
            return 0.0
        if taken >= _LOADED_RECORDS:
            return _GATHER_LOADED_SECONDS
        if taken:
            return _GATHER_SECONDS
        assert self._reader is not None
        return _GATHER_SECONDS if self._reader.wait(WAIT_SECONDS) else 0.0

    def _failed(self, reason: Literal["log", "state", "defect"], error: Exception) -> float:
        pause = _PAUSE_SECONDS[min(self._failures, len(_PAUSE_SECONDS) - 1)]
        self._failures += 1
        telemetry.batch_failed(reason, error, pause)
        now = self._clock.monotonic()
        self._failing_since = now if self._failing_since is None else self._failing_since
        if not self._has_let_go and self._must_let_go(now - self._failing_since):
            self._let_go(now - self._failing_since)
        return pause

    def _must_let_go(self, failing_seconds: float) -> bool:
        if failing_seconds >= FAILING_SECONDS_MAX:
            return True
        if self._failures < len(_PAUSE_SECONDS):
            return False  # a disk that was full for a moment
        bound = shutil.disk_usage(self._home.folder).total // LOG_SHARE_OF_DISK
        return self._log.size_bytes(EVENTS) > bound

    def _let_go(self, failing_seconds: float) -> None:
        try:
            self._log.forget(EVENTS, GROUP)
        except LogFailure:
            return  # asked again after the next failure
        self._has_let_go = True
        telemetry.let_go(failing_seconds / 3600)
