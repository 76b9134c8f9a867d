"""One attempt: events in, one outcome for each event out, whatever happens in between.

Drives a destination's generator over the sender, or a channel on its thread. What a component must
not do (raise, answer for fewer events, ask without end) parks the destination with a sentence
instead of losing an event: `Blocked` keeps everything until a person has looked.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Coroutine, Mapping, Sequence
from typing import Any, NamedTuple, Protocol

import msgspec

from trunkline.forwarder.addresses import refusal_of, refusal_sentence
from trunkline.forwarder.pace import Pace, PacedSender, useful_concurrency
from trunkline.forwarder.parking import Cause
from trunkline.forwarder.resolver import look_up
from trunkline.forwarder.shaping import CannotShape, unshaped
from trunkline.forwarder.threads import Worker
from trunkline.kit.clock import Clock
from trunkline.kit.destination import (
    REQUESTS_MAX,
    Attempt,
    Batching,
    Call,
    Channel,
    Destination,
    Mapped,
    NoAnswer,
    Request,
    Response,
    Settings,
)
from trunkline.kit.shaping import CodeSource
from trunkline.model.outcome import Blocked, Outcome, Retry, Unsent
from trunkline.playbook.program import CodeError, Failure

ANSWER_BYTES_MAX = 2048  # of an answer that is kept for the trace
CALLS_MAX = 2 * REQUESTS_MAX  # of an operator's code, in one exchange


class Sender(Protocol):
    """What sends requests (forwarder/http.py)."""

    async def send(
        self, request: Request, *, timeout_seconds: float, allow_private: bool
    ) -> Response:
        """Return the answer, or raise `NoAnswer` with the outcome of there being none."""
        ...


class Caller(Protocol):
    """What runs the code of an operator that an exchange calls (forwarder/shaping.py)."""

    async def call(self, name: str, values: dict[str, Any]) -> Any:
        """Return what the code returned. Raises `CodeError` or `CannotShape`."""
        ...


class Carried(NamedTuple):
    """What an attempt came to: outcomes in the order of the events, and the last answer.

    `cause` is why the destination parks where an outcome is `Blocked`, `revision` the playbook's.
    """

    outcomes: Sequence[Outcome | Unsent]
    status: int | None
    took_ms: float
    answer: bytes
    cause: Cause = "blocked"
    revision: int = 0


class Carrier(ABC):
    """Carries events to one destination. `concurrency` attempts may be under way at a time.

    `code` is what the component wants run of an operator's; `carry` is given who runs it.
    """

    settings: Settings
    concurrency: int
    batching: Batching = Batching()
    code: Mapping[str, CodeSource] = {}

    @abstractmethod
    async def carry(
        self, events: Sequence[Mapped], attempt: Attempt, shaping: Caller | None = None
    ) -> Carried:
        """Try once. Never raises for what a destination or a component does."""

    @abstractmethod
    async def close(self) -> None:
        """Let go of the destination."""


class HttpCarrier(Carrier):
    """Requests and responses, at the destination's pace."""

    def __init__(
        self,
        destination: Destination[Any],
        sender: Sender,
        clock: Clock,
        allow_private: bool,
        pace: Pace,
    ) -> None:
        self.settings: Settings = destination.settings
        self.concurrency = useful_concurrency(self.settings)
        self.code = destination.code()
        self.batching = destination.batching
        self._destination = destination
        self._sender = sender
        self._clock = clock
        self._allow_private = allow_private
        self._pace = pace
        pace.rate = self.settings.requests_per_second_max
        self._is_single = type(destination).exchange is Destination.exchange

    async def carry(
        self, events: Sequence[Mapped], attempt: Attempt, shaping: Caller | None = None
    ) -> Carried:
        start = self._clock.monotonic()
        response: Response | None = None
        cause: Cause = "blocked"
        outcomes: Sequence[Outcome | Unsent]
        is_paced = self._pace.rate is not None
        paced = PacedSender(self._sender, self._pace, self._clock) if is_paced else None
        try:
            outcomes, response = await self._exchange(
                events, attempt, shaping, paced or self._sender
            )
        except NoAnswer as failure:
            outcomes = [failure.outcome] * len(events)
        except CannotShape as error:
            outcomes, cause = [Blocked(error.reason)] * len(events), error.cause
        except CodeError as error:
            failure = Failure("connection.transform", error.line, str(error), "", None)
            outcomes = [unshaped(failure)] * len(events)
        except Exception as error:  # a component's fault is never an event's
            outcomes = [_fault(self._destination.kind, error)] * len(events)
        waited_seconds = paced.waited_seconds if paced else 0.0
        took_ms = (self._clock.monotonic() - start - waited_seconds) * 1000
        outcomes = _checked(self._destination.kind, outcomes, len(events))
        if response is None:
            return Carried(outcomes, None, took_ms, b"", cause)
        answer = response.body[:ANSWER_BYTES_MAX]
        return Carried(outcomes, response.status, took_ms, answer, cause)

    async def close(self) -> None:
        """Connections belong to the sender."""

    async def _exchange(
        self,
        events: Sequence[Mapped],
        attempt: Attempt,
        shaping: Caller | None,
        sender: Sender,
    ) -> tuple[Sequence[Outcome], Response | None]:
        if self._is_single:
            return await self._exchange_once(events, attempt, sender)
        generator = self._destination.exchange(events, attempt)
        response: Response | None = None
        requests = calls = 0
        try:
            asked = next(generator)
            while calls < CALLS_MAX and requests < REQUESTS_MAX:
                try:
                    if isinstance(asked, Call):
                        calls += 1
                        answer: Any = await _call(asked, shaping)
                    else:
                        requests += 1
                        answer = response = await self._send(asked, sender)
                        response = _hidden(response) if asked.hides_answer else response
                except (NoAnswer, CodeError) as error:
                    asked = generator.throw(error)
                else:
                    asked = generator.send(answer)
        except StopIteration as stop:
            return stop.value, response
        finally:
            generator.close()
        reason = (
            f"{self._destination.kind} made more than {REQUESTS_MAX} requests for one attempt, "
            f"or {CALLS_MAX} calls of code"
        )
        return [Blocked(reason)] * len(events), response

    async def _exchange_once(
        self, events: Sequence[Mapped], attempt: Attempt, sender: Sender
    ) -> tuple[Sequence[Outcome], Response]:
        """Do what `Destination.exchange` says without its generator, which costs 1.2 µs of 5.4."""
        asked = self._destination.build(events, attempt)
        response = await self._send(asked, sender)
        outcomes = [self._destination.judge(response)] * len(events)
        return outcomes, _hidden(response) if asked.hides_answer else response

    def _send(self, request: Request, sender: Sender) -> Coroutine[Any, Any, Response]:
        return sender.send(
            request,
            timeout_seconds=self.settings.timeout_seconds,
            allow_private=self._allow_private,
        )


