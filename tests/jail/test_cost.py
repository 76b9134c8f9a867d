"""What the jail costs: CPU time, ours and the jailed process's, against that of reading and writing
the same event as JSON in the same minute. So a slow or busy machine may run it.

`pytest -s tests/jail/test_cost.py` prints the figures of docs/decisions/0011-jail.md.
"""

from __future__ import annotations

import asyncio
import os
import time
from pathlib import Path
from typing import Any

import msgspec
import pytest
import uvloop

from tests.support.jail_stage import function_work, lua_work, moment, workshop
from trunkline.jail.shaper import JailShaper
from trunkline.kit.shaping import Work
from trunkline.playbook.program import Shaped

PRODUCT = {"product_id": "p-1", "sku": "A", "name": "A thing of some length", "price": 9.5}
EVENT: dict[str, Any] = {
    "type": "track",
    "event": "Order Completed",
    "messageId": "9b6c2a52-3c1e-4f7e-9a3c-6d4f7b1a2e90",
    "userId": "user-1",
    "timestamp": "2026-11-20T10:15:30.000Z",
    "context": {
        "ip": "203.0.113.7",
        "userAgent": "Mozilla/5.0 (X11; Linux x86_64; rv:130.0) Gecko/20100101 Firefox/130.0",
        "page": {"url": "https://shop.example/checkout/thanks?order=1", "title": "Thank you"},
        "traits": {
            "email": "jane.doe@example.com",
            "phone": "+1 555 0100",
            "firstName": "Jane",
            "lastName": "Doe",
            "address": {"city": "Springfield", "country": "US", "postalCode": "12345"},
        },
    },
    "properties": {
        "order_id": "A-1000",
        "revenue": 28.5,
        "currency": "USD",
        "coupon": "WELCOME-" + "X" * 40,
        "note": "n" * 400,
        "products": [{**PRODUCT, "quantity": n, "category": "Things"} for n in range(4)],
    },
}
PYTHON = """
def transform_event(event, meta):
    traits = event["context"]["traits"]
    traits["email"] = TO_SHA256_HASH(traits["email"])
    return event
"""
JAVASCRIPT = """
function transform_event(event, meta) {
  const traits = event.context.traits;
  traits.email = TO_SHA256_HASH(traits.email);
  return event;
}
"""
LUA = """
local email = input.context.traits.email
if email then
  return {event = input.event, em = TO_SHA256_HASH(LOWER(TRIM(email)))}
end
"""
LUA_WHOLE = """
local traits = input.context.traits
traits.email = TO_SHA256_HASH(traits.email)
return input
"""
WORKS = {
    "python": function_work(PYTHON, "python", when="before"),
    "javascript": function_work(JAVASCRIPT, "javascript", when="before"),
    "lua": lua_work(LUA),
    "lua, the whole event": lua_work(LUA_WHOLE),
}
ROUNDS, EVENTS = 20, 400


async def measure(work: Work, batch: int) -> tuple[float, float, float]:
    """Return µs an event: our CPU time, the process's, and on the wall; of the best round."""
    async with workshop() as shop:
        shaper = await shop.open(work)
        assert isinstance(shaper, JailShaper)
        events = [(EVENT, moment())] * batch
        assert all(isinstance(each, Shaped) and each.outputs for each in await shaper.shape(events))
        inmate = shaper.cell._inmate
        assert inmate is not None
        rounds: list[tuple[float, float, float]] = []
        for _ in range(ROUNDS):
            began = time.process_time(), inmate.cpu_seconds(), time.perf_counter()
            for _ in range(EVENTS // batch):
                await shaper.shape(events)
            ended = time.process_time(), inmate.cpu_seconds(), time.perf_counter()
            took = [(b - a) * 1e6 / EVENTS for a, b in zip(began, ended, strict=True)]
            rounds.append((took[0], took[1], took[2]))
        assert shaper.cell._inmate is inmate
        return min(rounds, key=lambda each: each[0] + each[1])


async def measure_start(work: Work) -> float:
    """Return the ms that a process takes to start and load its code; the best of ten."""
    async with workshop() as shop:
        took: list[float] = []
        for _ in range(10):
            began = time.perf_counter()
            shaper = await shop.open(work)
            took.append(time.perf_counter() - began)
            await shaper.close()
        return min(took) * 1000


def is_busy() -> bool:
    """Say whether others use this machine: then CPU time is no measure, for caches are shared."""
    return os.getloadavg()[0] > (os.cpu_count() or 1)


def json_microseconds() -> float:
    """Return the µs of CPU time that the event takes through JSON and back."""
    text = msgspec.json.encode(EVENT)
    took: list[float] = []
    for _ in range(ROUNDS):
        began = time.process_time()
        for _ in range(EVENTS):
            msgspec.json.encode(msgspec.json.decode(text))
        took.append(time.process_time() - began)
    return min(took) * 1e6 / EVENTS


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "most"),
    [("python", 10), ("javascript", 25), ("lua", 14), ("lua, the whole event", 32)],
)
def test_code_costs_little_an_event(name: str, most: float) -> None:
    assert 1400 < len(msgspec.json.encode(EVENT)) < 1600
    reference = json_microseconds()
    print(f"\nthe event through JSON and back: {reference:.1f} µs")
    print(f"{name}: starts in {uvloop.run(measure_start(WORKS[name])):.1f} ms")
    for batch in (1, 20, 100):
        ours, its, wall = uvloop.run(measure(WORKS[name], batch))
        print(
            f"batch {batch}: {ours + its:.1f} µs CPU an event (node {ours:.1f}, jailed {its:.1f}); "
            f"{wall:.1f} µs on the wall"
        )
        if batch == 20 and not is_busy():
            assert ours + its < most * max(reference, json_microseconds())


@pytest.mark.slow
def test_a_hundred_processes_cost_little_memory() -> None:
    async def story() -> float:
        async with workshop(workers_max=100) as shop:
            pids: list[int] = []
            for n in range(100):
                shaper = await shop.open(function_work(PYTHON, name=f"app/{n}"))
                assert isinstance(shaper, JailShaper)
                await shaper.shape([(EVENT, moment())] * 20)
                pids.append(shaper.cell.pid or 0)
            return sum(private_bytes(pid) for pid in pids) / len(pids)

    each = asyncio.run(story()) / 1e6
    print(f"\na jailed process: {each:.1f} MB of its own")
    assert each < 10


def private_bytes(pid: int) -> int:
    lines = Path(f"/proc/{pid}/smaps_rollup").read_text("ascii").splitlines()
    return sum(int(line.split()[1]) * 1024 for line in lines if line.startswith("Private_"))
