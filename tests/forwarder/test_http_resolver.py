"""Name lookups: cached, shared, bounded in time, and the address that works first."""

from __future__ import annotations

import asyncio
import socket
import threading

import pytest

from trunkline.forwarder.resolver import ANSWER_SECONDS, Resolver
from trunkline.kit.clock import FakeClock

WAIT = 5.0


class Names:
    """A lookup that counts what it is asked."""

    def __init__(self, **answers: list[str]) -> None:
        self.answers = answers
        self.asked: list[str] = []

    def __call__(self, name: str) -> list[str]:
        self.asked.append(name)
        if name not in self.answers:
            raise socket.gaierror(socket.EAI_NONAME, "no such name")
        return list(self.answers[name])


def test_an_answer_is_kept_for_its_time_and_then_asked_again() -> None:
    async def story() -> None:
        clock, names = FakeClock(), Names(a=["1.1.1.1"])
        resolver = Resolver(clock, names)
        assert await resolver.resolve("a", WAIT) == ["1.1.1.1"]
        await clock.advance(ANSWER_SECONDS)
        assert resolver.known("a") == ["1.1.1.1"]
        await clock.advance(0.1)
        assert resolver.known("a") is None
        await resolver.resolve("a", WAIT)
        assert names.asked == ["a", "a"]

    asyncio.run(story())


def test_a_failure_is_not_kept() -> None:
    async def story() -> None:
        names = Names()
        resolver = Resolver(FakeClock(), names)
        with pytest.raises(socket.gaierror):
            await resolver.resolve("a", WAIT)
        names.answers["a"] = ["1.1.1.1"]
        assert await resolver.resolve("a", WAIT) == ["1.1.1.1"]

    asyncio.run(story())


def test_a_name_without_addresses_does_not_exist() -> None:
    async def story() -> None:
        with pytest.raises(socket.gaierror) as caught:
            await Resolver(FakeClock(), Names(a=[])).resolve("a", WAIT)
        assert caught.value.errno == socket.EAI_NONAME

    asyncio.run(story())


def test_callers_of_one_name_share_one_lookup_and_a_hanging_one_holds_nobody() -> None:
    async def story() -> None:
        release, asked = threading.Event(), []

        def lookup(name: str) -> list[str]:
            asked.append(name)
            if name == "slow":
                release.wait(10)
            return ["1.1.1.1"]

        resolver = Resolver(FakeClock(), lookup)
        with pytest.raises(TimeoutError):
            await resolver.resolve("slow", 0.02)
        waiting = [asyncio.create_task(resolver.resolve("slow", WAIT)) for _ in range(5)]
        assert await resolver.resolve("quick", WAIT) == ["1.1.1.1"]
        release.set()
        assert await asyncio.gather(*waiting) == [["1.1.1.1"]] * 5
        assert sorted(asked) == ["quick", "slow"]

    asyncio.run(story())


def test_the_address_that_worked_stays_first_and_one_that_failed_goes_last() -> None:
    async def story() -> None:
        clock, names = FakeClock(), Names(a=["1.1.1.1", "2.2.2.2", "3.3.3.3"])
        resolver = Resolver(clock, names)
        await resolver.resolve("a", WAIT)
        resolver.demote("a", "1.1.1.1")
        assert resolver.known("a") == ["2.2.2.2", "3.3.3.3", "1.1.1.1"]
        await clock.advance(ANSWER_SECONDS + 1)
        assert await resolver.resolve("a", WAIT) == ["2.2.2.2", "1.1.1.1", "3.3.3.3"]
        names.answers["a"] = ["4.4.4.4"]
        await clock.advance(ANSWER_SECONDS + 1)
        assert await resolver.resolve("a", WAIT) == ["4.4.4.4"]

    asyncio.run(story())
