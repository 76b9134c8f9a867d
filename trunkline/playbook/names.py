"""Names of events as playbooks compare them, and the name that an event goes by."""

from __future__ import annotations

from functools import lru_cache
from typing import Any

from trunkline.model.snapshot import fold_name


@lru_cache(maxsize=4096)
def event_key(name: str) -> str:
    """Return a name as names are compared: case, spaces, `_` and `-` do not count.

    `order_cancelled` is `order_canceled`: one vendor's kits and another's documentation differ.
    """
    return fold_name(name).replace("cancelled", "canceled")


def event_name(event: dict[str, Any]) -> str:
    """Return what an event goes by: what happened for `track`, else its type; "" for neither."""
    kind = event.get("type")
    name = event.get("event") if kind == "track" else kind
    return name if isinstance(name, str) else ""
