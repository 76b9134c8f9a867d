"""Suppressing people: from then on their events are accepted and stored, and go nowhere.

Each change is one version of the catalog, so every running process has it within two seconds. Only
keyed digests are kept (see kit/suppression.py): a list can say how many and since when, not who.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from msgspec import Struct
from sqlalchemy import select

from trunkline.catalog.announce import Live, Mark
from trunkline.catalog.apply import Change, change_catalog
from trunkline.catalog.database import CatalogError, read_session
from trunkline.catalog.formats import format_instant
from trunkline.catalog.keys import find_app
from trunkline.catalog.plan import Plan
from trunkline.catalog.store import read_stored
from trunkline.catalog.suppression_rows import (
    add_people,
    count_people,
    known_people,
    remove_people,
)
from trunkline.catalog.tables import SuppressionRow
from trunkline.catalog.vault import open_vault
from trunkline.catalog.workspace import Instant
from trunkline.kit.clock import Clock
from trunkline.kit.suppression import (
    PEOPLE_MAX,
    PURPOSE,
    PersonKind,
    normal_person,
    person_digest,
)
from trunkline.state.home import Home

Named = Mapping[PersonKind, Sequence[str]]  # ids and addresses as they were given
_NOTHING = Plan((), ())


class SuppressionChange(Struct, frozen=True):
    """How many people came or went, how many were so already, who has it (None: no change)."""

    changed: int
    unchanged: int
    live: Live | None


class SuppressedPerson(Struct, frozen=True):
    """One of the suppressed: their digest in hex says nothing to who has not the home's key."""

    app: str
    kind: str
    digest: str
    since: str


def suppress(home: Home, clock: Clock, app: str, named: Named) -> SuppressionChange:
    """Suppress people of an app, by its id or name.

    Raises `CatalogError` for an unknown app, for what is no id or address, and past `PEOPLE_MAX`.
    """
    counts: list[int] = []

    def work(change: Change) -> Mark | None:
        app_id, people = _people(change, app, named)
        known = known_people(change.session, app_id, people)
        fresh: dict[bytes, PersonKind] = {
            digest: kind for digest, kind in people.items() if digest not in known
        }
        counts[:] = [len(fresh), len(known)]
        total = count_people(change.session) + len(fresh)
        if total > PEOPLE_MAX:
            raise CatalogError(
                f"{total:,} people would be suppressed; at most {PEOPLE_MAX:,} can be. Have their "
                "events refused where they are sent, or remove some with `trunkline suppress "
                "remove`"
            )
        add_people(change.session, app_id, fresh, change.now_ms)
        return change.write(_NOTHING) if fresh else None

    live = change_catalog(home, clock, work)
    return SuppressionChange(counts[0], counts[1], live)


def unsuppress(home: Home, clock: Clock, app: str, named: Named) -> SuppressionChange:
    """Let the events of people go again. Raises `CatalogError` as `suppress` does."""
    counts: list[int] = []

    def work(change: Change) -> Mark | None:
        app_id, people = _people(change, app, named)
        known = known_people(change.session, app_id, people)
        counts[:] = [len(known), len(people) - len(known)]
        remove_people(change.session, app_id, known)
        return change.write(_NOTHING) if known else None

    live = change_catalog(home, clock, work)
    return SuppressionChange(counts[0], counts[1], live)


def _people(change: Change, app: str, named: Named) -> tuple[str, dict[bytes, PersonKind]]:
    app_id = find_app(change.stored.workspace, app).id or ""
    key = change.vault.derive(PURPOSE)
    return app_id, _digests(key, app_id, named)


def _digests(key: bytes, app: str, named: Named) -> dict[bytes, PersonKind]:
    found: dict[bytes, PersonKind] = {}
    for kind, texts in named.items():
        for text in texts:
            normal = normal_person(kind, text)
            if not normal:
                expected = "an e-mail address, or the SHA-256 of one"
                raise CatalogError(
                    f"{text[:80]!r} is no {kind} to suppress; expected "
                    + (expected if kind == "email" else "an id that is not empty")
                )
            found[person_digest(key, app, kind, normal)] = kind
    if not found:
        raise CatalogError("nobody is named; give a user id, --anonymous, --email or --file")
    return found


def list_suppressed(
    home: Home, clock: Clock, app: str, named: Named | None = None
) -> tuple[SuppressedPerson, ...]:
    """Return the suppressed of an app, oldest first; with `named` those of them who are named.

    Raises `CatalogError`.
    """
    with read_session(home) as session:
        if session is None:
            raise CatalogError(f"there is no app {app!r}: this home has no catalog yet")
        vault = open_vault(home.key_file, may_create=False)
        found = find_app(read_stored(session, vault, clock.now_ms()).workspace, app)
        asked = None if named is None else _digests(vault.derive(PURPOSE), found.id or "", named)
        query = (
            select(SuppressionRow)
            .where(SuppressionRow.app_id == found.id)
            .order_by(SuppressionRow.added_ms, SuppressionRow.kind, SuppressionRow.digest)
        )
        rows = [row for row in session.scalars(query) if asked is None or row.digest in asked]
        return tuple(
            SuppressedPerson(
                found.name, row.kind, row.digest.hex(), format_instant(Instant(row.added_ms))
            )
            for row in rows
        )
