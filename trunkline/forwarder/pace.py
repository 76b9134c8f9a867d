"""How fast requests go to one destination: a bucket of tokens, one for each request.

A vendor that allows 50 requests a second would answer the 51st with 429, which costs a request and
holds the event's user up. So a request waits for its turn before it is made: the wait is no
attempt, and the request's time begins behind it.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from trunkline.kit.clock import Clock
from trunkline.kit.destination import Request, Response, Settings

if TYPE_CHECKING:
    from trunkline.forwarder.carrier import Sender


class Pace:
    """The turns of one destination; it outlives changes of the destination's settings.

    `rate` is in requests a second, None for no limit. What was not used is kept for one second.
    """

    def __init__(self, clock: Clock) -> None:
        self.rate: float | None = None
        self._clock = clock
        self._next_at = -math.inf

    def reserve(self) -> float:
        """Take the next turn and return how long it is until then, in seconds."""
        if self.rate is None:
            return 0.0
        now = self._clock.monotonic()
        burst = max(1.0, self.rate)
        at = max(self._next_at, now - (burst - 1) / self.rate)
        self._next_at = at + 1 / self.rate
        return max(0.0, at - now)


def useful_concurrency(settings: Settings) -> int:
    """Return how many requests under way can be of use: what waits for its turn holds its events.

    At one request in ten seconds a second one would only wait, with a batch that a pause or a new
    revision should still have reached.
    """
    rate = settings.requests_per_second_max
    if rate is None:
        return settings.concurrency_max
    return min(settings.concurrency_max, max(1, math.ceil(rate * settings.timeout_seconds)))


class PacedSender:
    """Sends the requests of one attempt, each in its turn, for which it `waited_seconds`."""

    def __init__(self, sender: Sender, pace: Pace, clock: Clock) -> None:
        self.waited_seconds = 0.0
        self._sender = sender
        self._pace = pace
        self._clock = clock

    async def send(
        self, request: Request, *, timeout_seconds: float, allow_private: bool
    ) -> Response:
        """Wait for the turn, then send as the sender does."""
        seconds = self._pace.reserve()
        if seconds > 0:
            start = self._clock.monotonic()
            await self._clock.sleep(seconds)
            self.waited_seconds += self._clock.monotonic() - start
        return await self._sender.send(
            request, timeout_seconds=timeout_seconds, allow_private=allow_private
        )
