"""The REST API described: events and profiles of one user a request."""

from __future__ import annotations

from collections.abc import Sequence

from trunkline.kit.openapi.parts import (
    Answer,
    Example,
    Operation,
    array,
    failures,
    fields,
    integer,
    number,
    optional,
    ref,
    text,
)
from trunkline.model.event import JsonObject

TAG = "rest"
ABOUT = "Events and profiles of one user a request, from back ends, pages and apps."
KEYS = (("applicationId", "apiKey"),)

_ID: JsonObject = {"type": ["string", "number", "null"]}
_MESSAGE_TYPES = (
    "action", "revenue", "businessEvent", "user", "systemEvent", "pushSubscription", "pushToken",
)  # fmt: skip
_USER_TEXTS = (
    "firstName", "lastName", "phoneNumber", "hashedPhoneNumber", "email", "hashedEmail", "country",
    "city", "region", "locality",
)  # fmt: skip

SCHEMAS: dict[str, JsonObject] = {
    "RestRequest": fields(
        "Messages of one user, who is named by at least one of the three ids.",
        ("messages",),
        customUserId={**_ID, "description": "The user, as the sender's own systems know them."},
        metrixUserId={**_ID, "description": "The user, as an SDK knows them."},
        automationUserId={**_ID, "description": "The user, as automation knows them."},
        messages=array(ref("RestMessage"), "Up to 2,500 messages.", maxItems=2500),
        metaData={
            "type": "object",
            "description": "What is known of `device`, `app`, `ip` and `userAgent`.",
        },
    ),
    "RestMessage": fields(
        "One event, or what is known of the user. Each type has its own fields.",
        ("type", "id", "time"),
        type={"enum": [*_MESSAGE_TYPES]},
        id={"type": ["string", "integer"], "description": "An id of the sender's own."},
        time=number("When it happened, in milliseconds since 1970 UTC."),
        name=optional(text("The event's slug.")),
        customName=optional(text("The event's name, where it has no slug yet.")),
        attributes={"type": ["object", "null"], "description": "What is known of it."},
        revenue={"type": ["number", "null"], "description": "The amount."},
        currency=optional(text("The app's, where it is left out.")),
        orderId={**_ID, "description": "The order."},
        token=optional(text("An FCM token, for `pushToken`.")),
        platform=optional(text("Its platform.")),
        subscription={"type": ["object", "null"], "description": "For `pushSubscription`."},
        customAttributes={"type": ["object", "null"], "description": "Of a user."},
        birthday={"type": ["number", "null"], "description": "Of a user, in milliseconds."},
        gender=optional(text("Of a user: Male, Female or Other.")),
        **{name: optional(text("Of a user; null clears it.")) for name in _USER_TEXTS},
    ),
    "RestYes": fields(
        "What could be taken lies on disk.",
        ("status", "accepted", "rejected"),
        status={"const": "success"},
        accepted=integer("How many messages."),
        rejected=array(
            fields(
                "A message that was refused.",
                ("index", "code", "message"),
                index=integer("Where it stood, from 0."),
                code=text("The reason, for programs."),
                message=text("What was wrong, and what to send."),
            ),
            "Those that were refused.",
        ),
    ),
    "RestError": fields(
        "Why nothing was done.",
        ("status", "success", "code", "message", "error", "Error", "Message", "Details"),
        status={"const": "error"},
        success={"const": False},
        code=text("The reason, for programs."),
        message=text("What was wrong, and what to send."),
        error=fields("The same again.", ("code", "message"),
                     code=text("As `code`."), message=text("As `message`.")),
        Error=text("As `code`."),
        Message=text("As `message`."),
        Details=text("What to do."),
    ),
    "IdentityRequest": fields(
        "An SDK's own id of its user.",
        ("sdkId",),
        sdkId=text("The id.", minLength=1, maxLength=100),
        customIds={"description": "What else the SDK knows; not read."},
    ),
    "IdentityYes": fields("Who it is.", ("metrixUserId",), metrixUserId=text("The user.")),
}  # fmt: skip

NO_RIGHT = Answer(
    "The app id or the key is wrong, or the key may not be used for this, or from there.",
    "RestError",
)
_ANSWERS: dict[int, Answer] = {
    **failures("RestError"),
    200: Answer("Stored.", "RestYes"),
    400: Answer("It cannot be read, or names no user.", "RestError"),
    403: NO_RIGHT,
}
_EXAMPLES = (
    Example(
        "mixed",
        "A purchase, a profile, and a message that is refused: still 200.",
        {
            "customUserId": "u-42",
            "messages": [
                {
                    "type": "revenue", "id": "r-1", "time": 1677323951700, "name": "taqsq",
                    "revenue": 53.7, "currency": "EUR", "attributes": {"size": 42},
                },
                {"type": "user", "id": "p-1", "time": 1677323951700, "city": "Tehran"},
                {"type": "action", "id": "a-1", "time": "soon", "name": "taqsq"},
            ],
            "metaData": {"device": {"model": "Pixel 9"}},
        },
    ),
    Example("noUser", "Messages of nobody.", {"messages": []}, 400),
)  # fmt: skip


def _messages(path: str, id_: str) -> Operation:
    return Operation(
        id_,
        TAG,
        "post",
        path,
        "Messages of one user.",
        _ANSWERS,
        "One message that is refused costs the others nothing: the answer is 200 and names it.",
        "RestRequest",
        examples=_EXAMPLES,
        security=KEYS,
    )


OPERATIONS: Sequence[Operation] = (
    _messages("/", "messagesAtRoot"),
    _messages("/v1/messages", "messages"),
    Operation(
        "identity",
        TAG,
        "post",
        "/identity",
        "Which user an SDK's own id stands for: that id.",
        {
            **failures("RestError", is_stored=False),
            200: Answer("The user.", "IdentityYes"),
            400: Answer("It cannot be read, or names no sdkId.", "RestError"),
        },
        body="IdentityRequest",
        examples=(
            Example("known", "An SDK asks.", {"sdkId": "sdk-7", "customIds": {}}),
            Example("empty", "It names nothing.", {"sdkId": ""}, 400),
        ),
    ),
)
