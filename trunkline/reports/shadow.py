"""What a revision that runs beside the deployed one would have made, counted."""

from __future__ import annotations

from msgspec import Struct

from trunkline.reports.state import reading
from trunkline.state.home import Home


class ShadowSample(Struct, frozen=True, rename="camel"):
    """An event for which the shadow made something else. `offset` is its place in EVENTS."""

    kind: str
    message_id: str
    offset: int
    detail: str


class ShadowCounts(Struct, frozen=True, rename="camel"):
    """The events that one revision shaped beside the deployed one, by what came of it.

    `filtered_differently`: one of the two dropped the event. `skipped`: it lagged, or its code was
    paused; those were not compared.
    """

    revision: int
    same: int
    different: int
    filtered_differently: int
    failed: int
    skipped: int
    samples: list[ShadowSample]


def read_shadow(home: Home, uid: int, revision: int | None = None) -> list[ShadowCounts]:
    """Return the counts of a destination's shadows, newest revision first; `revision`: of one."""
    with reading(home, "forwarder") as db:
        if db is None:
            return []
        counts: dict[int, dict[str, int]] = {}
        for number, kind, count in db.execute(
            "SELECT revision, kind, count FROM shadow WHERE uid=?1 AND (?2 IS NULL OR revision=?2)"
            " ORDER BY revision DESC",
            (uid, revision),
        ):
            counts.setdefault(number, {})[kind] = count
        samples: dict[int, list[ShadowSample]] = {}
        for number, kind, message_id, offset, detail in db.execute(
            "SELECT revision, kind, message_id, offset, detail FROM shadow_sample WHERE uid=?"
            " ORDER BY id",
            (uid,),
        ):
            sample = ShadowSample(kind, message_id, offset, detail)
            samples.setdefault(number, []).append(sample)
    return [
        ShadowCounts(
            revision=number,
            same=found.get("same", 0),
            different=found.get("different", 0),
            filtered_differently=found.get("filtered_differently", 0),
            failed=found.get("failed", 0),
            skipped=found.get("skipped", 0),
            samples=samples.get(number, []),
        )
        for number, found in counts.items()
    ]
