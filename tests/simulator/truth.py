"""What was promised to senders, and what must hold of the node whatever happened to it.

1. Nothing acknowledged is lost: it is in EVENTS, once, in the order in which it was acknowledged,
   at an offset that never changes.
2. Each event of EVENTS comes to one end at each destination, and is counted once.
3. A destination that keeps order takes the events of a user first in their order.
4. Batches, requests under way, lanes, attempts and memory stay within their limits.
5. When nothing fails any more, nothing is owed after a while, and the ledger balances.
"""

from __future__ import annotations

import contextlib
from collections import Counter, defaultdict
from typing import NamedTuple

from msgspec import Struct

from tests.simulator.journal import Broken
from tests.simulator.machine import Machine
from tests.simulator.outside import POISON
from trunkline.kit.eventlog import EventLog, LogFailure, Reader
from trunkline.model.record import EVENTS, AcceptedEvent, decode_stored
from trunkline.model.snapshot import Destination as Configured
from trunkline.reports.ledger import Ledger, read_ledger
from trunkline.state.db import open_reader
from trunkline.state.forwarder import unpack_offsets

ATTEMPTS_MAX = 60  # of one event at one destination, beside one for each restart


class Put(NamedTuple):
    """A record of EVENTS, as far as a check looks at it."""

    message_id: str
    app: str
    user: str
    type: str
    snapshot: int
    origin: tuple[int, int]


class Promise(Struct, frozen=True):
    """An acknowledged event: the how-manieth acknowledgement it was, and whether its first."""

    number: int
    app: str
    message_id: str


def expect(is_so: bool, sentence: str) -> None:
    """Raise `Broken` where something that must hold does not."""
    if not is_so:
        raise Broken(sentence)


