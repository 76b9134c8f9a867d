"""Where a playbook failed for an event, as it was kept with the dead letter."""

from __future__ import annotations

from typing import Any

import msgspec
from msgspec import Struct


class FailureLine(Struct, frozen=True, rename="camel"):
    """The part of the playbook, the line of its code (0: none), what it was given, what there was.

    `partial` is the output until then, or the beginning of its text where that was long.
    """

    path: str
    line: int
    message: str
    input: str
    partial: Any = None


def failure_line(partial: bytes, failure: bytes) -> FailureLine | None:
    """Return what is kept of a failure; None where the destination refused the event."""
    if not failure:
        return None
    line = msgspec.json.decode(failure, type=FailureLine)
    made = msgspec.json.decode(partial) if partial else None
    return msgspec.structs.replace(line, partial=made)
