"""A shipped kit against its vendor's simulator: real playbook, real requests, real HTTP.

    fixture's events → playbook → HttpKit → HttpCarrier → HttpSender → simulator's server

`deliver` goes on as the forwarder would, only without waiting: what is to be retried goes again,
what was rejected together is split, what is blocked stays. Where the vendor judges later, time goes
on until it does, and its word stands in the place of that attempt's first outcomes.
"""

from __future__ import annotations

import asyncio
import importlib
import pkgutil
from collections.abc import Callable, Mapping, Sequence
from functools import cache, partial
from typing import Any

import msgspec
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from msgspec import Struct

import tests.vendors
from tests.support.simulated_vendor import NOW_MS, SimulatedVendor
from trunkline.destinations.http_kit import HttpKit, HttpKitSettings
from trunkline.forwarder.carrier import HttpCarrier
from trunkline.forwarder.http import HttpSender
from trunkline.forwarder.pace import Pace
from trunkline.kit.clock import SystemClock
from trunkline.kit.destination import (
    EXAMPLE_DESTINATION,
    Attempt,
    Call,
    Mapped,
    NoAnswer,
    Request,
    delivery_id,
)
from trunkline.kit.times import format_ms, parse_time_ms
from trunkline.kits.fixture_spec import KitFixture
from trunkline.kits.fixtures import fixture_now, fixture_params, shape_events
from trunkline.kits.kit import Kit
from trunkline.kits.shipped import shipped_kits
from trunkline.kits.test_request import ConnectionTest, make_test
from trunkline.model.outcome import Blocked, Outcome, Rejected, Retry, Unsent
from trunkline.playbook.compile import compile_playbook
from trunkline.playbook.program import Program
from trunkline.simulators.registry import simulators

ATTEMPTS_MAX = 40
TIMEOUT_SECONDS = 30.0
QUESTIONS_MAX = 10  # after what a vendor judges later, for one attempt
SHORT_TIMEOUT_SECONDS = 0.7  # where no answer will come

Verdict = Outcome | Unsent


class Row(Struct, frozen=True):
    """How a kit is driven: params that the simulator wants, and params that it must refuse."""

    params: Mapping[str, str]
    wrong: tuple[Mapping[str, str], ...] | None = None


@cache
def rows() -> Mapping[str, Row]:
    """Return the rows of all `params_*.py`: `PARAMS`, kit to params.

    `WRONG`, kit to a list of params, says what must be refused where no change of a sensitive
    param is; an empty list says that the vendor tells no wrong credentials. Raises `ValueError`
    where two files have the same kit.
    """
    found: dict[str, Row] = {}
    for module in pkgutil.iter_modules(tests.vendors.__path__):
        if module.name.startswith("params_"):
            told: Any = importlib.import_module(f"tests.vendors.{module.name}")
            wrong: Mapping[str, Sequence[Mapping[str, str]]] = getattr(told, "WRONG", {})
            for name, params in told.PARAMS.items():
                if name in found:
                    raise ValueError(f"two rows for {name}; one is in {module.name}")
                found[name] = Row(params, tuple(wrong[name]) if name in wrong else None)
    return found


def driven() -> list[str]:
    """Return the kits that have a file, a simulator and a row."""
    return sorted({*shipped_kits()} & {*simulators()} & {*rows()})


class Shown(Struct, frozen=True):
    """What a connection test showed."""

    ok: bool
    sentence: str


class Story(Struct, frozen=True):
    """What became of events: the last word on each, and every word of each attempt."""

    final: Sequence[Verdict]
    attempts: Sequence[Sequence[Verdict]]

    @property
    def first(self) -> Sequence[Verdict]:
        """What the first attempt came to."""
        return self.attempts[0] if self.attempts else []


