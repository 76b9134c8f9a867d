"""Workload 6: from the moment an event was due to be sent to its arrival at the receiver.

The rate is a tenth of what the node takes. An event that is sent late because an earlier one was
slow counts from when it was due, so a stall shows in every event that it touched.
"""

from __future__ import annotations

import statistics

import msgspec

from bench import programs
from bench.plan import Plan
from bench.results import Bound, Result, median, number
from bench.senders import Sent
from bench.stage import DEV_KEY, App, Stage, To

NUMBERS = (6,)


def measure(plan: Plan, only: frozenset[int]) -> list[Result]:  # noqa: ARG001
    """Measure; wrk must be there, to find what a tenth of the load is. Raises `NotThere`."""
    programs.need("wrk")
    folder = plan.folder / "latency"
    folder.mkdir()
    app = App("benchlatencyaaa", [])
    middles: list[float] = []
    tails: list[float] = []
    with programs.server("timing", folder) as receiver:
        timed = App("benchtimedaaaaa", [To("timing", receiver.url)])
        with Stage(folder / "home", [app, timed]) as stage:
            load = programs.run_wrk(
                stage.url, (*app.s2s, "rate", "1"), plan.seconds, plan.connections
            )
            stage.wait(plan.drain_seconds_max)
            for _ in range(plan.rounds):
                middle, tail = _round(stage, plan, timed, receiver.url, load.rate / 10)
                middles.append(middle)
                tails.append(tail)
    rate = f"at {number(load.rate / 10)} events/s"
    return [
        _result("sent to received, half of the events", middles, Bound(50, 25, is_most=True), rate),
        _result("sent to received, 99 of 100", tails, Bound(300, 150, is_most=True), rate),
    ]


def _round(stage: Stage, plan: Plan, app: App, receiver: str, rate: float) -> tuple[float, float]:
    programs.fetch(receiver)
    key = f"{DEV_KEY}-{app.id}"
    sent = programs.run_sender("steady", Sent, stage.url, app.id, key, rate, plan.latency_seconds)
    if sent.late:
        raise RuntimeError(f"{sent.late} events could not be sent when they were due; no figure")
    stage.wait(plan.drain_seconds_max)
    took = sorted(msgspec.json.decode(programs.fetch(receiver), type=list[float]))
    if len(took) < sent.events:
        raise RuntimeError(f"{sent.events} events were sent, {len(took)} came; no figure")
    return statistics.median(took), took[int(len(took) * 0.99)]


def _result(title: str, rounds: list[float], bound: Bound, ours: str) -> Result:
    return Result(
        workload=6, title=title, unit="ms", bound=bound, durability="A",
        measured=median(rounds), rounds=rounds, ours=ours,
    )  # fmt: skip
