"""Kill a real node under load, again and again, and count.

What it proves is crashes of processes: what was answered yes is delivered, whatever is killed and
whenever. It cannot prove a power cut, since the operating system lives on and still holds what was
never synced; the tests do that with a file system of their own, and `doctor` measures the disk.
"""

from __future__ import annotations

import asyncio
import os
import random
import shutil
import statistics
from collections.abc import Callable
from pathlib import Path

from msgspec import Struct

from trunkline.catalog.apply import apply_workspace
from trunkline.kit.clock import Clock
from trunkline.node import destination_kinds
from trunkline.proof.nodes import RealNode
from trunkline.proof.receiver import Receiver
from trunkline.proof.sender import Sender
from trunkline.state.home import Home

SECRET = "tls_prove_0123456789abcdef0123456789abcdef"
CONCURRENCY = 16
DRAIN_SECONDS = 60.0
WORKSPACE = """
organisation: Proof
apps:
  - id: proofproofproof
    name: Proof
    platform: server
    keys: [{{name: sender, type: server, secret: {secret}}}]
    destinations:
      - id: receiver
        kind: webhook
        settings: {{url: "{url}", allow_private_addresses: true}}
"""


class Proof(Struct, frozen=True, rename="camel"):
    """What was counted. `lost`: answered yes and never delivered. Times in milliseconds."""

    kills: int
    acknowledged: int
    delivered: int
    lost: int
    duplicates: int
    resent: int
    commit_ms_median: float
    commit_ms_p99: float
    restart_ms_median: float
    proves: str = "process crashes (SIGKILL), not power loss"


async def prove(
    folder: Path,
    clock: Clock,
    dice: random.Random,
    kills: int,
    seconds: float,
    on_kill: Callable[[int], None] | None = None,
) -> Proof:
    """Run the proof in a folder of its own, which is removed afterwards when nothing was lost."""
    receiver = Receiver()
    url = await receiver.start()
    home = Home(folder)
    home.prepare()
    apply_workspace(
        home, WORKSPACE.format(secret=SECRET, url=url), destination_kinds(), os.environ, clock=clock
    )
    node = RealNode(folder, clock=clock)
    sender = Sender(node.url, SECRET, clock)
    stop = asyncio.Event()
    restarts: list[float] = []
    try:
        await asyncio.to_thread(node.start)
        load = asyncio.create_task(sender.run(stop, CONCURRENCY))
        for number in range(kills):
            await clock.sleep(dice.uniform(0.2, max(0.3, 2 * seconds / max(1, kills) - 0.2)))
            await asyncio.to_thread(node.kill)
            start = clock.monotonic()
            await asyncio.to_thread(node.start)
            restarts.append((clock.monotonic() - start) * 1000)
            if on_kill is not None:
                on_kill(number + 1)
        await clock.sleep(0.5)
        stop.set()
        await load
        await _drain(sender, receiver, clock)
        await asyncio.to_thread(node.stop)
    finally:
        node.kill()
        await receiver.close()
    proof = _count(sender, receiver, kills, restarts)
    if proof.lost == 0:
        shutil.rmtree(folder)
    return proof


async def _drain(sender: Sender, receiver: Receiver, clock: Clock) -> None:
    deadline = clock.monotonic() + DRAIN_SECONDS
    while sender.acknowledged.keys() - receiver.received.keys():
        if clock.monotonic() > deadline:
            return
        await clock.sleep(0.1)


def _count(sender: Sender, receiver: Receiver, kills: int, restarts: list[float]) -> Proof:
    times = sorted(sender.acknowledged.values()) or [0.0]
    return Proof(
        kills=kills,
        acknowledged=len(sender.acknowledged),
        delivered=len(receiver.received),
        lost=len(sender.acknowledged.keys() - receiver.received.keys()),
        duplicates=sum(receiver.received.values()) - len(receiver.received),
        resent=sender.resent,
        commit_ms_median=round(statistics.median(times), 2),
        commit_ms_p99=round(times[min(len(times) - 1, int(len(times) * 0.99))], 2),
        restart_ms_median=round(statistics.median(restarts or [0.0]), 0),
    )
