"""`trunkline kits`: the vendors that a destination of kind `http_kit` can send to."""

from __future__ import annotations

import difflib
from pathlib import Path
from typing import Annotated, Any

import cyclopts
import msgspec

from trunkline.catalog.kits import (
    SavedKits,
    StoredKit,
    choose_kit,
    list_kits,
    remove_kit,
    save_kits,
)
from trunkline.catalog.kits import read_kits as read_stored
from trunkline.cli._frame import (
    HOME_DEFAULT,
    CommandError,
    HomeOption,
    JsonOption,
    open_home,
    say,
    say_json,
)
from trunkline.cli._kit_files import Unread, find_kits, read_kits
from trunkline.cli._kit_page import example_workspace, kit_facts, kit_lines
from trunkline.cli._kit_skeleton import skeleton
from trunkline.cli._kits_test import test
from trunkline.cli.check import catalog_errors, say_problems
from trunkline.kit.times import format_ms
from trunkline.kits.catalogue import CATEGORIES, OTHER, category_of, sends_event, speaks_of
from trunkline.kits.kit import Kit, KitError, parse_kit
from trunkline.kits.shipped import shipped_names
from trunkline.state.home import Home

command = cyclopts.App(
    name="kits",
    help="""Kits: the vendors that a destination of kind `http_kit` can send to.

    Example: `trunkline kits list --category advertising`
    """,
)


command.command(test)


@command.command(name="import")
def import_(path: Path, /, *, home: HomeOption = HOME_DEFAULT, json: JsonOption = False) -> int:
    """Read kits and keep them in the catalog. Those that stand there already are replaced.

    One with the name of a shipped kit takes its place, until `trunkline kits remove`.

    Each is checked wholly, and its playbook compiled; nothing of it is run. A kit whose connection
    is none that can be used yet is kept as well, for its playbook. Where one is refused the others
    are kept, and the exit code is 1.

    Example: `trunkline kits import node_modules/@metarouter/ajs-starter-kit --json`

    Parameters
    ----------
    path
        A folder of kits, each a folder of JSON files or a YAML file; one kit; or the folder of the
        package that holds them.
    """
    place = open_home(home)
    read = [*read_kits(find_kits(path))]
    kits = [kit for kit in read if isinstance(kit, Kit)]
    failed = [kit for kit in read if isinstance(kit, Unread)]
    with catalog_errors():
        saved = save_kits(place, kits) if kits else SavedKits((), (), (), ())
    mute = [kit for kit in kits if kit.cannot_send]
    if json:
        say_json(
            {
                "imported": [kit.name for kit in kits],
                "without_connection": [
                    {"name": kit.name, "reason": kit.cannot_send} for kit in mute
                ],
                "failed": failed,
                "waiting": saved.waiting,
                "replaced": saved.replaced,
            }
        )
        return 1 if failed else 0
    say(f"kits imported: {len(kits)}; ready to send: {len(kits) - len(mute)}")
    for kit in mute:
        say(f"  {kit.name} cannot send yet: {kit.cannot_send}")
    if saved.replaced:
        names = ", ".join(saved.replaced)
        say(f"in the place of the shipped ones, until `trunkline kits remove`: {names}")
    if saved.waiting:
        names = ", ".join(saved.waiting)
        say(f"destinations with an older content, until their workspace file is applied: {names}")
    told = [f"{kit.name}: {reason}" for kit in failed for reason in kit.reasons]
    return say_problems(told) if told else 0


