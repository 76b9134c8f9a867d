"""One event to one destination by hand: shaped and carried as the engine does, and all of it told.

Nothing is written: no log, no ledger, no attempt. What the vendor is sent it is sent for real.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import msgspec
from msgspec import Struct

from trunkline.forwarder.carrier import Carrier, ChannelCarrier, HttpCarrier, Sender
from trunkline.forwarder.decide import dropper
from trunkline.forwarder.pace import Pace
from trunkline.forwarder.parking import Cause
from trunkline.forwarder.shaping import CannotShape
from trunkline.forwarder.shared import Kinds
from trunkline.forwarder.threads import WorkThread
from trunkline.kit.clock import Clock
from trunkline.kit.consent import CONSENT_REGION
from trunkline.kit.destination import (
    Attempt,
    Channel,
    Destination,
    Mapped,
    NoAnswer,
    Request,
    Response,
    Settings,
    delivery_id,
)
from trunkline.kit.protection import protect_all, protection_notes
from trunkline.kit.shapers import InProcess, Programs, encode_output, moment_of
from trunkline.kit.shaping import CodeHeld, CodeSource, Held, Shaper, Work, Workshop
from trunkline.model.outcome import Delivered, Outcome, Unsent
from trunkline.model.snapshot import Destination as Configured
from trunkline.playbook.program import PlaybookError, Shaped
from trunkline.reports.rendering import RequestLine, request_line, shown_answer

ANSWER_BYTES_MAX = 2048  # of an answer that is shown
NO_CODE: Mapping[str, CodeSource] = {}


class Tools(NamedTuple):
    """What a trial works with. `allow_private`: the node lets all reach private addresses."""

    kinds: Kinds
    sender: Sender
    clock: Clock
    workshop: Workshop
    allow_private: bool


class Step(Struct, frozen=True, rename="camel", omit_defaults=True):
    """One request and its answer, no secret in them; or `failure`, why there was no answer."""

    request: RequestLine
    took_ms: float
    status: int | None = None
    answer: str = ""
    failure: str = ""


class End(Struct, frozen=True, omit_defaults=True):
    """What became of one thing that the event was made into."""

    outcome: str
    reason: str = ""


class Trial(Struct, frozen=True):
    """What was sent and answered, in order, and what that means. `changes` are the kit's notes."""

    steps: Sequence[Step]
    ends: Sequence[End]
    changes: Sequence[str] = ()

    @property
    def is_delivered(self) -> bool:
        """Say whether all that the event was made into was delivered."""
        return bool(self.ends) and all(
            end.outcome in ("delivered", "unverified") for end in self.ends
        )


class TellingSender:
    """Sends as the sender does, and keeps what may be shown of it."""

    def __init__(self, tools: Tools, settings: Settings) -> None:
        self.steps: list[Step] = []
        self._tools = tools
        self._settings = settings

    async def send(
        self, request: Request, *, timeout_seconds: float, allow_private: bool
    ) -> Response:
        """Send a request and keep it with its answer. Raises `NoAnswer` as the sender does."""
        start = self._tools.clock.monotonic()
        shown = request_line(request, self._settings)
        try:
            response = await self._tools.sender.send(
                request, timeout_seconds=timeout_seconds, allow_private=allow_private
            )
        except NoAnswer as failure:
            self.steps.append(Step(shown, self._since(start), failure=_reason(failure.outcome)))
            raise
        answer = "(not shown: it may hold a secret)"
        if not request.hides_answer:
            answer = shown_answer(response.body[:ANSWER_BYTES_MAX], self._settings)
        self.steps.append(Step(shown, self._since(start), response.status, answer))
        return response

    def _since(self, start: float) -> float:
        return round((self._tools.clock.monotonic() - start) * 1000, 1)


class _Caller:
    """Runs the code of a connection in the jail."""

    def __init__(self, shaper: Shaper) -> None:
        self._shaper = shaper

    async def call(self, name: str, values: dict[str, Any]) -> Any:
        """Run named code. Raises `CodeError` or `CannotShape`."""
        try:
            return await self._shaper.call(name, values)
        except (PlaybookError, CodeHeld) as error:
            cause: Cause = "code"
            raise CannotShape(cause, str(error)) from error


