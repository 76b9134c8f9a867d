"""Which content a kit's name means: that which an operator imported last, else the shipped one.

A shipped kit lies in the program, so an upgrade brings another content of it. What a destination
works with is therefore kept in the catalog like an imported one, by the apply that names it, and an
upgrade changes nothing that is sent until a workspace file is applied again.
"""

from __future__ import annotations

from collections.abc import Mapping

from sqlalchemy import delete, select
from sqlalchemy.orm import Session

from trunkline.catalog.revision_rows import digest_of, newest_kits, read_kit_content
from trunkline.catalog.tables import DestinationRow, KitRow
from trunkline.kits.kit import Kit, kit_json
from trunkline.kits.shipped import shipped_kits

TITLE_CHARACTERS_MAX = 256
SHIPPED_MS = 0  # `imported_ms` of a content that came with the program


class KitChoice:
    """The kits that a workspace file may name, as they are at the start of a transaction."""

    def __init__(self, session: Session) -> None:
        self._session = session
        self._imported = newest_kits(session)
        self._shipped = shipped_kits()
        self._digests: dict[str, str] = {}

    @property
    def names(self) -> list[str]:
        """The names of all kits."""
        return sorted({*self._imported, *self._shipped})

    def current(self, name: str) -> str | None:
        """Return the digest of what a name means now; None where it means nothing."""
        if name in self._imported:
            return self._imported[name]
        if name in self._shipped and name not in self._digests:
            self._digests[name] = digest_of(kit_json(self._shipped[name]).decode())
        return self._digests.get(name)

    def take(self, name: str, digest: str) -> bool:
        """Have a content in the catalog; False where neither that nor the program has it."""
        if read_kit_content(self._session, name, digest) is not None:
            return True
        if name in self._imported or self.current(name) != digest:
            return False
        self._session.add(shipped_row(self._shipped[name], digest))
        self._session.flush()
        return True


def shipped_row(kit: Kit, digest: str) -> KitRow:
    """Return the row of a shipped kit. It is not `newest`, so an imported one goes before it."""
    return KitRow(
        name=kit.name,
        digest=digest,
        title=kit.title[:TITLE_CHARACTERS_MAX],
        content=kit_json(kit).decode(),
        imported_ms=SHIPPED_MS,
        is_newest=False,
    )


def forget_unused_kits(session: Session) -> None:
    """Remove the contents that no destination works with, but for what was imported last."""
    used = select(DestinationRow.kit_digest).where(DestinationRow.kit_digest.is_not(None))
    session.execute(delete(KitRow).where(~KitRow.is_newest, KitRow.digest.not_in(used)))


def destinations_of(session: Session, name: str) -> Mapping[str, str]:
    """Return the destinations (APP/ID) that name a kit, with the digests they work with."""
    query = select(DestinationRow).where(DestinationRow.kit_digest.is_not(None))
    rows = session.execute(query.order_by(DestinationRow.uid)).scalars()
    return {
        f"{row.app_id}/{row.id}": str(row.kit_digest)
        for row in rows
        if row.settings.get("kit") == name
    }
