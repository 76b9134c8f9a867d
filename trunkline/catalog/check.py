"""From the text of a workspace file to a `Workspace`, or to everything that is wrong with it.

Four passes over one tree: its shape (`conform`), the settings of each destination by the struct of
its kind, its playbook by the rules of playbooks, and what only shows when entries are held against
each other. Each pass works on what the one before left whole, so one run reports all.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple, cast

import msgspec
import msgspec.inspect as mi
from msgspec import Struct

from trunkline.catalog.conform import (
    INVALID,
    STANDS_OPEN,
    Context,
    Place,
    conform,
    show,
    suggest,
)
from trunkline.catalog.playbook_text import read_playbook, report
from trunkline.catalog.shaping_checks import (
    Kind,
    LoadCode,
    check_shaping,
    connection_problems,
    unused_params,
)
from trunkline.catalog.shaping_params import Shaping, given_params, takes_kit
from trunkline.catalog.workspace import SecretText, Workspace, find_secrets, reveal
from trunkline.kit.destination import Settings
from trunkline.kit.protection import PATHS_MAX, path_problem
from trunkline.kit.regions import COUNTRY_FIELDS_MAX, REGIONS_MAX
from trunkline.kit.yaml_text import YamlError, read_yaml
from trunkline.kits.kit import Kit
from trunkline.model.snapshot import fold_name
from trunkline.playbook.program import Problem

Kinds = Mapping[str, Kind]
FindKit = Callable[[str], "Kit | str | None"]
"""What a kit's name means: the kit, the end of a line where none has it, or None: not judged."""
Tree = dict[str, Any]

_SLUG = re.compile(r"[a-z]{5}\Z")
_PATH = re.compile(r"(?P<text>.*) - at `\$(?P<path>.*)`\Z", re.DOTALL)


class WorkspaceError(Exception):
    """The workspace cannot be used. `problems` has one line for each thing that is wrong."""

    def __init__(self, problems: tuple[str, ...]) -> None:
        super().__init__("\n".join(problems))
        self.problems = problems


class Reading(Struct, frozen=True):
    """What a workspace file came to: `workspace` is None where there are problems."""

    workspace: Workspace | None
    problems: tuple[str, ...]
    warnings: tuple[str, ...]


def trust_code(playbook: bytes, params: Mapping[str, str]) -> Sequence[Problem]:  # noqa: ARG001
    """Find nothing wrong with code: for those who have no jail to load it in."""
    return ()


def know_no_kit(name: str) -> Kit | str | None:  # noqa: ARG001
    """Know nothing of a kit: for `apply`, which judges params by what the catalog has."""
    return None


class _Tools(NamedTuple):
    """What destinations are checked with."""

    kinds: Kinds
    load_code: LoadCode
    find_kit: FindKit


def read_workspace(
    text: str,
    kinds: Kinds,
    environ: Mapping[str, str],
    base: Path,
    load_code: LoadCode = trust_code,
    find_kit: FindKit = know_no_kit,
) -> Reading:
    """Read a workspace file. `base` is the folder that `{file: PATH}` starts at. Never raises.

    `load_code` loads a playbook's code where it will run, and says what is wrong with it;
    `find_kit` tells what a kit's name means, where the params for it are to be judged.
    """
    context = Context(environ, base)
    try:
        raw = read_yaml(text)
    except YamlError as error:
        return Reading(None, (f"workspace: {error}",), ())
    if raw is None:
        return Reading(None, ("workspace: is empty; expected at least apps: []; write it",), ())
    tree = conform(raw, _workspace_type(), Place(), context)
    if isinstance(tree, dict):
        tools = _Tools(kinds, load_code, find_kit)
        _check_apps(cast(Tree, tree), tools, context)
    workspace = None if context.problems else msgspec.convert(tree, Workspace)
    return Reading(workspace, tuple(context.problems), tuple(context.warnings))


@cache
def _workspace_type() -> mi.Type:
    return mi.type_info(Workspace)


@cache
def _settings_type(settings: type[Settings]) -> mi.Type:
    return mi.type_info(settings)


def _entries(parent: Tree, place: Place, key: str) -> Iterator[tuple[Tree, Place]]:
    """Yield the entries of a list that are mappings, with their places."""
    items: Any = parent.get(key)
    for index, item in enumerate(cast(list[Any], items) if isinstance(items, list) else ()):
        if isinstance(item, dict):
            entry = cast(Tree, item)
            yield entry, place.key(key).item(index, entry)


def _check_apps(tree: Tree, tools: _Tools, context: Context) -> None:
    apps = list(_entries(tree, Place(), "apps"))
    _check_unique(apps, "id", context)
    _check_unique(apps, "name", context)
    secrets: dict[str, Place] = {}
    for app, place in apps:
        _check_rate(app, place, context)
        _check_consent_regions(app, place, context)
        _check_overlap(app.get("s2s"), place.key("s2s"), "dev_key", context)
        _check_keys(app, place, secrets, context)
        _check_events(app, place, context)
        _check_destinations(app, place, tools, context)


