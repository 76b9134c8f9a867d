"""Reading what the catalog keeps of playbooks: revisions, and what was deployed when by whom."""

from __future__ import annotations

from typing import Any

from msgspec import Struct
from sqlalchemy import select
from sqlalchemy.orm import Session

from trunkline.catalog.database import CatalogError, read_session
from trunkline.catalog.revision_rows import (
    decode_tree,
    deployments_of,
    find_revision,
    numbers_of,
    read_kit_content,
    revisions_of,
    unknown_revision,
)
from trunkline.catalog.tables import DestinationRow, RevisionRow
from trunkline.kit.times import format_ms
from trunkline.state.home import Home


class RevisionLine(Struct, frozen=True):
    """A revision as a list shows it. `created` is RFC 3339, `digest` names its content."""

    app: str
    destination: str
    number: int
    author: str
    note: str
    created: str
    digest: str
    is_deployed: bool
    is_shadow: bool


class Revision(Struct, frozen=True):
    """A revision with its playbook. Number 0: the kit's own, or None for the kind's own form."""

    app: str
    destination: str
    number: int
    author: str
    note: str
    created: str
    playbook: dict[str, Any] | None


class Deployment(Struct, frozen=True):
    """One time that another revision came into force. 0: the kind's own form."""

    at: str
    deed: str
    author: str
    note: str
    from_revision: int
    to_revision: int


def list_revisions(
    home: Home, app: str | None = None, destination: str | None = None
) -> tuple[RevisionLine, ...]:
    """Return the revisions of every destination, or of one app's or one's, the newest first.

    Raises `CatalogError`, or SQLAlchemy's errors where the database cannot be read.
    """
    with read_session(home) as session:
        if session is None:
            return ()
        return tuple(
            _line(row, revision)
            for row in session.execute(
                select(DestinationRow).order_by(DestinationRow.uid)
            ).scalars()
            if app in (None, row.app_id) and destination in (None, row.id)
            for revision in reversed(revisions_of(session, row.uid))
        )


def read_revision(home: Home, app: str, destination: str, number: int | None = None) -> Revision:
    """Return a revision of a destination; without a number the deployed one.

    Raises `CatalogError` where there is none of it.
    """
    with read_session(home) as session:
        row = _destination(session, app, destination)
        wanted = row.revision if number is None else number
        if session is None or wanted == 0:
            return Revision(app, destination, 0, "", "", "", _own(session, row))
        found = find_revision(session, row.uid, wanted)
        if found is None:
            advice = "`trunkline playbook list` shows them"
            told = unknown_revision(wanted, numbers_of(session, row.uid), advice)
            raise CatalogError(f"{app}/{destination}: revision {told}")
        created, playbook = format_ms(found.created_ms), decode_tree(found.content)
        return Revision(app, destination, wanted, found.author, found.note, created, playbook)


def history(home: Home, app: str, destination: str) -> tuple[Deployment, ...]:
    """Return what was deployed to a destination, the newest first. Raises `CatalogError`."""
    with read_session(home) as session:
        row = _destination(session, app, destination)
        rows = deployments_of(session, row.uid) if session is not None else []
    return tuple(
        Deployment(
            format_ms(row.at_ms), row.deed, row.author, row.note, row.from_revision, row.to_revision
        )
        for row in reversed(rows)
    )


def _line(row: DestinationRow, revision: RevisionRow) -> RevisionLine:
    return RevisionLine(
        app=row.app_id,
        destination=row.id,
        number=revision.number,
        author=revision.author,
        note=revision.note,
        created=format_ms(revision.created_ms),
        digest=revision.digest,
        is_deployed=revision.number == row.revision,
        is_shadow=revision.number == row.shadow_revision,
    )


def _own(session: Session | None, row: DestinationRow) -> dict[str, Any] | None:
    """Return the playbook of a destination's kit: what it has with none of its own deployed."""
    if session is None or row.kit_digest is None:
        return None
    kit = read_kit_content(session, str(row.settings.get("kit")), row.kit_digest)
    return None if kit is None else kit["playbook"]


def _destination(session: Session | None, app: str, destination: str) -> DestinationRow:
    query = select(DestinationRow).where(
        DestinationRow.app_id == app, DestinationRow.id == destination
    )
    row = None if session is None else session.execute(query).scalar_one_or_none()
    if row is None:
        raise CatalogError(
            f"{app}/{destination} is no destination of this home; `trunkline destination list` "
            "names those there are"
        )
    return row
