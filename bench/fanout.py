"""Workloads 7 and 8: many destinations, and one that hangs.

7. Ten destinations, one of which takes requests and never answers, beside the other nine without
   it: the same events, until the nine have them all.
8. A thousand destinations beside ten: the same deliveries and the same requests in total, so a
   hundredth of the events.
"""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path

from bench import programs
from bench.plan import Plan
from bench.results import Bound, Result, median, number
from bench.senders import Sent
from bench.stage import App, Stage, To

NUMBERS = (7, 8)


def measure(plan: Plan, only: frozenset[int]) -> list[Result]:
    """Measure; nginx must be there. Raises `NotThere`."""
    folder = plan.folder / "fanout"
    folder.mkdir()
    found: list[Result] = []
    with programs.nginx(folder) as receiver:
        if 7 in only:
            found.append(_hanging(plan, folder, receiver.url))
        if 8 in only:
            found.append(_many(plan, folder, receiver.url))
    return found


def _hanging(plan: Plan, folder: Path, url: str) -> Result:
    nine = [f"beside-{index}" for index in range(9)]
    alone = App("benchninealonea", [To(f"alone-{index}", url) for index in range(9)])
    with programs.server("silent", folder) as silent:
        hung = App("benchninehungaa", [*(To(name, url) for name in nine), To("hung", silent.url)])
        with Stage(folder / "hanging", [alone, hung]) as stage:
            names = [to.id for to in alone.destinations]
            without: list[float] = []
            beside: list[float] = []
            for index in range(plan.rounds):
                events = plan.fanout_events
                without.append(_deliver(stage, plan, alone, events, names, f"a{index}"))
                beside.append(_deliver(stage, plan, hung, events, nine, f"b{index}"))
    rounds = [b / a for a, b in zip(without, beside, strict=True)]
    return Result(
        workload=7, title="one of ten destinations hangs: the other nine", unit="×",
        bound=Bound(0.95, 0.98), durability="A/A", measured=median(rounds), rounds=rounds,
        ours=f"{number(median(beside))} deliveries/s",
        yardstick=f"without it: {number(median(without))}/s",
    )  # fmt: skip


def _many(plan: Plan, folder: Path, url: str) -> Result:
    few = App("benchtenplacesa", [To(f"few-{index}", url) for index in range(10)])
    count = plan.many_destinations
    many = App("benchmanyplaces", [To(f"many-{index}", url) for index in range(count)])
    with Stage(folder / "many", [few, many]) as stage:
        ten: list[float] = []
        thousand: list[float] = []
        for index in range(plan.rounds):
            for app, rates in ((few, ten), (many, thousand)):
                events = plan.fanout_events * 10 // len(app.destinations)
                names = {to.id for to in app.destinations}
                rates.append(_deliver(stage, plan, app, events, names, f"{app.id}{index}"))
    rounds = [b / a for a, b in zip(ten, thousand, strict=True)]
    return Result(
        workload=8, title=f"{count} destinations, the same deliveries", unit="×",
        bound=Bound(0.7, 0.9), durability="A/A", measured=median(rounds), rounds=rounds,
        ours=f"{number(median(thousand))} deliveries/s",
        yardstick=f"ten destinations: {number(median(ten))}/s",
    )  # fmt: skip


def _deliver(
    stage: Stage, plan: Plan, app: App, events: int, names: Collection[str], tag: str
) -> float:
    """Send events and return the deliveries a second until all destinations named have them."""
    sent = programs.run_sender("fill", Sent, stage.url, app.secret, events, tag)
    done = stage.wait(plan.drain_seconds_max, names)
    return events * len(names) / (done - sent.begun)