def _hidden(answer: Response) -> Response:
    return msgspec.structs.replace(answer, body=b"(not kept: it may hold a secret)")


async def _call(asked: Call, shaping: Caller | None) -> Any:
    if shaping is None:
        raise CannotShape("settings", f"{asked.name!r} is code that the destination did not name")
    return await shaping.call(asked.name, asked.values)


class ChannelCarrier(Carrier):
    """Blocking deliveries on a thread of the channel's own."""

    def __init__(
        self, channel: Channel[Any], worker: Worker, clock: Clock, allow_private: bool
    ) -> None:
        self.settings: Settings = channel.settings
        self.concurrency = 1
        self._channel = channel
        self._worker = worker
        self._clock = clock
        self._allow_private = allow_private
        self._is_open = False

    async def carry(
        self,
        events: Sequence[Mapped],
        attempt: Attempt,
        shaping: Caller | None = None,  # noqa: ARG002  of the contract; a channel calls no code
    ) -> Carried:
        start = self._clock.monotonic()
        outcomes = await self._worker.run(lambda: self._deliver(events, attempt))
        took_ms = (self._clock.monotonic() - start) * 1000
        return Carried(_checked(self._channel.kind, outcomes, len(events)), None, took_ms, b"")

    async def close(self) -> None:
        await self._worker.run(self._shut)

    def _deliver(self, events: Sequence[Mapped], attempt: Attempt) -> Sequence[Outcome]:
        try:
            if not self._is_open:
                if refusal := private_host(self._channel, allow_private=self._allow_private):
                    return [Blocked(refusal)] * len(events)
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


def private_host(channel: Channel[Any], *, allow_private: bool) -> str:
    """Say why a channel may not connect where its settings lead; "" where it may. Blocking.

    Its library looks the name up once more, so all of its addresses must be public. A name that
    leads nowhere is the channel's own to tell.
    """
    for host in [] if allow_private else channel.hosts():
        try:
            addresses = look_up(host)
        except (OSError, UnicodeError):
            continue
        refused = [address for address in addresses if refusal_of(address)]
        if refused:
            return refusal_sentence(host, refused[0], "the host")
    return ""


def _checked(
    kind: str, outcomes: Sequence[Outcome | Unsent], count: int
) -> Sequence[Outcome | Unsent]:
    if len(outcomes) == count:
        return outcomes
    reason = f"{kind} gave {len(outcomes)} outcomes for {count} events; its code must be mended"
    return [Blocked(reason)] * count


def _fault(kind: str, error: Exception) -> Blocked:
    return Blocked(f"{kind} failed in its own code: {_sentence(error)}; see the log")


def _sentence(error: Exception) -> str:
    return f"{type(error).__name__}: {error}"[:300]