class Stage:
    """One kit and its simulator, for as long as the tests of it run."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.kit: Kit = shipped_kits()[name]
        self.kind = simulators()[name]
        self.vendor = SimulatedVendor(self.kind())
        self.sender = HttpSender(SystemClock())
        self._runner = asyncio.Runner()  # one loop and its connections for all that is sent
        self.taken_of_one = 0  # things that the vendor has of one event; 0: not tried yet
        self._programs: dict[bytes, Program] = {}

    def close(self) -> None:
        """Stop the simulator, and let go of the connections."""
        self._runner.run(self.sender.close())
        self._runner.close()
        self.vendor.close()

    @property
    def sending_fixtures(self) -> list[KitFixture]:
        """The fixtures of which all is sent."""
        return [
            one
            for one in self.kit.fixtures
            if one.requests and not (one.dropped or one.rejected or one.is_filtered)
        ]

    def several(self, count: int) -> KitFixture:
        """Return the first event that is sent, so many times, each as an event of its own."""
        fixture = self.sending_fixtures[0]
        event = fixture.events[0]
        copies = tuple(_copy(event, number, count) for number in range(count))
        return msgspec.structs.replace(fixture, events=copies, now_ms=fixture_now(fixture))

    def params(self, fixture: KitFixture, over: Mapping[str, str] | None = None) -> dict[str, str]:
        """Return the params of a fixture, led to the simulator with the right credentials."""
        names = {param.name for param in self.kit.params}
        token_path = next(iter(self.kind.token_paths), "")
        ours = {"BASE_URL": self.vendor.url, "TOKEN_URL": self.vendor.url + token_path}
        led = {name: value for name, value in ours.items() if name in names}
        return {
            **fixture_params(self.kit, fixture), **rows()[self.name].params, **led, **(over or {}),
        }  # fmt: skip

    def wrong_params(self) -> list[dict[str, str]]:
        """Return changes of the params of which each makes the vendor refuse."""
        row = rows()[self.name]
        if row.wrong is not None:
            return [dict(one) for one in row.wrong]
        secrets = [param.name for param in self.kit.params if param.is_sensitive]
        fixture = self.sending_fixtures[0]
        right = self.params(fixture)
        return [{name: _other(right[name])} for name in secrets if right.get(name)]

    def settings(self, params: Mapping[str, str], **more: Any) -> HttpKitSettings:
        """Return the settings of a destination, checked as the catalog checks them."""
        tree = {
            "kit": self.name,
            "connection": self.kit.settings_connection,
            "params": dict(params),
            "allow_private_addresses": True,
            "timeout_seconds": TIMEOUT_SECONDS,
            "requests_per_second_max": 10_000,
            **more,
        }
        return msgspec.convert(tree, HttpKitSettings)

    def shape(self, events: Sequence[Any], params: Mapping[str, str], now_ms: int) -> list[Mapped]:
        """Return what the kit's playbook makes of events."""
        key = msgspec.json.encode(sorted(params.items()))
        if key not in self._programs:
            empty = {one.name: "" for one in self.kit.params if one.is_optional}
            self._programs[key] = compile_playbook(self.kit.book, {**empty, **params})
        return shape_events(self._programs[key], events, now_ms)[0]

    def deliver(
        self,
        fixture: KitFixture,
        *,
        script: str = "",
        faulty_attempts: int = ATTEMPTS_MAX,
        attempts_max: int = ATTEMPTS_MAX,
        over: Mapping[str, str] | None = None,
        now_ms: int = 0,
        change: Callable[[int, Mapped], Mapped] | None = None,
        **settings: Any,
    ) -> Story:
        """Send a fixture's events until each is done, to a vendor that has nothing yet.

        `script` is what goes wrong, in the first `faulty_attempts`. `over` stands over the params.
        `now_ms` is the time of both sides where it is not the fixture's; `change` makes another
        event of what the playbook made.
        """
        now_ms = now_ms or fixture_now(fixture)
        self.vendor.begin(script=script, moment_ms=now_ms)
        params = self.params(fixture, over)
        events = self.shape(fixture.events, params, now_ms)
        if change is not None:
            events = [change(number, event) for number, event in enumerate(events)]
        run = _Run(self, HttpKit(self.settings(params, **settings)), events, now_ms)
        return self._runner.run(run.deliver(faulty_attempts, attempts_max))

    def test_connection(self, over: Mapping[str, str] | None = None) -> Shown:
        """Make the kit's connection test of a vendor that has nothing yet."""
        self.vendor.begin()
        params = self.params(self.sending_fixtures[0], over)
        made = make_test(self.kit, params)
        return self._runner.run(_test_connection(self.sender, made, NOW_MS))


async def _test_connection(sender: HttpSender, made: ConnectionTest, now_ms: int) -> Shown:
    steps = made.steps(now_ms)
    step: Callable[[], Request | Call] = steps.__next__
    try:
        while True:
            asked = step()
            assert isinstance(asked, Request), "a connection test that needs code"
            try:
                answer = await sender.send(
                    asked, timeout_seconds=TIMEOUT_SECONDS, allow_private=True
                )
                step = partial(steps.send, answer)
            except NoAnswer as failure:
                step = partial(steps.throw, failure)
    except StopIteration as end:
        return Shown(end.value.ok, end.value.sentence)


