"""API keys and dev keys from the command line: new, rotate with an overlap, change, revoke.

Each is a change of the catalog like any other: one transaction, one new version. A revoked secret
is remembered by its digest, so that no workspace file brings it back.
"""

from __future__ import annotations

import msgspec
from msgspec import Struct
from sqlalchemy import delete, select

from trunkline.catalog.announce import Live, Mark
from trunkline.catalog.apply import Change, change_catalog
from trunkline.catalog.conform import suggest
from trunkline.catalog.database import CatalogError
from trunkline.catalog.formats import FORMATS, format_instant
from trunkline.catalog.generate import new_dev_key, new_key_secret
from trunkline.catalog.plan import plan_changes
from trunkline.catalog.tables import DevKeyRow, KeyRow, KeySecretRow, RevokedRow
from trunkline.catalog.workspace import (
    AppSpec,
    Instant,
    KeySpec,
    Previous,
    S2SSpec,
    SecretText,
    Workspace,
)
from trunkline.kit.clock import Clock
from trunkline.model.snapshot import KeyType
from trunkline.state.home import Home

DEV_KEY_NAME = "dev key"
OVERLAP_HOURS = 24.0
HOUR_MS = 3_600_000


class IssuedKey(Struct, frozen=True):
    """A key that was made or rotated. `secret` is shown this once."""

    app: str
    name: str
    type: str
    secret: str
    previous_until: str | None
    live: Live | None


def new_key(home: Home, clock: Clock, app: str, name: str, key_type: KeyType) -> IssuedKey:
    """Make a key. Raises `CatalogError` where the app is unknown or the name taken or no name."""
    if not FORMATS["name"].fits(name):
        raise CatalogError(f"{name!r} is no name for a key; expected {FORMATS['name'].expected}")
    secret = new_key_secret(key_type)

    def work(change: Change) -> Mark:
        found = find_app(change.stored.workspace, app)
        if any(key.name == name for key in found.keys):
            raise CatalogError(
                f"the app {found.name} has a key `{name}` already; "
                "rotate it, or give the new one another name"
            )
        key = KeySpec(name=name, type=key_type, secret=SecretText(secret))
        return _put(change, msgspec.structs.replace(found, keys=(*found.keys, key)))

    return IssuedKey(app, name, key_type, secret, None, change_catalog(home, clock, work))


def rotate_key(home: Home, clock: Clock, app: str, name: str, overlap_hours: float) -> IssuedKey:
    """Give a key another secret; the present one opens for `overlap_hours` more.

    The secret before the present one, where its overlap still runs, ends now. Raises
    `CatalogError`.
    """
    until = _until(clock, overlap_hours)
    issued: list[KeySpec] = []

    def work(change: Change) -> Mark:
        found = find_app(change.stored.workspace, app)
        key = _find_key(found, name)
        issued.append(
            msgspec.structs.replace(
                key,
                secret=SecretText(new_key_secret(key.type)),
                secret_previous=_previous(key.secret, until),
            )
        )
        keys = tuple(issued[0] if other.name == name else other for other in found.keys)
        return _put(change, msgspec.structs.replace(found, keys=keys))

    live = change_catalog(home, clock, work)
    secret = issued[0].secret or SecretText("")
    return IssuedKey(app, name, issued[0].type, secret.text, format_instant(until), live)


def rotate_dev_key(home: Home, clock: Clock, app: str, overlap_hours: float) -> IssuedKey:
    """Give an app another dev key; the present one opens for `overlap_hours` more."""
    until = _until(clock, overlap_hours)
    secret = new_dev_key()

    def work(change: Change) -> Mark:
        found = find_app(change.stored.workspace, app)
        s2s = msgspec.structs.replace(
            found.s2s,
            dev_key=SecretText(secret),
            dev_key_previous=_previous(found.s2s.dev_key, until),
        )
        return _put(change, msgspec.structs.replace(found, s2s=s2s))

    live = change_catalog(home, clock, work)
    return IssuedKey(app, DEV_KEY_NAME, "dev", secret, format_instant(until), live)


