"""Workloads 9 and 10: a backlog while events keep coming, and the cost as more is stored.

One node serves both. Bursts are timed at 1×, 10× and 100× events stored, each after a second of
the bare server: how that fared says how much of a difference is the machine's. The backlog is what
brings the node from 10× to 100×.
"""

from __future__ import annotations

import time

from msgspec import Struct

from bench import programs
from bench.plan import Plan
from bench.results import Bound, Result, median, number
from bench.senders import Sent
from bench.stage import DEV_KEY, App, Stage, To

NUMBERS = (9, 10)
ARRIVALS = 1000  # events a second that keep coming
YARDSTICK_SECONDS = 1.0
WATCH_SECONDS = 0.25
MB = 1_000_000


class Drained(Struct):
    """How the backlog went: events a second, and the most memory that the node took.

    `late` events were not sent when they were due, because too many were without an answer.
    """

    rate: float
    seconds: float
    memory_bytes: int
    late: int


class Level(Struct):
    """Bursts at one level of events stored: µs an event, and the bare server's rate before each."""

    stored: int
    micros: list[float]
    bare: list[float]


def measure(plan: Plan, only: frozenset[int]) -> list[Result]:
    """Measure; wrk and nginx must be there. Raises `NotThere`."""
    programs.need("wrk")
    folder = plan.folder / "backlog"
    folder.mkdir()
    levels: list[Level] = []
    with programs.nginx(folder) as receiver, programs.server("yardstick", folder) as yardstick:
        app = App("benchbacklogaaa", [To("receiver", receiver.url)])
        with Stage(folder / "home", [app]) as stage:
            time.sleep(WATCH_SECONDS)
            idle = stage.memory_bytes()
            if 10 in only:
                for part in (100, 10):
                    _grow(stage, plan, app, plan.backlog_events // part)
                    levels.append(_level(stage, plan, app, yardstick.url))
            drained = _backlog(stage, plan, app)
            if 10 in only:
                levels.append(_level(stage, plan, app, yardstick.url))
    found = [_backlog_result(plan, drained)] if 9 in only else []
    return found + (_growth_results(levels, idle, drained) if 10 in only else [])


def _grow(stage: Stage, plan: Plan, app: App, stored: int) -> None:
    more = stored - stage.stored
    if more > 0:
        programs.run_sender("fill", Sent, stage.url, app.secret, more, f"grow{stored}")
    stage.wait(plan.drain_seconds_max)


def _level(stage: Stage, plan: Plan, app: App, yardstick: str) -> Level:
    stage.rest(plan.drain_seconds_max)
    level = Level(stage.stored, [], [])
    for _ in range(plan.rounds):
        bare = programs.run_wrk(
            yardstick, (*app.s2s, "burst", "1"), YARDSTICK_SECONDS, plan.connections
        )
        level.micros.append(_burst(stage, plan, app) * 1e6)
        level.bare.append(bare.rate)
    return level


def _burst(stage: Stage, plan: Plan, app: App) -> float:
    """Return the seconds an event took, from the first sent to the last delivered."""
    tag = f"burst{stage.stored}"
    sent = programs.run_sender("fill", Sent, stage.url, app.secret, plan.burst_events, tag)
    return (stage.wait(plan.drain_seconds_max) - sent.begun) / plan.burst_events


def _backlog(stage: Stage, plan: Plan, app: App) -> Drained:
    stage.set_state("receiver", "paused")
    programs.run_sender("fill", Sent, stage.url, app.secret, plan.backlog_events, "backlog")
    stage.wait_stored(plan.drain_seconds_max)
    key = f"{DEV_KEY}-{app.id}"
    steady = programs.start_sender("steady", stage.url, app.id, key, ARRIVALS, plan.backlog_seconds)
    begun, first = time.monotonic(), stage.delivered("receiver")
    stage.set_state("receiver", "running")
    memory = 0
    while True:
        time.sleep(WATCH_SECONDS)
        memory = max(memory, stage.memory_bytes())
        seconds, position = time.monotonic() - begun, stage.delivered("receiver")
        if seconds > plan.backlog_seconds or position >= stage.stored - ARRIVALS // 10:
            break
    rate = (position - first) / seconds
    sent = programs.answer_of(steady, Sent)
    stage.wait(plan.drain_seconds_max)
    return Drained(rate, seconds, memory, sent.late)


def _backlog_result(plan: Plan, drained: Drained) -> Result:
    return Result(
        workload=9,
        title=f"{plan.backlog_events:,} events of backlog while {ARRIVALS:,}/s come",
        unit="events/s",
        bound=Bound(2000, 5000),
        durability="A",
        measured=drained.rate,
        rounds=[drained.rate],
        ours=f"over {drained.seconds:.0f} s",
        note=f"{drained.late} of the events that kept coming were late" if drained.late else "",
    )


def _growth_results(levels: list[Level], idle: int, drained: Drained) -> list[Result]:
    first, last = levels[0], levels[-1]
    once = median(first.micros)
    bare = median(first.bare) / median(last.bare)
    at = ", ".join(f"{number(median(x.micros))} µs at {x.stored:,}" for x in levels)
    return [
        Result(
            workload=10, title="time an event with 100 × the events stored", unit="×",
            bound=Bound(1.2, None, is_most=True), durability="A",
            measured=median(last.micros) / once,
            rounds=[micros / once for micros in last.micros], ours=at,
            yardstick=f"the bare server meanwhile: {number(bare)} ×",
        ),
        Result(
            workload=10, title="memory of the whole node, idle", unit="MB",
            bound=Bound(300, None, is_most=True), durability="A", measured=idle / MB,
        ),
        Result(
            workload=10, title="memory of the whole node, under the backlog", unit="MB",
            bound=Bound(1000, None, is_most=True), durability="A",
            measured=drained.memory_bytes / MB,
        ),
    ]  # fmt: skip
