"""Filling in what a workspace file left out, and refusing what the catalog cannot agree to.

An app without an id is the one of that name, else a new one; likewise an event without a slug. A
key without a secret keeps the one it has, else one is made. A running overlap goes on unless
`prune` or the file ends it.

Refused: a revoked secret; the one that a rotation put out (the file is older than the rotation,
and applying it would lock out who took the new one); a name or secret that an entry holds which the
file does not name.
"""

from __future__ import annotations

from typing import TypeVar

import msgspec
from msgspec import Struct

from trunkline.catalog.conform import Place
from trunkline.catalog.generate import new_app_id, new_dev_key, new_key_secret, new_slug
from trunkline.catalog.store import DEV_KEY, Stored
from trunkline.catalog.workspace import (
    AppSpec,
    EventSpec,
    KeySpec,
    Previous,
    S2SSpec,
    SecretText,
    Workspace,
)
from trunkline.model.snapshot import digest, fold_name

SpecT = TypeVar("SpecT")


class Generated(Struct, frozen=True):
    """Something that was made up, to be printed once. `what` is one of a closed set."""

    what: str
    app: str
    name: str
    value: str

    def __repr__(self) -> str:
        return f"Generated({self.what} of {self.app}/{self.name})"


class Completed(Struct, frozen=True):
    """The workspace with nothing left out, or why it cannot be."""

    workspace: Workspace
    generated: tuple[Generated, ...]
    problems: tuple[str, ...]


def complete(desired: Workspace, stored: Stored, *, prune: bool) -> Completed:
    """Fill in what the desired workspace left out, from what is stored or by making it up."""
    completion = _Completion(desired, stored, prune)
    workspace = completion.run()
    return Completed(workspace, tuple(completion.generated), tuple(completion.problems))


