"""The four outcomes of an attempt to deliver an event, and the two ways an event comes to none.

Which answer of a destination leads to which outcome, unless its kind says otherwise, is decided in
the delivery contract and computed here by `outcome_of_status`, so that no kind can forget a case.
"""

from __future__ import annotations

from msgspec import Struct


class Delivered(Struct, frozen=True, tag="delivered"):
    """The destination has it. `verified` is False where a vendor's 2xx proves nothing."""

    verified: bool = True


class Retry(Struct, frozen=True, tag="retry"):
    """Not now. `after_seconds` is what the destination asked for (`Retry-After`), else 0.

    `was_taken`: the destination has the event, and tells later what became of it. The next attempt
    asks for that, after `after_seconds`, and sends nothing. `is_next`: nothing failed, there was
    no room for it among the requests of this attempt, which are at their limit.
    """

    reason: str
    after_seconds: float = 0.0
    was_taken: bool = False
    is_next: bool = False


class Rejected(Struct, frozen=True, tag="rejected"):
    """This event will never be taken: it becomes a dead letter; the others go on.

    `is_sure`: it is this very event that is at fault, so a batch is not split to find it.
    `was_sent` is False where a vendor's contract was known to forbid it and no request was made.
    """

    reason: str
    is_sure: bool = False
    was_sent: bool = True


class Blocked(Struct, frozen=True, tag="blocked"):
    """No event will be taken until a person acts: the destination parks, keeps, probes, drains."""

    reason: str


class Filtered(Struct, frozen=True, tag="filtered"):
    """A filter of the playbook dropped the event: nothing was sent. `reason` goes to the ledger."""

    reason: str


class Unshaped(Struct, frozen=True, tag="unshaped"):
    """The playbook could not shape the event: a dead letter; nothing was sent.

    `partial` is the output so far as JSON, `failure` a JSON object that says where it was (`path`,
    `line`) and on what `input`. The destination is not at fault, so the fuse does not count it.
    """

    reason: str
    partial: bytes = b""
    failure: bytes = b""


Outcome = Delivered | Retry | Rejected | Blocked
Unsent = Filtered | Unshaped

RETRY_STATUSES = frozenset({408, 425, 429})
BLOCKED_STATUSES = frozenset({401, 403, 404, 405, 407, 410})


def outcome_of_status(status: int, after_seconds: float = 0.0) -> Outcome:
    """Judge a bare HTTP status by the table of the delivery contract."""
    reason = f"HTTP {status}"
    if 200 <= status < 300:
        return Delivered()
    if status in RETRY_STATUSES or status >= 500 or status < 200:
        return Retry(reason, after_seconds)
    if 300 <= status < 400 or status in BLOCKED_STATUSES:
        return Blocked(reason)
    return Rejected(reason)
