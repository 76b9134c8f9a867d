"""`trunkline dead-letters`: deliveries that were given up, kept with their reason."""

from __future__ import annotations

from typing import Annotated, Any

import cyclopts
import msgspec

from trunkline.cli._frame import (
    HOME_DEFAULT,
    CommandError,
    HomeOption,
    JsonOption,
    open_home,
    parse_moment,
    read_boot,
    say,
    say_json,
)
from trunkline.cli._node import ask_forwarder, read_snapshot
from trunkline.cli._sides import say_preview, say_value
from trunkline.kit.clock import SystemClock
from trunkline.node import destination_kinds, workshop_maker
from trunkline.reports.letters import (
    DeadLetter,
    LetterContent,
    LetterFilter,
    list_letters,
    read_letters,
)
from trunkline.reports.preview import Preview, preview_all
from trunkline.reports.rendering import Renderer
from trunkline.reports.revisions import finder
from trunkline.state.home import Home
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
Id = Annotated[int | None, cyclopts.Parameter(name="--id", help="This letter, by its id.")]
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
def show(letter: str, *, home: HomeOption = HOME_DEFAULT, json: JsonOption = False) -> int:
    """Show dead letters with what was to be sent, and where the playbook failed, if it did.

    Example: trunkline dead-letters show 8f14e45f-ceea-467f-a8e4-3f7b6c1d2a90

    Parameters
    ----------
    letter
        The id of the letter, or the messageId of the event.
    """
    place = open_home(home)
    found = read_letters(place, LetterFilter(message_id=letter))
    if not found and letter.isdecimal() and len(letter) < 19:
        found = read_letters(place, LetterFilter(id=int(letter)))
    if not found:
        raise CommandError(f"no dead letter of {letter!r}; see `trunkline dead-letters list`")
    if json:
        say_json([_plain(content) for content in found])
        return 0
    for content in found:
        told = content.letter
        say(f"{told.app}/{told.destination}  {told.at}  {told.reason}: {told.detail}")
        if content.failure is not None:
            line = f", line {content.failure.line}" if content.failure.line else ""
            say(f"  revision {told.revision}, {content.failure.path}{line}")
            say(f"  it was given: {content.failure.input}")
            say_value("there was so far:", content.failure.partial)
        say_value("the event:", content.event.value)
    return 0


def _plain(content: LetterContent) -> dict[str, Any]:
    failure = {} if content.failure is None else {"failure": content.failure}
    plain = {**msgspec.to_builtins(content.letter), "event": content.event.value, **failure}
    return msgspec.to_builtins(plain)


@command.command
def replay(
    *,
    app: App = None,
    destination: To = None,
    reason: Reason = None,
    message_id: Message = None,
    id: Id = None,
    since: Since = None,
    limit: Limit = 10_000,
    dry_run: Annotated[
        bool,
        cyclopts.Parameter(
            name=("--dry-run", "--preview"),
            negative="",
            help="Only show them: what was made of each then, and what would be sent now.",
        ),
    ] = False,
    home: HomeOption = HOME_DEFAULT,
    json: JsonOption = False,
) -> int:
    """Deliver dead letters again, shaped by the deployed revision, under their first keys.

    Example: trunkline dead-letters replay --destination crm --preview
    """
    which = _which(app, destination, reason, message_id, since, limit, id)
    place = open_home(home)
    if dry_run:
        found = read_letters(place, which)
        previews = _preview(place, found)
        if json:
            say_json([_plain_preview(*pair) for pair in zip(found, previews, strict=True)])
        else:
            _print_would(found, previews)
        return 0
    letters = list_letters(place, which)
    ids = tuple(letter.id for letter in letters)
    done = not ids or ask_forwarder(place, ReplayLetters(ids, SystemClock().now_ms()))
    _report("replayed", letters, done, json)
    return 0


def _preview(home: Home, letters: list[LetterContent]) -> list[Preview | None]:
    if not letters:
        return []
    renderer = Renderer(destination_kinds(), finder(home), workshop_maker(read_boot(home)))
    return preview_all(letters, read_snapshot(home), renderer)


def _plain_preview(content: LetterContent, found: Preview | None) -> dict[str, Any]:
    return {**_plain(content), **({} if found is None else msgspec.to_builtins(found))}


@command.command
def drop(
    *,
    app: App = None,
    destination: To = None,
    reason: Reason = None,
    message_id: Message = None,
    id: Id = None,
    since: Since = None,
    limit: Limit = 10_000,
    home: HomeOption = HOME_DEFAULT,
    json: JsonOption = False,
) -> int:
    """Give dead letters up for good. The ledger keeps counting them, as dropped.

    Example: trunkline dead-letters drop --message-id 8f14e45f-ceea-467f-a8e4-3f7b6c1d2a90
    """
    which = _which(app, destination, reason, message_id, since, limit, id)
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
    id: int | None = None,
) -> LetterFilter:
    since_ms = parse_moment(since, SystemClock().now_ms()) if since else 0
    return LetterFilter(app, destination, reason, message_id, since_ms, limit, id)


def _print_would(letters: list[LetterContent], previews: list[Preview | None]) -> None:
    count = 0
    for content, found in zip(letters, previews, strict=True):
        to = f"{content.letter.app}/{content.letter.destination}: {content.letter.message_id}"
        if found is None:
            say(f"would not be sent to {to}: the destination is not configured any more")
            continue
        count += found.now.is_sent
        say(f"would {'send to' if found.now.is_sent else 'not be sent to'} {to}")
        say_preview(found)
    say(f"{count} would be sent; nothing was.")


def _report(word: str, letters: list[DeadLetter], done: bool, json: bool) -> None:
    if json:
        say_json({word: len(letters), "done": done, "ids": [letter.id for letter in letters]})
    else:
        say(f"{len(letters)} dead letters {word}{'' if done else ' (asked; not yet carried out)'}")
