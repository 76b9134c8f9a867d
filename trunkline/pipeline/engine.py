"""The pipeline: takes records from ACCEPTED, and puts each event once and shaped into EVENTS.

A step, in its order:

1. read up to `batch_events_max` records from ACCEPTED;
2. ask the index which ids it knows;
3. judge each record: refused, a duplicate, accepted (`judge.py`);
4. append what is accepted to EVENTS, synced: **this is the commit point**;
5. put the ids into the index;
6. save positions, ledger, refused events and twins in one transaction of the books.

A crash before 4 leaves nothing behind. After it, EVENTS tells what was done: recovery puts the ids
back (`recovery.py`), and the records that are read again are found with their own origin, and are
counted, not put out again. The same happens, without a crash, where a step fails.
"""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future
from typing import Literal, TypeVar

import apsw

from trunkline.kit.clock import Clock
from trunkline.kit.erasure import NotYet, Person
from trunkline.kit.eventlog import EventLog, Fetched, LogFailure
from trunkline.kit.protocol import Protocol
from trunkline.kit.settings import PipelineSettings
from trunkline.model.record import Accepted, AcceptedEvent
from trunkline.model.snapshot import Snapshot
from trunkline.pipeline import judge
from trunkline.pipeline.books import Books
from trunkline.pipeline.recovery import Parts, recover, replay
from trunkline.pipeline.upkeep import Upkeep
from trunkline.reports.push_tokens import PushTokens
from trunkline.state.home import Home
from trunkline.telemetry import pipeline as telemetry

T = TypeVar("T")

ASK_SECONDS = 30.0
ASK_LOOK_SECONDS = 0.2
WAIT_SECONDS = 0.5  # the bell wakes us; this bounds how long a stop may take
CATALOG_SECONDS = 5.0  # every process has a change of the catalog within two
_CATALOG_POLL_SECONDS = 0.02
_NO_CATALOG_SECONDS = 0.2
_FALSE_RING_SECONDS = 0.002
# A step has three commits whatever its size, so in a stream it is worth waiting for more events: at
# 5,000 a second that saves 25 % of the worker's CPU. A few events are taken through at once.
_STREAM_RECORDS_MIN = 16
_GATHER_SECONDS = 0.02
_FAST_RECORDS_MIN = 128  # a stream of thousands a second: 20 ms more halve the number of steps
_GATHER_FAST_SECONDS = 0.04
_PAUSE_SECONDS = (0.5, 1.0, 2.0, 5.0)  # between tries of a step that fails


