"""The world outside: destinations that answer, refuse, stall and lie, as their weather is.

It keeps what every destination really took, which is more than what we were told: an answer may be
lost, and a request that was under way when we crashed may have arrived.
"""

from __future__ import annotations

import asyncio
import random
from collections import Counter, defaultdict

import msgspec

from trunkline.forwarder.failures import SendFailed, retry
from trunkline.kit.clock import Clock
from trunkline.kit.destination import Request, Response

POISON = "bad"  # how the messageId of an event begins that every destination answers with 400
WEATHERS = (
    "calm", "calm", "calm", "refused", "reset", "silent", "busy", "down", "locked", "lost", "slow",
    "rain",
)  # fmt: skip
_RAIN = ("calm", "calm", "calm", "refused", "reset", "silent", "busy", "down", "lost", "slow")


class Body(msgspec.Struct):
    """What a request carries (`tests/support/forwarding.py`)."""

    number: int
    ids: list[str]


class Outside:
    """The sender of the forwarder, and everything behind it. Destinations are told by uid."""

    def __init__(self, dice: random.Random, clock: Clock) -> None:
        self.weather: dict[int, str] = {}
        self.is_machine_off = lambda: False
        self.first: defaultdict[int, dict[str, int]] = defaultdict(dict)  # id → its place
        self.takings: Counter[int] = Counter()  # events taken, repeated ones again
        self.attempts: Counter[tuple[int, str]] = Counter()
        self.locked_out: set[tuple[int, str]] = set()  # was answered with 401 once
        self.batch_most: Counter[int] = Counter()
        self.under_way: Counter[int] = Counter()
        self.under_way_most: Counter[int] = Counter()
        self.requests = 0
        self._dice = dice
        self._clock = clock

    def settle(self) -> None:
        """Nothing is under way any more: the process that sent it is gone."""
        self.under_way.clear()

    async def send(
        self, request: Request, *, timeout_seconds: float, allow_private: bool
    ) -> Response:
        """Send as the real sender does: an answer, or `SendFailed`."""
        if self.is_machine_off():
            await asyncio.get_running_loop().create_future()  # nobody is there to send it
        uid = int(request.url.rpartition("/")[2])
        ids = msgspec.json.decode(request.body, type=Body).ids
        self._note(uid, ids)
        weather = self.weather.get(uid, "calm")
        weather = self._dice.choice(_RAIN) if weather == "rain" else weather
        await self._travel(uid, ids, weather, timeout_seconds)
        return self._answer(uid, ids, weather)

    def _note(self, uid: int, ids: list[str]) -> None:
        self.requests += 1
        self.attempts.update((uid, id_) for id_ in ids)
        self.batch_most[uid] = max(self.batch_most[uid], len(ids))
        self.under_way[uid] += 1
        self.under_way_most[uid] = max(self.under_way_most[uid], self.under_way[uid])

    async def _travel(self, uid: int, ids: list[str], weather: str, timeout_seconds: float) -> None:
        seconds = self._seconds(weather)
        try:
            await self._clock.sleep(min(seconds, timeout_seconds))
        except asyncio.CancelledError:
            self._perhaps_take(uid, ids)  # it was on the wire when the process ended
            raise
        self.under_way[uid] -= 1
        if seconds >= timeout_seconds:
            self._perhaps_take(uid, ids)
            raise retry("timeout")

    def _seconds(self, weather: str) -> float:
        if weather == "silent":
            return 1000.0
        if weather == "slow":
            return self._dice.choice((0.5, 2.0, 4.0))
        return self._dice.choice((0.0, 0.003, 0.02, 0.1))

    def _answer(self, uid: int, ids: list[str], weather: str) -> Response:
        if weather in ("refused", "reset", "lost"):
            raise self._failure(uid, ids, weather)
        if weather == "busy":
            return Response(429, {}, b"", float(self._dice.randrange(1, 20)))
        if weather == "down":
            return Response(self._dice.choice((500, 502, 503)), {}, b"down")
        if weather == "locked":
            self.locked_out.update((uid, id_) for id_ in ids)
            return Response(401, {}, b"who are you")
        if any(id_.startswith(POISON) for id_ in ids):
            return Response(400, {}, b"no")
        self._take(uid, ids)
        return Response(200, {}, b"ok")

    def _failure(self, uid: int, ids: list[str], weather: str) -> SendFailed:
        if weather == "refused":
            return retry("connection refused", is_unsent=True)
        if weather == "reset":
            self._perhaps_take(uid, ids)
            return retry("connection reset")
        if not any(id_.startswith(POISON) for id_ in ids):
            self._take(uid, ids)
        return retry("connection closed")

    def _perhaps_take(self, uid: int, ids: list[str]) -> None:
        is_good = not any(id_.startswith(POISON) for id_ in ids)
        if is_good and self.weather.get(uid) != "locked" and self._dice.random() < 0.5:
            self._take(uid, ids)

    def _take(self, uid: int, ids: list[str]) -> None:
        first = self.first[uid]
        for id_ in ids:
            self.takings[uid] += 1
            first.setdefault(id_, len(first))
