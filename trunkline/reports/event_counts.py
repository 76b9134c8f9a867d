"""What became of events at each destination, by the name of the event: the integrator's table.

The same counts as the ledger's, from the same transactions, with the event's name beside them.
"""

from __future__ import annotations

from collections.abc import Mapping

from msgspec import Struct

from trunkline.kit.consent import CONSENT_REGION
from trunkline.reports.state import read_groups, reading
from trunkline.state.home import Home

# The ledger's reasons for what a playbook held back, and what consent and suppression did.
PLAYBOOK = "playbook"
COMPLIANCE = ("consent", CONSENT_REGION, "suppressed")


class EventCounts(Struct, frozen=True):
    """One app, destination and event name (or type, where it has no name).

    `not_delivered` are dead letters of any reason, also those that were replayed since; `reasons`
    are all of the ledger's, as `dead: rejected`. `delivery_rate` is delivered / (delivered + not
    delivered): what was filtered on purpose does not count. None where there was neither.
    """

    app: str
    destination: str
    event: str
    delivered: int
    not_delivered: int
    playbook_filter: int
    compliance_filter: int
    replayed: int
    delivery_rate: float | None
    reasons: dict[str, int]


def read_event_counts(
    home: Home, app: str | None = None, destination: str | None = None, since_ms: int = 0
) -> list[EventCounts]:
    """Count by destination and event name. `since_ms` (of acceptance) counts whole hours."""
    with reading(home, "forwarder") as db:
        if db is None:
            return []
        groups = {
            group.uid: group
            for group in read_groups(db)
            if app in (None, group.app) and destination in (None, group.id)
        }
        counts: dict[tuple[int, str], dict[tuple[str, str], int]] = {}
        for uid, name, kind, reason, count in db.execute(
            "SELECT uid, name, kind, reason, SUM(count) FROM tally WHERE hour>=?"
            " GROUP BY 1, 2, 3, 4",
            (since_ms // 3_600_000,),
        ):
            if uid in groups and count:
                counts.setdefault((uid, name), {})[kind, reason] = count
    lines = [
        _line(groups[uid].app, groups[uid].id, name, found) for (uid, name), found in counts.items()
    ]
    return sorted(lines, key=lambda line: (line.app, line.destination, line.event))


def _line(
    app: str, destination: str, event: str, counts: Mapping[tuple[str, str], int]
) -> EventCounts:
    def total(kind: str) -> int:
        return sum(count for (each, _), count in counts.items() if each == kind)

    delivered, dead = total("delivered"), total("dead")
    return EventCounts(
        app=app,
        destination=destination,
        event=event,
        delivered=delivered,
        not_delivered=dead,
        playbook_filter=counts.get(("filtered", PLAYBOOK), 0),
        compliance_filter=sum(counts.get(("filtered", reason), 0) for reason in COMPLIANCE),
        replayed=total("replayed"),
        delivery_rate=round(delivered / (delivered + dead), 4) if delivered + dead else None,
        reasons={
            f"{kind}: {reason}": count for (kind, reason), count in sorted(counts.items()) if reason
        },
    )