def _check_unique(
    entries: list[tuple[Tree, Place]],
    key: str,
    context: Context,
    fold: Callable[[str], str] = str,
) -> None:
    seen: dict[str, Place] = {}
    for entry, place in entries:
        value = entry.get(key)
        if not isinstance(value, str):
            continue
        first = seen.setdefault(fold(value), place)
        if first is not place:
            at = place.key(key)
            came = f"{show(value)}, which is also that of {first.absolute}"
            context.wrong(at, came, f"another {key} for each", "rename or remove one")


def _check_rate(app: Tree, place: Place, context: Context) -> None:
    rate: Any = app.get("rate")
    if not isinstance(rate, dict):
        return
    limits = cast(Tree, rate)
    if limits.get("burst") is not None and limits.get("events_per_second_max") is None:
        at = place.key("rate").key("burst")
        context.wrong(
            at,
            show(limits["burst"]),
            "it beside events_per_second_max, without which it limits nothing",
            "set both or none",
        )


def _check_overlap(holder: Any, place: Place, name: str, context: Context) -> None:
    """Report a previous secret that is the present one."""
    if not isinstance(holder, dict):
        return
    entry = cast(Tree, holder)
    previous: Any = entry.get(f"{name}_previous")
    if not isinstance(previous, dict):
        return
    before: Any = cast(Tree, previous).get("secret")
    if isinstance(before, SecretText) and before == entry.get(name):
        at = place.key(f"{name}_previous").key("secret")
        context.wrong(at, f"the same as {name}", "the secret before it", "remove one of them")


def _check_keys(app: Tree, place: Place, secrets: dict[str, Place], context: Context) -> None:
    keys = list(_entries(app, place, "keys"))
    _check_unique(keys, "name", context)
    for key, at in keys:
        _check_overlap(key, at, "secret", context)
        if key.get("type") == "server" and key.get("allowed_origins"):
            came = "set on a server key"
            context.wrong(
                at.key("allowed_origins"),
                came,
                "it on client keys only: a server key seen in a browser is refused anyway",
                "remove it, or make the key type: client",
            )
        _check_rates(key, at, context)
        for secret, where in _secrets_of_key(key, at):
            first = secrets.setdefault(secret.text, where)
            if first is not where and first.anchor != where.anchor:
                came = f"the same as {first.absolute}"
                context.wrong(where, came, "another secret for each key", "change one")


def _check_rates(key: Tree, place: Place, context: Context) -> None:
    for name in ("rate", "rate_per_ip"):
        rate: Any = key.get(name)
        if isinstance(rate, dict) and cast(Tree, rate).get("events_per_second_max") is None:
            advice = f"set it, or leave {name} out"
            context.wrong(
                place.key(name), "without events_per_second_max", "how many a second", advice
            )


def _secrets_of_key(key: Tree, place: Place) -> Iterator[tuple[SecretText, Place]]:
    previous: Any = key.get("secret_previous")
    before = cast(Tree, previous) if isinstance(previous, dict) else {}
    for value, where in (
        (key.get("secret"), place.key("secret")),
        (before.get("secret"), place.key("secret_previous").key("secret")),
    ):
        if isinstance(value, SecretText):
            yield value, where


def _check_events(app: Tree, place: Place, context: Context) -> None:
    events = list(_entries(app, place, "events"))
    _check_unique(events, "slug", context)
    _check_unique(events, "name", context, fold_name)
    for event, at in events:
        slug = event.get("slug")
        if isinstance(slug, str) and not _SLUG.match(slug):
            context.warnings.append(
                at.key("slug").says(f"is {show(slug)}; slugs are usually 5 lower-case letters")
            )


def _check_destinations(app: Tree, place: Place, tools: _Tools, context: Context) -> None:
    destinations = list(_entries(app, place, "destinations"))
    _check_unique(destinations, "id", context)
    for destination, at in destinations:
        known = len(context.problems)
        _check_paths(destination, at, context, ("deny_fields", "hash_fields"))
        _check_consent_regions(destination, at, context)
        settings_type = _check_kind(destination, at, tools.kinds, context)
        if "playbook" in destination:
            tree = read_playbook(destination["playbook"], at.key("playbook"), context)
            destination["playbook"] = tree if isinstance(tree, dict) else None
        if settings_type is not None and len(context.problems) == known:
            _check_shaping(destination, at, settings_type, tools, context)


def _check_consent_regions(entry: Tree, at: Place, context: Context) -> None:
    regions: Any = entry.get("consent_regions")
    if not isinstance(regions, dict):
        return
    given, place = cast(Tree, regions), at.key("consent_regions")
    for key, most in (("needed_in", REGIONS_MAX), ("country_fields", COUNTRY_FIELDS_MAX)):
        listed: Any = given.get(key)
        count = len(cast(list[Any], listed)) if isinstance(listed, list) else 0
        if count > most:
            advice = "leave out what is not needed"
            context.wrong(place.key(key), f"a list of {count}", f"at most {most}", advice)
    _check_paths(given, place, context, ("country_fields", "personal_fields"))
    fields: Any = given.get("country_fields")
    for index, path in enumerate(cast(list[Any], fields) if isinstance(fields, list) else []):
        if isinstance(path, str) and "*" in path:
            at_path = place.key("country_fields").item(index, path)
            context.wrong(at_path, show(path), "one field, named without `*`", "write it out")


