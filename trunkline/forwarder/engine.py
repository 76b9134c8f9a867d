"""The forwarder: EVENTS → every destination at its own pace → the world.

    read the state file → for each destination of the snapshot a group → read at the head, offer to
    groups → until told to stop: then start nothing, wait for what is under way, save

A failure of the engine itself ends `run` with its exception: the process starts again from what
was saved, which is always one moment of all groups.
"""

from __future__ import annotations

import asyncio
import random as dice
import shutil
from collections.abc import Callable, Collection, Coroutine, Sequence
from concurrent.futures import CancelledError
from functools import partial
from typing import Any, TypeVar

import apsw
from msgspec import Struct

from trunkline.forwarder.agenda import Agenda, Tasks
from trunkline.forwarder.book import Book
from trunkline.forwarder.carrier import Sender
from trunkline.forwarder.erasing import Eraser
from trunkline.forwarder.group import Group
from trunkline.forwarder.inbox import (
    Effect,
    LettersGone,
    Waits,
    carry_out,
    inbox_position,
)
from trunkline.forwarder.item import Item
from trunkline.forwarder.jobs import Jobs
from trunkline.forwarder.parking import Standing
from trunkline.forwarder.place import Place
from trunkline.forwarder.reading import PARTITION, CatchUp, Head
from trunkline.forwarder.retention import Retention
from trunkline.forwarder.shared import Kinds, Shared
from trunkline.forwarder.space import Space
from trunkline.forwarder.threads import Threads, WorkThread
from trunkline.forwarder.waiting import ROW_COLUMNS, item_of_row, shift_due
from trunkline.forwarder.writer import Writer
from trunkline.kit.bell import Bell
from trunkline.kit.clock import Clock
from trunkline.kit.erasure import Forgotten, NotYet, Person
from trunkline.kit.eventlog import EventLog
from trunkline.kit.settings import ForwarderSettings
from trunkline.kit.shaping import Workshop
from trunkline.kit.suppression import suppressed_of
from trunkline.model.record import EVENTS
from trunkline.model.snapshot import Destination as Configured
from trunkline.model.snapshot import Snapshot
from trunkline.state.forwarder import GroupRow, read_groups, read_setting
from trunkline.state.home import Home
from trunkline.state.inbox import InboxRequest, ReplayRange, requests_after
from trunkline.telemetry import forwarder as telemetry

T = TypeVar("T")

TICK_SECONDS = 0.2  # how late a new snapshot is seen
SLOW_TICKS = 5  # the inbox is looked at each second even without a ring
STOP_SECONDS = 8.0  # for requests under way, of the 10 s that a node has to stop
ASK_SECONDS_MAX = 600.0  # of a question from another thread
ASK_LOOK_SECONDS = 0.2
JUMP_MS = 60_000  # a wall clock that is set by more is not time that passed


class Loaded(Struct):
    """What the state file says at the start."""

    groups: list[GroupRow]
    head: int
    version: int
    ahead: int | None
    newest: int
    is_new: bool
    lanes: dict[int, list[tuple[str, int, int, int]]]  # uid → lane, rows, bytes, due_ms
    suspects: dict[int, list[tuple[int, Item]]]


