"""What the pipeline does beside its steps: commit, sync, let old things go.

ACCEPTED is let go of only after the books were synced: until then a power loss may take positions
back, and the records behind them are needed again. EVENTS was synced when its append returned; it
is kept, though, until books and index were synced past it, since both are made again from it.
"""

from __future__ import annotations

from trunkline.kit.clock import Clock
from trunkline.kit.eventlog import EventLog
from trunkline.kit.settings import PipelineSettings
from trunkline.model.record import ACCEPTED, EVENTS
from trunkline.model.snapshot import Snapshot
from trunkline.pipeline.recovery import EVENTS_PARTITION, GROUP, Parts
from trunkline.state.ids import DAY_MS
from trunkline.telemetry import pipeline as telemetry

COMMIT_SECONDS = 1.0  # the commit tells others the lag; it need not follow every step
SYNC_SECONDS = 60.0
SYNC_AGAIN_SECONDS = 5.0  # a reader of the books was in the way
WARM_IDS = 2000  # of stored ids that the filter learns beside a step
_ANY_STAMP = (1 << 63) - 1


class Upkeep:
    """The duties that come due with time."""

    def __init__(
        self, log: EventLog, settings: PipelineSettings, keep_days: float, clock: Clock
    ) -> None:
        self._log = log
        self._settings = settings
        self._keep_days = keep_days
        self._clock = clock
        self._commit_due = 0.0
        self._sync_due = clock.monotonic() + SYNC_SECONDS
        self._released: list[str] = []  # files of ids to unlink once the books are synced

    def do_due(self, parts: Parts, snapshot: Snapshot) -> None:
        """Do what is due now; called after every step."""
        now = self._clock.monotonic()
        parts.index.warm(WARM_IDS)
        if parts.index.ids > self._settings.dedupe_ids_max:
            self._shorten(parts)
        if now >= self._sync_due:
            is_synced = self.sync(parts, snapshot)
            self._sync_due = now + (SYNC_SECONDS if is_synced else SYNC_AGAIN_SECONDS)
        elif now >= self._commit_due:
            self._log.commit(ACCEPTED, GROUP, parts.books.positions)
            self._commit_due = now + COMMIT_SECONDS

    def sync(self, parts: Parts, snapshot: Snapshot | None) -> bool:
        """Bring the state to the disk, then remove what is not needed any more.

        False: a reader of the books was in the way, and nothing was removed.
        """
        parts.books.tidy()
        if snapshot is not None:
            self._expire(parts, snapshot)
        self._shorten(parts)
        telemetry.ids_held(parts.index.ids)
        is_index_synced = parts.index.checkpoint()
        if not parts.books.checkpoint():
            return False
        if is_index_synced:  # what the index may still lack is made again from EVENTS
            self._log.commit(EVENTS, GROUP, {EVENTS_PARTITION: parts.books.events_next})
        parts.index.unlink(self._released)
        self._released.clear()
        self._log.commit(ACCEPTED, GROUP, parts.books.positions)
        self._log.retain(ACCEPTED, _ANY_STAMP, None)
        return True

    def _expire(self, parts: Parts, snapshot: Snapshot) -> None:
        window_days = max([self._keep_days, *(app.dedupe_days for app in snapshot.apps)])
        self._release(parts, parts.index.too_old(window_days), None)
        parts.books.mend_window(self._clock.now_ms() - int(window_days * DAY_MS))

    def _shorten(self, parts: Parts) -> None:
        names = parts.index.too_many()
        if names:
            parts.index.release(names)
            since_ms = parts.index.since_ms
            self._release(parts, names, since_ms)
            telemetry.window_shortened(len(names), since_ms, self._settings.dedupe_ids_max)

    def _release(self, parts: Parts, names: list[str], shortened_to_ms: int | None) -> None:
        if names:
            parts.index.release(names)
            parts.books.forget_id_files(names, shortened_to_ms)
            self._released += names
