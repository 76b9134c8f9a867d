"""How often an event was sent again for an answer of which a kit allows so many.

Memory alone: a restart begins to count anew, and the destination's `retry_hours_max` ends it.
"""

from __future__ import annotations

from collections.abc import Sequence

from trunkline.kits.answers import Count, Rule, Spend

TRIES_MAX = 20_000  # events and rules that are counted; past it the oldest begin anew


class Tries:
    """The counts of one destination."""

    def __init__(self) -> None:
        self._counts: dict[tuple[str, Rule | Count], int] = {}

    def spender(self, keys: Sequence[str]) -> Spend:
        """Return what spends the tries of the events of a request, by their position in it."""

        def spend(position: int, rule: Rule | Count) -> bool:
            key = (keys[position], rule)
            count = self._counts.pop(key, 0)
            if count >= rule.times:
                return False
            if len(self._counts) >= TRIES_MAX:
                del self._counts[next(iter(self._counts))]
            self._counts[key] = count + 1
            return True

        return spend
