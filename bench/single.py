"""Workload 5: one request an event, beside the HTTP client with nothing around it."""

from __future__ import annotations

import time
from typing import NamedTuple

from bench import programs
from bench.plan import Plan
from bench.results import Bound, Result, median, number
from bench.senders import Sent
from bench.stage import App, Stage, To

NUMBERS = (5,)


def measure(plan: Plan, only: frozenset[int]) -> list[Result]:  # noqa: ARG001
    """Measure; nginx must be there. Raises `NotThere`."""
    folder = plan.folder / "single"
    folder.mkdir()
    ours: list[float] = []
    bare: list[float] = []
    with programs.nginx(folder) as receiver:
        app = App("benchsingleaaaa", [To("single", receiver.url, 1, plan.connections)])
        with Stage(folder / "home", [app]) as stage:
            for index in range(plan.rounds):
                sent = programs.run_sender(
                    "bare", Sent, receiver.url, plan.single_events, plan.connections
                )
                bare.append(sent.events / sent.seconds)
                ours.append(plan.single_events / deliver(stage, plan, app, f"r{index}").seconds)
    rounds = [a / b for a, b in zip(ours, bare, strict=True)]
    return [
        Result(
            workload=5,
            title=f"one request an event, {plan.connections} under way",
            unit="×",
            bound=Bound(0.4, 0.6),
            durability="A/C",
            measured=median(rounds),
            rounds=rounds,
            ours=f"{number(median(ours))} requests/s",
            yardstick=f"the bare client: {number(median(bare))}/s",
        )
    ]


class Delivered(NamedTuple):
    """How long a backlog took to go out, and what the worker's CPU spent on an event of it."""

    seconds: float
    worker_cpu_seconds: float


def deliver(stage: Stage, plan: Plan, app: App, tag: str) -> Delivered:
    """Let events gather in the log, then time how fast they go out, one request an event."""
    destination = app.destinations[0].id
    stage.set_state(destination, "paused")
    programs.run_sender("fill", Sent, stage.url, app.secret, plan.single_events, tag)
    stage.wait_stored(plan.drain_seconds_max)
    cpu, begun = stage.cpu_seconds()["worker"], time.monotonic()
    stage.set_state(destination, "running")
    seconds = stage.wait(plan.drain_seconds_max) - begun
    spent = stage.cpu_seconds()["worker"] - cpu
    return Delivered(seconds, spent / plan.single_events)