class Forwarder:
    """The engine. `run` once; everything else is read from the home."""

    def __init__(
        self,
        *,
        log: EventLog,
        kinds: Kinds,
        sender: Sender,
        snapshot: Callable[[], Snapshot | None],
        home: Home,
        settings: ForwarderSettings,
        clock: Clock,
        random: dice.Random,
        keep_days: float = 7.0,
        log_bytes_max: int | None = None,
        vfs: str | None = None,
        threads: Threads = WorkThread,
        workshop: Workshop | None = None,
    ) -> None:
        self._log = log
        self._kinds = kinds
        self._sender = sender
        self._snapshot = snapshot
        self._home = home
        self._settings = settings
        self._clock = clock
        self._random = random
        self._keep_days = keep_days
        self._log_bytes_max = log_bytes_max
        self._vfs = vfs
        self._threads = threads
        self._workshop = workshop
        self.groups: dict[int, Group] = {}
        self._spaces: dict[int, Space] = {}
        self._rows: dict[int, GroupRow] = {}  # saved groups that the snapshot has not named yet
        self._seen_snapshot: Snapshot | None = None
        self._saved_head = -1
        self._ticks = 0
        self._last_ms = clock.now_ms()
        self._last = clock.monotonic()
        self._bell_rang = True
        self._loop: asyncio.AbstractEventLoop | None = None

    async def run(self, stop: asyncio.Event) -> None:
        """Deliver until `stop` is set. Raises what broke the engine."""
        await self._start()
        halt = asyncio.ensure_future(stop.wait())
        try:
            await asyncio.wait([halt, self._tasks.failed], return_when=asyncio.FIRST_COMPLETED)
            if self._tasks.failed.done():
                self._tasks.failed.result()
            await self._stop()
        finally:
            halt.cancel()
            await self.abandon()

    def snapshot_changed(self) -> None:
        """Look at the catalog now instead of within 0.2 s."""
        self._reconcile()

    def erase(self, person: Person, offsets: Collection[int]) -> Forgotten:
        """Erase a person from what this engine holds; `offsets` are their events in EVENTS.

        What is left of it in the state file's free space goes with `wipe`. Both are blocking, for
        another thread, and raise `NotYet`: nothing of it is wrong, it is not over yet.
        """
        return self._ask(lambda: Eraser(self._shared, self.groups, person).erase(offsets))

    def wipe(self) -> bool:
        """Leave nothing of what was deleted on the disk; False: a reader is in the way."""
        return self._ask(lambda: self._writer.wipe())

    def _ask(self, make: Callable[[], Coroutine[Any, Any, T]]) -> T:
        loop = self._loop
        if loop is None or loop.is_closed():
            raise NotYet("the forwarder does not run yet")
        future = asyncio.run_coroutine_threadsafe(make(), loop)
        deadline = self._clock.monotonic() + ASK_SECONDS_MAX
        while self._clock.monotonic() < deadline and not self._shared.is_stopping:
            try:
                return future.result(ASK_LOOK_SECONDS)
            except TimeoutError:
                continue
            except CancelledError:
                break
        future.cancel()
        raise NotYet("the forwarder did not come to it, or was told to stop")

    async def abandon(self) -> None:
        """Let go of everything without saving, as a crash would."""
        self._shared.is_stopping = True
        await self._tasks.end()
        self._tell()
        if self._workshop is not None:
            await self._workshop.close()
        await self._writer.abandon()
        self._catch_up.close()
        for worker in (self._head_worker, self._side_worker):
            worker.close()

    # Starting

    async def _start(self) -> None:
        self._tasks = Tasks()
        agenda = Agenda(self._clock, self._tasks)
        self._head_worker = self._threads("head")
        self._side_worker = self._threads("side")
        self._writer = Writer(
            self._home.forwarder_file, self._threads("state"), self._clock, self._vfs, self._moment
        )
        self._shared = Shared(
            clock=self._clock,
            random=self._random,
            settings=self._settings,
            kinds=self._kinds,
            sender=self._sender,
            threads=self._threads,
            writer=self._writer,
            agenda=agenda,
            tasks=self._tasks,
            parked_bytes_max=shutil.disk_usage(self._home.folder).total // 4,
            leave_head=self._leave_head,
            feed=self._feed,
            look_at_clock=self._look_at_clock,
            workshop=self._workshop,
        )
        self._head = Head(self._log, self._shared, self._head_worker, self._reconcile)
        self._catch_up = CatchUp(self._log, self._shared, self._head)
        self._jobs = Jobs(self._log, self._shared, self.groups, self._side_worker)
        self._take_over(await self._writer.open(partial(_load, self._clock.now_ms())))
        self._tasks.start(self._work())

    def _leave_head(self, group: Group, offset: int) -> None:
        self._head.leave(group, offset)

    def _feed(self, group: Group) -> None:
        self._catch_up.want(group)

    def _take_over(self, loaded: Loaded) -> None:
        begin = self._log.begins(EVENTS).get(PARTITION, 0)
        self._shared.head = begin if loaded.is_new else max(loaded.head, begin)
        self._shared.version = loaded.version
        self._head.ahead = self._shared.head if loaded.is_new else loaded.ahead
        self._head.newest = loaded.newest
        self._loaded = loaded
        self._rows = {row.uid: row for row in loaded.groups}

    async def _work(self) -> None:
        """Wait for the first snapshot; then the loops run side by side."""
        while self._snapshot() is None:
            await self._clock.sleep(TICK_SECONDS)
        self._reconcile()
        self._loop = asyncio.get_running_loop()
        retention = Retention(
            self._log, self._shared, self.groups, self._side_worker, self._keep_days,
            self._log_bytes_max,
        )  # fmt: skip
        self._tasks.start(self._writer.run(self._pump_all))
        self._tasks.start(self._head.run())
        self._tasks.start(retention.run())
        bell = Bell(self._home.inbox_bells)
        loop = asyncio.get_running_loop()
        loop.add_reader(bell.fileno(), self._ring, bell)
        try:
            while True:
                await self._tick()
                await self._clock.sleep(TICK_SECONDS)
        finally:
            loop.remove_reader(bell.fileno())
            bell.close()

    def _ring(self, bell: Bell) -> None:
        bell.drain()
        self._bell_rang = True
        self._tasks.start(self._read_inbox())

    def _moment(self) -> tuple[int, int, dict[str, str]]:
        """Return what belongs to every save (see Writer)."""
        ahead = self._head.ahead
        settings = {
            "head": str(self._shared.head),
            "snapshot": str(self._shared.version),
            "ahead": "" if ahead is None else str(ahead),
            "newest": str(self._head.newest),
            "saved_ms": str(self._clock.now_ms()),
        }
        self._saved_head = self._shared.head
        return self._clock.now_ms(), self._shared.version, settings

    # The catalog

    def _reconcile(self) -> None:
        """Bring the groups to what the snapshot says."""
        snapshot = self._snapshot()
        if snapshot is None or snapshot is self._seen_snapshot:
            return
        self._seen_snapshot = snapshot
        # A node that cannot reach its catalog starts with an older snapshot: nobody is removed.
        is_current = snapshot.version >= self._shared.version
        self._shared.version = max(self._shared.version, snapshot.version)
        self._shared.suppressed = suppressed_of(snapshot, self._shared.suppressed)
        wanted = {d.uid: d for app in snapshot.apps for d in app.destinations}
        for uid, config in wanted.items():
            group = self.groups.get(uid)
            if group is None:
                self._add(config)
            elif group.config != config:
                group.configure(config)
        if is_current:
            self._remove_all_but(wanted.keys())
        # Whoever began ahead of us has its group now, but for those of a later snapshot still.
        if self._head.newest <= self._shared.version:
            self._head.ahead = None
        self._writer.changes.settings["snapshot"] = str(self._shared.version)
        self._writer.touch()

    def _remove_all_but(self, wanted: Collection[int]) -> None:
        for uid in [uid for uid in self.groups if uid not in wanted]:
            self._end(self.groups.pop(uid))
        for uid in [uid for uid in self._rows if uid not in wanted]:
            row = self._rows.pop(uid)
            self._forget(uid, row.app, row.id)

    def _add(self, config: Configured) -> None:
        row = self._rows.pop(config.uid, None)
        standing = Standing(self._clock.now_ms(), row)
        if row is None:
            begin = self._shared.head if self._head.ahead is None else self._head.ahead
            book = Book(config, self._shared, standing, Place(begin), begin, b"")
            telemetry.group_added(config.app, config.id, begin)
        else:
            place = Place(row.seen, row.unfinished)
            place.behind_bytes = row.behind_bytes
            book = Book(config, self._shared, standing, place, row.begin, row.settings_digest)
            book.suspects = self._loaded.suspects.pop(config.uid, [])
            self._restore_lanes(book)
        group = Group(book)
        self.groups[config.uid] = group
        self._head.add(group)
        if row is not None and standing.state == "parked":
            group.probe_soon()
        group.configure(config)

    def _restore_lanes(self, book: Book) -> None:
        now, now_ms = self._clock.monotonic(), self._clock.now_ms()
        for lane, rows, size, due_ms in self._loaded.lanes.pop(book.config.uid, []):
            book.add_waiting(lane, size, now + max(0.0, (due_ms - now_ms) / 1000), rows)

    def _end(self, group: Group) -> None:
        self._head.remove(group)
        self._spaces.pop(group.config.uid, None)
        self._forget(group.config.uid, group.config.app, group.config.id)
        group.end()

    def _forget(self, uid: int, app: str, destination: str) -> None:
        changes = self._writer.changes
        changes.groups.pop(uid, None)
        changes.ended.append((self._clock.now_ms(), uid))
        self._writer.touch()
        telemetry.group_ended(app, destination)

    # Now and then

    async def _tick(self) -> None:
        self._ticks += 1
        self._look_at_clock()
        self._reconcile()
        await self._jobs.step()
        if self._ticks % SLOW_TICKS == 1:
            await self._read_inbox()
            self._look_at_parked()
            self._tell()
            if self._saved_head != self._shared.head:
                self._writer.changes.settings["head"] = str(self._shared.head)
                self._writer.touch()

    def _look_at_clock(self) -> tuple[int, float]:
        """Leave a jump of the wall clock out of every destination's own time.

        Returns what both clocks say.
        """
        now_ms, now = self._clock.now_ms(), self._clock.monotonic()
        jump_ms = now_ms - self._last_ms - (now - self._last) * 1000
        self._last_ms, self._last = now_ms, now
        if abs(jump_ms) > JUMP_MS:
            self._jump(now_ms, round(jump_ms))
        return now_ms, now

    def _jump(self, now_ms: int, jump_ms: int) -> None:
        telemetry.wall_clock_jumped(jump_ms / 1000)
        for group in self.groups.values():
            group.standing.shift(jump_ms)
            group.book.touch()
        if jump_ms < 0:
            self._tasks.start(self._writer.transact(partial(shift_due, now_ms, jump_ms)))

    def _look_at_parked(self) -> None:
        parked = [group for group in self.groups.values() if group.standing.state == "parked"]
        telemetry.destinations_parked(len(parked))
        spaces: dict[int, Space] = {}
        for group in parked:
            space = self._spaces.get(group.config.uid)
            if space is None or not space.is_about(group):
                space = Space(group)
            spaces[group.config.uid] = space
            space.check()
        self._spaces = spaces

    def _tell(self) -> None:
        for group in self.groups.values():
            group.metrics.tell()

    def _pump_all(self) -> None:
        for group in list(self.groups.values()):
            group.pump()

    # What people ask

    async def _read_inbox(self) -> None:
        if not self._home.inbox_file.exists():
            return
        done: list[tuple[int, InboxRequest, list[Effect]]] = []

        def work(db: apsw.Connection) -> None:
            done.clear()
            for number, request in requests_after(self._home.inbox_file, inbox_position(db)):
                done.append((number, request, carry_out(db, number, request)))

        await self._writer.transact(work)
        for number, request, effects in done:
            telemetry.request_carried_out(type(request).__name__, number)
            if isinstance(request, ReplayRange):
                self._jobs.may_have_some = True
            self._take_effects(effects)

    def _take_effects(self, effects: Sequence[Effect]) -> None:
        touched: dict[int, Group] = {}
        for effect in effects:
            if isinstance(effect, LettersGone):
                for group in self.groups.values():
                    group.forget_suspects(effect.ids)
                continue
            group = self.groups.get(effect.uid)
            if group is None:
                continue
            touched[effect.uid] = group
            if isinstance(effect, Waits):
                group.book.add_waiting(effect.lane, effect.size)
            else:
                group.set_state(effect.state)
        for group in touched.values():
            group.book.touch()
            group.pump()

    # Stopping

    async def _stop(self) -> None:
        """Start nothing more, wait for what is under way, save, and let go."""
        self._shared.is_stopping = True
        deadline = self._clock.monotonic() + STOP_SECONDS
        while self._clock.monotonic() < deadline:
            if not any(group.under_way for group in self.groups.values()):
                break
            await self._clock.sleep(0.02)
        for group in self.groups.values():
            group.book.touch()
        await self._writer.close()
        await self._tasks.end()


