"""The tracking API described: single calls, batches, the pixel, what libraries ask first."""

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
    integer,
    optional,
    ref,
    text,
)
from trunkline.model.event import EVENT_TYPES, JsonObject

TAG = "tracking"
ABOUT = (
    "What Segment's and RudderStack's libraries speak: events of any type, single or in batches."
)
KEYS = (("writeKey",), ("writeKeyHeader",))

_ID = {"type": ["string", "number", "null"]}
_TIME = {
    "type": ["string", "number", "null"],
    "description": "RFC 3339 with any zone, or Unix seconds or milliseconds.",
}
_OBJECT: JsonObject = {"type": ["object", "null"]}

_EVENT: dict[str, JsonObject] = {
    "messageId": {
        **_ID,
        "description": "An id of the sender's own, of at most 100 characters: an event that comes "
        "twice is stored once. Left out, one is given.",
    },
    "userId": {**_ID, "description": "The user, as the sender knows them."},
    "anonymousId": {**_ID, "description": "The user before they are known. One of both must come."},
    "timestamp": _TIME,
    "originalTimestamp": _TIME,
    "sentAt": {**_TIME, "description": "When it left, by the same clock as `timestamp`."},
    "context": {**_OBJECT, "description": "Where it happened: device, page, library, consent."},
    "integrations": {**_OBJECT, "description": "Which destinations may have it."},
    "writeKey": optional(text("The key, where no header carries one.")),
}
_OF_TYPE: dict[str, JsonObject] = {
    "event": optional(text("What happened, for `track`.")),
    "name": optional(text("The name of a page or screen.")),
    "properties": {**_OBJECT, "description": "What is known of what happened."},
    "traits": {**_OBJECT, "description": "What is known of the user, or the group."},
    "groupId": {**_ID, "description": "The group, for `group`."},
    "previousId": {**_ID, "description": "The id that the user had before, for `alias`."},
}

SCHEMAS: dict[str, JsonObject] = {
    "TrackingEvent": fields(
        "One event. Fields that are not named here stay with it.", **_EVENT, **_OF_TYPE
    ),
    "TypedEvent": fields(
        "An event that says its type.",
        ("type",),
        type={"enum": [*EVENT_TYPES]},
        **_EVENT,
        **_OF_TYPE,
    ),
    "TrackingBatch": fields(
        "Up to 2,500 events. What stands beside them is merged under each one's own.",
        ("batch",),
        batch=array(ref("TypedEvent"), "The events."),
        sentAt=_TIME,
        context={**_OBJECT, "description": "Beside every event's own context."},
        integrations={**_OBJECT, "description": "Beside every event's own."},
        writeKey=optional(text("The key, where no header carries one.")),
    ),
    "ClientMetrics": fields("What a library measures of itself; counted and dropped."),
    "TrackingYes": fields(
        "Everything that could be taken lies on disk.",
        ("success",),
        success={"const": True},
        rejected=array(
            fields(
                "An event of a batch that was refused.",
                ("index", "messageId", "code", "message"),
                index=integer("Where it stood in the batch, from 0."),
                messageId=text("Its own id, empty where it brought none."),
                code=text("The reason, for programs."),
                message=text("The reason, for people: what was wrong; what to send."),
            ),
            "The events that were refused, left out where there are none.",
        ),
    ),
    "MultiStatus": fields(
        "One result for each event, in the order of the batch.",
        ("success", "results"),
        success={"const": True},
        results=array(
            fields(
                "What became of one event.",
                ("index", "messageId", "status"),
                index=integer("Where it stood in the batch, from 0."),
                messageId=text("Its id; one that was given, where it brought none."),
                status=integer("200, or what a single call would have been answered."),
                code=text("The reason of a refusal, for programs."),
                message=text("The reason of a refusal, for people."),
            ),
            "The results.",
        ),
    ),
    "TrackingError": fields(
        "Why nothing was taken, with every field that some library reads.",
        ("success", "code", "message", "error", "Error", "Message", "Details"),
        success={"const": False},
        code=text("The reason, for programs."),
        message=text("The reason, for people: what was wrong; what to send."),
        error=fields(
            "The same again.",
            ("code", "message"),
            code=text("As `code`."),
            message=text("As `message`."),
        ),
        Error=text("The name of the status."),
        Message=text("As `message`."),
        Details=text("What to do."),
    ),
    "LibrarySettings": fields(
        "What browser and mobile libraries start from.",
        ("integrations",),
        integrations=fields("The one service that they are to send to: this one."),
    ),
    "SourceConfig": fields(
        "What RudderStack's browser library starts from.",
        ("source",),
        source=fields(
            "The app, with no destinations: all goes through here.",
            ("id", "config", "destinations"),
            id=text("The app."),
            config=fields("What the library itself is to do."),
            destinations=array({}, "None."),
        ),
    ),
}

_YES = Answer("Stored.", "TrackingYes")
_NO_KEY = Answer("No key came, or none that is known.", "TrackingError")
_KEY_MISUSED = Answer("The key may not be used from there.", "TrackingError")
ANSWERS: dict[int, Answer] = {
    **failures("TrackingError"),
    200: _YES,
    400: Answer("It cannot be read, or the event was refused.", "TrackingError"),
    401: _NO_KEY,
    403: _KEY_MISUSED,
}
BATCH_ANSWERS: dict[int, Answer] = {
    **ANSWERS,
    207: Answer(
        "Stored, with a result for each event: asked for with `Prefer: multi-status`.",
        "MultiStatus",
        headers=("Preference-Applied",),
    ),
    400: Answer("The batch cannot be read.", "TrackingError"),
}
_ASKED: dict[int, Answer] = {
    **failures("TrackingError", has_body=False, is_stored=False),
    401: _NO_KEY,
    403: _KEY_MISUSED,
}

