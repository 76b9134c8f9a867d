"""Params of kits whose value the vendor ends: a version of an API, with the day of its end."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import date, timedelta
from typing import Any

import msgspec

from trunkline.catalog.shaping_params import declared_params
from trunkline.kits.params import param_endings
from trunkline.model.snapshot import Destination, Snapshot

DAYS_BEFORE = 30


def ending_params(snapshot: Snapshot, today: date) -> Iterator[str]:
    """Yield a sentence for each value in use that has ended, or ends within 30 days."""
    for app in snapshot.apps:
        for destination in app.destinations:
            name = f"{destination.app}/{destination.id}"
            yield from (f"{name}: {told}" for told in _of(destination, today))


def _of(destination: Destination, today: date) -> Iterator[str]:
    settings = msgspec.json.decode(destination.settings, type=dict[str, Any])
    params = declared_params(settings.get("connection"))
    given: dict[str, str] = settings.get("params") or {}
    last = (today + timedelta(days=DAYS_BEFORE)).isoformat()
    due = {
        param.name
        for param in params
        if (day := param.good_until.get(given.get(param.name) or param.default or ""))
        and day <= last
    }
    for name, sentence in param_endings(params, given, today.isoformat()):
        if name in due:
            yield f"settings.params.{name} is {given.get(name, 'left out')}: {sentence}"
