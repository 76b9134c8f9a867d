"""Workloads 1, 2, 3, 4 and 12: taking events in, and bringing them on while they come.

They share their rounds, so that all are measured beside each other: nginx, Granian, the bare
server, the node with one event a request, the node with batches. A load goes on for some seconds;
then the node brings the rest to its destination, and only then the next part begins.
"""

from __future__ import annotations

import time
from typing import Any

from msgspec import Struct

from bench import programs
from bench.plan import Plan
from bench.results import Bound, Result, median, number
from bench.stage import App, Stage, To

NUMBERS = (1, 2, 3, 4, 12)
BATCH = 100
TWELVE_FIELDS: dict[str, Any] = {
    "global": {
        "mappings": [
            {"inputKey": "messageId", "outputKey": "event_id"},
            {"inputKey": "event", "outputKey": "event_name"},
            {
                "inputKey": "timestamp",
                "outputKey": "event_time",
                "transforms": [{"toTimestamp": "inSeconds"}],
            },
            {"inputKey": "userId", "outputKey": "user.id", "transforms": [{"toHash": "sha256"}]},
            {"inputKey": "context.device.advertisingId", "outputKey": "user.device"},
            {
                "inputKey": "properties.revenue",
                "outputKey": "data.value",
                "transforms": [{"toScalar": "float"}],
            },
            {
                "inputKey": "properties.currency",
                "outputKey": "data.currency",
                "transforms": [{"modifyString": "uppercase"}],
                "defaultString": "USD",
            },
            {"inputKey": "properties.order_id", "outputKey": "data.order"},
            {"inputKey": "properties.items", "outputKey": "data.items"},
            {"inputKey": "properties.campaign", "outputKey": "data.campaign"},
            {"inputKey": "properties.city", "outputKey": "data.city"},
            {"inputKey": "properties.channel", "outputKey": "source"},
        ]
    }
}


class Taken(Struct):
    """A part of a round on the node. `sustained` is events a second until all was delivered."""

    rate: float
    sustained: float
    drained: float
    cpu: dict[str, float]
    load: programs.Load

    @property
    def cpu_for_1000(self) -> float:
        """CPU seconds of the whole node for 1,000 events."""
        return sum(self.cpu.values())


class Round(Struct):
    """What one round measured, in requests a second."""

    nginx: float
    granian: float
    bare: float
    single: Taken
    mapped: Taken
    batch: Taken | None


def measure(plan: Plan, only: frozenset[int]) -> list[Result]:
    """Measure; wrk and nginx must be there. Raises `NotThere`."""
    programs.need("wrk")
    folder = plan.folder / "accepting"
    folder.mkdir()
    with (
        programs.nginx(folder) as receiver,
        programs.granian(folder) as granian,
        programs.server("yardstick", folder) as yardstick,
    ):
        app = App("benchacceptaaaa", [To("receiver", receiver.url)])
        shaped = App("benchmappedaaaa", [To("mapped", receiver.url, playbook=TWELVE_FIELDS)])
        with Stage(folder / "home", [app, shaped]) as stage:
            for each in (app, shaped):
                _take(stage, plan, each, "warm", 1, min(1.0, plan.seconds))
            beside = (receiver.url, granian.url, yardstick.url)
            rounds = [
                _round(stage, plan, (app, shaped), beside, f"r{index}", 3 in only)
                for index in range(plan.rounds)
            ]
    return [result for result in _results(rounds) if result.workload in only]


def _round(
    stage: Stage,
    plan: Plan,
    apps: tuple[App, App],
    beside: tuple[str, str, str],
    tag: str,
    with_batch: bool,
) -> Round:
    app, shaped = apps
    nginx, granian, bare = (
        programs.run_wrk(url, (*app.s2s, tag, "1"), plan.seconds, plan.connections).rate
        for url in beside
    )
    single = _take(stage, plan, app, f"{tag}s", 1, plan.seconds, counts_all=True)
    mapped = _take(stage, plan, shaped, f"{tag}m", 1, plan.seconds)
    batch = _take(stage, plan, app, f"{tag}b", BATCH, plan.seconds / 2) if with_batch else None
    return Round(nginx, granian, bare, single, mapped, batch)


