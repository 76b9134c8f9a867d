"""What waits in a queue: an event, already written as it will be sent.

A **route** is where an entry goes and with whose key: `tracking:<fingerprint of the write key>`,
`s2s:<app id>`, `rest:<app id>`. Keys are never in a queue, so a file of it holds no secrets.
"""

from __future__ import annotations

from dataclasses import dataclass
from hashlib import sha256


@dataclass(frozen=True)
class Entry:
    """An event. `group`: only entries of one group share a request (REST: one user); else ""."""

    route: str
    group: str
    message_id: str
    body: bytes
    made_ms: int

    @property
    def size_bytes(self) -> int:
        """What it counts for in the limits of a queue."""
        return len(self.body) + len(self.group) + len(self.message_id)


@dataclass(frozen=True)
class Waiting:
    """An entry with its place in the queue: numbers grow and are never used again."""

    number: int
    entry: Entry


@dataclass(frozen=True)
class RouteState:
    """A route on which something waits: failures in a row, and when to try again (Unix ms)."""

    route: str
    failures: int
    not_before_ms: int


def tracking_route(write_key: str) -> str:
    """Return the route of a write key; the key cannot be read from it."""
    return f"tracking:{sha256(write_key.encode()).hexdigest()[:12]}"
