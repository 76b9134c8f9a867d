"""`POST /push` described: a message to people."""

from __future__ import annotations

from collections.abc import Sequence

from trunkline.kit.openapi.parts import (
    Answer,
    Example,
    Operation,
    Parameter,
    array,
    failures,
    fields,
    text,
)
from trunkline.kit.openapi.rest import KEYS, NO_RIGHT
from trunkline.model.event import JsonObject

TAG = "push"
ABOUT = "Messages to people, delivered as events. Server keys only."

_CHANNELS = ("SMS", "WEB_PUSH", "APP_PUSH", "EMAIL", "WEB_HOOK", "IN_APP", "ON_SITE")
_USER: JsonObject = {"type": ["string", "number"], "description": "A customUserId."}

SCHEMAS: dict[str, JsonObject] = {
    "PushRequest": fields(
        "A message, and who is to have it.",
        ("recipients", "channel", "message"),
        recipients=array(
            {
                "anyOf": [
                    _USER,
                    fields(
                        "A user and the device.",
                        ("customUserId",),
                        customUserId=_USER,
                        token={
                            "type": ["string", "null"],
                            "description": "The device's token at the push service.",
                        },
                    ),
                ]
            },
            "Who is to have it.",
            minItems=1,
            maxItems=1000,
        ),
        channel={"enum": [*_CHANNELS]},
        message=fields(
            "What to show, at most 8 KiB; any other fields reach webhooks as they are.",
            title=text("The title."),
            body=text("The text."),
            url=text("Where it leads."),
            images=array(fields("A picture.", url=text("Where it is.")), "Pictures."),
            data={"type": "object", "description": "Texts for the app."},
        ),
    ),
}

OPERATIONS: Sequence[Operation] = (
    Operation(
        "push",
        TAG,
        "post",
        "/push",
        "A message to up to 1,000 people.",
        {
            **failures("RestError"),
            200: Answer("Stored: an event for each recipient that could be taken.", "RestYes"),
            400: Answer("It cannot be read, or a field is missing or unfit.", "RestError"),
            403: NO_RIGHT,
        },
        "Each recipient becomes an event, `Push Requested`, for the destinations that show it.",
        "PushRequest",
        examples=(
            Example(
                "app",
                "To two people, of whom one is named with the device.",
                {
                    "recipients": ["u-42", {"customUserId": "u-7", "token": "device-token-7"}],
                    "channel": "APP_PUSH",
                    "message": {"title": "Order paid", "body": "Thank you"},
                },
            ),
            Example(
                "noChannel",
                "A message without a channel.",
                {"recipients": ["u-42"], "message": {"title": "Order paid"}},
                400,
            ),
        ),
        parameters=(
            Parameter("Idempotency-Key", "header", "The same push sent again is stored once."),
        ),
        security=KEYS,
    ),
)
