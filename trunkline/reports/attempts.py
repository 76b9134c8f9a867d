"""Attempts as they are made, for `tail --destination`."""

from __future__ import annotations

from msgspec import Struct

from trunkline.kit.times import format_ms
from trunkline.reports.state import reading
from trunkline.state.forwarder import unpack_offsets
from trunkline.state.home import Home

LINES_MAX = 500


class MadeAttempt(Struct, frozen=True, rename="camel"):
    """One request to a destination."""

    at: str
    number: int
    events: int
    status: int | None
    reason: str
    took_ms: float | None
    delivery_id: str
    revision: int


def follow_attempts(
    home: Home, uid: int, after: int | None, last: int = 0
) -> tuple[int, list[MadeAttempt]]:
    """Return the attempts behind a row id, and the id to ask with next.

    `after` None starts `last` attempts back from now.
    """
    with reading(home, "forwarder") as db:
        if db is None:
            return after or 0, []
        if after is None:
            newest = db.execute(
                "SELECT id FROM fate WHERE uid=? AND kind='attempt' ORDER BY id DESC"
                " LIMIT 1 OFFSET ?",
                (uid, last),
            ).fetchone()
            after = int(newest[0]) if newest else 0
        rows = list(
            db.execute(
                "SELECT id, at_ms, number, offsets, status, reason, took_ms, delivery_id, revision"
                " FROM fate WHERE uid=? AND kind='attempt' AND id>? ORDER BY id LIMIT ?",
                (uid, after, LINES_MAX),
            )
        )
    lines = [
        MadeAttempt(
            format_ms(at),
            number,
            len(unpack_offsets(offsets)),
            status,
            reason,
            took,
            name,
            revision,
        )
        for _, at, number, offsets, status, reason, took, name, revision in rows
    ]
    return (int(rows[-1][0]) if rows else after), lines
