"""An app to import into, rows to import, and the judge of them."""

from __future__ import annotations

import json
from typing import Any

from trunkline.bulk.judging import RowJudge
from trunkline.bulk.rows import Row
from trunkline.model.snapshot import S2S, App, EventDefinition, Plan, Rate, Snapshot
from trunkline.node import protocol_shelf

NOW_MS = 1_763_800_000_000
LONG_AGO = "2021-02-03T04:05:06.000Z"
LONG_AGO_MS = 1_612_325_106_000

SHOP = App(
    id="shopshopshopsho",
    name="Shop",
    platform="server",
    currency="USD",
    currencies=("USD",),
    unknown_events="accept",
    clock_shift_hours_max=24.0,
    dedupe_days=7.0,
    rate=Rate(),
    s2s=S2S(enabled=False, allowed_ips=("10.0.0.0/8",)),
    keys=(),
    events=(EventDefinition("taqsq", "Purchase Completed", accept="server"),),
    destinations=(),
)
SNAPSHOT = Snapshot(7, "Acme", Plan(), (SHOP,))


def new_judge(name: str = "import-1", app: App = SHOP, **fields: Any) -> RowJudge:
    """Return a judge of NDJSON; `fields` as `RowJudge` has them."""
    given = {"is_historical": True, **fields}
    return RowJudge(protocol_shelf(), SNAPSHOT, app, name=name, **given)


def track(number: int = 0, **fields: Any) -> dict[str, Any]:
    """Return an event of the tracking API, without an id of its own."""
    event = {"type": "track", "event": "Purchase Completed", "userId": f"u-{number % 50}"}
    return {**event, "timestamp": LONG_AGO, "properties": {"number": number}, **fields}


def row_of(value: Any, number: int = 1) -> Row:
    """Return a row of NDJSON: bytes as they are, else the value's JSON."""
    return Row(number, value if isinstance(value, bytes) else json.dumps(value).encode())