class _Completion:
    def __init__(self, desired: Workspace, stored: Stored, prune: bool) -> None:
        self.generated: list[Generated] = []
        self.problems: list[str] = []
        self._desired = desired
        self._stored = stored
        self._prune = prune
        existing = stored.workspace.apps
        self._by_id = {app.id or "": app for app in existing}
        self._by_name = {app.name: app for app in existing}
        self._named = {app.id for app in desired.apps} | {
            self._by_name[app.name].id
            for app in desired.apps
            if app.id is None and app.name in self._by_name
        }
        self._holders = self._find_holders()

    def run(self) -> Workspace:
        """Return the whole workspace."""
        stored = self._stored.workspace
        return Workspace(
            organisation=self._desired.organisation or stored.organisation,
            plan=self._desired.plan or stored.plan,
            apps=tuple(
                self._app(app, Place().key("apps").item(index, {"id": app.id, "name": app.name}))
                for index, app in enumerate(self._desired.apps)
            ),
        )

    def _find_holders(self) -> dict[bytes, tuple[str, str]]:
        """Return who keeps each API key secret: those of entries that will be there afterwards."""
        desired = {(self._id_of(app), key.name) for app in self._desired.apps for key in app.keys}
        holders: dict[bytes, tuple[str, str]] = {}
        for app in self._stored.workspace.apps:
            for key in app.keys:
                place = (app.id or "", key.name)
                if place in desired or self._prune:
                    continue
                for secret in (key.secret, key.secret_previous and key.secret_previous.secret):
                    if secret is not None:
                        holders[digest(secret.text)] = place
        for place, digests in self._stored.retired.items():
            if place[1] != DEV_KEY and (place in desired or not self._prune):
                holders.update(dict.fromkeys(digests, place))
        return holders

    def _id_of(self, app: AppSpec) -> str:
        if app.id is not None:
            return app.id
        found = self._by_name.get(app.name)
        return (found.id or "") if found is not None else ""

    def _wrong(self, place: Place, sentence: str) -> None:
        self.problems.append(place.says(sentence))

    # ── apps ──

    def _app(self, app: AppSpec, place: Place) -> AppSpec:
        known = self._by_id.get(self._id_of(app))
        self._check_app_name(app, known, place)
        app_id = self._id_of(app)
        if not app_id:
            app_id = new_app_id(self._by_id)
            self.generated.append(Generated("app_id", app.name, "", app_id))
        return msgspec.structs.replace(
            app,
            id=app_id,
            s2s=self._s2s(app, known, place.key("s2s")),
            keys=tuple(
                self._key(app, app_id, key, known, place.key("keys").item(index, {"id": key.name}))
                for index, key in enumerate(app.keys)
            ),
            events=self._events(app, known, place.key("events")),
        )

    def _check_app_name(self, app: AppSpec, known: AppSpec | None, place: Place) -> None:
        other = self._by_name.get(app.name)
        if other is None or other is known or other.id in self._named or self._prune:
            return
        self._wrong(
            place.key("name"),
            f"is also that of the app {other.id} in the catalog; expected another name for each; "
            "rename it, give that id, or remove the other with --prune",
        )

    # ── secrets ──

    def _s2s(self, app: AppSpec, known: AppSpec | None, place: Place) -> S2SSpec:
        s2s = app.s2s
        before = known.s2s if known is not None else S2SSpec()
        secret = s2s.dev_key or before.dev_key
        if secret is None and s2s.enabled:
            secret = SecretText(new_dev_key())
            self.generated.append(Generated("dev_key", app.name, "", secret.text))
        previous = s2s.dev_key_previous or self._running(
            before.dev_key_previous, secret, before.dev_key
        )
        owner = (self._id_of(app), DEV_KEY)
        self._check_secret(s2s.dev_key, s2s.dev_key_previous, owner, place.key("dev_key"))
        return msgspec.structs.replace(s2s, dev_key=secret, dev_key_previous=previous)

    def _key(
        self, app: AppSpec, app_id: str, key: KeySpec, known: AppSpec | None, place: Place
    ) -> KeySpec:
        before = _find(known.keys if known is not None else (), "name", key.name)
        secret = key.secret or (before.secret if before is not None else None)
        if secret is None:
            secret = SecretText(new_key_secret(key.type))
            self.generated.append(Generated(f"{key.type}_key", app.name, key.name, secret.text))
        previous = key.secret_previous
        if previous is None and before is not None:
            previous = self._running(before.secret_previous, secret, before.secret)
        at = place.key("secret")
        self._check_secret(key.secret, key.secret_previous, (app_id, key.name), at)
        self._check_holder(key, (app_id, key.name), at)
        return msgspec.structs.replace(key, secret=secret, secret_previous=previous)

    def _running(
        self, previous: Previous | None, secret: SecretText | None, before: SecretText | None
    ) -> Previous | None:
        """Return the overlap that goes on: the file names no other, and kept the secret."""
        return previous if secret == before and not self._prune else None

    def _check_secret(
        self,
        secret: SecretText | None,
        previous: Previous | None,
        owner: tuple[str, str],
        place: Place,
    ) -> None:
        if secret is None:
            return
        given = [(secret, place)]
        if previous is not None:
            given.append((previous.secret, place))
        for text, at in given:
            if digest(text.text) in self._stored.revoked:
                self._wrong(
                    at,
                    "is one that was revoked; expected another; "
                    "give a new one, or leave it out and one is generated",
                )
        retired = self._stored.retired.get(owner, frozenset())
        if previous is None and digest(secret.text) in retired:
            self._wrong(
                place,
                "is one that a rotation put out; expected the present one; give that or "
                "leave it out, and to go back give the present one as the previous",
            )

    def _check_holder(self, key: KeySpec, owner: tuple[str, str], place: Place) -> None:
        for secret in (key.secret, key.secret_previous and key.secret_previous.secret):
            holder = self._holders.get(digest(secret.text)) if secret is not None else None
            if holder is not None and holder != owner:
                self._wrong(
                    place,
                    f"is also that of the key `{holder[1]}` of the app {holder[0]} in the catalog; "
                    "expected another secret for each key; change it, or remove the other "
                    "with --prune",
                )

    # ── events ──

    def _events(self, app: AppSpec, known: AppSpec | None, place: Place) -> tuple[EventSpec, ...]:
        stored = known.events if known is not None else ()
        by_name = {fold_name(event.name): event for event in stored}
        taken = {event.slug or "" for event in (*stored, *app.events)}
        events: list[EventSpec] = []
        for event in app.events:
            slug = event.slug
            found = by_name.get(fold_name(event.name))
            if slug is None and found is not None:
                slug = found.slug
            if slug is None:
                slug = new_slug(taken)
                taken.add(slug)
                self.generated.append(Generated("slug", app.name, event.name, slug))
            events.append(msgspec.structs.replace(event, slug=slug))
        self._check_events(events, by_name, place)
        return tuple(events)

    def _check_events(
        self, events: list[EventSpec], by_name: dict[str, EventSpec], place: Place
    ) -> None:
        slugs = [event.slug for event in events]
        for index, event in enumerate(events):
            at = place.item(index, {"name": event.name})
            if slugs.count(event.slug) > 1 and slugs.index(event.slug) != index:
                self._wrong(
                    at.key("slug"),
                    f"is {event.slug}, which another event of the file has in the catalog; "
                    "expected one event for each slug; give each its slug",
                )
            other = by_name.get(fold_name(event.name))
            is_left = other is not None and other.slug not in slugs and not self._prune
            if other is not None and is_left:
                self._wrong(
                    at.key("name"),
                    f"is also that of the event {other.slug} in the catalog; expected another name "
                    "for each; give that slug, or remove the other with --prune",
                )


def _find(items: tuple[SpecT, ...], attribute: str, value: str) -> SpecT | None:
    return next((item for item in items if getattr(item, attribute) == value), None)
