"""A channel driven as the forwarder drives it: batches, the same again on a retry, order kept."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable, Sequence
from typing import Any

from tests.support.servers.child import Child
from trunkline.forwarder.carrier import ChannelCarrier
from trunkline.forwarder.threads import WorkThread
from trunkline.kit.clock import SystemClock
from trunkline.kit.destination import Attempt, Channel, Mapped, delivery_id, map_event
from trunkline.model.outcome import Blocked, Delivered, Outcome, Rejected, Retry

DESTINATION = "zcmwmxbkmuodelu/channel"
SECONDS_MAX = 100.0


def make_event(number: int, **changes: Any) -> Mapped:
    """Return an event of one of seven users."""
    event = {
        "messageId": f"m-{number:06d}",
        "type": "track",
        "event": "Order Completed",
        "userId": f"u-{number % 7}",
        "timestamp": "2026-11-20T10:15:30.000Z",
        "receivedAt": "2026-11-20T10:15:30.120Z",
        "properties": {"number": number, "revenue": 29.9},
        "app": "zcmwmxbkmuodelu",
        "source": {"protocol": "tracking", "key": "backend"},
    }
    return map_event({**event, **changes})


def make_attempt(events: Sequence[Mapped], number: int = 1) -> Attempt:
    """Return an attempt of these events."""
    ids = [event.message_id for event in events]
    return Attempt(1_795_170_000_000, number, DESTINATION, delivery_id(DESTINATION, ids))


def deliver(channel: Channel[Any], events: Sequence[Mapped]) -> Sequence[Outcome]:
    """Open, deliver once, close."""
    channel.open()
    try:
        return channel.deliver(events, make_attempt(events))
    finally:
        channel.close()


class Restart:
    """Kills a server while the seventh batch is under way, and starts it again."""

    def __init__(self, server: Child, batch: int = 7) -> None:
        self._server = server
        self._batch = batch
        self._is_dead = threading.Event()
        self._failure: BaseException | None = None
        self._thread = threading.Thread(target=self._run)

    def on_batch(self, number: int) -> None:
        """Kill at that batch; the next one begins when it is dead, so no batch is spared."""
        if number == self._batch:
            self._thread.start()
        elif number == self._batch + 1:
            assert self._is_dead.wait(60)

    def wait(self) -> None:
        """Wait until the server is there again."""
        self._thread.join(120)
        assert self._failure is None, self._failure

    def _run(self) -> None:
        try:
            self._server.kill()
            self._is_dead.set()
            self._server.start()
        except BaseException as error:
            print(error)  # beside what then cannot be delivered
            self._failure = error


def deliver_all(
    channel: Channel[Any],
    events: Sequence[Mapped],
    batch_events: int = 100,
    on_batch: Callable[[int], None] = lambda _: None,
) -> list[Mapped]:
    """Deliver all, retrying what did not go. Returns what was rejected. `on_batch` is told which.

    A blocked destination is probed again, as a parked one is.
    """
    return asyncio.run(_deliver_all(channel, events, batch_events, on_batch))


async def _deliver_all(
    channel: Channel[Any],
    events: Sequence[Mapped],
    batch_events: int,
    on_batch: Callable[[int], None],
) -> list[Mapped]:
    worker = WorkThread("channel")
    carrier = ChannelCarrier(channel, worker, SystemClock(), allow_private=True)
    rejected: list[Mapped] = []
    deadline = time.monotonic() + SECONDS_MAX
    try:
        for number, start in enumerate(range(0, len(events), batch_events)):
            on_batch(number)
            rest, attempt = list(events[start : start + batch_events]), 0
            while rest:
                attempt += 1
                carried = await carrier.carry(rest, make_attempt(rest, attempt))
                pairs = list(zip(rest, carried.outcomes, strict=True))
                rejected += [event for event, outcome in pairs if isinstance(outcome, Rejected)]
                rest = [e for e, o in pairs if not isinstance(o, Delivered | Rejected)]
                assert time.monotonic() < deadline, f"never delivered: {carried.outcomes[:3]}"
                if rest:
                    await asyncio.sleep(0.2)
    finally:
        await carrier.close()
        worker.close()
    return rejected


def outcomes_of(outcomes: Sequence[Outcome], kind: Any) -> list[int]:
    """Return which events came to an outcome of this kind."""
    return [number for number, outcome in enumerate(outcomes) if isinstance(outcome, kind)]


def blocked_reason(channel: Channel[Any], events: Sequence[Mapped]) -> str:
    """Return why a channel parks, which it does at the latest after some retries."""
    deadline = time.monotonic() + SECONDS_MAX
    while True:
        outcomes = deliver(channel, events)
        if len(outcomes_of(outcomes, Blocked)) == len(events):
            break
        assert len(outcomes_of(outcomes, Blocked | Retry)) == len(events), outcomes
        assert time.monotonic() < deadline, outcomes
    reasons = {outcome.reason for outcome in outcomes if isinstance(outcome, Blocked)}
    assert len(reasons) == 1, reasons
    return reasons.pop()
