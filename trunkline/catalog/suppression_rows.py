"""The suppressed people in the database: read for a snapshot, put in and taken out."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import cast

from sqlalchemy import Table, delete, func, insert, select
from sqlalchemy.orm import Session

from trunkline.catalog.tables import SuppressionRow
from trunkline.kit.suppression import PersonKind

People = Mapping[bytes, PersonKind]  # by their digests
_AT_ONCE = 500  # parameters that a statement may have


def read_suppressed(session: Session) -> dict[str, bytes]:
    """Return the digests of each app that has some, one behind the other, in order."""
    query = select(SuppressionRow.app_id, SuppressionRow.digest).order_by(
        SuppressionRow.app_id, SuppressionRow.digest
    )
    found: dict[str, list[bytes]] = {}
    for app, digest in session.execute(query):
        found.setdefault(app, []).append(digest)
    return {app: b"".join(digests) for app, digests in found.items()}


def known_people(session: Session, app: str, digests: Collection[bytes]) -> set[bytes]:
    """Return those digests that are suppressed already."""
    query = select(SuppressionRow.digest).where(SuppressionRow.app_id == app)
    return set(session.execute(query).scalars()).intersection(digests)


def count_people(session: Session) -> int:
    """Return how many there are in all apps."""
    return session.execute(select(func.count()).select_from(SuppressionRow)).scalar_one()


def add_people(session: Session, app: str, people: People, now_ms: int) -> None:
    """Put in people who are not there yet."""
    rows = [
        {"app_id": app, "digest": digest, "kind": kind, "added_ms": now_ms}
        for digest, kind in people.items()
    ]
    if rows:
        session.execute(
            insert(cast(Table, SuppressionRow.__table__)), rows
        )  # the ORM takes twice as long


def remove_people(session: Session, app: str, digests: Collection[bytes]) -> None:
    """Take people out."""
    wanted = list(digests)
    for first in range(0, len(wanted), _AT_ONCE):
        part = wanted[first : first + _AT_ONCE]
        session.execute(
            delete(SuppressionRow).where(
                SuppressionRow.app_id == app, SuppressionRow.digest.in_(part)
            )
        )
