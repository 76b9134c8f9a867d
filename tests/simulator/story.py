"""What happens in a run: traffic, weather, changes, people and faults by the dice, then calm.

After the last fault everything must come to its end by itself; the time for that is bounded.
"""

from __future__ import annotations

import json
import random
from collections.abc import Callable

from tests.simulator.configured import APPS
from tests.simulator.journal import Broken
from tests.simulator.machine import PARTITIONS, Machine
from tests.simulator.outside import POISON, WEATHERS
from tests.simulator.truth import Truth
from trunkline.kit.eventlog import LogFailure, Record
from trunkline.model.record import AcceptedEvent, encode_record, partition_key
from trunkline.reports.ledger import Ledger
from trunkline.state.inbox import SetState, append_request

ACTIONS = 30
RETENTION_SECONDS = 62.0  # so often the forwarder says what is not needed any more
CALM_SECONDS_MAX = 1500.0  # backoffs reach 300 s, probes 60 s
PAUSES = (0.005, 0.05, 0.4, 2.0, 9.0, 65.0)
PAUSE_WEIGHTS = (4, 4, 4, 4, 3, 2)
USERS = ("", *(f"user{number}" for number in range(6)))


class Story:
    """One run."""

    def __init__(self, seed: int, machine: Machine) -> None:
        self.machine = machine
        self.truth = Truth()
        machine.watch = lambda: self.truth.watch(machine)
        self._dice = random.Random(f"story {seed}")
        self._serial = 0
        self._sent: list[AcceptedEvent] = []  # acknowledged or not; a sender sends some again
        self._is_cut_armed = 0

    async def live(self) -> None:
        """Live through everything, and check what must hold."""
        await self.machine.boot()
        for _ in range(ACTIONS):
            await self._act()
            await self._look_at_power()
        await self._calm_down()
        await self._drain()
        await self.machine.run_for(RETENTION_SECONDS)
        self.truth.check_end(self.machine)
        self.machine.journal.say(
            f"the end: {len(self.truth.puts)} events, {self.machine.outside.requests} requests, "
            f"{self.machine.restarts} restarts"
        )

    async def _act(self) -> None:
        throw = self._dice.choices(range(5), (45, 18, 8, 5, 24))[0]
        if throw == 4:
            await self._fault()
        else:
            (self._accept, self._weather, self._configure, self._people)[throw]()
        await self.machine.run_for(self._dice.choices(PAUSES, PAUSE_WEIGHTS)[0])

    # Traffic

    def _accept(self, records: list[AcceptedEvent] | None = None) -> None:
        machine = self.machine
        partition = self._dice.choice(PARTITIONS)
        records = records or self._make_records(partition)
        machine.clock.pause(0.0005)  # an append takes time, so no two have one stamp
        appender = machine.appenders.get(partition)
        if appender is None:
            machine.open_gateway(partition)
            return
        stamped = [
            Record(partition_key(r.app, r.user), encode_record(r), machine.stamp()) for r in records
        ]
        try:
            offsets = list(appender.append(stamped))
        except LogFailure as failure:
            why = type(failure).__name__
            machine.journal.say(f"gateway {partition}: {why}, {len(records)} not acknowledged")
            self.truth.failed(records)
        else:
            machine.journal.say(
                f"gateway {partition}: {len(records)} events at {offsets[0]}, "
                f"{records[0].message_id} … {records[-1].message_id}"
            )
            self.truth.acknowledged(partition, offsets, records)
        machine.clock.pause(0.0005)
        machine.work_soon()

    def _make_records(self, partition: int) -> list[AcceptedEvent]:
        snapshot = self.machine.catalog.seen_by(f"gateway {partition}")
        made: list[AcceptedEvent] = []
        for _ in range(self._dice.choice((1, 2, 10, 40))):
            if self._sent and self._dice.random() < 0.06:
                made.append(self._dice.choice(self._sent[-200:]))
            else:
                made.append(self._make_record(snapshot.version))
        self._sent += made
        return made

    def _make_record(self, version: int, user: str | None = None) -> AcceptedEvent:
        self._serial += 1
        is_poison = user is None and self._dice.random() < 0.015
        user = self._dice.choice(USERS) if user is None else user
        type_ = self._dice.choice(("track", "track", "identify"))
        body = {
            "type": type_,
            "userId": user,
            "event": "Bought",
            "properties": {"note": "x" * self._dice.choice((0, 10, 600))},
        }
        return AcceptedEvent(
            app=self._dice.choice((APPS[0], APPS[0], APPS[1])),
            message_id=f"{POISON if is_poison else 'm'}{self._serial}",
            user=f"u:{user}" if user else "",
            protocol="tracking",
            type=type_,
            key="backend",
            is_client=False,
            snapshot=version,
            received_ms=self.machine.clock.now_ms(),
            address="203.0.113.7",
            user_agent="",
            request_id=f"r{self._serial}",
            envelope=b"",
            body=json.dumps(body).encode(),
        )

    # The world, the catalog, people

    def _weather(self) -> None:
        uid = self._dice.choice(sorted(self.machine.catalog.live))
        weather = self._dice.choice(WEATHERS)
        self.machine.outside.weather[uid] = weather
        self.machine.journal.say(f"weather at destination {uid}: {weather}")

    def _configure(self) -> None:
        self.machine.journal.say(self.machine.catalog.change())

    def _people(self) -> None:
        uid = self._dice.choice(sorted(self.machine.catalog.live))
        state = self._dice.choice(("paused", "running", "running", "probe"))
        self._ask(uid, state)

    def _ask(self, uid: int, state: str) -> None:
        machine = self.machine
        append_request(machine.home.inbox_file, SetState(uid, state, machine.clock.now_ms()))
        machine.journal.say(f"a person asks destination {uid}: {state}")

    # Faults

    async def _fault(self) -> None:
        faults: list[Callable[[], object]] = [
            self._crash_forwarder, self._stop_forwarder, self._restart_pipeline,
            self._restart_gateway, self._fill_disk, self._fail_syncs, self._jump,
            self._arm_cut, self._arm_cut, self._arm_cut, self._cut_now,
        ]  # fmt: skip
        done = self._dice.choice(faults)()
        if done is not None:
            await done  # type: ignore[misc]  # those that take time are coroutines

    async def _crash_forwarder(self) -> None:
        self.machine.journal.say("FAULT the forwarder crashes")
        await self.machine.crash_forwarder()

    async def _stop_forwarder(self) -> None:
        self.machine.journal.say("the forwarder is stopped and started")
        await self.machine.stop_forwarder()

    def _restart_pipeline(self) -> None:
        self.machine.journal.say("FAULT the pipeline crashes")
        self.machine.restart_pipeline()

    def _restart_gateway(self) -> None:
        partition = self._dice.choice(PARTITIONS)
        self.machine.journal.say(f"FAULT gateway {partition} crashes")
        self.machine.open_gateway(partition)

    async def _fill_disk(self) -> None:
        self.machine.journal.say("FAULT the disk is full")
        self.machine.vfs.is_full = True
        for _ in range(self._dice.randrange(1, 4)):
            self._accept()
            await self.machine.run_for(self._dice.choice((0.1, 3.0)))
        self.machine.vfs.is_full = False
        self.machine.journal.say("the disk has room again")

    def _fail_syncs(self) -> None:
        self.machine.vfs.syncs_to_fail = self._dice.randrange(1, 4)
        self.machine.journal.say(f"FAULT the next {self.machine.vfs.syncs_to_fail} syncs fail")

    def _jump(self) -> None:
        seconds = self._dice.choice((-7200, -300, -2, 2, 300, 7200))
        self.machine.journal.say(f"FAULT the wall clock jumps by {seconds} s")
        self.machine.clock.jump(seconds)

    def _arm_cut(self) -> None:
        """Have the machine stop in the middle of a write that comes soon."""
        operations = self._dice.choice((self._dice.randrange(1, 30), self._dice.randrange(1, 400)))
        self.machine.vfs.cut_after(operations)
        self._is_cut_armed = 5
        self.machine.journal.say(f"FAULT the machine will stop at operation {operations} from now")

    def _cut_now(self) -> None:
        self.machine.vfs.is_off = True

    async def _look_at_power(self) -> None:
        """Boot again where the machine stopped, by a kill or by a loss of power."""
        machine = self.machine
        if self._is_cut_armed:
            self._is_cut_armed -= 1
            machine.vfs.is_off |= self._is_cut_armed == 0
        if not machine.vfs.is_off:
            return
        self._is_cut_armed = 0
        with_power = self._dice.random() < 0.6
        await self._go_down(with_power)
        if self._dice.random() < 0.3:  # senders come back before the node has looked around
            self._accept()
        await machine.run_for(self._dice.choice((0.1, 4.0)))
        await self.check()

    async def _go_down(self, with_power: bool) -> None:
        what = "the power is lost" if with_power else "everything is killed"
        self.machine.journal.say(what)
        if with_power:
            self.truth.power_lost(self.machine)
        await self.machine.go_down(with_power=with_power)

    # Checks

    async def check(self) -> None:
        """Check what must hold at any time, once the pipeline has caught up."""
        machine = self.machine
        for _ in range(50):
            if machine.vfs.is_off or machine.vfs.is_full:
                return
            await machine.run_for(0.6)
            if machine.is_caught_up:
                break
        self.truth.check_events(machine)
        self.truth.check_ledger(machine)
        for config in machine.catalog.live.values():
            self.truth.check_destination(machine, config)
        self.truth.check_limits(machine)

    def _look(self, machine: Machine) -> Ledger:
        self.truth.check_events(machine)
        return self.truth.check_ledger(machine)

    # The end

    async def _calm_down(self) -> None:
        """End every fault and let the sun shine."""
        machine = self.machine
        self._is_cut_armed = 0
        machine.vfs.switch_on()
        if self._dice.random() < 0.5:
            await self._go_down(with_power=True)
        machine.journal.say("calm from here on")
        machine.outside.weather.clear()
        machine.catalog.mend()
        for uid in machine.catalog.live:
            self._ask(uid, "running")
        for partition in PARTITIONS:
            if partition not in machine.appenders:
                machine.open_gateway(partition)

    async def _drain(self) -> None:
        """Wait until nothing is owed. Now and then a good event comes, as in life.

        It tells a bad event from a locked destination, which a probe by itself cannot.
        """
        machine = self.machine
        begin = machine.clock.monotonic()
        ledger: Ledger | None = None
        pause = 5.0
        while machine.clock.monotonic() - begin < CALM_SECONDS_MAX:
            await machine.run_for(pause)
            pause = min(2 * pause, 60.0)
            if not machine.is_caught_up:
                continue
            ledger = self._look(machine)
            if not any(line.pending for line in ledger.destinations):
                seconds = machine.clock.monotonic() - begin
                machine.journal.say(f"nothing is owed after {seconds:.0f} s")
                return
            version = machine.catalog.seen_by("gateway 0").version
            self._accept([self._make_record(version, f"late{self._serial}") for _ in range(3)])
        owed = [line for line in ledger.destinations if line.pending] if ledger else "all"
        raise Broken(f"still owed after {CALM_SECONDS_MAX:.0f} s without faults: {owed}")
