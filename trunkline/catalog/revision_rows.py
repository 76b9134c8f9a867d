"""Reading and writing the revisions of playbooks, row by row.

A revision is found by its destination and number. Contents are only read where they are asked for:
a home may keep thousands, and works with one for each destination.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from typing import Any

import msgspec
from sqlalchemy import func, select
from sqlalchemy.orm import Session, defer

from trunkline.catalog.database import CatalogError
from trunkline.catalog.shaping_params import Shaping, given_params
from trunkline.catalog.tables import DeploymentRow, DestinationRow, KitRow, RevisionRow
from trunkline.catalog.workspace import DestinationSpec
from trunkline.kits.kit import settings_connection

Tree = dict[str, Any]
DIGEST_CHARACTERS = 16
REVISIONS_MAX = 10_000  # of one destination
LISTED_MAX = 20  # numbers in a message


def read_contents(session: Session) -> dict[tuple[int, int], str]:
    """Return the content of every revision that is deployed or a shadow, by uid and number."""
    used = (RevisionRow.number == DestinationRow.revision) | (
        RevisionRow.number == DestinationRow.shadow_revision
    )
    query = (
        select(RevisionRow.destination_uid, RevisionRow.number, RevisionRow.content)
        .join(DestinationRow, DestinationRow.uid == RevisionRow.destination_uid)
        .where(used)
    )
    return {(uid, number): content for uid, number, content in session.execute(query)}


def read_uids(session: Session) -> dict[tuple[str, str], int]:
    """Return the uid of every destination by its app's id and its own."""
    query = select(DestinationRow.app_id, DestinationRow.id, DestinationRow.uid)
    return {(app, identity): uid for app, identity, uid in session.execute(query)}


def find_revision(session: Session, uid: int, number: int) -> RevisionRow | None:
    """Return a revision."""
    query = select(RevisionRow).where(
        RevisionRow.destination_uid == uid, RevisionRow.number == number
    )
    return session.execute(query).scalar_one_or_none()


def revisions_of(session: Session, uid: int) -> list[RevisionRow]:
    """Return the revisions of a destination, the oldest first, contents not yet read."""
    query = select(RevisionRow).where(RevisionRow.destination_uid == uid)
    query = query.options(defer(RevisionRow.content))
    return list(session.execute(query.order_by(RevisionRow.number)).scalars())


def deployments_of(session: Session, uid: int) -> list[DeploymentRow]:
    """Return what was deployed to a destination, the oldest first."""
    query = select(DeploymentRow).where(DeploymentRow.destination_uid == uid)
    return list(session.execute(query.order_by(DeploymentRow.id)).scalars())


def numbers_of(session: Session, uid: int) -> list[int]:
    """Return the numbers of a destination's revisions, rising."""
    query = select(RevisionRow.number).where(RevisionRow.destination_uid == uid)
    return list(session.execute(query.order_by(RevisionRow.number)).scalars())


def number_of_digest(session: Session, uid: int, digest: str) -> int | None:
    """Return the newest revision of that content."""
    query = select(func.max(RevisionRow.number)).where(
        RevisionRow.destination_uid == uid, RevisionRow.digest == digest
    )
    return session.execute(query).scalar()


def next_number(session: Session, uid: int) -> int:
    """Return the number of the next revision. Raises `CatalogError` where there are enough."""
    numbers = numbers_of(session, uid)
    if len(numbers) >= REVISIONS_MAX:
        raise CatalogError(
            f"a destination has {len(numbers)} revisions; at most {REVISIONS_MAX} are kept; make "
            "it anew under another id"
        )
    return numbers[-1] + 1 if numbers else 1


def shaping_of(session: Session, spec: DestinationSpec, playbook: Tree | None) -> Shaping:
    """Return what shapes a destination's events with `playbook` deployed (None: its own form)."""
    given = given_params(spec.settings)
    if spec.kit_digest is None:
        return Shaping(playbook, None, given)
    kit = read_kit_content(session, str(spec.settings["kit"]), spec.kit_digest) or {}
    return Shaping(playbook or kit.get("playbook"), settings_connection(kit), given)


def read_kit_content(session: Session, name: str, digest: str) -> Tree | None:
    """Return one content of a kit: an object with `metadata`, `connection`, `playbook`."""
    row = session.get(KitRow, (name, digest))
    return None if row is None else decode_tree(row.content)


def newest_kits(session: Session) -> dict[str, str]:
    """Return the digest of every kit as it was imported last, by its name."""
    query = select(KitRow.name, KitRow.digest).where(KitRow.is_newest)
    return {row.name: row.digest for row in session.execute(query.order_by(KitRow.name))}


def read_kits_by_digest(
    session: Session, used: Iterable[tuple[str, str]]
) -> dict[tuple[str, str], Tree]:
    """Return the contents of kits by name and digest."""
    found = {key: read_kit_content(session, *key) for key in set(used)}
    return {key: tree for key, tree in found.items() if tree is not None}


def decode_tree(content: str) -> Tree:
    """Return kept JSON as a tree."""
    return msgspec.json.decode(content.encode(), type=Tree)


def content_of(tree: Tree) -> str:
    """Return a canonical tree as it is kept."""
    return msgspec.json.encode(tree).decode()


def digest_of(content: str) -> str:
    """Return what a content is known by: the first half of its SHA-256's hex digits, 64 bits."""
    return hashlib.sha256(content.encode()).hexdigest()[:DIGEST_CHARACTERS]


def unknown_revision(number: int, numbers: list[int], advice: str) -> str:
    """Return what is said of a revision that does not exist."""
    shown = [str(known) for known in numbers[-LISTED_MAX:]]
    known = f"one of {', '.join(shown)}" if shown else "none: this destination has no revision yet"
    more = " (and older ones)" if len(numbers) > LISTED_MAX else ""
    return f"is {number}, which does not exist; expected {known}{more}; {advice}"
