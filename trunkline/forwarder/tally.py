"""The ledger's counts by the name of the event: what an operator asks for first.

Names come from senders, so they are bounded: a destination and day has `TALLY_NAMES_MAX` of them,
the first that came, and the rest counts under one name. Which names those are is asked of the file
once and then remembered, so a restart changes nothing.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping

import apsw

from trunkline.state.forwarder import OTHER_NAMES, TALLY_NAMES_MAX

TallyKey = tuple[int, str, int, str, str, str]  # uid, app, hour, name, kind, reason

NAME_LENGTH_MAX = 200
DAYS_MAX = 2000  # of all destinations that are remembered: a few hundred names each, in practice
HOURS = 24

_TALLY = (
    "INSERT INTO tally (uid, app, hour, name, kind, reason, count) VALUES (?,?,?,?,?,?,?)"
    " ON CONFLICT DO UPDATE SET count=count+excluded.count"
)


def tally_name(type_: str, name: str) -> str:
    """Return the name an event is counted by: a track event's own, else its type."""
    return (name if type_ == "track" and name else type_)[:NAME_LENGTH_MAX]


class Names:
    """The names that destinations count by, by destination and day."""

    def __init__(self) -> None:
        self._known: OrderedDict[tuple[int, int], set[str]] = OrderedDict()

    def bound(self, db: apsw.Connection, uid: int, hour: int, name: str) -> str:
        """Return the name to count under."""
        known = self._of(db, uid, hour // HOURS)
        if name in known:
            return name
        if len(known) >= TALLY_NAMES_MAX:
            return OTHER_NAMES
        known.add(name)
        return name

    def _of(self, db: apsw.Connection, uid: int, day: int) -> set[str]:
        known = self._known.get((uid, day))
        if known is not None:
            self._known.move_to_end((uid, day))
            return known
        rows = db.execute(
            "SELECT DISTINCT name FROM tally WHERE uid=? AND hour>=? AND hour<?",
            (uid, day * HOURS, (day + 1) * HOURS),
        )
        known = {str(name) for (name,) in rows} - {OTHER_NAMES}
        self._known[uid, day] = known
        if len(self._known) > DAYS_MAX:
            self._known.popitem(last=False)
        return known


def save_tally(db: apsw.Connection, names: Names, counts: Mapping[TallyKey, int]) -> None:
    """Add counts to the file. Within a transaction."""
    rows = [
        (uid, app, hour, names.bound(db, uid, hour, name), kind, reason, number)
        for (uid, app, hour, name, kind, reason), number in counts.items()
        if number
    ]
    if rows:
        db.executemany(_TALLY, rows)