def _load(now_ms: int, db: apsw.Connection) -> Loaded:
    """Read everything that memory needs at the start."""
    saved_ms = int(read_setting(db, "saved_ms") or 0)
    if saved_ms > now_ms:  # the wall clock was set back since
        shift_due(now_ms, now_ms - saved_ms, db)
    groups = read_groups(db)
    head = read_setting(db, "head")
    ahead = read_setting(db, "ahead")
    lanes: dict[int, list[tuple[str, int, int, int]]] = {}
    for uid, lane, rows, size, due_ms in db.execute(
        "SELECT w.uid, w.lane, COUNT(*), SUM(LENGTH(w.payload)),"
        " (SELECT due_ms FROM waiting h WHERE h.uid=w.uid AND h.lane=w.lane ORDER BY id LIMIT 1)"
        " FROM waiting w GROUP BY w.uid, w.lane"
    ):
        lanes.setdefault(uid, []).append((lane, rows, size, due_ms))
    suspects = {row.uid: _read_suspects(db, row.suspects) for row in groups if row.suspects}
    return Loaded(
        groups,
        int(head or 0),
        int(read_setting(db, "snapshot") or 0),
        int(ahead) if ahead else None,
        int(read_setting(db, "newest") or 0),
        head is None,
        lanes,
        suspects,
    )


def _read_suspects(db: apsw.Connection, ids: Sequence[int]) -> list[tuple[int, Item]]:
    """Return the dead letters that the fuse counts, as far as they are still there."""
    found: list[tuple[int, Item]] = []
    columns = ROW_COLUMNS.replace("first_ms", "0")
    for number in ids:
        row = db.execute(f"SELECT {columns} FROM dead_letter WHERE id=?", (number,)).fetchone()
        if row is not None:
            item = item_of_row(row)
            item.row = 0
            found.append((number, item))
    return found
