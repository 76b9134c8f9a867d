"""`trunkline dead-letters`: deliveries that were given up, kept with their reason."""

from __future__ import annotations

from typing import Annotated

import cyclopts
import msgspec

from trunkline.cli._frame import (
    HOME_DEFAULT,
    CommandError,
    HomeOption,
    JsonOption,
    open_home,
    parse_moment,
    say,
    say_json,
)
from trunkline.cli._node import ask_forwarder
from trunkline.kit.clock import SystemClock
from trunkline.reports.letters import DeadLetter, LetterFilter, list_letters, show_letters
from trunkline.state.inbox import DropLetters, ReplayLetters

command = cyclopts.App(
    name="dead-letters",
    help="""Deliveries that were given up, with the reason.

    Example: `trunkline dead-letters list --since 24h`
    """,
)


App = Annotated[str | None, cyclopts.Parameter(help="Of this app.")]
To = Annotated[str | None, cyclopts.Parameter(name="--destination", help="Of this destination.")]
Reason = Annotated[str | None, cyclopts.Parameter(help="rejected, expired.")]
Message = Annotated[str | None, cyclopts.Parameter(help="Of this event.")]
Since = Annotated[str | None, cyclopts.Parameter(help="Since a time, or 2h, 3d.")]
Limit = Annotated[int, cyclopts.Parameter(help="How many at the most.")]


@command.command(name="list")
def list_(
    *,
    app: App = None,
    destination: To = None,
    reason: Reason = None,
    message_id: Message = None,
    since: Since = None,
    limit: Limit = 1000,
    home: HomeOption = HOME_DEFAULT,
    json: JsonOption = False,
) -> int:
    """List dead letters, oldest first.

    Example: trunkline dead-letters list --destination crm --since 24h
    """
    which = _which(app, destination, reason, message_id, since, limit)
    letters = list_letters(open_home(home), which)
    if json:
        say_json(letters)
        return 0
    for letter in letters:
        say(
            f"{letter.id:>6}  {letter.at}  {letter.app}/{letter.destination}  {letter.message_id}"
            f"  {letter.reason}: {letter.detail}  attempts {letter.attempts}"
        )
    if not letters:
        say("No dead letters.")
    return 0


@command.command
def show(message_id: str, *, home: HomeOption = HOME_DEFAULT, json: JsonOption = False) -> int:
    """Show the dead letters of one event, with what was to be sent.

    Example: trunkline dead-letters show 8f14e45f-ceea-467f-a8e4-3f7b6c1d2a90
    """
    found = show_letters(open_home(home), LetterFilter(message_id=message_id))
    if not found:
        raise CommandError(f"no dead letter of {message_id!r}; see `trunkline dead-letters list`")
    if json:
        say_json([{**msgspec.to_builtins(letter), "event": event} for letter, event in found])
        return 0
    for letter, event in found:
        say(f"{letter.app}/{letter.destination}  {letter.at}  {letter.reason}: {letter.detail}")
        say(msgspec.json.format(msgspec.json.encode(event), indent=2).decode())
    return 0


@command.command
def replay(
    *,
    app: App = None,
    destination: To = None,
    reason: Reason = None,
    message_id: Message = None,
    since: Since = None,
    limit: Limit = 10_000,
    dry_run: Annotated[bool, cyclopts.Parameter(negative="", help="Only show them.")] = False,
    home: HomeOption = HOME_DEFAULT,
    json: JsonOption = False,
) -> int:
    """Deliver dead letters again, under their first idempotency keys.

    Example: trunkline dead-letters replay --destination crm --dry-run
    """
    which = _which(app, destination, reason, message_id, since, limit)
    place = open_home(home)
    if dry_run:
        found = show_letters(place, which)
        events = [{**msgspec.to_builtins(letter), "event": event} for letter, event in found]
        if json:
            say_json(events)
        else:
            _print_would(found)
        return 0
    letters = list_letters(place, which)
    ids = tuple(letter.id for letter in letters)
    done = not ids or ask_forwarder(place, ReplayLetters(ids, SystemClock().now_ms()))
    _report("replayed", letters, done, json)
    return 0


@command.command
def drop(
    *,
    app: App = None,
    destination: To = None,
    reason: Reason = None,
    message_id: Message = None,
    since: Since = None,
    limit: Limit = 10_000,
    home: HomeOption = HOME_DEFAULT,
    json: JsonOption = False,
) -> int:
    """Give dead letters up for good. The ledger keeps counting them, as dropped.

    Example: trunkline dead-letters drop --message-id 8f14e45f-ceea-467f-a8e4-3f7b6c1d2a90
    """
    which = _which(app, destination, reason, message_id, since, limit)
    place = open_home(home)
    letters = list_letters(place, which)
    ids = tuple(letter.id for letter in letters)
    done = not ids or ask_forwarder(place, DropLetters(ids, SystemClock().now_ms()))
    _report("dropped", letters, done, json)
    return 0


def _which(
    app: str | None,
    destination: str | None,
    reason: str | None,
    message_id: str | None,
    since: str | None,
    limit: int,
) -> LetterFilter:
    since_ms = parse_moment(since, SystemClock().now_ms()) if since else 0
    return LetterFilter(app, destination, reason, message_id, since_ms, limit)


def _print_would(found: list[tuple[DeadLetter, dict[str, object]]]) -> None:
    for letter, event in found:
        say(f"would send to {letter.app}/{letter.destination}: {letter.message_id}")
        say(msgspec.json.format(msgspec.json.encode(event), indent=2).decode())
    say(f"{len(found)} would be sent; nothing was.")


def _report(word: str, letters: list[DeadLetter], done: bool, json: bool) -> None:
    if json:
        say_json({word: len(letters), "done": done, "ids": [letter.id for letter in letters]})
    else:
        say(f"{len(letters)} dead letters {word}{'' if done else ' (asked; not yet carried out)'}")
