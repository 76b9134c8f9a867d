"""The engine as a process runs it: real threads, the log on disk, stopping, power loss."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.support.forwarding import Receiver, Rig, Tape, destination, event, run, snapshot
from tests.support.power import PowerVFS
from trunkline.eventlogs.sqlite import SqliteEventLog
from trunkline.forwarder.engine import Forwarder
from trunkline.kit.clock import FakeClock, SystemClock
from trunkline.kit.destination import Request, Response
from trunkline.kit.eventlog import Record
from trunkline.kit.settings import ForwarderSettings
from trunkline.model.outcome import Delivered
from trunkline.model.record import EVENTS, encode_record
from trunkline.state.home import Home


def test_a_clean_stop_waits_for_what_is_under_way_and_saves_it(tmp_path: Path) -> None:
    async def story() -> None:
        rig = Rig(tmp_path)
        rig.receiver.seconds = lambda sent: 5.0
        await rig.start()
        rig.put(event("m0", "a"))
        await rig.run_for(0.1)
        rig.put(event("m1", "a"))
        start = rig.clock.monotonic()
        await rig.stop()
        assert 4 < rig.clock.monotonic() - start < 8
        assert [sent.ids for sent in rig.receiver.requests] == [["m0"]], "nothing new is started"
        assert rig.ledger() == {"delivered": 1}

    run(story)


def test_a_clean_stop_does_not_wait_longer_than_eight_seconds(tmp_path: Path) -> None:
    async def story() -> None:
        rig = Rig(tmp_path)
        rig.snapshot = snapshot(1, destination(settings={"timeout_seconds": 60}))
        rig.receiver.seconds = lambda sent: 1000.0
        await rig.start()
        rig.put(event("m0", "a"))
        await rig.run_for(0.1)
        start = rig.clock.monotonic()
        await rig.stop()
        assert rig.clock.monotonic() - start < 9
        assert rig.saved().unfinished == (0,)

    run(story)


def test_what_breaks_the_engine_ends_it_with_that_exception(tmp_path: Path) -> None:
    async def story() -> None:
        rig = Rig(tmp_path)
        await rig.start()

        def broken() -> None:
            raise RuntimeError("the catalog broke")

        rig.forwarder._snapshot = broken
        with pytest.raises(RuntimeError, match="the catalog broke"):
            await rig.run_for(1)

    run(story)


def test_over_real_threads_and_the_log_on_disk_every_event_arrives(tmp_path: Path) -> None:
    """Batches of HTTP and a channel on its thread, at the speed of this machine."""

    class Quick(Receiver):
        async def send(
            self, request: Request, *, timeout_seconds: float, allow_private: bool
        ) -> Response:
            await asyncio.sleep(0)
            return await super().send(
                request, timeout_seconds=timeout_seconds, allow_private=allow_private
            )

    async def story() -> None:
        Tape.kept, Tape.failures = [], 0
        clock = SystemClock()
        log = SqliteEventLog(
            tmp_path / "log", clock, segment_bytes=262_144, segment_seconds=60, reserve_bytes=0
        )
        receiver = Quick(FakeClock())
        rig = Rig(tmp_path)
        forwarder = Forwarder(
            log=log,
            kinds=rig.kinds,
            sender=receiver,
            snapshot=lambda: snapshot(1, destination(1), destination(2, kind="tape")),
            home=Home(tmp_path),
            settings=ForwarderSettings(),
            clock=clock,
            random=random.Random(1),
        )
        stop = asyncio.Event()
        running = asyncio.ensure_future(forwarder.run(stop))
        appender = log.appender(EVENTS, 0)
        for i in range(20):
            appender.append(
                [
                    Record(b"", encode_record(event(f"m{i}.{k}", f"u{k}")), i * 100 + k)
                    for k in range(100)
                ]
            )
            await asyncio.sleep(0.01)
        await until(lambda: len(receiver.delivered["zcmwmxbkmuodelu/d1"]) == 2000)
        await until(lambda: len(Tape.kept) == 2000)
        stop.set()
        await running
        rig.accepted = [event(f"m{i}") for i in range(2000)]
        rig.snapshot = snapshot(1, destination(1), destination(2, kind="tape"))
        assert rig.balance(1) == rig.balance(2) == (2000, 2000)
        log.close()

    run(story)


async def until(holds: Callable[[], bool]) -> None:
    """Wait for real threads, bounded."""
    for _ in range(3000):
        if holds():
            return
        await asyncio.sleep(0.01)
    raise AssertionError("not within 30 s")


@pytest.mark.parametrize("seed", range(4))
def test_a_power_loss_takes_back_whole_saves_and_nothing_else(tmp_path: Path, seed: int) -> None:
    """What the disk kept is one moment of the forwarder; from there everything is delivered."""

    async def story() -> None:
        dice = random.Random(seed)
        vfs = PowerVFS(f"forwarder-{seed}")
        rig = Rig(tmp_path / "before", seed)
        rig.options["vfs"] = vfs.name
        await rig.start()
        for i in range(10):
            rig.put(*[event(f"m{i}.{k}", f"u{k}") for k in range(dice.randrange(30))])
            await rig.run_for(dice.random())
        await rig.crash()
        vfs.lose_power(tmp_path / "before", tmp_path / "after", dice)
        rig.home = Home(tmp_path / "after")
        rig.home.folder.mkdir(exist_ok=True)
        rig.options.clear()
        rig.receiver.answer = lambda sent: Delivered()
        await rig.start()
        await rig.run_for(2)
        wanted = {stored.message_id for stored in rig.accepted}
        assert {*rig.delivered()} == wanted
        assert rig.ledger() == {"delivered": len(wanted)}
        await rig.stop()

    run(story)