async def try_event(config: Configured, event: Mapped, tools: Tools) -> Trial:
    """Shape an event and send what the playbook made of it, in one attempt.

    Raises `ValueError` with a sentence where settings or playbook cannot be used.
    """
    kind = tools.kinds.get(config.kind)
    if kind is None:
        raise ValueError(f"kind {config.kind!r} is not known")
    drops = dropper(config)
    if drops is not None and drops(event.value):
        return Trial((), (End("filtered", CONSENT_REGION),))
    kept_back = protection_notes(config, event)
    (event,) = protect_all(config, [event])
    settings = msgspec.json.decode(config.settings, type=kind.settings_type)
    component = kind(settings)
    name = f"{config.app}/{config.id}"
    now_ms = tools.clock.now_ms()
    key = delivery_id(name, [event.message_id])
    attempt = Attempt(now_ms, 1, name, key)
    work = Work(name, config.playbook, settings.params, code_of(component))
    shaper = await shaper_of(work, tools)
    try:
        mapped = await _shape(shaper, name, event, now_ms) if config.playbook else [event]
        if isinstance(mapped, End):
            return Trial((), (mapped,))
        made = await carry(component, mapped, attempt, shaper, tools)
        return msgspec.structs.replace(made, changes=[*kept_back, *made.changes])
    finally:
        if shaper is not None:
            await shaper.close()


async def shaper_of(work: Work, tools: Tools) -> Shaper | None:
    """Return what shapes events and runs the connection's code; None where nothing does.

    Raises `ValueError` with a sentence where it cannot be had.
    """
    try:
        program = Programs().find(work.playbook, work.params) if work.playbook else None
        if program is not None and not work.code:
            return InProcess(program)
        if not work.playbook and not work.code:
            return None
        return await tools.workshop.open(work)
    except CodeHeld as error:
        raise ValueError(f"its code cannot run: {error}") from error


async def _shape(
    shaper: Shaper | None, name: str, event: Mapped, now_ms: int
) -> list[Mapped] | End:
    assert shaper is not None
    moment = moment_of(name, event.message_id, now_ms)
    (shaped,) = await shaper.shape([(event.value, moment)])
    if isinstance(shaped, Held):
        return End("blocked", shaped.reason)
    if shaped.failure is not None:
        return End("unshaped", shaped.failure.sentence)
    if not shaped.outputs:
        return End("filtered", f"playbook: {shaped.filtered or 'nothing was made of it'}")
    return _mapped(event, shaped)


def _mapped(event: Mapped, shaped: Shaped) -> list[Mapped] | End:
    found: list[Mapped] = []
    for output in shaped.outputs:
        body = encode_output(output)
        if isinstance(body, str):
            return End("unshaped", body)
        found.append(msgspec.structs.replace(event, body=body, origin=event.body))
    return found


def code_of(component: Destination[Any] | Channel[Any]) -> Mapping[str, CodeSource]:
    """Return the code of an operator that a component calls; a channel calls none."""
    return component.code() if isinstance(component, Destination) else NO_CODE


async def carry(
    component: Destination[Any] | Channel[Any],
    mapped: Sequence[Mapped],
    attempt: Attempt,
    shaper: Shaper | None,
    tools: Tools,
) -> Trial:
    """Carry what is to be sent, once, and tell it."""
    settings: Settings = component.settings
    sender = TellingSender(tools, settings)
    changes: list[str] = []
    carrier: Carrier
    allow = tools.allow_private or settings.allow_private_addresses
    if isinstance(component, Channel):
        worker = WorkThread(f"channel {attempt.destination}")
        carrier = ChannelCarrier(component, worker, tools.clock, allow)
    else:
        changes = [note for notes in component.notes(mapped, attempt) for note in notes]
        pace = Pace(tools.clock)
        carrier = HttpCarrier(component, sender, tools.clock, allow, pace)
    try:
        caller = None if shaper is None else _Caller(shaper)
        carried = await carrier.carry(mapped, attempt, caller)
    finally:
        await carrier.close()
    return Trial(sender.steps, [end_of(outcome) for outcome in carried.outcomes], changes)


def end_of(outcome: Outcome | Unsent) -> End:
    """Return an outcome in words."""
    if isinstance(outcome, Delivered):
        return End("delivered" if outcome.verified else "unverified")
    return End(str(type(outcome).__struct_config__.tag), outcome.reason)


def _reason(outcome: Outcome) -> str:
    return end_of(outcome).reason