class Truth:
    """What was acknowledged, what may have been stored, and what EVENTS has shown so far."""

    def __init__(self) -> None:
        self.promised: dict[tuple[int, int], Promise] = {}  # by partition and offset of ACCEPTED
        self.ids: dict[str, str] = {}  # messageId → app, of what was acknowledged
        self.doubted: Counter[str] = Counter()  # messageIds of appends that failed
        self.puts: dict[int, Put] = {}  # EVENTS, by offset
        self._appends = 0
        self._redecided: dict[int, int] = {}  # uid → EVENTS offset below which it may decide anew
        self._reader: tuple[EventLog, Reader] | None = None

    def watch(self, machine: Machine) -> None:
        """Look at what is new in EVENTS, before it may be forgotten."""
        if self._reader is None or self._reader[0] is not machine.log:
            after = {0: max(self.puts, default=-1) + 1}
            self._reader = (machine.log, machine.log.reader(EVENTS, "", after))
        with contextlib.suppress(LogFailure):
            self.puts.update(_read(self._reader[1]))

    def acknowledged(
        self, partition: int, offsets: list[int], records: list[AcceptedEvent]
    ) -> None:
        """An append returned."""
        self._appends += 1
        for offset, record in zip(offsets, records, strict=True):
            promise = Promise(self._appends, record.app, record.message_id)
            expect((partition, offset) not in self.promised, f"{partition}:{offset} given twice")
            self.promised[partition, offset] = promise
            self.ids[record.message_id] = record.app

    def failed(self, records: list[AcceptedEvent]) -> None:
        """An append raised: it is stored whole, or not at all."""
        self.doubted.update(record.message_id for record in records)

    def power_lost(self, machine: Machine) -> None:
        """The forwarder's file may have gone back in time, and what was decided since with it.

        What a destination skipped while it was off may come to it now, behind what it took since.
        """
        for uid in machine.catalog.was_off:
            self._redecided[uid] = max(self.puts, default=-1) + 1

    # 1

    def check_events(self, machine: Machine) -> None:
        """Compare EVENTS with what was acknowledged. The pipeline must have caught up."""
        found = _read_events(machine)
        begin = machine.log.begins(EVENTS).get(0, 0)
        for offset, put in self.puts.items():
            if offset >= begin:
                there = found.get(offset)
                expect(there == put, f"EVENTS {offset} was {put} and is {there} now")
        self.puts.update(found)
        ids = Counter(put.message_id for put in self.puts.values())
        twice = [id_ for id_, count in ids.items() if count > 1]
        expect(not twice, f"in EVENTS more than once: {twice[:5]}")
        missing = [id_ for id_ in self.ids if id_ not in ids]
        expect(not missing, f"{len(missing)} acknowledged and not in EVENTS: {missing[:5]}")
        strange = [id_ for id_ in ids if id_ not in self.ids and id_ not in self.doubted]
        expect(not strange, f"in EVENTS and never sent: {strange[:5]}")
        self._check_cause()

    def _check_cause(self) -> None:
        """What was acknowledged before another was received comes before it."""
        last = 0
        for offset in sorted(self.puts):
            put = self.puts[offset]
            promise = self.promised.get(put.origin)
            if promise is None:
                continue  # of an append that failed and was stored
            expect(
                promise.message_id == put.message_id and promise.app == put.app,
                f"EVENTS {offset} says it came from {put.origin}, which is {promise}",
            )
            expect(promise.number >= last, f"EVENTS {offset} ({put}) comes too late")
            last = promise.number

    # 2 and 3, as far as they can be told while something is owed

    def check_ledger(self, machine: Machine) -> Ledger:
        """Check that the ledger balances and counts what EVENTS holds."""
        ledger = read_ledger(machine.home, machine.log)
        for line in (*ledger.apps, *ledger.destinations):
            expect(line.balanced, f"the ledger does not balance: {line}")
        put = Counter(put.app for put in self.puts.values())
        received = Counter(promise.app for promise in self.promised.values())
        for app in ledger.apps:
            expect(app.accepted == put[app.app], f"{put[app.app]} in EVENTS, counted {app}")
            most = received[app.app] + sum(self.doubted.values())
            is_counted = received[app.app] <= app.received <= most
            expect(is_counted, f"{received[app.app]} acknowledged, counted {app}")
            expect(not app.refused, f"nothing was refused: {app}")
        self._check_tally(machine)
        return ledger

    def _check_tally(self, machine: Machine) -> None:
        """Check that the counts by the names of events are those of the ledger."""
        db = open_reader(machine.home.forwarder_file)
        assert db is not None
        try:
            by_ledger, by_name = (
                list(
                    db.execute(
                        f"SELECT uid, {hour}, kind, reason, SUM(count) FROM {table}"
                        " GROUP BY 1, 2, 3, 4 HAVING SUM(count)<>0 ORDER BY 1, 2, 3, 4"
                    )
                )
                for table, hour in (("ledger", "minute/60"), ("tally", "hour"))
            )
        finally:
            db.close()
        expect(by_ledger == by_name, f"the tally is {by_name}, the ledger {by_ledger}")

    def check_destination(self, machine: Machine, config: Configured) -> None:
        """Check what a destination took so far."""
        uid, first = config.uid, machine.outside.first[config.uid]
        owed = self._owed(config)
        ids = {put.message_id: offset for offset, put in owed.items()}
        strange = [id_ for id_ in first if id_ not in ids]
        expect(not strange, f"destination {uid} got what it is not owed: {strange[:5]}")
        for type_ in {owed[ids[id_]].type for id_ in first}:
            wanted = config.filter.types
            expect(not wanted or type_ in wanted, f"destination {uid} got a filtered {type_}")
        if config.order == "user":
            self._check_order(uid, [ids[id_] for id_ in sorted(first, key=first.__getitem__)])

    def _check_order(self, uid: int, taken: list[int]) -> None:
        last: defaultdict[tuple[str, str], int] = defaultdict(lambda: -1)
        for offset in taken:
            put = self.puts[offset]
            if put.user and offset >= self._redecided.get(uid, 0):
                key = (put.app, put.user)
                expect(
                    last[key] < offset,
                    f"destination {uid} took {put.message_id} ({offset}) of {put.user} after "
                    f"{last[key]}",
                )
                last[key] = offset

    def _owed(self, config: Configured) -> dict[int, Put]:
        return {
            offset: put
            for offset, put in self.puts.items()
            if put.app == config.app and put.snapshot >= config.since
        }

    # 4

    def check_limits(self, machine: Machine) -> None:
        """Check sizes and counts against what is configured."""
        outside, catalog = machine.outside, machine.catalog
        for uid, most in outside.batch_most.items():
            expect(most <= catalog.batch_most[uid], f"destination {uid} got a batch of {most}")
        for uid, most in outside.under_way_most.items():
            allowed = catalog.concurrency_most[uid]
            expect(most <= allowed, f"destination {uid}: {most} requests at once, not {allowed}")
        tried = outside.attempts.most_common(1)
        allowed = ATTEMPTS_MAX + machine.restarts
        expect(not tried or tried[0][1] <= allowed, f"attempts without end: {tried}")
        self._check_lanes(machine)
        self._check_memory(machine)

    def _check_lanes(self, machine: Machine) -> None:
        settings = machine.shape.forwarder
        db = open_reader(machine.home.forwarder_file)
        assert db is not None
        try:
            rows = list(db.execute("SELECT uid, lane, COUNT(*) FROM waiting GROUP BY 1, 2"))
        finally:
            db.close()
        for uid, lane, count in rows:
            # The fuse puts what it counted back where it was, whatever waits there.
            allowed = settings.lane_events_max + settings.fuse_rejections
            expect(count <= allowed, f"destination {uid}: {count} events wait in {lane!r}")

    def _check_memory(self, machine: Machine) -> None:
        shared = machine.forwarder._shared  # pyright: ignore[reportPrivateUsage]
        held = lanes = 0
        for group in machine.forwarder.groups.values():
            count = len(group.book.place.open)
            expect(count <= 5000, f"{group.config.id} holds {count} events in memory")
            held += sum(item.size for item in group.book.place.open.values())
            lanes += len(group.book.waiting.lanes)
            queued = sum(1 for _ in group.lanes.idle())
            expect(queued <= count, f"{group.config.id}: {queued} events queued, {count} held")
        expect(shared.bytes == held, f"{shared.bytes} bytes counted, {held} held")
        expect(shared.lanes == lanes, f"{shared.lanes} lanes counted, {lanes} there")

    # 5

    def check_end(self, machine: Machine) -> None:
        """Nothing fails and nothing is owed: check that everything came to one end."""
        self.check_events(machine)
        ledger = self.check_ledger(machine)
        lines = {(line.app, line.destination): line for line in ledger.destinations}
        live = machine.catalog.live
        expect(len(lines) == len(live), f"{len(lines)} lines for {len(live)} destinations")
        for config in live.values():
            self.check_destination(machine, config)
            line = lines[config.app, config.id]
            expect(line.pending == 0, f"still owed: {line}")
            ends = self._ends(machine, config)
            counted = (line.delivered, sum(line.dead.values()), sum(line.filtered.values()))
            expect(ends == counted, f"delivered, dead, filtered are {ends}, counted {line}")
        self.check_limits(machine)
        shared = machine.forwarder._shared  # pyright: ignore[reportPrivateUsage]
        expect(shared.bytes == shared.lanes == 0, f"{shared.bytes} bytes, {shared.lanes} lanes")
        holding = set(machine.log.groups(EVENTS).all()) - {str(uid) for uid in live}
        expect(holding <= {"pipeline"}, f"these hold EVENTS back for ever: {holding}")

    def _ends(self, machine: Machine, config: Configured) -> tuple[int, int, int]:
        """Count the ends that events came to: delivered, dead, filtered. One each."""
        dead, filtered = _ended(machine, config.uid)
        outside = machine.outside
        for offset, put in self._owed(config).items():
            id_, is_poison = put.message_id, put.message_id.startswith(POISON)
            expect(
                (id_ in dead) + (offset in filtered) <= 1,
                f"destination {config.uid}: {id_} is dead and filtered",
            )
            if id_ in dead:
                is_guilty = is_poison or (config.uid, id_) in outside.locked_out
                expect(is_guilty, f"destination {config.uid} buried {id_}: {dead[id_]}")
            elif offset not in filtered:
                expect(
                    id_ in outside.first[config.uid],
                    f"destination {config.uid} never got {id_} ({offset}), and nothing says so",
                )
        delivered = len(self._owed(config)) - len(dead) - len(filtered)
        return delivered, len(dead), len(filtered)


