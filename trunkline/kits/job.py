"""What one exchange is to do: events, what each is remembered by, how many requests are left."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from trunkline.kit.destination import Attempt, Mapped, delivery_id


class Job(NamedTuple):
    """Events to send in an attempt, with `left` requests.

    `keys` tell the events apart from one attempt to the next, and what was made of one event too.
    `is_alone`: these are all the events of the exchange, so that a failure may be all its result.
    """

    events: Sequence[Mapped]
    keys: Sequence[str]
    attempt: Attempt
    left: int
    is_alone: bool = True

    def part(self, positions: Sequence[int]) -> Job:
        """Return the job of some of the events. The key of its requests is of what goes.

        So it is the same when the same events go again.
        """
        if len(positions) == len(self.events):
            return self
        events = [self.events[position] for position in positions]
        keys = [self.keys[position] for position in positions]
        was = self.attempt
        key = key_of(events, [*range(len(events))], was)
        return Job(
            events, keys, Attempt(was.now_ms, was.number, was.destination, key), self.left,
            self.is_alone,
        )  # fmt: skip


def keys_of(events: Sequence[Mapped]) -> list[str]:
    """Return what each event is remembered by; the second thing made of one event has a number."""
    seen: dict[str, int] = {}
    keys: list[str] = []
    for event in events:
        count = seen.get(event.message_id, 0)
        seen[event.message_id] = count + 1
        keys.append(f"{event.message_id}\0{count}" if count else event.message_id)
    return keys


def key_of(events: Sequence[Mapped], positions: Sequence[int], attempt: Attempt) -> str:
    """Return the idempotency key of a request that carries the events at some positions."""
    ids = [event.message_id for event in events]
    if len(set(ids)) == len(ids):
        return delivery_id(attempt.destination, [ids[p] for p in positions])
    # Several of these were made of one event: its id alone would be the key of each.
    parts = [attempt.delivery_id, *map(str, positions)]
    return delivery_id(attempt.destination, parts)
