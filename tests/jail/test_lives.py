"""Jailed processes come, are lost, rest, and leave nobody behind."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from tests.support.jail_stage import (
    ROOT,
    Heartbeat,
    function_work,
    lua_work,
    moment,
    own_nursery,
    plain,
    shape,
    workshop,
)
from trunkline.jail.nursery import Nursery
from trunkline.jail.shaper import JailShaper
from trunkline.jail.workshop import why_no_jail
from trunkline.kit.clock import FakeClock, SystemClock
from trunkline.kit.settings import JailSettings
from trunkline.kit.shaping import CodeHeld, Held, Shaper, Work
from trunkline.playbook.program import PlaybookError

# Loops for events that say so; the others get the number of those before them in this process.
POISON = """
import os
seen = []
def transform_event(event, meta):
    seen.append(event)
    while event.get("loop"): pass
    if event.get("die"): os._exit(1)
    return {"n": event["n"]}
"""
NAP_SECONDS = 0.02


def event(n: int, **more: Any) -> dict[str, Any]:
    return {"type": "track", "event": "A", "n": n, **more}


def pid_of(shaper: Shaper) -> int | None:
    assert isinstance(shaper, JailShaper)
    return shaper.cell.pid


def is_gone(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text("utf-8").rsplit(")", 1)[1].split()[0] == "Z"
    except OSError:
        return True


async def until_gone(*pids: int | None, seconds: float = 5.0) -> None:
    end = time.monotonic() + seconds
    while not all(pid is None or is_gone(pid) for pid in pids):
        assert time.monotonic() < end, f"still there: {[p for p in pids if p and not is_gone(p)]}"
        await asyncio.sleep(NAP_SECONDS)


@pytest.mark.parametrize(
    ("how", "reason"), [("loop", "took longer than 0.25 s"), ("die", "its process died")]
)
def test_a_poison_event_costs_only_itself(how: str, reason: str) -> None:
    async def story() -> list[Any]:
        async with workshop() as shop:
            shaper = await shop.open(function_work(POISON))
            return await shape(shaper, *[event(n, **{how: n == 7}) for n in range(20)])

    answers = asyncio.run(story())
    assert answers[7].startswith(reason)
    del answers[7]
    assert answers == [[{"n": n}] for n in range(20) if n != 7]


def test_a_failure_names_the_code_and_shows_the_event() -> None:
    async def story() -> Any:
        async with workshop(batch_seconds=0.05) as shop:
            shaper = await shop.open(function_work(POISON))
            return (await shaper.shape([(event(1, loop=True), moment())]))[0]

    failure = asyncio.run(story()).failure
    assert (failure.path, failure.line) == ("functions[0]", 0)
    assert failure.sentence == "playbook functions[0]: took longer than 0.05 s"
    assert failure.input == '{"type":"track","event":"A","n":1,"loop":true}'


def test_three_kills_in_a_minute_pause_the_code_for_a_minute() -> None:
    async def story() -> None:
        clock = FakeClock(1_795_170_000_000)
        async with workshop(clock, batch_seconds=0.05) as shop:
            shaper = await shop.open(function_work(POISON))
            for n in range(3):
                assert await shape(shaper, event(n, loop=True)) == ["took longer than 0.05 s"]
            (held,) = await shape(shaper, event(3))
            assert held == (
                "the code was killed 3 times within a minute (the last time: took longer than "
                "0.05 s) and is paused until 10:21:00 UTC; its events wait. Mend the code and "
                "deploy it"
            )
            assert pid_of(shaper) is None
            with pytest.raises(CodeHeld, match="is paused until"):
                await shaper.call("any", {})
            await clock.advance(59)
            assert await shape(shaper, event(4)) == [held]
            await clock.advance(2)
            assert await shape(shaper, event(5)) == [[{"n": 5}]]

    asyncio.run(story())


def test_kills_that_lie_a_minute_apart_pause_nothing() -> None:
    async def story() -> None:
        clock = FakeClock()
        async with workshop(clock, batch_seconds=0.05) as shop:
            shaper = await shop.open(function_work(POISON))
            for n in range(4):
                assert await shape(shaper, event(n, loop=True)) == ["took longer than 0.05 s"]
                await clock.advance(31)
            assert await shape(shaper, event(9)) == [[{"n": 9}]]

    asyncio.run(story())


def test_what_is_held_in_a_batch_is_held_and_nothing_else() -> None:
    async def story() -> list[Any]:
        async with workshop(batch_seconds=0.05) as shop:
            shaper = await shop.open(function_work(POISON))
            events = [(event(n, loop=n in (2, 4)), moment(n)) for n in range(6)]
            return list(await shaper.shape(events))

    answers = asyncio.run(story())  # the batch, then 2, then 4: three kills
    assert [plain(a) for a in answers[:2]] == [[{"n": 0}], [{"n": 1}]]
    assert [plain(answers[2]), plain(answers[3])] == ["took longer than 0.05 s", [{"n": 3}]]
    assert plain(answers[4]) == "took longer than 0.05 s"
    assert isinstance(answers[5], Held)


def test_batches_that_take_too_long_get_smaller_and_nobody_is_blamed() -> None:
    slow = """