def _check_paths(holder: Tree, at: Place, context: Context, keys: Sequence[str]) -> None:
    for key in keys:
        given: Any = holder.get(key)
        paths = cast(list[Any], given) if isinstance(given, list) else []
        if len(paths) > PATHS_MAX:
            came, advice = f"a list of {len(paths)}", "cover several with a `*`"
            context.wrong(at.key(key), came, f"at most {PATHS_MAX} paths", advice)
        for index, path in enumerate(paths):
            problem = path_problem(path) if isinstance(path, str) else ""
            if problem:
                context.wrong(at.key(key).item(index, path), show(path), problem, "correct it")


def _check_kind(
    destination: Tree, at: Place, kinds: Kinds, context: Context
) -> type[Settings] | None:
    """Check the settings by the struct of their kind, and return that."""
    kind: Any = destination.get("kind")
    if not isinstance(kind, str):
        return None
    if kind not in kinds:
        expected = f"one of {', '.join(sorted(kinds))}"
        context.wrong(at.key("kind"), show(kind), expected, suggest(kind, kinds))
        return None
    settings_type = kinds[kind].settings_type
    settings = destination.get("settings", {})
    if isinstance(settings, dict):
        destination["settings"] = _check_settings(
            cast(Tree, settings), settings_type, at.key("settings"), context
        )
    return settings_type


def _check_shaping(
    destination: Tree,
    at: Place,
    settings_type: type[Settings],
    tools: _Tools,
    context: Context,
) -> None:
    given = destination.get("settings", {})
    settings = cast(Tree, given) if isinstance(given, dict) else {}
    if takes_kit(settings_type):
        if "connection" in settings:
            expected = "it left out: the kit brings it"
            context.wrong(at.key("settings").key("connection"), "set", expected, "remove it")
        # What `apply` judges by what is deployed too is judged here by the file and the kit alone.
        kit = tools.find_kit(str(settings["kit"])) if settings.get("kit") else None
        if isinstance(kit, str):  # a warning: it may be imported where the file is applied
            context.warnings.append(at.key("settings").key("kit").says(kit))
        if not isinstance(kit, Kit):
            return
        # The kit's own playbook, where the file has none, can use the params as well.
        own = destination.get("playbook") or dict(kit.playbook)
        shaping = Shaping(own, kit.settings_connection, given_params(settings))
        _forgive_open_params(shaping, at, context)
    else:
        kit = None
        shaping = Shaping(destination.get("playbook"), None, given_params(settings))
    known = len(context.problems)
    check_params(shaping, at, context.problems, tools.load_code)
    params = at.key("settings").key("params")
    context.warnings += [params.key(name).says(told) for name, told in unused_params(shaping)]
    if kit is not None and len(context.problems) == known:
        kind = tools.kinds[str(destination["kind"])]
        report_connection(settings, shaping, kind, at, context.problems)


def _forgive_open_params(shaping: Shaping, at: Place, context: Context) -> None:
    """Take back the warnings of params that a kit says are no secrets, as an account's number."""
    params = at.key("settings").key("params")
    known = [
        params.key(one.name).says(STANDS_OPEN) for one in shaping.params if not one.is_sensitive
    ]
    context.warnings[:] = [told for told in context.warnings if told not in known]


def report_connection(
    settings: Mapping[str, Any], shaping: Shaping, kind: Kind, at: Place, problems: list[str]
) -> None:
    """Tell what keeps a kit's connection from being used with the settings of a destination."""
    for keys, told in connection_problems(settings, shaping, kind):
        place = at.key("settings")
        for key in keys:
            place = place.key(key)
        problems.append(place.says(told))


def check_params(shaping: Shaping, at: Place, problems: list[str], load_code: LoadCode) -> None:
    """Tell what is wrong between a destination's playbook, its connection and its params."""
    unusable, wrong = check_shaping(shaping, load_code)
    params = at.key("settings").key("params")
    problems += [params.key(name).says(sentence) for name, sentence in unusable]
    report(tuple(wrong), at.key("playbook"), problems)


def _check_settings(
    settings: Tree, settings_type: type[Settings], place: Place, context: Context
) -> Tree:
    known = len(context.problems)
    checked = conform(settings, _settings_type(settings_type), place, context)
    if len(context.problems) > known or checked is INVALID:
        return {}
    try:
        # The struct itself has the last word: rules across its fields, types we have no words for.
        msgspec.convert(reveal(checked), settings_type)
    except msgspec.ValidationError as error:
        context.problems.append(_of_msgspec(str(error), checked, place))
    return cast(Tree, checked)


def _of_msgspec(message: str, settings: Any, place: Place) -> str:
    """Return msgspec's message with our path, and without the secrets it may repeat."""
    match = _PATH.match(message)
    text, path = (match["text"], match["path"]) if match else (message, "")
    for secret in find_secrets(settings).values():
        text = text.replace(secret.text, "•••")
    return Place(place.absolute, place.anchor, place.path + path).says(f"is wrong: {text}")
