"""One attempt: events in, one outcome for each event out, whatever happens in between.

Drives a destination's generator over the sender, or a channel on its thread. What a component must
not do (raise, answer for fewer events, ask without end) parks the destination with a sentence
instead of losing an event: `Blocked` keeps everything until a person has looked.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any, NamedTuple, Protocol

from trunkline.forwarder.failures import SendFailed
from trunkline.forwarder.threads import Worker
from trunkline.kit.clock import Clock
from trunkline.kit.destination import (
    REQUESTS_MAX,
    Attempt,
    Channel,
    Destination,
    Mapped,
    Request,
    Response,
    Settings,
)
from trunkline.model.outcome import Blocked, Outcome, Retry

ANSWER_BYTES_MAX = 2048  # of an answer that is kept for the trace


class Sender(Protocol):
    """What sends requests (forwarder/http.py)."""

    async def send(
        self, request: Request, *, timeout_seconds: float, allow_private: bool
    ) -> Response:
        """Return the answer, or raise `SendFailed` with the outcome of there being none."""
        ...


class Carried(NamedTuple):
    """What an attempt came to: outcomes in the order of the events, and the last answer."""

    outcomes: Sequence[Outcome]
    status: int | None
    took_ms: float
    answer: bytes


class Carrier(ABC):
    """Carries events to one destination. `concurrency` attempts may be under way at a time."""

    settings: Settings
    concurrency: int

    @abstractmethod
    async def carry(self, events: Sequence[Mapped], attempt: Attempt) -> Carried:
        """Try once. Never raises for what a destination or a component does."""

    @abstractmethod
    async def close(self) -> None:
        """Let go of the destination."""


class HttpCarrier(Carrier):
    """Requests and responses."""

    def __init__(
        self, destination: Destination[Any], sender: Sender, clock: Clock, allow_private: bool
    ) -> None:
        self.settings: Settings = destination.settings
        self.concurrency = self.settings.concurrency_max
        self._destination = destination
        self._sender = sender
        self._clock = clock
        self._allow_private = allow_private

    async def carry(self, events: Sequence[Mapped], attempt: Attempt) -> Carried:
        start = self._clock.monotonic()
        response: Response | None = None
        try:
            outcomes, response = await self._exchange(events, attempt)
        except SendFailed as failure:
            outcomes = [failure.outcome] * len(events)
        except Exception as error:  # a component's fault is never an event's
            outcomes = [_fault(self._destination.kind, error)] * len(events)
        took_ms = (self._clock.monotonic() - start) * 1000
        outcomes = _checked(self._destination.kind, outcomes, len(events))
        if response is None:
            return Carried(outcomes, None, took_ms, b"")
        return Carried(outcomes, response.status, took_ms, response.body[:ANSWER_BYTES_MAX])

    async def close(self) -> None:
        """Connections belong to the sender."""

    async def _exchange(
        self, events: Sequence[Mapped], attempt: Attempt
    ) -> tuple[Sequence[Outcome], Response | None]:
        generator = self._destination.exchange(events, attempt)
        response: Response | None = None
        try:
            request = next(generator)
            for _ in range(REQUESTS_MAX):
                response = await self._sender.send(
                    request,
                    timeout_seconds=self.settings.timeout_seconds,
                    allow_private=self._allow_private,
                )
                request = generator.send(response)
        except StopIteration as stop:
            return stop.value, response
        finally:
            generator.close()
        reason = f"{self._destination.kind} made more than {REQUESTS_MAX} requests for one attempt"
        return [Blocked(reason)] * len(events), response


class ChannelCarrier(Carrier):
    """Blocking deliveries on a thread of the channel's own."""

    def __init__(self, channel: Channel[Any], worker: Worker, clock: Clock) -> None:
        self.settings: Settings = channel.settings
        self.concurrency = 1
        self._channel = channel
        self._worker = worker
        self._clock = clock
        self._is_open = False

    async def carry(self, events: Sequence[Mapped], attempt: Attempt) -> Carried:
        start = self._clock.monotonic()
        outcomes = await self._worker.run(lambda: self._deliver(events, attempt))
        took_ms = (self._clock.monotonic() - start) * 1000
        return Carried(_checked(self._channel.kind, outcomes, len(events)), None, took_ms, b"")

    async def close(self) -> None:
        await self._worker.run(self._shut)

    def _deliver(self, events: Sequence[Mapped], attempt: Attempt) -> Sequence[Outcome]:
        try:
            if not self._is_open:
                self._channel.open()
                self._is_open = True
            return self._channel.deliver(events, attempt)
        except Exception as error:  # the channel contract: an exception is a retry of what waits
            self._shut()
            return [Retry(f"{self._channel.kind}: {_sentence(error)}")] * len(events)

    def _shut(self) -> None:
        if not self._is_open:
            return
        self._is_open = False
        try:
            self._channel.close()
        except Exception:  # nothing is owed by a channel that is closed: what counted was answered
            return


def _checked(kind: str, outcomes: Sequence[Outcome], count: int) -> Sequence[Outcome]:
    if len(outcomes) == count:
        return outcomes
    reason = f"{kind} gave {len(outcomes)} outcomes for {count} events; its code must be mended"
    return [Blocked(reason)] * count


def _fault(kind: str, error: Exception) -> Blocked:
    return Blocked(f"{kind} failed in its own code: {_sentence(error)}; see the log")


def _sentence(error: Exception) -> str:
    return f"{type(error).__name__}: {error}"[:300]