def transform_event(event, meta):
    end = time.process_time() + 0.02
    while time.process_time() < end: pass
    return {"n": event["n"]}
"""

    async def story() -> None:
        async with workshop(batch_seconds=0.25) as shop:
            shaper = await shop.open(function_work(slow))
            for _ in range(2):
                answers = await shape(shaper, *[event(n) for n in range(20)])
                assert answers == [[{"n": n}] for n in range(20)]

    asyncio.run(story())


def test_a_process_that_has_nothing_to_do_ends_and_comes_back() -> None:
    async def story() -> None:
        clock = FakeClock()
        async with workshop(clock) as shop:
            shaper = await shop.open(function_work(POISON))
            await shape(shaper, event(1))
            first = pid_of(shaper)
            await clock.advance(40)
            assert pid_of(shaper) == first
            await clock.advance(40)
            assert pid_of(shaper) is None
            await until_gone(first)
            assert await shape(shaper, event(2)) == [[{"n": 2}]]
            assert pid_of(shaper) not in (None, first)

    asyncio.run(story())


def test_the_process_that_rested_longest_makes_room() -> None:
    async def story() -> None:
        async with workshop(workers_max=2) as shop:
            shapers = [await shop.open(function_work(POISON, name=f"app/{n}")) for n in range(2)]
            await shape(shapers[0], event(1))
            shapers.append(await shop.open(function_work(POISON)))
            assert [pid_of(each) is None for each in shapers] == [False, True, False]
            assert await shape(shapers[1], event(2)) == [[{"n": 2}]]
            assert [pid_of(each) is None for each in shapers] == [True, False, False]

    asyncio.run(story())


def test_destinations_wait_for_a_place_that_is_busy() -> None:
    async def story() -> None:
        async with workshop(workers_max=1, batch_seconds=0.1) as shop:
            first = await shop.open(function_work(POISON, name="app/a"))
            second = await shop.open(function_work(POISON, name="app/b"))
            busy = asyncio.create_task(shape(first, event(1, loop=True)))
            await asyncio.sleep(NAP_SECONDS)
            assert await shape(second, event(2)) == [[{"n": 2}]]
            assert await busy == ["took longer than 0.1 s"]

    asyncio.run(story())


def test_a_lost_zygote_is_replaced() -> None:
    async def story() -> None:
        async with workshop() as shop:
            shaper = await shop.open(function_work(POISON))
            worker, zygote = pid_of(shaper), shop.zygote_pid
            assert zygote is not None
            os.kill(zygote, signal.SIGKILL)
            await until_gone(worker)
            assert await shape(shaper, event(1), event(2)) == [[{"n": 1}], [{"n": 2}]]
            assert shop.zygote_pid not in (None, zygote)

    asyncio.run(story())


def test_a_worker_killed_from_outside_costs_no_event() -> None:
    async def story() -> None:
        async with workshop() as shop:
            shaper = await shop.open(function_work(POISON))
            for n in range(6):
                pid = pid_of(shaper)
                assert pid is not None
                os.kill(pid, signal.SIGKILL)
                assert await shape(shaper, event(n)) == [[{"n": n}]]

    asyncio.run(story())


def test_letting_go_ends_the_process_whatever_it_does() -> None:
    async def story() -> None:
        async with workshop(batch_seconds=4.0) as shop:
            shaper = await shop.open(function_work(POISON))
            busy = asyncio.create_task(shape(shaper, event(1, loop=True), event(2)))
            await asyncio.sleep(0.1)
            pid = pid_of(shaper)
            await shaper.close()
            assert await busy == ["its code was let go of"] * 2
            await until_gone(pid)

    asyncio.run(story())


def test_a_cancelled_request_leaves_no_answer_astray() -> None:
    async def story() -> None:
        async with workshop(batch_seconds=4.0) as shop:
            shaper = await shop.open(function_work(POISON))
            busy = asyncio.create_task(shape(shaper, event(1, loop=True)))
            await asyncio.sleep(0.05)
            busy.cancel()
            with pytest.raises(asyncio.CancelledError):
                await busy
            assert await shape(shaper, event(2)) == [[{"n": 2}]]

    asyncio.run(story())


def test_closing_the_workshop_ends_everything() -> None:
    async def story() -> None:
        async with workshop(nursery=own_nursery()) as shop:
            pids = [pid_of(await shop.open(function_work(POISON))) for _ in range(3)]
            pids.append(shop.zygote_pid)
            assert all(pid and not is_gone(pid) for pid in pids)
        await until_gone(*pids)

    asyncio.run(story())


PARENT = """
import asyncio, sys
from tests.jail.test_lives import POISON, event, function_work, moment, pid_of, workshop

async def main():
    async with workshop(batch_seconds=4.0) as shop:
        idle = await shop.open(function_work(POISON))
        busy = await shop.open(function_work(POISON))
        task = asyncio.create_task(busy.shape([(event(1, loop=True), moment())]))
        await asyncio.sleep(0.05)
        print(shop.zygote_pid, pid_of(idle), pid_of(busy), flush=True)
        await task

