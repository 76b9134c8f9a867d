"""What the ingest port answers by itself: health, and this document."""

from __future__ import annotations

from collections.abc import Sequence

from trunkline.kit.openapi.parts import Answer, Operation, failures, fields, text
from trunkline.model.event import JsonObject

TAG = "node"
ABOUT = "What the node says of itself."

SCHEMAS: dict[str, JsonObject] = {
    "Live": fields("The process runs.", ("status",), status={"const": "live"}),
    "Ready": fields("An event would be stored.", ("status",), status={"const": "ready"}),
    "Unready": fields(
        "An event would not be stored.",
        ("status", "reason"),
        status={"const": "unready"},
        reason=text("Why."),
    ),
    "Document": fields("A document of OpenAPI.", ("openapi", "info", "paths")),
}

OPERATIONS: Sequence[Operation] = (
    Operation(
        "live",
        TAG,
        "get",
        "/health/live",
        "Whether the process runs.",
        {200: Answer("It does.", "Live")},
    ),
    Operation(
        "ready",
        TAG,
        "get",
        "/health/ready",
        "Whether an event would be stored: a write to the log is tried.",
        {
            200: Answer("It would.", "Ready"),
            503: Answer("It would not.", "Unready", headers=("Retry-After",)),
        },
    ),
    Operation(
        "document",
        TAG,
        "get",
        "/openapi.json",
        "This document.",
        {
            **failures("TrackingError", has_body=False, is_stored=False),
            200: Answer("The document.", "Document"),
        },
    ),
)