_USER = {"userId": "u-42", "timestamp": "2026-11-20T10:15:30.000Z"}
_BAD = Example("refused", "An event that its checks refuse.", {"properties": {}}, 400)
_EXAMPLES: dict[str, tuple[str, JsonObject]] = {
    "track": (
        "Something happened.",
        {**_USER, "event": "Order Completed", "properties": {"revenue": 53.7, "currency": "EUR"}},
    ),
    "identify": ("What is known of a user.", {**_USER, "traits": {"email": "ada@example.com"}}),
    "page": ("A page was seen.", {**_USER, "name": "Home", "properties": {"path": "/"}}),
    "screen": ("A screen of an app was seen.", {**_USER, "name": "Basket"}),
    "group": ("A user belongs to a group.", {**_USER, "groupId": "g-7", "traits": {"seats": 5}}),
    "alias": ("A user has another id now.", {**_USER, "previousId": "anonymous-7"}),
}
BATCH_EXAMPLES = (
    Example(
        "mixed",
        "Two events, of which one is refused: still 200.",
        {
            "sentAt": "2026-11-20T10:15:31.000Z",
            "context": {"library": {"name": "acme", "version": "1.0"}},
            "batch": [
                {**_USER, "type": "track", "event": "Order Completed", "messageId": "m-1"},
                {"type": "track", "event": "Order Completed"},
            ],
        },
    ),
    Example("unreadable", "A body without a batch.", {"events": []}, 400),
)
_PREFER = Parameter(
    "Prefer", "header", "`multi-status` asks for a result for each event, and status 207."
)
_BATCH_PATHS: Sequence[tuple[str, str]] = (
    ("/v1/batch", "batch"),
    ("/v1/b", "batchShort"),
    ("/v1/import", "batchImport"),
    ("/batch", "batchClassic"),
    ("/b", "batchClassicShort"),
    ("/import", "batchClassicImport"),
    ("/s/b", "batchOfPages"),
    ("/beacon/v1/batch", "batchBeacon"),
)
_WRITE_KEY_IN_QUERY = Parameter("writeKey", "query", "The key, where no header carries one.")
_WRITE_KEY_IN_PATH = Parameter("writeKey", "path", "An API key of the app.", "{writeKey}")


def _single(kind: str, path: str, id_: str) -> Operation:
    summary, value = _EXAMPLES[kind]
    # Without a user, or a body that none of the types takes.
    examples = (Example(kind, summary, value), _BAD)
    return Operation(
        id_, TAG, "post", path, summary, ANSWERS, "", "TrackingEvent",
        examples=examples, security=KEYS,
    )  # fmt: skip


def _batch(path: str, id_: str) -> Operation:
    return Operation(
        id_,
        TAG,
        "post",
        path,
        "Up to 2,500 events.",
        BATCH_ANSWERS,
        "One event that is refused costs the others nothing: the answer is 200 and names it.",
        "TrackingBatch",
        examples=BATCH_EXAMPLES,
        parameters=(_PREFER, _WRITE_KEY_IN_QUERY),
        security=(*KEYS, ()),
    )


OPERATIONS: Sequence[Operation] = (
    *(_single(kind, f"/v1/{kind}", kind) for kind in EVENT_TYPES),
    *(_single(kind, f"/v1/{kind[0]}", f"{kind}Short") for kind in EVENT_TYPES),
    Operation(
        "eventOfPages",
        TAG,
        "post",
        "/s/e",
        "One event, of the type that it names.",
        ANSWERS,
        "A way in that says nothing of what it is for, for pages with a blocker.",
        "TypedEvent",
        examples=(
            Example("track", "Something happened.", {**_EXAMPLES["track"][1], "type": "track"}),
            Example("refused", "An event without a user.", {"type": "page"}, 400),
        ),
        security=KEYS,
    ),
    *(_batch(path, id_) for path, id_ in _BATCH_PATHS),
    Operation(
        "clientMetrics",
        TAG,
        "post",
        "/v1/m",
        "What libraries measure of themselves: counted and dropped.",
        {**failures("TrackingError", is_stored=False), 200: _YES},
        body="ClientMetrics",
        examples=(
            Example("series", "One measurement.", {"series": [{"metric": "m", "value": 1}]}),
        ),
    ),
    Operation(
        "pixel",
        TAG,
        "get",
        "/v1/pixel/{type}",
        "One event from where only an image can be asked for, mail say.",
        {200: Answer("Always, with an image of 1×1, whatever came.", content_type="image/gif")},
        parameters=(
            Parameter(
                "type",
                "path",
                "The type of the event.",
                "track",
                {"type": "string", "enum": [*EVENT_TYPES]},
            ),
            Parameter("data", "query", "The event as base64url of its JSON."),
            Parameter("writeKey", "query", "The key."),
            Parameter("event", "query", "What happened; every field, with dots, may stand here."),
            Parameter("userId", "query", "The user.", "u-42"),
        ),
    ),
    *(
        Operation(
            id_,
            TAG,
            "get",
            path,
            "What browser and mobile libraries start from.",
            {**_ASKED, 200: Answer("The settings.", "LibrarySettings")},
            parameters=(_WRITE_KEY_IN_PATH,),
        )
        for path, id_ in (
            ("/v1/projects/{writeKey}/settings", "settings"),
            ("/projects/{writeKey}/settings", "settingsClassic"),
        )
    ),
    Operation(
        "sourceConfig",
        TAG,
        "get",
        "/sourceConfig",
        "What RudderStack's browser library starts from.",
        {**_ASKED, 200: Answer("The app.", "SourceConfig")},
        parameters=(_WRITE_KEY_IN_QUERY,),
        security=(*KEYS, ()),
    ),
)
