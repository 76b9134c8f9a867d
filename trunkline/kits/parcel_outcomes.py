"""What the requests of one exchange came to, put together as one outcome for each event.

Order for each user holds: what follows an event that is to be repeated is not sent before it.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from trunkline.kits.parcels import Parcel
from trunkline.model.outcome import Blocked, Outcome, Rejected, Retry

_NEXT = Retry("sent with the next request: one batch makes at most ten", is_next=True)
_BEHIND = "waits behind an earlier event of its user that is to be repeated"
_AGAIN = "; sent again to find the event at fault"


class ParcelOutcomes:
    """The outcomes of the events of one exchange; `users` are theirs, in order."""

    def __init__(self, users: Sequence[str]) -> None:
        self._users = users
        self._outcomes: list[Outcome | None] = [None] * len(users)
        self._waiting: set[str] = set()
        self._end: Outcome | None = None

    @property
    def is_ended(self) -> bool:
        """Say whether an answer meant that nothing more is to be sent now."""
        return self._end is not None

    def hold_back(self, parcel: Parcel[Any]) -> bool:
        """Take those out of a parcel whose user has an event to be repeated; say if any stays."""
        for position in parcel.positions:
            if self._users[position] in self._waiting:
                self._outcomes[position] = Retry(_BEHIND)
        parcel.positions = [p for p in parcel.positions if self._outcomes[p] is None]
        return bool(parcel.positions)

    def end(self, outcome: Outcome) -> None:
        """Send nothing more now: a request came to no answer. What is left has its outcome."""
        self._end = outcome

    def write(self, parcel: Parcel[Any], found: Sequence[Outcome]) -> None:
        """Write the outcomes of a parcel down."""
        for position, outcome in zip(parcel.positions, found, strict=True):
            self._outcomes[position] = outcome
            if isinstance(outcome, Retry):
                self._waiting.add(self._users[position])
        self._end = self._end or next((outcome for outcome in found if _is_end(outcome)), None)

    def close(self, parcels: Sequence[Parcel[Any]]) -> list[Outcome]:
        """Return one outcome for each event. What was not sent is retried.

        A request that was rejected beside others that were not is repeated by itself, so that the
        event at fault is found: only a batch that is rejected whole is split.
        """
        closed = [outcome or self._end or _NEXT for outcome in self._outcomes]
        if all(isinstance(outcome, Rejected) for outcome in closed):
            return closed
        for parcel in parcels:
            first = closed[parcel.positions[0]] if len(parcel.positions) > 1 else None
            if not isinstance(first, Rejected) or first.is_sure:
                continue
            if all(closed[p] == first for p in parcel.positions):
                for position in parcel.positions:
                    closed[position] = Retry(first.reason + _AGAIN)
        return closed


def _is_end(outcome: Outcome) -> bool:
    """Say whether the vendor takes nothing more now, from whomever it is."""
    if isinstance(outcome, Retry):
        if outcome.was_taken:
            return False
        return outcome.after_seconds > 0 or outcome.reason.startswith("HTTP 429")
    return isinstance(outcome, Blocked)
