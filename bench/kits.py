"""Workload 14: an event through each shipped kit, beside the plain webhook.

A kit's own work is the CPU time of its playbook, its contract, the request that it makes and the
answer that it judges; nothing is sent. All else is the same for every destination, and what it
costs is measured on a node: the worker's CPU for an event that goes through the plain webhook, one
a request. So a kit costs (its work + the webhook) ÷ the webhook, and the dearest one counts. One
that sends batches costs less than is said here: it shares requests.

What the dearest costs beside *building and sending* a webhook alone, a part of that, stands in the
note: it says how much there is to gain in shaping.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import Any

import uvloop

from bench import programs
from bench.plan import Plan
from bench.results import Bound, Result, median, number
from bench.single import deliver
from bench.stage import App, Stage, To
from trunkline.destinations.webhook import Webhook, WebhookSettings
from trunkline.forwarder.carrier import HttpCarrier
from trunkline.forwarder.http import HttpSender
from trunkline.forwarder.pace import Pace
from trunkline.kit.clock import SystemClock
from trunkline.kit.destination import EXAMPLE_DESTINATION, Attempt, delivery_id, map_event
from trunkline.kit.sample_events import PURCHASE
from trunkline.kits.fixture_spec import KitFixture
from trunkline.kits.fixtures import FixtureKit, fixture_now
from trunkline.kits.kit import Kit
from trunkline.kits.shipped import shipped_kits

NUMBERS = (14,)

_EVENTS = 50
_UNDER_WAY = 8


def measure(plan: Plan, only: frozenset[int]) -> list[Result]:  # noqa: ARG001
    """Measure; nginx must be there. Raises `NotThere`."""
    folder = plan.folder / "kits"
    folder.mkdir()
    requests = max(200, plan.single_events // 10)
    runs = {name: _prepared(kit) for name, kit in shipped_kits().items()}
    webhook: list[float] = []
    sending: list[float] = []
    costs: dict[str, list[float]] = {name: [] for name in runs}
    with programs.nginx(folder) as receiver:
        app = App("benchkitsaaaaaa", [To("webhook", receiver.url, 1, plan.connections)])
        with Stage(folder / "home", [app]) as stage:
            for index in range(plan.rounds):
                webhook.append(deliver(stage, plan, app, f"k{index}").worker_cpu_seconds * 1e6)
                sending.append(uvloop.run(_sending_seconds(receiver.url, requests)) * 1e6)
                for name, run in runs.items():
                    costs[name].append(min(_time(run) for _ in range(3)) / _EVENTS * 1e6)
    plain = f"{number(median(webhook))} µs of the worker's CPU an event"
    typical = {name: median(each) for name, each in costs.items()}
    dearest = max(typical, key=lambda name: typical[name])
    rounds = [
        (own + webhook_cost) / webhook_cost
        for own, webhook_cost in zip(costs[dearest], webhook, strict=True)
    ]
    alone = median(sending)
    beside = (typical[dearest] + alone) / alone
    listed = ", ".join(f"{name} {number(cost)}" for name, cost in sorted(typical.items()))
    return [
        Result(
            workload=14,
            title="an event through the dearest of the shipped kits",
            unit="× the plain webhook",
            bound=Bound(4.0, 2.0, is_most=True),
            durability="C/C",
            measured=median(rounds),
            rounds=rounds,
            ours=f"{dearest}: {number(typical[dearest])} µs of its own",
            yardstick=f"the plain webhook: {plain}",
            note=f"beside building and sending alone ({number(alone)} µs): {number(beside)} ×; "
            f"µs an event: {listed}",
        )
    ]


async def _sending_seconds(url: str, requests: int) -> float:
    """Return the CPU seconds of building, sending and judging a webhook of one event alone."""
    clock = SystemClock()
    sender = HttpSender(clock, allow_private_addresses=True)
    carrier = HttpCarrier(Webhook(WebhookSettings(url=url)), sender, clock, True, Pace(clock))
    event = map_event(PURCHASE)
    key = delivery_id(EXAMPLE_DESTINATION, [event.message_id])

    async def send(count: int) -> None:
        for _ in range(count):
            await carrier.carry([event], Attempt(clock.now_ms(), 1, EXAMPLE_DESTINATION, key))

    await send(20)  # connections, and what is loaded when it is first used
    begun = time.process_time()
    await asyncio.gather(*(send(requests // _UNDER_WAY) for _ in range(_UNDER_WAY)))
    took = time.process_time() - begun
    await carrier.close()
    await sender.close()
    return took / (requests // _UNDER_WAY * _UNDER_WAY)


def _prepared(kit: Kit) -> Callable[[], None]:
    """Return what takes events through a kit, one a request and each of its own user."""
    fixture = _fixture_of(kit)
    ready, now_ms, event = FixtureKit(kit, fixture), fixture_now(fixture), fixture.events[0]
    events = [
        {**event, "messageId": f"{event['messageId']}-{n}", "userId": f"user-{n}"}
        for n in range(_EVENTS)
    ]

    def run() -> None:
        for each in events:
            ready.run([each], now_ms)

    run()
    return run


def _fixture_of(kit: Kit) -> KitFixture:
    """Return the first fixture that makes requests: for most kits a purchase with products."""
    return next(one for one in kit.fixtures if one.requests)


def _time(run: Callable[[], Any]) -> float:
    begun = time.process_time()
    run()
    return time.process_time() - begun
