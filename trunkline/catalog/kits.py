"""Kits that were imported: kept by name, and read by what makes destinations of them.

Importing changes nothing that is sent. A kit imported again with another content is kept beside
the older one, and a destination works with the content that it was applied with until a workspace
file that names it is applied again, whose plan says so.
"""

from __future__ import annotations

from collections.abc import Sequence

from msgspec import Struct
from sqlalchemy import delete, select
from sqlalchemy.orm import Session

from trunkline.catalog.database import read_session, write_session
from trunkline.catalog.revision_rows import digest_of, newest_kits
from trunkline.catalog.tables import DestinationRow, KitRow
from trunkline.kit.clock import Clock, SystemClock
from trunkline.kits.kit import Kit, kit_json
from trunkline.state.home import Home

TITLE_CHARACTERS_MAX = 256


class StoredKit(Struct, frozen=True):
    """A kit as it was imported last. `json` is what `parse_kit` reads once decoded."""

    name: str
    title: str
    json: bytes
    imported_ms: int


class SavedKits(Struct, frozen=True):
    """What an import changed, by names.

    `waiting` are destinations (APP/ID) that still work with an older content of these kits; an
    apply of the file that names them brings them to the new one.
    """

    added: tuple[str, ...]
    changed: tuple[str, ...]
    unchanged: tuple[str, ...]
    waiting: tuple[str, ...]


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
        _forget_unused(session)
        waiting = _waiting(session, {kit.name for kit in kits}, newest)
    added, changed, unchanged = (tuple(names) for names in told.values())
    return SavedKits(added, changed, unchanged, waiting)


def read_kits(home: Home) -> tuple[StoredKit, ...]:
    """Return every kit, by name. Raises as `save_kits` does."""
    with read_session(home) as session:
        if session is None:
            return ()
        query = select(KitRow).where(KitRow.is_newest).order_by(KitRow.name)
        return tuple(_stored(row) for row in session.execute(query).scalars())


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
    session.add(row)
    session.flush()


def _forget_unused(session: Session) -> None:
    """Remove older contents that no destination works with."""
    used = select(DestinationRow.kit_digest).where(DestinationRow.kit_digest.is_not(None))
    session.execute(delete(KitRow).where(~KitRow.is_newest, KitRow.digest.not_in(used)))


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
