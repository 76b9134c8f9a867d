"""The S2S in-app event API described: one event a request."""

from __future__ import annotations

from collections.abc import Sequence

from trunkline.kit.openapi.parts import (
    Answer,
    Example,
    Operation,
    Parameter,
    failures,
    fields,
    integer,
    optional,
    text,
)
from trunkline.model.event import JsonObject

TAG = "s2s"
ABOUT = "In-app events from back ends, one a request, by a published contract."

_ABSENT = 'null, "" and "null" count as absent.'
_TIME: JsonObject = {
    "type": ["number", "string", "null"],
    "description": "Milliseconds since 1970 UTC, from 2000-01-01 to 24 hours ahead. Left out: now.",
}

SCHEMAS: dict[str, JsonObject] = {
    "S2SEvent": fields(
        "One event, with exactly one device id. Fields that are not named here stay with it.",
        ("metrixUserId", "eventSlug"),
        metrixUserId=text("The user.", minLength=1),
        eventSlug=text("The slug that the event's definition shows."),
        eventTime=_TIME,
        advertisingId=optional(text(f"The device id on Android. {_ABSENT}")),
        idfa=optional(text(f"The device id on iOS. {_ABSENT}")),
        oaid=optional(text(f"The device id on Huawei's devices. {_ABSENT}")),
        metrixSessionId=optional(text("The session.")),
        deviceIp=optional(text("The device's IPv4 or IPv6 address.")),
        messageId={
            "type": ["string", "integer", "null"],
            "description": "An id of the sender's own: what comes twice is stored once.",
        },
        customAttributes={
            "type": ["object", "null"],
            "maxProperties": 50,
            "additionalProperties": {"type": ["string", "null"]},
            "description": "Up to 50 texts of up to 512 bytes.",
        },
        customMetrics={
            "type": ["object", "null"],
            "maxProperties": 50,
            "additionalProperties": {"type": ["number", "null"]},
            "description": "Up to 50 numbers. `_revenue` makes it a revenue event.",
        },
    ),
    "S2SYes": fields(
        "The event lies on disk.",
        ("status", "description", "userId", "messageId"),
        status={"const": "success"},
        description=text("The same for people."),
        userId=text("The user, as sent."),
        messageId=text("The id it is known by from now on."),
    ),
    "S2SError": fields(
        "Why it was not taken.",
        ("status", "error", "type", "message", "description"),
        status=integer("The status again."),
        error=text("The name of the status."),
        type=text("The reason, for programs."),
        message=text("As `type`: existing callers read it here."),
        description=text("What was wrong, and what to send."),
    ),
}

_ANSWERS: dict[int, Answer] = {
    **failures("S2SError"),
    200: Answer("Stored.", "S2SYes"),
    400: Answer("It cannot be read, or has no device id or several.", "S2SError"),
    403: Answer(
        "The app id or dev key is wrong, the caller's address is not allowed, S2S is off, or a "
        "field is missing or unfit.",
        "S2SError",
    ),
    404: Answer("No event with this slug is defined.", "S2SError"),
}
_EVENT: JsonObject = {
    "metrixUserId": "c0bcf71e-a027-4cfa-974a-e90e040e5c3a",
    "advertisingId": "38400000-8cf0-11bd-b23e-10b96e40000d",
    "eventSlug": "taqsq",
}

OPERATIONS: Sequence[Operation] = (
    Operation(
        "inAppEvent",
        TAG,
        "post",
        "/inappevent/{appId}",
        "One event.",
        _ANSWERS,
        "The checks run in the order of the contract; the first that fails answers.",
        "S2SEvent",
        examples=(
            Example(
                "revenue",
                "A purchase.",
                {
                    **_EVENT,
                    "customMetrics": {"_revenue": 53.7},
                    "customAttributes": {"_currency": "EUR", "_order_id": "o-1"},
                },
            ),
            Example("noDevice", "An event without a device id.", {"eventSlug": "taqsq"}, 400),
            Example("textForMetric", "A metric in quotes.",
                    {**_EVENT, "customMetrics": {"_revenue": "53.7"}}, 403),
            Example("unknownSlug", "An event that is not defined.",
                    {**_EVENT, "eventSlug": "nnnnn"}, 404),
        ),
        parameters=(
            Parameter("appId", "path", "The app's id, 15 lower-case letters.", "{appId}"),
            Parameter("Idempotency-Key", "header", "As `messageId`, which it goes before."),
        ),
        security=(("devKey",),),
    ),
)  # fmt: skip
