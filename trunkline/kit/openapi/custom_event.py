"""Custom events described: any JSON, with metadata that make an event of it."""

from __future__ import annotations

from collections.abc import Sequence

from trunkline.kit.openapi import tracking
from trunkline.kit.openapi.parts import Example, Operation, Parameter, fields, optional, text
from trunkline.model.event import JsonObject

TAG = "custom_event"
ABOUT = "Any JSON becomes a track event, by the metadata that come with it."

_ID: JsonObject = {"type": ["string", "number", "null"]}
_METADATA = fields(
    "What makes an event of it; it may also stand in `X-Event-Metadata` or in the query.",
    eventName=optional(text("What happened.")),
    eventID={**_ID, "description": "An id of the sender's own."},
    timestamp={**_ID, "description": "When it happened."},
    userID={**_ID, "description": "The user."},
    anonymousID={**_ID, "description": "The user before they are known. One of both must come."},
    ip=optional(text("Whence it came.")),
    writeKey=optional(text("The key, where no header carries one.")),
)

SCHEMAS: dict[str, JsonObject] = {
    "CustomEvent": fields(
        "Any JSON. An object's fields become the event's properties.",
        _metarouter={**_METADATA, "type": "object"},
    )
}

OPERATIONS: Sequence[Operation] = (
    Operation(
        "customEvent",
        TAG,
        "post",
        "/v1/custom/event",
        "Any JSON as one event.",
        tracking.ANSWERS,
        body="CustomEvent",
        examples=(
            Example(
                "inBody",
                "The metadata stand in the body.",
                {"order": 7, "_metarouter": {"eventName": "Order Paid", "userID": "u-42"}},
            ),
            Example(
                "noName",
                "Metadata without a name.",
                {"order": 7, "_metarouter": {"userID": "u-42"}},
                400,
            ),
        ),
        parameters=(
            Parameter("X-Event-Metadata", "header", "The metadata, as a JSON object."),
            Parameter("writeKey", "query", "The key, where nothing else carries one."),
        ),
        security=tracking.KEYS,
    ),
)
