"""One destination's consumer group: takes events up, sends them in order, at its own pace.

`offer` takes an event from the log, `pump` starts all that may start now and is called whenever
something may have changed. Between the two nothing waits: a group is memory, an alarm at the
agenda, and one task for each request under way, so an idle one costs nothing. The task of a request
that was answered carries what starts next.
"""

from __future__ import annotations

import heapq
from collections.abc import Mapping

from trunkline.forwarder.attempting import attempt
from trunkline.forwarder.book import Book
from trunkline.forwarder.building import digest_of
from trunkline.forwarder.decide import DISABLED, SUPPRESSED, decider
from trunkline.forwarder.item import Batch, Item, item_of
from trunkline.forwarder.lanes import Lanes
from trunkline.forwarder.outfit import Outfit
from trunkline.forwarder.parking import Cause
from trunkline.forwarder.probing import probe
from trunkline.forwarder.room import Room, let_go
from trunkline.forwarder.settling import NO_TIMES, join, leaves_at, move_out, settle
from trunkline.forwarder.waiting import read_lanes
from trunkline.kit.destination import Batching, Mapped, Settings
from trunkline.kit.erasure import ERASED
from trunkline.model.record import StoredEvent
from trunkline.model.snapshot import Destination as Configured
from trunkline.model.snapshot import Order
from trunkline.telemetry import forwarder as telemetry

NEVER = float("inf")


