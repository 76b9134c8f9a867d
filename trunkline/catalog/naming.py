"""Events that senders named before anybody defined them: defined, each with a slug of its own.

Only what is not there yet is added, so whatever a person says of an event stays. An app that flags
or blocks unknown events has a plan of its own, and is left alone.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping

import msgspec

from trunkline.catalog.announce import Mark
from trunkline.catalog.apply import Change, change_catalog
from trunkline.catalog.formats import FORMATS
from trunkline.catalog.generate import new_slug
from trunkline.catalog.plan import plan_changes
from trunkline.catalog.workspace import AppSpec, EventSpec
from trunkline.kit.clock import Clock
from trunkline.model.snapshot import fold_name
from trunkline.state.home import Home

DEFINITIONS_MAX = 500  # of one app: a Client key is for everybody, and so is what may be named


def define_events(home: Home, clock: Clock, names: Mapping[str, Collection[str]]) -> dict[str, int]:
    """Define events by their names, for apps by their ids; return how many each app got.

    What is defined already, what is no name for an event, and what an app has no room for is passed
    over. Raises `CatalogError`, `VaultError`, and SQLAlchemy's errors.
    """
    counts: dict[str, int] = {}

    def work(change: Change) -> Mark | None:
        existing = change.stored.workspace
        apps = [_add(app, names.get(app.id or "", ())) for app in existing.apps]
        for old, new in zip(existing.apps, apps, strict=True):
            if len(new.events) > len(old.events):
                counts[new.id or ""] = len(new.events) - len(old.events)
        if not counts:
            return None
        desired = msgspec.structs.replace(existing, apps=tuple(apps))
        return change.write(plan_changes(existing, desired, prune=False))

    change_catalog(home, clock, work)
    return counts


def _add(app: AppSpec, names: Iterable[str]) -> AppSpec:
    if app.unknown_events != "accept":
        return app
    events = list(app.events)
    slugs = {event.slug or "" for event in events}
    known = {fold_name(event.name) for event in events}
    for name in names:
        if len(events) >= DEFINITIONS_MAX:
            break
        if FORMATS["name"].fits(name) and name not in slugs and fold_name(name) not in known:
            slug = new_slug(slugs)
            events.append(EventSpec(slug=slug, name=name))
            slugs.add(slug)
            known.add(fold_name(name))
    return msgspec.structs.replace(app, events=tuple(events))
