"""What requests and decisions did to events, as the rows of `fate` that a trace reads.

A group only keeps what it knows; the thread that saves makes the rows, many at once.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

from trunkline.model.outcome import Blocked, Delivered, Outcome, Rejected, Unsent, Unshaped
from trunkline.state.forwarder import BUCKET, OUTCOME_BYTES, pack_offsets

if TYPE_CHECKING:
    from trunkline.forwarder.carrier import Carried
    from trunkline.kit.destination import Attempt

# id, uid, snapshot, attempt, what it came to, offsets of its events in the order of the outcomes
AttemptMade = tuple[int, int, int, "Attempt", "Carried", list[int]]
# id, uid, kind, at_ms, snapshot, reason, offsets, code of all of them, revision
RunMade = tuple[int, int, str, int, int, str, list[int], bytes, int]
Rows = list[tuple[object, ...]]


def fate_rows(attempts: Iterable[AttemptMade], runs: Iterable[RunMade]) -> tuple[Rows, Rows]:
    """Return the rows of `fate`, and those of `fate_span` by which a trace finds them."""
    rows: Rows = []
    spans: Rows = []
    for id_, uid, snapshot, attempt, carried, unordered in attempts:
        offsets, codes = _by_offset(unordered, carried)
        rows.append(
            (
                id_, uid, "attempt", attempt.now_ms, attempt.number, snapshot,
                attempt.delivery_id, carried.status, round(carried.took_ms, 2), _reason(carried),
                carried.answer, pack_offsets(offsets), codes, carried.revision,
            )
        )  # fmt: skip
        spans += [(uid, bucket, id_) for bucket in _buckets(offsets)]
    for id_, uid, kind, at_ms, snapshot, reason, unordered, code, revision in runs:
        offsets = sorted(unordered)
        rows.append(
            (
                id_, uid, kind, at_ms, 0, snapshot, "", None, None, reason, b"",
                pack_offsets(offsets), code, revision,
            )
        )  # fmt: skip
        spans += [(uid, bucket, id_) for bucket in _buckets(offsets)]
    return rows, spans


def _buckets(offsets: Sequence[int]) -> Iterable[int]:
    first, last = offsets[0] // BUCKET, offsets[-1] // BUCKET
    if first == last:
        return (first,)
    return dict.fromkeys([offset // BUCKET for offset in offsets])


def _by_offset(offsets: list[int], carried: Carried) -> tuple[list[int], bytes]:
    """Return the offsets in order, and a code for each, or one code where all are the same."""
    if len(offsets) == 1:
        return offsets, _code(carried.outcomes[0])
    pairs = sorted(zip(offsets, carried.outcomes, strict=True), key=lambda pair: pair[0])
    codes = b"".join([_code(outcome) for _, outcome in pairs])
    return [offset for offset, _ in pairs], codes[:1] if len(set(codes)) == 1 else codes


def _code(outcome: Outcome | Unsent) -> bytes:
    if isinstance(outcome, Delivered):
        return OUTCOME_BYTES["delivered" if outcome.verified else "unverified"]
    if isinstance(outcome, Rejected | Unshaped):
        return OUTCOME_BYTES["rejected"]
    return OUTCOME_BYTES["blocked" if isinstance(outcome, Blocked) else "retry"]


def _reason(carried: Carried) -> str:
    for outcome in carried.outcomes:
        if not isinstance(outcome, Delivered):
            return outcome.reason
    return f"HTTP {carried.status}" if carried.status is not None else "delivered"
