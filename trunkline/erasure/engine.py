"""Carries out erasures, one after the other, beside the path of a running node.

Orders lie in `state/erasures.db`, durable before anybody was told that they were taken. What ends a
job early puts it off, and the next one has its turn; the steps that were done need not be done
again, and nothing is wrong where they are (`steps.py`).
"""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Sequence

import apsw

from trunkline.catalog.database import CatalogError
from trunkline.erasure.steps import ForgetDeliveries, ForgetRefused, Tools, Work
from trunkline.kit.clock import Clock
from trunkline.kit.erasure import NotYet
from trunkline.kit.eventlog import EventLog, LogFailure
from trunkline.model.snapshot import Snapshot
from trunkline.state.db import wipe
from trunkline.state.erasures import FORGET, ErasureRow, Erasures, open_erasures
from trunkline.state.home import Home
from trunkline.state.profiles import open_profiles
from trunkline.telemetry import erasure as telemetry

LOOK_SECONDS = 1.0
JOBS_AT_ONCE = 50
PAUSE_SECONDS = (1.0, 5.0, 30.0, 300.0)  # of a job, between its tries
WIPE_SECONDS = 30.0
_PROBLEM_LENGTH = 500


class Stopped(Exception):
    """The node stops."""


class Eraser:
    """One thread in the worker's process: call `run` there."""

    def __init__(
        self,
        *,
        home: Home,
        log: EventLog,
        clock: Clock,
        snapshot: Callable[[], Snapshot | None],
        forget_deliveries: ForgetDeliveries,
        forget_refused: ForgetRefused,
        wipes: Sequence[Callable[[], bool]],
    ) -> None:
        """`wipes` leave nothing of what was deleted in a state file; False: to be asked again."""
        self._tools = Tools(
            home, log, clock, snapshot, forget_deliveries, forget_refused,
            (*wipes, self._wipe_profiles), self.check,
        )  # fmt: skip
        self._halt = threading.Event()
        self._quiet: tuple[int, ...] = ()
        self._due: dict[str, float] = {}  # jobs that were put off, in monotonic seconds

    def _wipe_profiles(self) -> bool:
        if not self._tools.home.profiles_file.exists():
            return True
        with open_profiles(self._tools.home) as store:
            return wipe(store.db)

    def check(self) -> None:
        """Raise `Stopped` where the node stops."""
        if self._halt.is_set():
            raise Stopped

    def run(self, halt: threading.Event) -> None:
        """Work until told to stop. Blocking."""
        self._halt = halt
        while not halt.is_set():
            try:
                did_something = self.turn()
            except Stopped:
                return
            except Exception as error:  # the file of jobs itself: a disk that fails, or is full
                telemetry.try_failed("", "", error, PAUSE_SECONDS[2])
                halt.wait(PAUSE_SECONDS[2])
                continue
            if not did_something:
                halt.wait(LOOK_SECONDS)

    def turn(self) -> bool:
        """Carry jobs on; False where there is none to carry on now. Raises `Stopped`."""
        if not self._tools.home.erasures_file.exists() or self._tools.snapshot() is None:
            return False
        seen = self._look()
        if seen == self._quiet:
            return False
        with open_erasures(self._tools.home) as erasures:
            now = self._tools.clock.monotonic()
            put_off = [job for job, due in self._due.items() if due > now]
            rows = erasures.open_jobs(put_off, JOBS_AT_ONCE)
            telemetry.jobs_open(len(rows) + len(put_off))
            through = [row for row in rows if self._try(erasures, row)]
            if through:
                self._finish(erasures, through)
            if not rows and not put_off:
                self._quiet = seen  # until somebody orders something
            return bool(rows)

    def _look(self) -> tuple[int, ...]:
        """Return what changes whenever somebody writes to the file of jobs."""
        file = self._tools.home.erasures_file
        found: list[int] = []
        for path in (file, file.with_name(file.name + "-wal")):
            with contextlib.suppress(FileNotFoundError):
                known = path.stat()
                found += [known.st_mtime_ns, known.st_size]
        return tuple(found)

    def _try(self, erasures: Erasures, row: ErasureRow) -> bool:
        """Do all steps of a job but the last; say whether they are done."""
        telemetry.job_begun(row.id, row.app)
        try:
            if row.step != FORGET:
                Work(self._tools, erasures, row).do_all()
        except Stopped:
            raise
        except (NotYet, LogFailure, CatalogError) as error:
            self._put_off(erasures, row, str(error))
        except Exception as error:
            self._put_off(erasures, row, f"{type(error).__name__}: {error}")
        else:
            return True
        return False

    def _put_off(self, erasures: Erasures, row: ErasureRow, problem: str) -> None:
        self.check()
        pause = PAUSE_SECONDS[min(row.tries, len(PAUSE_SECONDS) - 1)]
        row.tries += 1
        row.problem = problem[:_PROBLEM_LENGTH]
        erasures.save(row)
        self._due[row.id] = self._tools.clock.monotonic() + pause
        telemetry.try_failed(row.id, row.step, problem, pause)

    def _finish(self, erasures: Erasures, rows: list[ErasureRow]) -> None:
        """Wipe the state files, for all these jobs at once: that takes as long as they are large.

        Last whom the jobs were about. Then they are done: who reads that may rely on it.
        """
        try:
            for wipe in self._tools.wipes:
                self._wipe(wipe)
            self._wipe(lambda: erasures.forget(rows))
        except (NotYet, apsw.Error) as error:
            for row in rows:
                self._put_off(erasures, row, str(error))
            return
        for row in rows:
            erasures.finish(row, self._tools.clock.now_ms())
            self._due.pop(row.id, None)
            telemetry.job_done(row.id, row.app, row.read_counts())

    def _wipe(self, wipe: Callable[[], bool]) -> None:
        clock = self._tools.clock
        deadline = clock.monotonic() + WIPE_SECONDS
        while not wipe():
            self.check()
            if clock.monotonic() >= deadline:
                raise NotYet("somebody reads a state file all the time")
            clock.pause(LOOK_SECONDS)