class _Run:
    """Sending until nothing is left to send; the halves of a batch go on by themselves."""

    def __init__(
        self, stage: Stage, destination: HttpKit, events: Sequence[Mapped], now_ms: int
    ) -> None:
        self._stage = stage
        self._destination = destination
        self._events = events
        self._now_ms = now_ms
        self._final: dict[int, Verdict] = {}
        self._attempts: list[list[Verdict]] = []

    async def deliver(self, faulty_attempts: int, attempts_max: int) -> Story:
        """Send, and tell what became of the events."""
        clock = SystemClock()
        carrier = HttpCarrier(self._destination, self._stage.sender, clock, True, Pace(clock))
        batches = self._batches()
        while batches and len(self._attempts) < attempts_max:
            if len(self._attempts) == faulty_attempts:
                self._stage.vendor.let_fail("")
            batch = batches.pop(0)
            batches[:0] = await self._attempt(carrier, batch)
        return Story([self._final[p] for p in sorted(self._final)], self._attempts)

    def _batches(self) -> list[list[int]]:
        size = self._destination.settings.batch_events_max
        every = [*range(len(self._events))]
        return [every[at : at + size] for at in range(0, len(every), size)]

    async def _attempt(self, carrier: HttpCarrier, batch: list[int]) -> list[list[int]]:
        """Send a batch and return those that follow of it."""
        events = [self._events[position] for position in batch]
        key = delivery_id(EXAMPLE_DESTINATION, [event.message_id for event in events])
        attempt = Attempt(self._now_ms, len(self._attempts) + 1, EXAMPLE_DESTINATION, key)
        outcomes = [*(await carrier.carry(events, attempt)).outcomes]
        self._attempts.append(outcomes)
        for _ in range(QUESTIONS_MAX):
            later = [p for p, one in enumerate(outcomes) if _is_later(one)]
            if not later:
                break
            told = await self._ask(carrier, [events[p] for p in later], outcomes[later[0]])
            for position, outcome in zip(later, told, strict=True):
                outcomes[position] = outcome
        self._final.update(zip(batch, outcomes, strict=True))
        return _what_follows(batch, outcomes)

    async def _ask(
        self, carrier: HttpCarrier, events: Sequence[Mapped], later: Verdict
    ) -> Sequence[Verdict]:
        """Wait as long as the outcome says, and ask what became of events."""
        assert isinstance(later, Retry)
        self._now_ms += round(later.after_seconds * 1000)
        self._stage.vendor.go_on(self._now_ms)
        key = delivery_id(EXAMPLE_DESTINATION, [event.message_id for event in events])
        attempt = Attempt(self._now_ms, len(self._attempts) + 1, EXAMPLE_DESTINATION, key)
        return (await carrier.carry(events, attempt)).outcomes


def _is_later(outcome: Verdict) -> bool:
    return isinstance(outcome, Retry) and outcome.was_taken


def _what_follows(batch: list[int], outcomes: Sequence[Verdict]) -> list[list[int]]:
    """Return the batches that come of an attempt."""
    if any(isinstance(outcome, Blocked) for outcome in outcomes):
        return []
    pairs = [*zip(batch, outcomes, strict=True)]
    rejected = [(position, one) for position, one in pairs if isinstance(one, Rejected)]
    unsure = [position for position, one in rejected if not one.is_sure]
    if len(rejected) == len(batch) and len(unsure) > 1:
        half = (len(unsure) + 1) // 2
        return [unsure[:half], unsure[half:]]
    again = [position for position, outcome in pairs if isinstance(outcome, Retry)]
    return [again] if again else []


def _other(secret: str) -> str:
    """Return another secret of the same kind."""
    if "-----BEGIN" not in secret:
        return f"{secret}-wrong"
    key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    form, none = serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    return key.private_bytes(serialization.Encoding.PEM, form, none).decode()


def _copy(event: Mapping[str, Any], number: int, count: int) -> dict[str, Any]:
    """Return an event with ids of its own, a second before the next copy."""
    copied: dict[str, Any] = msgspec.json.decode(msgspec.json.encode(event))
    told = copied["messageId"]
    is_uuid_shaped = len(told) == 36 and told.count("-") == 4
    copied["messageId"] = f"{told[:-2]}{number:02x}" if is_uuid_shaped else f"{told}-{number}"
    at_ms = parse_time_ms(copied.get("timestamp"))
    if at_ms is not None:
        copied["timestamp"] = format_ms(at_ms - 1_000 * (count - 1 - number))
    for name in ("order_id", "orderId", "_order_id"):
        if name in copied.get("properties", {}):
            copied["properties"][name] = f"{copied['properties'][name]}-{number}"
    return copied