def _read_events(machine: Machine) -> dict[int, Put]:
    reader = machine.log.reader(EVENTS, "", {})
    try:
        return _read(reader)
    finally:
        reader.close()


def _read(reader: Reader) -> dict[int, Put]:
    found: dict[int, Put] = {}
    while batch := reader.read(2000):
        for fetched in batch:
            stored = decode_stored(fetched.record.value)
            origin = (stored.origin_partition, stored.origin_offset)
            found[fetched.offset] = Put(
                stored.message_id, stored.app, stored.user, stored.type, stored.snapshot, origin
            )
    return found


def _ended(machine: Machine, uid: int) -> tuple[dict[str, str], set[int]]:
    """Return the dead letters of a destination with their reasons, and the offsets it skipped."""
    db = open_reader(machine.home.forwarder_file)
    assert db is not None
    try:
        letters = db.execute("SELECT message_id, detail FROM dead_letter WHERE uid=?", (uid,))
        dead = {str(id_): str(detail) for id_, detail in letters}
        runs = list(db.execute("SELECT offsets FROM fate WHERE uid=? AND kind='filtered'", (uid,)))
    finally:
        db.close()
    offsets = [offset for (packed,) in runs for offset in unpack_offsets(packed)]
    expect(len(offsets) == len(set(offsets)), f"destination {uid} filtered an event twice")
    return dead, set(offsets)