class Group:
    """The engine of one destination. Everything runs on the event loop."""

    def __init__(self, book: Book) -> None:
        self.book = book
        self.shared = book.shared
        self.standing = book.standing
        self.config = book.config
        self.settings = Settings()
        self.batching = Batching()
        self.lanes = Lanes()
        self.room = Room(self.shared, self.standing, book.place)
        self.is_reading = False  # by itself, to catch up
        self.is_ended = False
        self.under_way = 0
        self.full_lanes: set[str] = set()
        self._decide = decider(self.config)
        self.name = f"{self.config.app}/{self.config.id}"
        self._worker = self.shared.threads(f"channel {self.name}")
        self.outfit = Outfit(self.shared, self._worker)
        self.metrics = telemetry.KindMetrics(self.config.kind)
        self._sleeping: list[tuple[float, int, Batch]] = []
        self._awake: list[Batch] = []
        self._slept = 0
        self._waiting_under_way = 0
        self._waiting_batch_max = 1
        self._concurrency = 1
        self._is_waitings_turn = True
        self._has_free_task = False
        self._next: Batch | None = None  # for the free task
        self._lingers_until = NEVER
        self._alarm_at = NEVER

    # What the catalog says

    def configure(self, config: Configured) -> None:
        """Take over what the catalog says now. Probes at once when the settings changed."""
        was_enabled = self.config.enabled
        self.config = self.book.config = config
        self._decide = decider(config)
        digest = digest_of(config)
        is_changed = digest != self.book.digest
        self.book.digest = digest
        self._build(is_changed)
        if was_enabled and not config.enabled:
            self._skip_idle()
        self.book.touch()
        self.pump()

    def _build(self, is_changed: bool) -> None:
        """Make what it sends with. What cannot be used parks the destination."""
        was_ready = self.outfit.carrier is not None
        try:
            carrier = self.outfit.fit(self.config)
        except ValueError as error:
            self.park("settings", f"settings of {self.name}: {error}")
            return
        self.settings, self.batching = carrier.settings, carrier.batching
        self._waiting_batch_max = self.settings.batch_events_max
        self._concurrency = carrier.concurrency
        self.room.fit(2 * self.settings.batch_events_max * self._concurrency)
        if self.standing.state != "parked":
            return
        if self.standing.cause == "settings" and (is_changed or not was_ready):
            self.run()
        elif is_changed:
            self.standing.probe_now(self.shared.clock.monotonic())

    def end(self) -> None:
        """The destination was removed: let go. What is under way is of no consequence."""
        self.is_ended = True
        self.shared.bytes -= self.book.place.bytes
        self.shared.lanes -= len(self.book.waiting.lanes)
        self.shared.tasks.start(self._close())

    async def _close(self) -> None:
        carrier, self.outfit.carrier = self.outfit.carrier, None
        self.outfit.drop()
        if carrier is not None:
            await carrier.close()
        self._worker.close()

    # Events in

    def offer(self, offset: int, stored: StoredEvent, mapped: Mapped) -> bool:
        """Take an event of the app up; False where there is no room for it now."""
        place = self.book.place
        if not place.is_news(offset):
            place.cursor = offset + 1
            return True
        if stored.snapshot < self.config.since:
            place.pass_by(offset)
            return True
        reason = self.refusal(offset, stored)
        if reason:
            self.book.filter(offset, stored, reason)
        elif self.room.is_full:
            return False
        else:
            item = item_of(stored, mapped, offset, self.order)
            self.book.hold(item)
            self.lanes.add(item)
        place.pass_by(offset)
        return True

    @property
    def order(self) -> Order:
        """What events keep their order with."""
        wants_device = self.batching.by_device and self.config.order == "user"
        return "device" if wants_device else self.config.order

    def refusal(self, offset: int, stored: StoredEvent) -> str:
        """Say why the destination does not get an event; "" where it does."""
        if stored.erased_ms or self.shared.erased.hold(stored.app, offset, stored.event):
            return ERASED
        suppressed = self.shared.suppressed.get(self.config.app)
        if suppressed is not None and suppressed.holds(stored.event):
            return SUPPRESSED
        return self._decide(stored)

    def _skip_idle(self) -> None:
        """The destination was switched off: what it was not sent yet is filtered."""
        self.give_back_sleeping()
        idle = list(self.lanes.idle())
        self.lanes.remove({item.offset for item in idle})
        for item in idle:
            self.book.skip(item, DISABLED)

    # Starting

    def pump(self) -> None:
        """Start all that may start now."""
        if self.is_ended or self.shared.is_stopping:
            return
        if not self.shared.writer.is_behind:
            if self.standing.runs and self.outfit.carrier is not None:
                self._start_all()
            elif self._may_probe():
                self._start_probe()
        self._set_alarm()
        if not (self.book.place.is_at_head or self.is_reading) and self.room.is_worth_reading:
            self.shared.feed(self)

    def _start_all(self) -> None:
        if self._sleeping:
            self._wake_sleepers()
        if self.full_lanes:
            self._open_full_lanes()
        while self.standing.runs and self.under_way < self._concurrency:
            if not self._start_next():
                break

    def _wake_sleepers(self) -> None:
        now = self.shared.clock.monotonic()
        while self.standing.runs and self._sleeping and self._sleeping[0][0] <= now:
            batch = heapq.heappop(self._sleeping)[2]
            if batch.due_at <= now:
                self._awake.append(batch)
            else:
                move_out(self, batch, batch.due_at, "retried in the log for too long")

    def _open_full_lanes(self) -> None:
        """Let the events go on that found no room behind the waiting ones of their user."""
        now = self.shared.clock.monotonic()
        for key in list(self.full_lanes):
            lane = self.book.waiting.lanes.get(key)
            is_full = lane is not None and lane.count >= self.shared.settings.lane_events_max
            if not (is_full and self.book.waiting.drains(key, now)):
                self.full_lanes.discard(key)
                self.lanes.open(key)

    def _start_next(self) -> bool:
        """Start one request, or do what comes before one; False where nothing is to be done."""
        if self._awake:
            self.start(self._awake.pop(0))
            return True
        if not (self.book.waiting.lanes or self.settings.batch_seconds_max):  # nothing needs a time
            return self._start_fresh()
        now = self.shared.clock.monotonic()
        has_fresh = self._has_fresh(now)
        if self._may_start_waiting(now, has_fresh) and (self._is_waitings_turn or not has_fresh):
            self._is_waitings_turn = False
            self._start_waiting(now)
            return True
        self._is_waitings_turn = True
        return has_fresh and self._start_fresh()

    def _has_fresh(self, now: float) -> bool:
        """Say whether events of the log may go, which batch_seconds_max may put off."""
        if not self.lanes:
            self._lingers_until = NEVER
            return False
        linger = self.settings.batch_seconds_max
        if not linger or self.lanes.holds(self.settings.batch_events_max):
            return True
        if self._lingers_until == NEVER:
            self._lingers_until = now + linger
        return now >= self._lingers_until

    def _start_fresh(self) -> bool:
        self._lingers_until = NEVER
        if not self.lanes:
            return False
        items, joining = self.lanes.take(
            self.settings.batch_events_max,
            self.batching.bytes_max,
            self.book.waiting.lanes,
            self.batching.users_max,
        )
        if joining:
            join(self, joining)
        else:
            self.start(Batch(items))
        return True

    def _may_start_waiting(self, now: float, has_fresh: bool) -> bool:
        if not self.config.enabled:
            return False
        # Beside fresh events, those that failed before get half of the slots at the most.
        slots = max(1, self._concurrency // 2) if has_fresh else self._concurrency
        due_at = self.book.waiting.next_due()
        return due_at is not None and due_at <= now and self._waiting_under_way < slots

    def _start_waiting(self, now: float) -> None:
        users_max = self.batching.users_max or self._waiting_batch_max
        lanes = self.book.waiting.take_due(now, min(users_max, self._waiting_batch_max))
        self.under_way += 1
        self._waiting_under_way += 1
        self.shared.tasks.start(self._carry_waiting(lanes))

    def start(self, batch: Batch) -> None:
        """Send a batch."""
        self.under_way += 1
        if self._has_free_task:
            self._has_free_task, self._next = False, batch
        else:
            self.shared.tasks.start(self._carry(batch))

    # Under way

    async def _carry(self, batch: Batch) -> None:
        """Carry a batch, and what starts when it is settled."""
        following: Batch | None = batch
        while following is not None:
            batch = following
            carried = await attempt(self, batch.items, batch.number)
            self.under_way -= 1
            if self.is_ended:
                return
            # Where nothing was answered perhaps nothing was waited for either, and others must run.
            self._has_free_task = carried.status is not None
            settle(self, batch, carried)
            self.pump()
            following, self._next = self._next, None
            self._has_free_task = False

    async def _carry_waiting(self, lanes: list[str]) -> None:
        items = await self.shared.writer.transact(
            lambda db: read_lanes(
                db, self.config.uid, lanes, self._waiting_batch_max, self.batching.bytes_max
            )
        )
        read = {item.lane for item in items}
        for lane in lanes:
            if lane not in read or not self.standing.runs:
                self.book.waiting.release(lane, 0.0)
        self._waiting_under_way -= 1
        if self.is_ended or not items or not self.standing.runs or self.shared.is_stopping:
            self.under_way -= 1
            self.pump()
            return
        self._waiting_under_way += 1
        batch = Batch(items, is_waiting=True)
        carried = await attempt(self, batch.items, batch.number)
        self._waiting_under_way -= 1
        self.under_way -= 1
        if not self.is_ended:
            settle(self, batch, carried)
            self.pump()

    def go_on(self, batch: Batch) -> None:
        """Send the next part of a batch that was split, in the slot that it had."""
        batch.number = 1 + max(item.attempts for item in batch.items)
        if self.shared.is_stopping or not self.standing.runs:
            self.give_back(batch, batch.items)
        else:
            self.start(batch)

    def sleep(self, batch: Batch) -> None:
        """Keep a batch until it is to be sent again, or leaves the log."""
        batch.number += 1
        self._slept += 1
        for item in batch.items:
            item.rest()
        wake_at = min(batch.due_at, leaves_at(self, batch))
        heapq.heappush(self._sleeping, (wake_at, self._slept, batch))

    def give_back(self, batch: Batch, items: list[Item]) -> None:
        """End a batch: put `items` and the parts not sent yet back, and open its lanes."""
        left = items + batch.rest()
        if batch.is_waiting:
            now = self.shared.clock.monotonic()
            for item in left:
                self.book.retry_later(item, now, "its batch was given back")
            for lane in batch.lanes:
                self.book.waiting.release(lane, 0.0)
            return
        self.lanes.put_back(left)
        for lane in batch.lanes:
            self.lanes.open(lane)

    def end_waiting(
        self, batch: Batch, floor_at: float, own: Mapping[Item, float] = NO_TIMES
    ) -> None:
        """End a batch of waiting events that are to be tried again when it is due.

        A lane whose first event has a time of its own is due then.
        """
        firsts: dict[str, Item] = {}
        for item in batch.items:
            firsts.setdefault(item.lane, item)
        for lane in batch.lanes:
            if lane in firsts:
                due_at = own.get(firsts[lane], batch.due_at)
                self.book.waiting.release(lane, due_at, floor_at)
            else:
                self.book.waiting.release(lane, 0.0)

    def fit_waiting(self, size: int, has_failed: bool) -> None:
        """Size the next batches of waiting events: small ones find the event that fails others."""
        if has_failed:
            self._waiting_batch_max = max(1, size // 4)
        else:
            doubled = 2 * self._waiting_batch_max
            self._waiting_batch_max = min(doubled, self.settings.batch_events_max)

    # Held and running

    def own_ms(self) -> int:
        """Return the destination's own time: it stands still while the destination is held."""
        # A jump since the last tick would burn the horizon of what is settled before the next one.
        now_ms, _ = self.shared.look_at_clock()
        return self.standing.own_ms(now_ms)

    def park(self, cause: Cause, reason: str) -> None:
        """Hold everything and send nothing, until a probe passes. One alert."""
        if not self.standing.runs:
            return
        clock = self.shared.clock
        self.standing.park(cause, reason, clock.now_ms(), clock.monotonic())
        telemetry.destination_parked(self.config.app, self.config.id, cause, reason)
        self._hold()

    def pause(self) -> None:
        """Hold, because a person said so."""
        if self.standing.state != "paused":
            self.standing.pause(self.shared.clock.now_ms())
            telemetry.destination_paused(self.config.app, self.config.id)
            self._hold()
            self._set_alarm()

    def run(self) -> None:
        """Deliver again, beginning with what waited."""
        now = self.shared.clock.monotonic()
        seconds = self.standing.run(self.shared.clock.now_ms(), now)
        self.book.waiting.wake_all(now)
        telemetry.destination_runs(self.config.app, self.config.id, seconds)
        self.book.touch()

    def set_state(self, state: str) -> None:
        """Do what a person asked: paused, running, or probe."""
        if state == "paused":
            self.pause()
        elif state == "running":
            self.resume()
        else:
            self.probe_now()

    def resume(self) -> None:
        """Deliver again, because a person said so."""
        if not self.standing.runs:
            self.run()
            if self.outfit.carrier is None:
                self._build(is_changed=True)
        self.pump()

    def probe_now(self) -> None:
        """Probe at once, if parked."""
        self.standing.probe_now(self.shared.clock.monotonic())
        self.pump()

    def probe_soon(self) -> None:
        """Probe within a second: the process has started, and things may have been mended."""
        self.standing.put_off_probe(self.shared.clock.monotonic())

    def forget_suspects(self, ids: frozenset[int]) -> None:
        """Leave dead letters that are gone out of the fuse's count."""
        self.book.suspects = [pair for pair in self.book.suspects if pair[0] not in ids]

    def _hold(self) -> None:
        """Take sleeping batches apart, and let go of all but a few events."""
        self.give_back_sleeping()
        let_go(self)
        self.book.touch()

    def give_back_sleeping(self) -> None:
        """Take batches apart that wait for their next attempt."""
        batches = [batch for _, _, batch in self._sleeping] + self._awake
        self._sleeping, self._awake = [], []
        for batch in batches:
            self.give_back(batch, batch.items)

    def _may_probe(self) -> bool:
        standing = self.standing
        return (
            standing.state == "parked"
            and self.outfit.carrier is not None
            and self.config.enabled
            and self.under_way == 0
            and standing.probe_at <= self.shared.clock.monotonic()
        )

    def _start_probe(self) -> None:
        self.under_way += 1
        self.shared.tasks.start(self._probe())

    async def _probe(self) -> None:
        await probe(self)
        self.under_way -= 1
        self.pump()

    # Alarms

    def _set_alarm(self) -> None:
        due_at = self._next_alarm()
        if due_at < self._alarm_at:
            self._alarm_at = due_at
            self.shared.agenda.at(due_at, self._ring)

    def _ring(self) -> None:
        self._alarm_at = NEVER
        self.pump()

    def _next_alarm(self) -> float:
        if self.standing.state == "parked":
            probe_at = self.standing.probe_at
            return probe_at if probe_at > self.shared.clock.monotonic() else NEVER
        is_calm = not (self._sleeping or self.book.waiting.lanes) and self._lingers_until == NEVER
        if is_calm or not self.standing.runs:
            return NEVER
        now = self.shared.clock.monotonic()
        waiting_at = self.book.waiting.next_due()
        times = (
            self._sleeping[0][0] if self._sleeping else NEVER,
            waiting_at if waiting_at is not None else NEVER,
            self._lingers_until,
        )
        # What is due already waits for a slot, and the end of a request frees one.
        return min((at for at in times if at > now), default=NEVER)
