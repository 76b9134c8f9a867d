"""`trunkline trace`: one event's whole story."""

from __future__ import annotations

import msgspec

from trunkline.cli._frame import (
    HOME_DEFAULT,
    CommandError,
    HomeOption,
    JsonOption,
    open_home,
    read_boot,
    say,
    say_json,
)
from trunkline.cli._node import read_snapshot
from trunkline.kit.clock import SystemClock
from trunkline.node import destination_kinds, open_log, workshop_maker
from trunkline.reports.trace import DestinationTrace, Trace, Tracer


def command(message_id: str, *, home: HomeOption = HOME_DEFAULT, json: JsonOption = False) -> int:
    """Tell an event's story: received, checks, and what each destination was sent and answered.

    Example: trunkline trace 8f14e45f-ceea-467f-a8e4-3f7b6c1d2a90

    Parameters
    ----------
    message_id
        The messageId that the answer named, or the id that the sender gave.
    """
    stories = find_stories(message_id, home)
    if not stories:
        raise CommandError(
            f"no event with messageId {message_id!r} is known here; was it refused? "
            "see `trunkline refused list`"
        )
    for story in stories:
        if json:
            say_json(story)
        else:
            print_story(story)
    return 0


def find_stories(message_id: str, home: HomeOption) -> list[Trace]:
    """Return the stories of an id in a home."""
    place = open_home(home)
    boot = read_boot(place)
    log = open_log(place, boot, SystemClock())
    try:
        kinds, workshop = destination_kinds(), workshop_maker(boot)
        tracer = Tracer(place, log, read_snapshot(place), kinds, workshop)
        return tracer.trace(message_id)
    finally:
        log.close()


def print_story(story: Trace) -> None:
    """Print a story for a person."""
    say(f"{story.message_id}  app {story.app}")
    if story.note:
        say(f"  {story.note}")
    for stage in story.stages:
        facts = "  ".join(f"{name}={value}" for name, value in stage.facts.items() if value != "")
        say(f"  {stage.at}  {stage.stage:<10} {facts}")
        for note in stage.notes:
            say(f"{'':28}{note}")
    for name, destination in story.destinations.items():
        print_destination(name, destination)


def print_destination(name: str, destination: DestinationTrace) -> None:
    """Print what became of an event at one destination."""
    reason = f"  {destination.reason}" if destination.reason else ""
    say(
        f"  → {name} ({destination.kind}): {destination.outcome}{reason}{_by(destination.revision)}"
    )
    for attempt in destination.attempts:
        status = f"HTTP {attempt.status}" if attempt.status else attempt.reason
        took = f"  {attempt.took_ms:.0f} ms" if attempt.took_ms is not None else ""
        say(
            f"      {attempt.at}  attempt {attempt.number}  {attempt.outcome}  {status}{took}"
            f"  {attempt.events} event{'s' if attempt.events != 1 else ''}{_by(attempt.revision)}"
        )
    for change in destination.changes:
        say(f"      {change}")
    if destination.failure is not None:
        say(f"      it was given: {destination.failure.input}")
        say(f"      so far: {msgspec.json.encode(destination.failure.partial).decode()}")
    if destination.note:
        say(f"      {destination.note}")
    if destination.next_attempt:
        say(f"      next attempt at {destination.next_attempt}")


def _by(revision: int) -> str:
    return f"  revision {revision}" if revision else ""