asyncio.run(main())
"""


def test_nobody_is_left_behind_when_the_node_is_killed() -> None:
    node = subprocess.Popen(
        [sys.executable, "-c", PARENT], cwd=ROOT, stdout=subprocess.PIPE, text=True
    )
    with node:
        assert node.stdout is not None
        pids = [int(word) for word in node.stdout.readline().split()]
        assert len(pids) == 3 and not any(is_gone(pid) for pid in pids)
        node.kill()
    asyncio.run(until_gone(*pids, seconds=2.0))


@pytest.mark.parametrize(
    ("nursery", "reason"),
    [
        (own_nursery("riscv64"), "no jail for the processor riscv64: .* Run the node on one of"),
        (own_nursery("aarch64" if os.uname().machine == "x86_64" else "x86_64"), "its process"),
    ],
    ids=["unknown processor", "another processor's filter"],
)
def test_where_the_jail_cannot_be_closed_no_code_runs(nursery: Nursery, reason: str) -> None:
    async def story() -> None:
        async with workshop(nursery=nursery) as shop:
            with pytest.raises(CodeHeld, match=reason):
                await shop.open(function_work(POISON))

    asyncio.run(story())


def test_this_machine_says_that_it_has_a_jail() -> None:
    assert asyncio.run(why_no_jail(JailSettings(), SystemClock())) == ""


WITHOUT_SECCOMP = """
import asyncio, ctypes, errno
from tests.jail.test_lives import POISON, function_work, own_nursery, workshop
from trunkline.jail.workshop import why_no_jail
from trunkline.kit.clock import SystemClock
from trunkline.kit.settings import JailSettings
from trunkline.jail.confine import LIBC
from trunkline.jail.seccomp import install_filter
from trunkline.kit.shaping import CodeHeld

async def main():
    async with workshop(nursery=own_nursery()) as shop:
        try:
            await shop.open(function_work(POISON))
        except CodeHeld as held:
            print(held)
    print(await why_no_jail(JailSettings(), SystemClock()))

PRCTL, SET_SECCOMP = {"x86_64": 157, "aarch64": 167}[__import__("os").uname().machine], 22
LIBC.prctl(38, 1, 0, 0, 0)
install_filter(
    [
        (0x20, 0, 0, 0), (0x15, 0, 3, PRCTL), (0x20, 0, 0, 16), (0x15, 0, 1, SET_SECCOMP),
        (0x06, 0, 0, 0x00050000 | errno.EINVAL), (0x06, 0, 0, 0x7FFF0000),
    ],
    LIBC,
)
asyncio.run(main())
"""


def test_where_the_kernel_takes_no_filter_no_code_runs() -> None:
    """As in a container whose profile refuses it: here a filter of our own that does."""
    done = subprocess.run(
        [sys.executable, "-c", WITHOUT_SECCOMP], cwd=ROOT, capture_output=True, text=True
    )
    reason = "the jail cannot be closed: [Errno 22] the kernel takes no seccomp"
    said = [line for line in done.stdout.splitlines() if line.startswith(reason)]
    assert len(said) == 2, done.stderr
    assert "Code of operators needs Linux with seccomp" in done.stdout, done.stderr


@pytest.mark.parametrize(
    ("work", "message"),
    [
        (function_work("while True: pass"), "took longer than 0.2 s"),
        (function_work("import os\nos._exit(0)"), "its process died"),
        (function_work("x = bytearray(8_000_000_000)"), "MemoryError"),
        (function_work("for (;;);", "javascript"), "took longer than 0.2 s"),
    ],
    ids=["endless", "dies", "memory", "endless JavaScript"],
)
def test_code_that_does_not_load_is_a_problem_of_the_playbook(work: Work, message: str) -> None:
    async def story() -> None:
        async with workshop(load_seconds=0.2) as shop:
            with pytest.raises(PlaybookError, match=message):
                await shop.open(work)

    asyncio.run(story())


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ("while true do end", "took longer than 0.25 s"),
        ("local t = {} while true do t[#t + 1] = string.rep('x', 100000) end", "64 MB|0.25 s"),
        ("local function f() return 1 + f() end return f()", "overflow|0.25 s"),
        ("return string.rep('x', 2^30)", "64 MB|0.25 s"),
        ("return string.find(string.rep('a', 60), string.rep('a?', 60) .. 'b')", "0.25 s|complex"),
    ],
    ids=["loop", "memory", "recursion", "one huge text", "pattern"],
)
def test_greedy_lua_is_stopped_and_the_next_event_is_fine(body: str, message: str) -> None:
    async def story() -> None:
        async with workshop() as shop:
            shaper = await shop.open(lua_work(f"if input.greedy then {body} end return input"))
            heartbeat = Heartbeat()
            (answer,) = await shape(shaper, event(1, greedy=True))
            assert isinstance(answer, str)
            assert any(part in answer for part in message.split("|")), answer
            assert await shape(shaper, event(2)) == [[event(2)]]
            heartbeat.stop()
            assert heartbeat.stall_seconds < 0.1

    asyncio.run(story())