class Pipeline:
    """ACCEPTED → EVENTS, on one thread. The only writer of EVENTS and of the pipeline's state."""

    def __init__(
        self,
        *,
        log: EventLog,
        protocols: Mapping[str, Protocol],
        snapshot: Callable[[], Snapshot | None],
        home: Home,
        settings: PipelineSettings,
        keep_days: float,
        clock: Clock,
        vfs: str | None = None,
    ) -> None:
        self._log = log
        self._protocols = protocols
        self._snapshot = snapshot
        self._home = home
        self._settings = settings
        self._clock = clock
        self._vfs = vfs
        self._tokens = PushTokens(home)
        self._upkeep = Upkeep(log, settings, keep_days, clock)
        self._parts: Parts | None = None
        self._is_unsure = False  # an append failed: it may be in EVENTS all the same
        self._catalog_given_up = -1  # a snapshot that was waited for and did not come
        self._has_ended = False
        self._asked: queue.SimpleQueue[Callable[[Books], None]] = queue.SimpleQueue()
        self._failures = 0
        self._false_rings = 0

    def recover(self) -> None:
        """Open the state and bring it up to date with EVENTS. Raises `LogFailure`, `apsw.Error`."""
        self._let_go()
        self._parts = recover(self._log, self._home, self._settings, self._clock, self._vfs)
        self._is_unsure = False

    def step(self) -> int:
        """Take records through and return how many; 0 where nothing is there, or no catalog yet.

        Raises `LogFailure` where the log takes nothing: then nothing is lost, and the next step
        takes the same records again. The same after any other exception.
        """
        if self._parts is None:
            self.recover()
        assert self._parts is not None
        parts = self._parts
        snapshot = self._snapshot()
        if snapshot is None:
            return 0  # without a catalog events would get the wrong shape for good
        try:
            return self._step(parts, snapshot)
        except LogFailure:
            self._is_unsure = True
            parts.reader.seek(parts.books.positions)
            raise
        except BaseException:
            # The files and what we hold of them in memory may differ now: open them again.
            self._let_go()
            raise

    def erase(self, person: Person, message_ids: Sequence[str]) -> tuple[int, int]:
        """Erase a person from the books; `message_ids` are their events'. Returns how many refused
        events and repeats that were.

        Done between two steps; blocking, for another thread. Raises `NotYet`.
        """
        return self._ask(lambda books: books.erase(person, message_ids))

    def wipe(self) -> bool:
        """Leave nothing of what was deleted in the file; False: a reader is there. As `erase`."""
        return self._ask(Books.wipe)

    def _ask(self, work: Callable[[Books], T]) -> T:
        asked: Future[T] = Future()

        def do(books: Books) -> None:
            if asked.set_running_or_notify_cancel():
                try:
                    asked.set_result(work(books))
                except Exception as error:  # it is raised where it was asked
                    asked.set_exception(error)

        self._asked.put(do)
        deadline = self._clock.monotonic() + ASK_SECONDS
        while self._clock.monotonic() < deadline and not self._has_ended:
            try:
                return asked.result(ASK_LOOK_SECONDS)
            except TimeoutError:
                continue
        asked.cancel()
        raise NotYet("the pipeline did not come to it, or was told to stop")

    def run(self, stop: threading.Event) -> None:
        """Take records through until told to stop. Blocking; for a thread of its own."""
        self._has_ended = False
        while not stop.is_set():
            self._do_asked()
            pause = self._try_step()
            end = self._clock.monotonic() + pause
            while not stop.is_set() and (left := end - self._clock.monotonic()) > 0:
                self._clock.pause(min(left, WAIT_SECONDS))
        self._has_ended = True

    def sync(self) -> bool:
        """Bring the state to the disk and let go of what is not needed; False: try again later."""
        return self._parts is not None and self._upkeep.sync(self._parts, self._snapshot())

    def close(self) -> None:
        """Let go of everything. What was taken through is saved already."""
        self._let_go()

    def _do_asked(self) -> None:
        while self._parts is not None and not self._asked.empty():
            self._asked.get()(self._parts.books)

    def _step(self, parts: Parts, snapshot: Snapshot) -> int:
        if self._is_unsure:
            replay(self._log, parts.books, parts.index, parts.books.events_next)
            self._is_unsure = False
        batch = parts.reader.read(self._settings.batch_events_max)
        if batch:
            self._take(parts, batch, snapshot)
        else:
            telemetry.caught_up()
        self._upkeep.do_due(parts, snapshot)
        return len(batch)

    def _take(self, parts: Parts, batch: Sequence[Fetched], snapshot: Snapshot) -> None:
        started = self._clock.monotonic()
        records = judge.decode(batch)
        keys = judge.keys_of(records)
        found = parts.index.find_many(keys)
        snapshot = self._wait_for_catalog(records, snapshot)
        now_ms = self._clock.now_ms()
        judging = judge.Judge(self._protocols, snapshot, found, now_ms, self._tokens)
        verdicts = judging.judge_all(batch, records, keys)
        self._tokens.close()
        events_next = parts.books.events_next
        if verdicts.outputs:
            offsets = parts.appender.append(verdicts.outputs)
            events_next = offsets[-1] + 1
            parts.index.put_many(verdicts.entries_at(offsets), events_next)
        positions = {fetched.partition: fetched.offset + 1 for fetched in batch}
        parts.books.save(verdicts, positions, events_next, parts.index.marks())
        self._tell(verdicts, now_ms, started)

    def _wait_for_catalog(self, records: Sequence[Accepted | str], snapshot: Snapshot) -> Snapshot:
        """Return the catalog once it is as new as the one that accepted these records.

        A gateway may learn of a change a moment before we do; shaped with the older catalog, an
        event of a new app would lose its name for good.
        """
        events = (record for record in records if isinstance(record, AcceptedEvent))
        wanted = max((event.snapshot for event in events), default=0)
        deadline = self._clock.monotonic() + CATALOG_SECONDS
        while snapshot.version < wanted and self._catalog_given_up < wanted:
            if self._clock.monotonic() >= deadline:
                self._catalog_given_up = wanted
                telemetry.catalog_behind(wanted, snapshot.version)
                break
            self._clock.pause(_CATALOG_POLL_SECONDS)
            snapshot = self._snapshot() or snapshot
        return snapshot

    def _tell(self, verdicts: judge.Verdicts, now_ms: int, started: float) -> None:
        results: dict[telemetry.Result, int] = {
            "accepted": 0, "duplicate": len(verdicts.twins), "refused": 0,
        }  # fmt: skip
        for (_, _, _, kind, _), count in verdicts.ledger.items():
            if kind == "accepted" or kind == "refused":
                results[kind] += count
        lag_seconds = (now_ms - verdicts.last_received_ms) / 1000
        telemetry.step_done(results, self._clock.monotonic() - started, lag_seconds)
        if verdicts.defects:
            telemetry.unprocessable(len(verdicts.defects), *_values_of(verdicts.defects[0]))

    def _try_step(self) -> float:
        """Do a step, or wait for one; return how long to pause, in seconds."""
        try:
            taken = self.step()
            if taken:
                self._failures = self._false_rings = 0
                return self._gather_seconds(taken)
            return self._wait()
        except LogFailure as error:
            return self._failed("log", error)
        except apsw.Error as error:
            return self._failed("state", error)
        except Exception as error:
            return self._failed("defect", error)

    def _gather_seconds(self, taken: int) -> float:
        if not _STREAM_RECORDS_MIN <= taken < self._settings.batch_events_max // 2:
            return 0.0
        return _GATHER_SECONDS if taken < _FAST_RECORDS_MIN else _GATHER_FAST_SECONDS

    def _wait(self) -> float:
        if self._parts is None or self._snapshot() is None:
            return _NO_CATALOG_SECONDS
        is_rung = self._parts.reader.wait(WAIT_SECONDS)
        self._false_rings = self._false_rings + 1 if is_rung else 0
        # A record may be there and not be due in the merge of partitions yet: do not spin for it.
        return _FALSE_RING_SECONDS if self._false_rings > 1 else 0.0

    def _failed(self, reason: Literal["log", "state", "defect"], error: Exception) -> float:
        pause = _PAUSE_SECONDS[min(self._failures, len(_PAUSE_SECONDS) - 1)]
        self._failures += 1
        telemetry.step_failed(reason, error, pause)
        return pause

    def _let_go(self) -> None:
        self._tokens.close()
        if self._parts is not None:
            parts, self._parts = self._parts, None
            parts.close()


def _values_of(defect: judge.Defect) -> tuple[str, str, int, int, str]:
    return defect.app, defect.protocol, defect.partition, defect.offset, defect.error
