"""`destination send` and `destination test`: one request for real, outside of the log."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path
from typing import Any, TypeVar

import msgspec

from trunkline.catalog.kits import kit_in_use
from trunkline.cli._frame import CommandError, read_boot, say
from trunkline.cli._playbook_source import event_of, read_event
from trunkline.cli.check import catalog_errors
from trunkline.forwarder.connection_trial import TestReport, check_channel, test_connection
from trunkline.forwarder.http import HttpSender
from trunkline.forwarder.trial import Step, Tools, Trial
from trunkline.jail.workshop import JailWorkshop
from trunkline.kit.clock import SystemClock
from trunkline.kit.destination import Channel, Mapped
from trunkline.kit.times import format_ms
from trunkline.kits.kit import Kit, KitError
from trunkline.kits.test_request import make_test
from trunkline.model.snapshot import Destination
from trunkline.node import destination_kinds
from trunkline.state.home import Home

T = TypeVar("T")
BODY_SHOWN = 4000  # characters of a request and of an answer on a terminal
_TIMES = ("timestamp", "receivedAt", "sentAt", "originalTimestamp")


def with_tools(home: Home, work: Callable[[Tools], Awaitable[T]]) -> T:
    """Do something with the sender, the clock and the jail that the forwarder has."""

    async def run() -> T:
        boot, clock = read_boot(home), SystemClock()
        allow = boot.forwarder.allow_private_addresses
        sender = HttpSender(clock, allow_private_addresses=allow)
        workshop = JailWorkshop(boot.jail, clock)
        try:
            return await work(Tools(destination_kinds(), sender, clock, workshop, allow))
        finally:
            await workshop.close()
            await sender.close()

    return asyncio.run(run())


def kit_of(home: Home, found: Destination) -> Kit | None:
    """Return the kit that a destination works with. Raises `CommandError`."""
    try:
        with catalog_errors():
            return kit_in_use(home, found.app, found.id)
    except KitError as error:
        raise CommandError(
            f"the kit of {found.app}/{found.id} cannot be read: {error}; apply its file again"
        ) from error


def event_to_send(home: Home, found: Destination, file: Path | None, fixture: str | None) -> Mapped:
    """Return the event of a file, or of a fixture as if it happened now. Raises `CommandError`."""
    if (file is None) == (fixture is None):
        raise CommandError("give either --event FILE or --fixture NAME: the event to send")
    if file is not None:
        return read_event(file)
    kit = kit_of(home, found)
    if kit is None:
        raise CommandError(
            f"{found.app}/{found.id} is of kind {found.kind}, which has no kit and so no fixtures; "
            "give --event FILE"
        )
    names = [one.name for one in kit.fixtures]
    chosen = next((one for one in kit.fixtures if one.name == fixture), None)
    if chosen is None:
        known = ", ".join(names) or "none"
        raise CommandError(f"--fixture {fixture!r}: kit {kit.name} has no such; it has: {known}")
    return event_of(as_of_now(chosen.events[0], found.app), "fixture")


def as_of_now(event: Mapping[str, Any], app: str) -> dict[str, Any]:
    """Return an event under an id of its own, with its times set to now.

    A vendor would drop the second sending of a known id, and an event of long ago.
    """
    now = format_ms(SystemClock().now_ms())
    times = {name: now for name in _TIMES if name in event or name == "timestamp"}
    return {**event, **times, "messageId": f"trial-{uuid.uuid4()}", "app": app}


def test_report(home: Home, found: Destination) -> TestReport:
    """Test a destination's connection, as its kind can. Raises `CommandError`."""
    kind = destination_kinds()[found.kind]
    try:
        settings = msgspec.json.decode(found.settings, type=kind.settings_type)
        component = kind(settings)
    except ValueError as error:  # msgspec's are such
        raise CommandError(f"settings of {found.app}/{found.id}: {error}") from error
    if isinstance(component, Channel):
        allow = read_boot(home).forwarder.allow_private_addresses
        return asyncio.run(check_channel(component, allow_private=allow))
    name = f"{found.app}/{found.id}"
    kit = kit_of(home, found)
    if kit is None:
        raise CommandError(
            f"kind {found.kind} has no connection test: any request would be an event to it; send "
            f"one with `trunkline destination send {name} --event FILE`"
        )
    try:
        test = make_test(kit, settings.params)
    except ValueError as error:
        raise CommandError(f"{name}: {error}") from error
    return with_tools(home, lambda tools: test_connection(test, name, settings, tools))


def say_step(step: Step) -> None:
    """Print a request and its answer."""
    say(f"→ {step.request.method} {step.request.url}")
    for name, value in step.request.headers.items():
        say(f"    {name}: {value}")
    if step.request.body:
        say(f"    {_pretty(step.request.body)}")
    if step.failure:
        say(f"← no answer: {step.failure}")
        return
    say(f"← HTTP {step.status}  {step.took_ms:.0f} ms")
    if step.answer:
        say(f"    {_pretty(step.answer)}")


def say_trial(trial: Trial) -> None:
    """Print all that a trial came to."""
    for step in trial.steps:
        say_step(step)
    for change in trial.changes:
        say(f"  {change}")
    for end in trial.ends:
        say(f"{end.outcome}{f': {end.reason}' if end.reason else ''}")
    if not trial.steps:
        say("Nothing was sent by HTTP.")


def _pretty(text: str) -> str:
    """Return JSON on lines of its own, indented; any other text as it is."""
    try:
        text = msgspec.json.format(text, indent=2)
    except msgspec.DecodeError:
        pass
    shown = text if len(text) <= BODY_SHOWN else text[:BODY_SHOWN] + "…"
    return shown.replace("\n", "\n    ")
