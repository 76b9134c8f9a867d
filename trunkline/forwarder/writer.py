"""The one writer of the state file: what all groups changed, in one transaction every few ms.

A group does not wait for its change to be saved. A crash takes back the last few milliseconds of
all groups at once, and what they had delivered since is delivered again: at least once. What is
bounded is how much may be unsaved: past `WEIGHT_MAX`, and while the disk takes nothing, no group
starts a request.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

import apsw

from trunkline.forwarder.changes import Changes
from trunkline.forwarder.tally import Names
from trunkline.forwarder.threads import Worker
from trunkline.kit.clock import Clock
from trunkline.state.db import checkpoint, open_writer, wipe
from trunkline.state.forwarder import MIGRATIONS, read_setting
from trunkline.telemetry import forwarder as telemetry

T = TypeVar("T")

# Shorter saves more often for nothing; longer makes more duplicates after a crash.
SAVE_SECONDS = 0.015
WEIGHT_MAX = 50_000  # rows
RETRY_SECONDS = 1.0
ID_STEP = 100_000  # ids promised to this process at a time, so that none is ever used twice


class Writer:
    """Owns the file and the list of changes.

    `changes` is where groups write now; `moment` is called at each save and gives (Unix ms,
    snapshot version, settings to save).
    """

    def __init__(
        self,
        path: Path,
        worker: Worker,
        clock: Clock,
        vfs: str | None,
        moment: Callable[[], tuple[int, int, dict[str, str]]],
    ) -> None:
        self.changes = Changes()
        self.is_behind = False
        self._path = path
        self._worker = worker
        self._clock = clock
        self._vfs = vfs
        self._moment = moment
        self._db: apsw.Connection | None = None
        self._names = Names()  # used on the worker's thread only
        self._unsaved: Changes | None = None  # taken, not in the file yet
        self._turn = asyncio.Lock()
        self._wake = asyncio.Event()
        self._is_closing = False
        self._next_id = self._promised = 0

    async def open(self, load: Callable[[apsw.Connection], T]) -> T:
        """Open the file and return what `load` read of it."""

        def work() -> T:
            self._db = open_writer(self._path, MIGRATIONS, vfs=self._vfs)
            self._next_id = self._promised = int(read_setting(self._db, "next_id") or 1)
            return load(self._db)

        return await self._worker.run(work)

    def next_id(self) -> int:
        """Return an id for a row of the waiting table, the dead letters or the fates."""
        number = self._next_id
        self._next_id += 1
        return number

    def touch(self) -> None:
        """Say that `changes` has something."""
        self._wake.set()
        if not self.is_behind and self.changes.weight > WEIGHT_MAX:
            self.is_behind = True

    async def run(self, saved: Callable[[], None]) -> None:
        """Save again and again, for ever; `saved` is called after each save that freed groups."""
        while True:
            await self._wake.wait()
            await self._clock.sleep(SAVE_SECONDS)
            self._wake.clear()
            await self.transact(_nothing)
            if self.is_behind:
                self.is_behind = False
                saved()

    async def transact(self, work: Callable[[apsw.Connection], T]) -> T:
        """Save what changed so far, and run `work` in the same transaction.

        Where the disk takes nothing it is tried again until it does; nothing is forgotten.
        """
        async with self._turn:
            while True:
                self._take()
                try:
                    result = await self._worker.run(lambda: self._commit(work))
                except apsw.Error as error:
                    self.is_behind = True
                    telemetry.state_not_saved(self._path, error)
                    if self._is_closing:
                        raise
                    await self._clock.sleep(RETRY_SECONDS)
                else:
                    self._unsaved = None
                    return result

    async def checkpoint(self) -> bool:
        """Save, and bring what is saved into the file itself, synced.

        False where a reader was in the way of a part: then a power loss may still take it back.
        """
        await self.transact(_nothing)
        return await self._worker.run(lambda: checkpoint(self._connection))

    async def wipe(self) -> bool:
        """Save, and leave nothing of what was deleted in the file; False: a reader is there."""
        await self.transact(_nothing)
        return await self._worker.run(lambda: wipe(self._connection))

    async def close(self) -> None:
        """Save the last, and close. What a full disk does not take now will be delivered again."""
        self._is_closing = True
        try:
            if self._db is not None:
                await self.transact(_nothing)
        except apsw.Error:
            return  # it was told; a restart begins where the file is
        finally:
            await self.abandon()

    async def abandon(self) -> None:
        """Close without saving, as a crash would."""
        if self._db is not None:
            await self._worker.run(self._connection.close)
            self._db = None
        self._worker.close()

    @property
    def _connection(self) -> apsw.Connection:
        assert self._db is not None, "open it first"
        return self._db

    def _take(self) -> None:
        if self._unsaved is not None or not self.changes:
            return  # what failed goes in first, then the next
        now_ms, snapshot, settings = self._moment()
        taken, self.changes = self.changes, Changes()
        taken.settings.update(settings)
        taken.close(now_ms, snapshot, self.next_id)
        if self._next_id > self._promised:
            self._promised = self._next_id + ID_STEP
            taken.settings["next_id"] = str(self._promised)
        self._unsaved = taken

    def _commit(self, work: Callable[[apsw.Connection], T]) -> T:
        db = self._connection
        db.execute("BEGIN IMMEDIATE")
        try:
            if self._unsaved is not None:
                self._unsaved.write(db, self._names)
            result = work(db)
            db.execute("COMMIT")
        except BaseException:
            if db.in_transaction:
                db.execute("ROLLBACK")
            raise
        return result


def _nothing(_: apsw.Connection) -> None:
    """Write only what changed."""
