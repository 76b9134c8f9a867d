"""What must be true of a library's performance, as lists of complaints; its line in the table."""

from __future__ import annotations

import json
import os
from datetime import datetime
from typing import Any

import pytest

from tests.support.client_libraries import Library
from tests.support.client_stage import Performance, Stage

CLOCK_SECONDS_MAX = 60.0  # a time is corrected by what lies between the sender's clock and ours
EXACT = ("type", "event", "name", "category", "userId", "anonymousId", "groupId", "previousId")
OBJECTS = ("properties", "traits", "integrations")
COMPLAINTS_MAX = 10


def stand_aside_without(stage: Stage, library: Library) -> None:
    """Skip the test of a library that cannot be installed here; under CI that is a failure."""
    if library.name in stage.unavailable:
        end = pytest.fail if os.environ.get("CI") == "true" else pytest.skip
        end(f"{library.name} cannot be tested here: {stage.unavailable[library.name]}")


def find_differences(performance: Performance) -> list[str]:
    """Compare each event that arrived with the call that made it."""
    found: list[str] = []
    for message_id, event in performance.shelf.events.items():
        call = performance.calls.get(message_id)
        if call is None:
            found.append(f"nobody sent {event}")
            continue
        title = f"{call['type']} {call.get('event', '')}".strip()
        version = performance.library.named_version or performance.version
        found += [f"{title}: {what}" for what in _compare(call, event, version)]
    return found[:COMPLAINTS_MAX]


def find_disorder(performance: Performance) -> list[str]:
    """Return where a user's numbered events came in another order than they were sent in."""
    found: list[str] = []
    last: dict[str, int] = {}
    for event in performance.shelf.events.values():
        if event.get("event") == "Numbered":
            user, number = event["userId"], event["properties"]["number"]
            if number < last.get(user, -1):
                found.append(f"{user}: {number} came after {last[user]}")
            last[user] = number
    return found[:COMPLAINTS_MAX]


def table_row(performance: Performance, notes: str) -> list[str]:
    """Return a performance's line of the table that is printed at the end."""
    copies = performance.shelf.copies
    return [
        performance.library.package,
        performance.version,
        str(len(performance.calls)),
        str(len(performance.failed)),
        str(len(performance.shelf.events)),
        str(sum(count == 1 for count in copies.values())),
        notes,
    ]


def _compare(call: dict[str, Any], event: dict[str, Any], version: str) -> list[str]:
    found = [_differ(name, call.get(name), event.get(name)) for name in EXACT]
    found += [
        _differ(name, call.get(name) or {}, event.get(name) or {})
        for name in OBJECTS
        if name in call
    ]
    context = event.get("context", {})
    found += [
        _differ(f"context.{name}", value, context.get(name))
        for name, value in call.get("context", {}).items()
    ]
    found.append(_differ("library", version, context.get("library", {}).get("version")))
    if "timestamp" in call:
        found.append(_differ_in_time(call["timestamp"], event["timestamp"]))
    return [what for what in found if what]


def _differ(name: str, said: Any, seen: Any) -> str:
    # As text, since for Python 1, 1.0 and True are equal.
    said_text, seen_text = (
        json.dumps(one, sort_keys=True, ensure_ascii=False) for one in (said, seen)
    )
    return "" if said_text == seen_text else f"{name} was {said_text[:300]}, came {seen_text[:300]}"


def _differ_in_time(said: str, seen: str) -> str:
    seconds = abs((datetime.fromisoformat(said) - datetime.fromisoformat(seen)).total_seconds())
    return "" if seconds < CLOCK_SECONDS_MAX else f"timestamp was {said}, came {seen}"