@command.command(name="list")
def list_(
    text: str = "",
    /,
    *,
    category: Annotated[
        str, cyclopts.Parameter(help=f"Only of a category: {', '.join((*CATEGORIES, OTHER))}.")
    ] = "",
    event: Annotated[str, cyclopts.Parameter(help="Only those that know an event by name.")] = "",
    home: HomeOption = HOME_DEFAULT,
    json: JsonOption = False,
) -> int:
    """List the kits that a destination may name: shipped with Trunkline, or imported.

    Example: `trunkline kits list --category advertising --event "Order Completed"`

    Parameters
    ----------
    text
        Only kits in whose name, title, description or events this stands.
    """
    if category and category not in (*CATEGORIES, OTHER):
        expected = ", ".join((*CATEGORIES, OTHER))
        raise CommandError(f"--category {category!r}: expected one of {expected}")
    with catalog_errors():
        every = [(stored, _parse(stored)) for stored in list_kits(open_home(home))]
    found = [
        (stored, kit)
        for stored, kit in every
        if category in ("", category_of(kit))
        and (not event or sends_event(kit, event))
        and (not text or speaks_of(kit, text))
    ]
    if json:
        say_json([_line(stored, kit) for stored, kit in found])
        return 0
    for stored, kit in found:
        mute = f"  cannot send yet: {kit.cannot_send}" if kit.cannot_send else ""
        words = (kit.name, kit.title, kit.version, category_of(kit), stored.origin)
        say("  ".join(filter(None, words)) + mute)
    if not found:
        say("no such kit; bring one in with `trunkline kits import DIR`, or begin one: `kits new`")
    return 0


@command.command
def show(name: str, /, *, home: HomeOption = HOME_DEFAULT, json: JsonOption = False) -> int:
    """Show a kit: its params, events, requests, limits, and a destination to start from.

    Example: `trunkline kits show meta`

    Parameters
    ----------
    name
        The kit's name, as `trunkline kits list` tells it.
    """
    place = open_home(home)
    with catalog_errors():
        found = choose_kit(place, name)
    if found is None:
        raise CommandError(f"{name!r} is no kit, shipped or imported{_advice(name, place)}")
    kit = _parse(found)
    if json:
        say_json({**_line(found, kit), **kit_facts(kit), "workspace": example_workspace(kit)})
        return 0
    for line in kit_lines(kit):
        say(line)
    return 0


@command.command
def remove(name: str, /, *, home: HomeOption = HOME_DEFAULT, json: JsonOption = False) -> int:
    """Remove an imported kit that no destination uses. A shipped one of that name is back then.

    Example: `trunkline kits remove acme-ads`

    Parameters
    ----------
    name
        The kit's name, as `trunkline kits list` tells it.
    """
    with catalog_errors():
        left = remove_kit(open_home(home), name)
    if json:
        say_json({"removed": name, "shipped": left is not None})
    else:
        say(f"removed {name}" + ("; the shipped one is used from now on" if left else ""))
    return 0


@command.command
def new(
    name: str,
    /,
    *,
    out: Annotated[Path, cyclopts.Parameter(help="The file to write; it must not exist yet.")],
    json: JsonOption = False,
) -> int:
    """Write a kit to start from: one YAML file with comments, which can be imported as it is.

    Example: `trunkline kits new acme-ads --out acme-ads.yaml`

    Parameters
    ----------
    name
        The kit's name: small letters, digits, dots, - and _.
    """
    try:
        text = skeleton(name)
    except KitError as error:
        raise CommandError(str(error)) from error
    try:
        with out.open("x", encoding="utf-8") as file:
            file.write(text)
    except OSError as error:
        reason = "exists already" if isinstance(error, FileExistsError) else error.strerror
        raise CommandError(f"{out}: {reason}; name another file with --out") from error
    if json:
        say_json({"name": name, "file": str(out)})
    else:
        say(f"wrote {out}; bring it in with `trunkline kits import {out}`")
    return 0


def _advice(name: str, home: Home) -> str:
    with catalog_errors():
        names = [*(stored.name for stored in read_stored(home)), *shipped_names()]
    close = difflib.get_close_matches(name, names, 1, 0.6)
    return f"; did you mean {close[0]}?" if close else "; see `trunkline kits list`"


def _parse(stored: StoredKit) -> Kit:
    try:
        return parse_kit(msgspec.json.decode(stored.json))
    except KitError as error:
        raise CommandError(
            f"kit {stored.name} of the catalog cannot be read: {error}; import it again"
        ) from error


def _line(stored: StoredKit, kit: Kit) -> dict[str, Any]:
    return {
        "name": kit.name,
        "title": kit.title,
        "version": kit.version,
        "canSend": not kit.cannot_send,
        "reason": kit.cannot_send,
        "params": [param.name for param in kit.params],
        "category": category_of(kit),
        "events": kit.events,
        "origin": stored.origin,
        "importedAt": format_ms(stored.imported_ms) if stored.imported_ms else None,
    }
