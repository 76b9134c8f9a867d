"""The kits of a home: those that were imported, and those that come with the program.

An imported kit goes before a shipped one of its name, until it is removed. Importing changes
nothing that is sent. A kit imported again with another content is kept beside the older one, and a
destination works with the content that it was applied with until a workspace file that names it is
applied again, whose plan says so.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from msgspec import Struct
from sqlalchemy import select
from sqlalchemy.orm import Session

from trunkline.catalog.database import CatalogError, read_session, write_session
from trunkline.catalog.kit_choice import (
    SHIPPED_MS,
    TITLE_CHARACTERS_MAX,
    destinations_of,
    forget_unused_kits,
)
from trunkline.catalog.revision_rows import digest_of, newest_kits, read_kit_content
from trunkline.catalog.tables import DestinationRow, KitRow
from trunkline.kit.clock import Clock, SystemClock
from trunkline.kits.kit import Kit, kit_json, parse_kit
from trunkline.kits.shipped import find_shipped, shipped_kits, shipped_names
from trunkline.state.home import Home

SHOWN_MAX = 20  # destinations in a message
Origin = Literal["shipped", "imported"]


class StoredKit(Struct, frozen=True):
    """A kit as a destination would get it now. `json` is what `parse_kit` reads once decoded.

    `imported_ms` is 0 for one that is shipped.
    """

    name: str
    title: str
    json: bytes
    imported_ms: int
    origin: Origin = "imported"


class SavedKits(Struct, frozen=True):
    """What an import changed, by names.

    `waiting` are destinations (APP/ID) that still work with an older content of these kits; an
    apply of the file that names them brings them to the new one. `replaced` are those whose name is
    also that of a shipped kit, which they take the place of.
    """

    added: tuple[str, ...]
    changed: tuple[str, ...]
    unchanged: tuple[str, ...]
    waiting: tuple[str, ...]
    replaced: tuple[str, ...] = ()


def save_kits(home: Home, kits: Sequence[Kit], clock: Clock | None = None) -> SavedKits:
    """Keep kits, all or none. Raises `CatalogError`, or SQLAlchemy's errors."""
    now_ms = (clock or SystemClock()).now_ms()
    told: dict[str, list[str]] = {"added": [], "changed": [], "unchanged": []}
    with write_session(home) as session:
        newest = newest_kits(session)
        for kit in kits:
            content = kit_json(kit).decode()
            digest = digest_of(content)
            what = "added" if kit.name not in newest else "changed"
            told["unchanged" if newest.get(kit.name) == digest else what].append(kit.name)
            newest[kit.name] = digest
            _put(session, kit, content, now_ms)
        forget_unused_kits(session)
        waiting = _waiting(session, {kit.name for kit in kits}, newest)
    added, changed, unchanged = (tuple(names) for names in told.values())
    shipped = shipped_kits()
    replaced = tuple(kit.name for kit in kits if kit.name in shipped)
    return SavedKits(added, changed, unchanged, waiting, replaced)


def remove_kit(home: Home, name: str) -> Origin | None:
    """Remove an imported kit. Returns "shipped" where a shipped one has its name now, else None.

    Raises `CatalogError` where there is no such kit or a destination works with it, and as
    `save_kits` does.
    """
    shipped = find_shipped(name)
    with write_session(home) as session:
        digest = newest_kits(session).get(name)
        if digest is None:
            where = "is shipped with Trunkline and stays" if shipped else "was not imported here"
            raise CatalogError(f"kit {name!r} {where}; `trunkline kits list` names those there are")
        if users := _users(session, name, digest, shipped):
            raise CatalogError(
                f"kit {name!r} is used by {', '.join(users[:SHOWN_MAX])}; give them another kit, "
                "or remove them, and apply that first"
            )
        row = session.get_one(KitRow, (name, digest))
        row.is_newest, row.imported_ms = False, SHIPPED_MS
        session.flush()
        forget_unused_kits(session)
    return "shipped" if shipped else None


