"""The difference of two workspaces, and how it reads: like a diff, with no secret in it.

What the desired workspace does not name is not a change: it is listed, and becomes one only with
`prune`. An entry that it names becomes exactly what it says there.
"""

from __future__ import annotations

import json
import re
from typing import Any, Literal, cast

import msgspec
from msgspec import Struct

from trunkline.catalog.formats import format_instant
from trunkline.catalog.workspace import AppSpec, Instant, PlanSpec, SecretText, Workspace, fields_of

EntryKind = Literal["organisation", "app", "key", "event", "destination"]
EntryId = tuple[EntryKind, str, str]

VALUE_CHARACTERS_MAX = 200
_OWN_ENTRIES = ("keys", "events", "destinations")  # of an app: planned by themselves
_IDENTITY = ("id", "slug", "name")
_CREDENTIALS = re.compile(r"(://)[^/@\s]+@")


class OrganisationSpec(Struct, frozen=True):
    """The entry for what belongs to no app."""

    name: str
    plan: PlanSpec


class Change(Struct, frozen=True):
    """One entry that comes, goes, or changes. `app` is its app's id, `id` its own within that."""

    kind: EntryKind
    app: str
    id: str
    title: str
    details: tuple[str, ...]
    old: Struct | None
    new: Struct | None

    @property
    def sign(self) -> str:
        """`+`, `-` or `~`."""
        if self.old is None:
            return "+"
        return "-" if self.new is None else "~"

    def lines(self) -> list[str]:
        """Return the lines of a plan that tell this change."""
        sign = self.sign
        return [f"{sign} {self.title}", *(f"{sign}   {detail}" for detail in self.details)]


class Plan(Struct, frozen=True):
    """What an apply would do. `unnamed` are entries of the catalog that the file does not name."""

    changes: tuple[Change, ...]
    unnamed: tuple[str, ...]

    def lines(self) -> tuple[str, ...]:
        """Return the plan as lines, `+`, `-` or `~` first."""
        return tuple(line for change in self.changes for line in change.lines())


def plan_changes(existing: Workspace, desired: Workspace, *, prune: bool) -> Plan:
    """Return what turns the existing workspace into the desired one.

    Both are complete: every id, slug and secret is there (`complete` fills in what a file left
    out). Pure.
    """
    old, new = _entries(existing), _entries(desired)
    changes = [
        _change(entry, title, old.get(entry), spec)
        for entry, (title, spec) in new.items()
        if entry not in old or _differ(old[entry][1], spec)
    ]
    gone = [entry for entry in old if entry not in new]
    if prune:
        changes += [_change(entry, old[entry][0], old[entry], None) for entry in gone]
        return Plan(tuple(changes), ())
    # Of an app that is not named, its entries go without saying.
    listed = [e for e in gone if e[0] == "app" or ("app", "", e[1]) not in gone]
    return Plan(tuple(changes), tuple(old[entry][0] for entry in listed))


def _entries(workspace: Workspace) -> dict[EntryId, tuple[str, Struct]]:
    entries: dict[EntryId, tuple[str, Struct]] = {}
    if workspace.organisation is not None and workspace.plan is not None:
        spec = OrganisationSpec(workspace.organisation, workspace.plan)
        entries["organisation", "", ""] = ("organisation", spec)
    for app in workspace.apps:
        app_id = app.id or ""
        entries["app", "", app_id] = (f"app {app.name}", app)
        for key in app.keys:
            entries["key", app_id, key.name] = (f"key {app.name}/{key.name}", key)
        for event in app.events:
            entries["event", app_id, event.slug or ""] = (f"event {app.name}/{event.name}", event)
        for destination in app.destinations:
            title = f"destination {app.name}/{destination.id}"
            entries["destination", app_id, destination.id] = (title, destination)
    return entries


def _differ(old: Struct, new: Struct) -> bool:
    if isinstance(old, AppSpec) and isinstance(new, AppSpec):
        old, new = (
            msgspec.structs.replace(app, keys=(), events=(), destinations=()) for app in (old, new)
        )
    return old != new


def _change(
    entry: EntryId, title: str, old: tuple[str, Struct] | None, new: Struct | None
) -> Change:
    kind, app, identity = entry
    if old is None and new is not None:
        details = _details_of_new(new)
    elif old is not None and new is not None:
        details = _details_of_change(old[1], new)
    else:
        details = ()
    return Change(kind, app, identity, title, details, None if old is None else old[1], new)


def _details_of_new(spec: Struct) -> tuple[str, ...]:
    fields = fields_of(type(spec))
    defaults = _flatten({f.encode_name: f.default for f in fields if not f.required})
    return tuple(
        f"{path}: {_show(value)}"
        for path, value in _flatten(spec).items()
        if path not in _IDENTITY and not _is_default(value, defaults.get(path))
    )


def _is_default(value: Any, default: Any) -> bool:
    return value == default or value in (None, (), {}) or default is value


def _details_of_change(old: Struct, new: Struct) -> tuple[str, ...]:
    before, after = _flatten(old), _flatten(new)
    paths = [*after, *(path for path in before if path not in after)]
    return tuple(
        f"{path}: {_show_change(before.get(path), after.get(path))}"
        for path in paths
        if before.get(path) != after.get(path)
    )


def _flatten(value: Any, path: str = "") -> dict[str, Any]:
    """Return the leaves of a tree by their paths; lists and what they hold are leaves."""
    if isinstance(value, Struct):
        names = {field.name: field.encode_name for field in fields_of(type(value))}
        skipped = _OWN_ENTRIES if isinstance(value, AppSpec) else ()
        pairs = {new: getattr(value, old) for old, new in names.items() if old not in skipped}
    elif isinstance(value, dict) and value:
        pairs = cast(dict[str, Any], value)
    else:
        return {path: value}
    prefix = f"{path}." if path else ""
    return {
        k: v for name, inner in pairs.items() for k, v in _flatten(inner, prefix + name).items()
    }


def _show_change(old: Any, new: Any) -> str:
    if isinstance(old, SecretText) and isinstance(new, SecretText):
        return "••• → another •••"
    return f"{_show(old)} → {_show(new)}"


def _show(value: Any) -> str:
    text = _CREDENTIALS.sub(r"\1•••@", json.dumps(_plain(value), ensure_ascii=False))
    text = text.replace('"•••"', "•••")
    cut = len(text) > VALUE_CHARACTERS_MAX
    return text[: VALUE_CHARACTERS_MAX - 1] + "…" if cut else text


def _plain(value: Any) -> Any:
    if isinstance(value, SecretText):
        return "•••"
    if isinstance(value, Instant):
        return format_instant(value)
    if isinstance(value, dict):
        return {key: _plain(inner) for key, inner in cast(dict[str, Any], value).items()}
    if isinstance(value, list | tuple):
        return [_plain(inner) for inner in cast(list[Any], value)]
    return value
