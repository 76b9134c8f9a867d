"""Jitsu's paths described: the events of the tracking API, in Jitsu's words of a yes."""

from __future__ import annotations

from collections.abc import Sequence

from trunkline.kit.openapi import tracking
from trunkline.kit.openapi.parts import (
    Answer,
    Example,
    Operation,
    Parameter,
    array,
    fields,
    integer,
    text,
    truth,
)
from trunkline.model.event import JsonObject

TAG = "jitsu"
ABOUT = "The paths and answers of Jitsu's libraries; the events are those of the tracking API."

_YES: dict[str, JsonObject] = {
    "success": {"const": True},
    "ok": truth("Whether nothing was refused."),
    "errors": array(text("A message id and why it was refused."), "Those that were refused."),
    "receivedEvents": integer("How many came."),
    "okEvents": integer("How many were stored."),
}
_NEEDED = ("success", "ok", "receivedEvents", "okEvents")

SCHEMAS: dict[str, JsonObject] = {
    "JitsuYes": fields("What could be taken lies on disk.", _NEEDED, **_YES),
}

_EVENT: JsonObject = {
    "type": "track",
    "event": "Order Completed",
    "userId": "u-42",
    "timestamp": "2026-11-20T10:15:30.000Z",
}
_TYPE = Parameter("type", "path", "The type, or `event` where the event itself says it.", "track")
_STORED = {200: Answer("Stored.", "JitsuYes")}


def _single(path: str, id_: str) -> Operation:
    return Operation(
        id_,
        TAG,
        "post",
        path,
        "One event.",
        {**tracking.ANSWERS, **_STORED},
        body="TrackingEvent",
        examples=(
            Example("track", "Something happened.", _EVENT),
            Example("refused", "An event without a user.", {"event": "Seen"}, 400),
        ),
        parameters=(_TYPE,),
        security=tracking.KEYS,
    )


OPERATIONS: Sequence[Operation] = (
    _single("/api/s/{type}", "jitsuEvent"),
    _single("/api/s/s2s/{type}", "jitsuServerEvent"),
    Operation(
        "jitsuBatch",
        TAG,
        "post",
        "/api/s/s2s/batch",
        "Up to 2,500 events.",
        {**tracking.BATCH_ANSWERS, **_STORED},
        body="TrackingBatch",
        examples=tracking.BATCH_EXAMPLES,
        parameters=(
            Parameter("Prefer", "header", "`multi-status` asks for a result for each event."),
        ),
        security=tracking.KEYS,
    ),
)