def _users(session: Session, name: str, digest: str, shipped: Kit | None) -> list[str]:
    """Return the destinations that an imported kit cannot be taken from."""
    users = destinations_of(session, name)
    if shipped is None:  # those that work with an older content need the name as well
        return [*users]
    if digest_of(kit_json(shipped).decode()) == digest:
        return []
    return [destination for destination, used in users.items() if used == digest]


def list_kits(home: Home) -> tuple[StoredKit, ...]:
    """Return every kit that a destination may name, by name. Raises as `save_kits` does."""
    imported = {kit.name: kit for kit in read_kits(home)}
    shipped = {name: _shipped(kit) for name, kit in shipped_kits().items() if name not in imported}
    return tuple(kit for _, kit in sorted({**shipped, **imported}.items()))


def choose_kit(home: Home, name: str) -> StoredKit | None:
    """Return what a name means to a destination now. Raises as `save_kits` does."""
    found = find_kit(home, name)
    if found is not None:
        return found
    kit = find_shipped(name)
    return None if kit is None else _shipped(kit)


def kit_in_use(home: Home, app: str, destination: str) -> Kit | None:
    """Return the kit that a destination works with, in the content that it works with.

    None where its kind takes none. Raises as `save_kits` does, and `KitError` for a content that
    this version does not read.
    """
    with read_session(home) as session:
        if session is None:
            return None
        query = select(DestinationRow).where(
            DestinationRow.app_id == app, DestinationRow.id == destination
        )
        row = session.execute(query).scalar_one_or_none()
        if row is None or row.kit_digest is None:
            return None
        content = read_kit_content(session, str(row.settings.get("kit")), row.kit_digest)
    return None if content is None else parse_kit(content)


def read_kits(home: Home) -> tuple[StoredKit, ...]:
    """Return every imported kit, by name. Raises as `save_kits` does."""
    with read_session(home) as session:
        if session is None:
            return ()
        query = select(KitRow).where(KitRow.is_newest).order_by(KitRow.name)
        return tuple(_stored(row) for row in session.execute(query).scalars())


def kit_names(home: Home) -> list[str]:
    """Return the names that a destination may give, shipped or imported, sorted."""
    return sorted({*shipped_names(), *(kit.name for kit in read_kits(home))})


def find_kit(home: Home, name: str) -> StoredKit | None:
    """Return a kit, or None where none of that name was imported. Raises as `save_kits` does."""
    with read_session(home) as session:
        if session is None:
            return None
        query = select(KitRow).where(KitRow.is_newest, KitRow.name == name)
        row = session.execute(query).scalar_one_or_none()
        return None if row is None else _stored(row)


def _put(session: Session, kit: Kit, content: str, now_ms: int) -> None:
    digest = digest_of(content)
    for row in session.execute(select(KitRow).where(KitRow.name == kit.name)).scalars():
        row.is_newest = row.digest == digest
    row = session.get(KitRow, (kit.name, digest))
    if row is None:
        row = KitRow(name=kit.name, digest=digest, content=content, imported_ms=now_ms)
    row.title, row.is_newest = kit.title[:TITLE_CHARACTERS_MAX], True
    row.imported_ms = row.imported_ms or now_ms  # it was a shipped one until now
    session.add(row)
    session.flush()


def _waiting(session: Session, names: set[str], newest: dict[str, str]) -> tuple[str, ...]:
    query = select(DestinationRow).where(DestinationRow.kit_digest.is_not(None))
    rows = session.execute(query.order_by(DestinationRow.uid)).scalars()
    return tuple(
        f"{row.app_id}/{row.id}"
        for row in rows
        if (name := str(row.settings.get("kit"))) in names and row.kit_digest != newest[name]
    )


def _stored(row: KitRow) -> StoredKit:
    return StoredKit(row.name, row.title, row.content.encode(), row.imported_ms)


def _shipped(kit: Kit) -> StoredKit:
    return StoredKit(kit.name, kit.title, kit_json(kit), SHIPPED_MS, "shipped")