def _take(
    stage: Stage,
    plan: Plan,
    app: App,
    tag: str,
    events: int,
    seconds: float,
    *,
    counts_all: bool = False,
) -> Taken:
    """Load the node. `counts_all`: its CPU time is that until nothing is left to do at all."""
    arguments = (*(app.s2s if events == 1 else app.batches), tag, str(events))
    stored, cpu, begun = stage.stored, stage.cpu_seconds(), time.monotonic()
    load = programs.run_wrk(stage.url, arguments, seconds, plan.connections)
    ended, owed = time.monotonic(), stage.delivered(app.destinations[0].id)
    done = stage.wait(plan.drain_seconds_max)
    if counts_all:
        stage.rest(plan.drain_seconds_max)  # what is done later costs CPU, too
    taken = stage.stored - stored
    used = stage.cpu_seconds()
    return Taken(
        rate=load.rate * events,
        sustained=taken / (done - begun),
        drained=(stage.stored - owed) / max(0.001, done - ended),
        cpu={name: (used[name] - cpu.get(name, 0.0)) / taken * 1000 for name in used},
        load=load,
    )


def _results(rounds: list[Round]) -> list[Result]:
    single = median([r.single.rate for r in rounds])
    granian, bare = median([r.granian for r in rounds]), median([r.bare for r in rounds])
    nginx = median([r.nginx for r in rounds])
    found = [
        _ratio(1, "S2S events, one a request", Bound(0.35, 0.5), "A/C",
               [r.single.rate / r.granian for r in rounds],
               f"{number(single)} events/s", f"Granian, stores nothing: {number(granian)}/s"),
        _ratio(1, "the same", Bound(0.35, 0.5), "A/C",
               [r.single.rate / r.bare for r in rounds],
               f"{number(single)} events/s", f"our own server, stores nothing: {number(bare)}/s"),
        _ratio(2, "the same", Bound(0.10, 0.16), "A/C",
               [r.single.rate / r.nginx for r in rounds],
               f"{number(single)} events/s", f"nginx, a constant: {number(nginx)}/s"),
    ]  # fmt: skip
    batches = [(r.batch, r.single) for r in rounds if r.batch is not None]
    if batches:
        rate = median([batch.rate for batch, _ in batches])
        found.append(
            _ratio(3, "/v1/batch of 100", Bound(4, 8), "A/A",
                   [batch.rate / single.rate for batch, single in batches],
                   f"{number(rate)} events/s", f"workload 1: {number(single)} events/s")
        )  # fmt: skip
    return [*found, *_onward(rounds, single)]


def _onward(rounds: list[Round], single: float) -> list[Result]:
    sustained = median([r.mapped.sustained for r in rounds])
    drained = median([r.mapped.drained for r in rounds])
    names = {name.partition("-")[0] for r in rounds for name in r.single.cpu}
    shares = {
        name: median(
            [sum(v for k, v in r.single.cpu.items() if k.startswith(name)) for r in rounds]
        )
        for name in sorted(names)
    }
    cpu = [r.single.cpu_for_1000 for r in rounds]
    return [
        _ratio(4, "accepted to delivered, 12 mapped fields, batches of 100", Bound(0.5, 1.0), "A/A",
               [r.mapped.sustained / r.single.rate for r in rounds],
               f"{number(sustained)} events/s; without load {number(drained)}",
               f"workload 1: {number(single)} events/s"),
        Result(workload=12, title="CPU for 1,000 events accepted and delivered",
               unit="s", bound=Bound(0.15, 0.08, is_most=True), durability="A",
               measured=median(cpu), rounds=cpu,
               ours=", ".join(f"{name} {number(value)}" for name, value in shares.items())),
    ]  # fmt: skip


def _ratio(
    workload: int, title: str, bound: Bound, durability: str, rounds: list[float],
    ours: str, yardstick: str,
) -> Result:  # fmt: skip
    return Result(
        workload=workload, title=title, unit="×", bound=bound, durability=durability,
        measured=median(rounds), rounds=rounds, ours=ours, yardstick=yardstick,
    )  # fmt: skip
