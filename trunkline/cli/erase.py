"""`trunkline erase`: remove what is kept of a person, everywhere; list and show such jobs."""

from __future__ import annotations

import sys
from typing import Annotated

import cyclopts

from trunkline.catalog.vault import VaultError
from trunkline.cli._frame import (
    HOME_DEFAULT,
    CommandError,
    HomeOption,
    JsonOption,
    open_home,
    say,
    say_json,
)
from trunkline.cli._node import read_snapshot
from trunkline.kit.clock import SystemClock
from trunkline.kit.identifiers import VALUE_CHARACTERS_MAX
from trunkline.model.snapshot import App, Snapshot
from trunkline.reports.erasures import ErasureTold, order_erasure, tell_erasure
from trunkline.state.erasures import ErasureRow, TooManyErasures, read_erasures
from trunkline.state.home import Home, HomeLock

WAIT_SECONDS = 60.0
LISTED_MAX = 100
BY_HAND = "trunkline erase"  # who ordered, in place of a key's name


def command(
    app: str = "",
    id: str = "",
    /,
    *,
    suppress: Annotated[
        bool, cyclopts.Parameter(negative="", help="Also send nothing of theirs from now on.")
    ] = False,
    yes: Annotated[bool, cyclopts.Parameter(negative="", help="Do not ask.")] = False,
    list: Annotated[bool, cyclopts.Parameter(negative="", help="List the last jobs.")] = False,
    show: Annotated[str, cyclopts.Parameter(help="Show this job.")] = "",
    home: HomeOption = HOME_DEFAULT,
    json: JsonOption = False,
) -> int:
    """Remove what is kept of a person: profile, events, deliveries, refused events, everywhere.

    A running node carries it out; this waits a minute for it and says what was removed, and what
    could not be. It cannot be undone.

    Example: trunkline erase Wallet u-42 --suppress

    Parameters
    ----------
    app
        The app's id or name.
    id
        Any id of the person: userId, anonymousId, an advertising id; `userId:u-42` to be exact.
    """
    place = open_home(home)
    snapshot = read_snapshot(place)
    if list:
        return _list(place, snapshot, json)
    if show:
        return _say(_find(place, show), snapshot, json)
    found = _find_app(snapshot, app)
    if not 0 < len(id) <= VALUE_CHARACTERS_MAX:
        raise CommandError(f"expected an id of 1 to {VALUE_CHARACTERS_MAX} characters")
    if not yes:
        _ask(found.name, id)
    return _order(place, snapshot, found.id, id, suppress, json)


def _order(home: Home, snapshot: Snapshot, app: str, who: str, suppress: bool, json: bool) -> int:
    clock = SystemClock()
    try:
        row = order_erasure(home, app, who, BY_HAND, suppress, clock.now_ms())
    except TooManyErasures:
        raise CommandError(
            "as many erasures as may wait are waiting; see `trunkline erase --list`"
        ) from None
    except VaultError as error:
        raise CommandError(str(error)) from error
    deadline = clock.monotonic() + (WAIT_SECONDS if _runs(home) else 0.0)
    while row.state != "done" and clock.monotonic() < deadline:
        clock.pause(0.2)
        row = _find(home, row.id)
    return _say(row, snapshot, json)


def _runs(home: Home) -> bool:
    lock = HomeLock(home)
    if lock.try_take("trunkline erase"):
        lock.release()
        return False
    return True


def _find(home: Home, job: str) -> ErasureRow:
    with read_erasures(home) as erasures:
        row = None if erasures is None else erasures.get(job)
    if row is None:
        raise CommandError(f"there is no erasure {job!r}; see `trunkline erase --list`")
    return row


def _find_app(snapshot: Snapshot, name: str) -> App:
    for app in snapshot.apps:
        if name in (app.id, app.name):
            return app
    names = ", ".join(app.name for app in snapshot.apps) or "none"
    raise CommandError(f"{name!r} is no app; expected one of: {names}")


def _ask(app: str, who: str) -> None:
    if not sys.stdin.isatty():
        raise CommandError("this cannot be undone; say --yes where nobody can be asked")
    say(f"Remove all that is kept of {who!r} in {app}? This cannot be undone. [y/N]")
    if sys.stdin.readline().strip().lower() not in ("y", "yes"):
        raise CommandError("nothing was removed")


def _list(home: Home, snapshot: Snapshot, json: bool) -> int:
    with read_erasures(home) as erasures:
        rows = [] if erasures is None else erasures.latest(LISTED_MAX)
    told = [tell_erasure(row, snapshot) for row in rows]
    if json:
        say_json(told)
        return 0
    for each in told:
        events = each.erased.get("events", 0)
        say(f"{each.ordered}  {each.job}  {each.app}  {_state(each)}  {events} events")
    if not told:
        say("nothing was ever erased here")
    return 0


def _say(row: ErasureRow, snapshot: Snapshot, json: bool) -> int:
    told = tell_erasure(row, snapshot)
    if json:
        say_json(told)
        return 0
    say(f"erasure {told.job}: {_state(told)}")
    if told.status == "waiting":
        say("  a running node carries it out; see `trunkline erase --show " + told.job + "`")
    if told.problem:
        say(f"  the last try ended early: {told.problem}")
    for name, count in told.erased.items():
        if count:
            say(f"  {name}: {count}")
    for sent in told.sent_to:
        say(f"  sent to {sent.destination} ({sent.kind}) before: {sent.events} events")
    for sentence in told.not_erased:
        say(f"  not erased: {sentence}")
    return 0


def _state(told: ErasureTold) -> str:
    return f"{told.status} ({told.step})" if told.step else told.status
