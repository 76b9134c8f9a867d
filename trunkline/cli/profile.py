"""`trunkline profile`: who is behind an id; joining two who are one, and taking that back."""

from __future__ import annotations

import getpass
import os
from collections.abc import Generator
from contextlib import contextmanager
from typing import Annotated

import apsw
import cyclopts

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
from trunkline.reports.profiles import MergeView, Profile, read_merges, read_profile
from trunkline.state.db import StateVersionError
from trunkline.state.home import Home
from trunkline.state.profile_links import cut, merge_by_hand
from trunkline.state.profiles import ProfileStore, open_profiles, transaction

LIMIT_MAX = 10_000
TEXT_MAX = 500  # characters of who and why

command = cyclopts.App(
    name="profile",
    help="""Who is behind an id: show, merge, unmerge, list-merges.

    An id is a value, as events have it, or `kind:value` where it could be of several kinds:
    userId, automationUserId, anonymousId, device.

    Example: `trunkline profile show Wallet u-42`
    """,
)

Why = Annotated[str, cyclopts.Parameter(help="Why; kept with the merge.")]
By = Annotated[str | None, cyclopts.Parameter(help="Who; left out, $USER.")]


@command.command
def show(app: str, id: str, /, *, home: HomeOption = HOME_DEFAULT, json: JsonOption = False) -> int:
    """Show the profile that an id belongs to: identifiers, traits, latest events, merges.

    Exit code 1 where nothing is known of it.

    Example: `trunkline profile show Wallet anonymousId:8f3a`

    Parameters
    ----------
    app
        The app's id or name.
    id
        Any id of the person.
    """
    place = open_home(home)
    with _store_errors(place):
        profile = read_profile(place, _app_id(place, app), id)
    if profile is None:
        raise CommandError(
            f"nothing is known of {id!r} in {app}; profiles come from events, within a second or "
            "two: `trunkline doctor` tells how far behind they are"
        )
    if json:
        say_json(profile)
    else:
        _say_profile(profile)
    return 0


@command.command
def merge(
    app: str,
    id: str,
    other: str,
    /,
    *,
    why: Why = "",
    by: By = None,
    home: HomeOption = HOME_DEFAULT,
    json: JsonOption = False,
) -> int:
    """Say that two ids are one person. Undone with `trunkline profile unmerge`.

    Example: `trunkline profile merge Wallet u-42 u-1042 --why "ticket 7"`

    Parameters
    ----------
    app
        The app's id or name.
    id
        Any id of the person.
    other
        Any id of the same person in the other profile.
    """
    place = open_home(home)
    app_id = _app_id(place, app)
    at_ms = SystemClock().now_ms()
    with _writing(place) as store, transaction(store.db):
        one, another = (_find(store, app_id, text) for text in (id, other))
        try:
            number = merge_by_hand(store.db, app_id, one, another, at_ms, _who(by), why[:TEXT_MAX])
        except ValueError as error:
            raise CommandError(f"{id} and {other} were not merged: {error}") from error
    if json:
        say_json({"id": number})
    else:
        say(f"merged: number {number}; `trunkline profile unmerge {app} {number}` undoes it")
    return 0


@command.command
def unmerge(
    app: str,
    number: int,
    /,
    *,
    why: Why = "",
    by: By = None,
    home: HomeOption = HOME_DEFAULT,
    json: JsonOption = False,
) -> int:
    """Undo a merge, one by hand or an alias: both profiles are as if it had never been.

    An alias that was undone stays so, however often it is sent again.

    Example: `trunkline profile unmerge Wallet 17 --why "a wrong ticket"`

    Parameters
    ----------
    app
        The app's id or name.
    number
        The merge's number, as `trunkline profile list-merges` shows it.
    """
    place = open_home(home)
    app_id = _app_id(place, app)
    at_ms = SystemClock().now_ms()
    with _writing(place) as store, transaction(store.db):
        is_cut = cut(store.db, app_id, number, at_ms, _who(by), why[:TEXT_MAX])
    if not is_cut:
        raise CommandError(
            f"{app} has no merge {number} that could be undone; `trunkline profile list-merges "
            f"{app}` shows what there is"
        )
    if json:
        say_json({"id": number})
    else:
        say(f"undone: number {number}")
    return 0


@command.command(name="list-merges")
def list_merges_(
    app: str,
    /,
    *,
    limit: Annotated[int, cyclopts.Parameter(help="How many at the most.")] = 100,
    home: HomeOption = HOME_DEFAULT,
    json: JsonOption = False,
) -> int:
    """List what joined accounts, and what was merged by hand, the newest first.

    Example: `trunkline profile list-merges Wallet`

    Parameters
    ----------
    app
        The app's id or name.
    """
    if not 1 <= limit <= LIMIT_MAX:
        raise CommandError(f"--limit is {limit}; expected 1 to {LIMIT_MAX}")
    place = open_home(home)
    with _store_errors(place):
        merges = read_merges(place, _app_id(place, app), limit)
    if json:
        say_json(merges)
        return 0
    for each in merges:
        say(_merge_line(each))
    if not merges:
        say("nothing was merged")
    return 0


def _say_profile(profile: Profile) -> None:
    say(f"{profile.id}  first seen {profile.first_seen}  last seen {profile.last_seen}")
    for each in profile.identifiers:
        belongs = f"  → {each.belongs_to} ({each.because})" if each.belongs_to else ""
        say(f"  {each.kind:16}  {each.value}  {each.last_seen}{belongs}")
    for name, value in profile.traits.items():
        say(f"  {name} = {bytes(value).decode()}  ({profile.trait_times[name]})")
    for event in profile.latest_events:
        say(f"  {event.time}  {event.type} {event.event}  {event.message_id}")
    for merged in profile.merges:
        say(f"  merge {_merge_line(merged)}")
    for note in profile.notes:
        say(f"  ! {note}")


def _merge_line(merge: MergeView) -> str:
    told = [f"{merge.id:>6}", merge.time, " = ".join(merge.identifiers), merge.reason]
    told += [text for text in (merge.event, merge.by, merge.why) if text]
    if merge.undone is not None:
        told.append(" ".join(["undone", merge.undone.time, merge.undone.by, merge.undone.why]))
    return "  ".join(told).rstrip()


def _app_id(home: Home, name: str) -> str:
    snapshot = read_snapshot(home)
    found = [app.id for app in snapshot.apps if name in (app.id, app.name)]
    if len(found) != 1:
        names = ", ".join(app.name for app in snapshot.apps[:20]) or "none"
        what = "is the name of several apps; give its id" if found else "is no app"
        raise CommandError(f"{name!r} {what}; expected one of: {names}")
    return found[0]


def _find(store: ProfileStore, app: str, text: str) -> int:
    found = store.find(app, text)
    if not found:
        raise CommandError(f"nothing is known of {text!r}; expected an id that came in an event")
    return found[0][0]


def _who(by: str | None) -> str:
    if by is not None:
        return by[:TEXT_MAX]
    return os.environ.get("USER", "") or getpass.getuser()


@contextmanager
def _writing(home: Home) -> Generator[ProfileStore]:
    with _store_errors(home), open_profiles(home) as store:
        yield store


@contextmanager
def _store_errors(home: Home) -> Generator[None]:
    try:
        yield
    except (apsw.Error, StateVersionError) as error:
        raise CommandError(
            f"{home.profiles_file} cannot be used: {error}; see `trunkline doctor`"
        ) from error