def make_client_key(home: Home, clock: Clock, app: str, name: str) -> Live | None:
    """Turn a Server key into a Client key, which may do less. It keeps its secret.

    There is no way back: anyone may have read what stood in a page. Raises `CatalogError`.
    """

    def work(change: Change) -> Mark:
        found = find_app(change.stored.workspace, app)
        key = _find_key(found, name)
        if key.type == "client":
            raise CatalogError(f"the key {found.name}/{name} is a client key already")
        changed = msgspec.structs.replace(key, type="client")
        keys = tuple(changed if other is key else other for other in found.keys)
        return _put(change, msgspec.structs.replace(found, keys=keys))

    return change_catalog(home, clock, work)


def revoke_key(home: Home, clock: Clock, app: str, name: str) -> Live | None:
    """End a key now and for good, with every secret it ever had. Raises `CatalogError`."""

    def work(change: Change) -> Mark:
        found = find_app(change.stored.workspace, app)
        key = _find_key(found, name)
        query = (
            select(KeySecretRow.digest)
            .join(KeyRow, KeyRow.id == KeySecretRow.key_id)
            .where(KeyRow.app_id == found.id, KeyRow.name == name)
        )
        _remember(change, found, name, list(change.session.execute(query).scalars()))
        keys = tuple(other for other in found.keys if other is not key)
        return _put(change, msgspec.structs.replace(found, keys=keys))

    return change_catalog(home, clock, work)


def revoke_dev_key(home: Home, clock: Clock, app: str) -> Live | None:
    """End an app's dev key, and the one before it, now and for good. Raises `CatalogError`."""

    def work(change: Change) -> Mark:
        found = find_app(change.stored.workspace, app)
        query = select(DevKeyRow.digest).where(DevKeyRow.app_id == found.id)
        digests = list(change.session.execute(query).scalars())
        if not digests:
            raise CatalogError(f"the app {found.name} has no dev key; there is nothing to revoke")
        _remember(change, found, DEV_KEY_NAME, digests)
        change.session.execute(delete(DevKeyRow).where(DevKeyRow.app_id == found.id))
        s2s: S2SSpec = msgspec.structs.replace(found.s2s, dev_key=None, dev_key_previous=None)
        return _put(change, msgspec.structs.replace(found, s2s=s2s))

    return change_catalog(home, clock, work)


def find_app(workspace: Workspace, text: str) -> AppSpec:
    """Return the app of an id or a name. Raises `CatalogError`."""
    for app in workspace.apps:
        if text in (app.id, app.name):
            return app
    names = [app.name for app in workspace.apps]
    known = ", ".join(names[:20]) or "none yet"
    raise CatalogError(f"no app {text!r} in the catalog; known: {known}; {suggest(text, names)}")


def _find_key(app: AppSpec, name: str) -> KeySpec:
    for key in app.keys:
        if key.name == name:
            return key
    names = [key.name for key in app.keys]
    known = ", ".join(names[:20]) or "none"
    raise CatalogError(
        f"the app {app.name} has no key {name!r}; known: {known}; {suggest(name, names)}"
    )


def _put(change: Change, app: AppSpec) -> Mark:
    """Write one app as it is to be, with whatever of it is gone."""
    existing = change.stored.workspace
    apps = tuple(app if other.id == app.id else other for other in existing.apps)
    desired = msgspec.structs.replace(existing, apps=apps)
    return change.write(plan_changes(existing, desired, prune=True))


def _previous(secret: SecretText | None, until: Instant) -> Previous | None:
    return None if secret is None else Previous(secret=secret, until=until)


def _until(clock: Clock, overlap_hours: float) -> Instant:
    if not 0 <= overlap_hours <= 24 * 365:
        raise CatalogError(f"an overlap of {overlap_hours} hours; expected 0 to 8760")
    return Instant(clock.now_ms() + int(overlap_hours * HOUR_MS))


def _remember(change: Change, app: AppSpec, name: str, digests: list[bytes]) -> None:
    for digest in digests:
        row = RevokedRow(digest=digest, app_id=app.id, name=name, revoked_ms=change.now_ms)
        change.session.merge(row)
