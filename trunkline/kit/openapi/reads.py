"""Reads for back ends described: a person, an event's story, the erasure of a person."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from trunkline.kit.openapi.parts import Answer, Operation, Parameter, failures, fields, text
from trunkline.kit.openapi.rest import KEYS, NO_RIGHT
from trunkline.model.event import JsonObject

TAG = "reads"
ABOUT = "What is kept of a person or an event, and erasing a person. Server keys only."

SCHEMAS: dict[str, JsonObject] = {
    "User": fields("A person: who they are, traits, latest events."),
    "EventStory": fields("An event: received, checks, what each destination was sent."),
    "ErasureTaken": fields(
        "The order lies on disk.",
        ("status", "job"),
        status={"const": "accepted"},
        job=text("What to ask by how far it is."),
    ),
    "Erasure": fields("How far an erasure is."),
}

_ABSENT = "nobody-knows-this"
_ASKED: dict[int, Answer] = {
    **failures("RestError", has_body=False, is_stored=False),
    400: Answer("The id, or a parameter, is missing or unfit.", "RestError"),
    403: NO_RIGHT,
    404: Answer("This app has none of that id.", "RestError"),
}
_ORDERED: dict[int, Answer] = {
    202: Answer("Ordered; it is carried out soon.", "ErasureTaken"),
    **{status: answer for status, answer in _ASKED.items() if status != 404},
}
_IN_QUERY = Parameter("id", "query", "The id; here it may hold a slash.", _ABSENT)
_IN_PATH = Parameter("id", "path", "The id.", _ABSENT)
_SUPPRESS = Parameter(
    "suppress",
    "query",
    "`true` refuses to send what comes of them later, too.",
    schema={"type": "string", "enum": ["true", "false"]},
)


def _asked(path: str, id_: str, summary: str, schema: str) -> Sequence[Operation]:
    answers = {**_ASKED, 200: Answer("Here it is.", schema)}
    return (
        Operation(
            id_, TAG, "get", path + "/{id}", summary, answers, parameters=(_IN_PATH,),
            security=KEYS, bare_status=404,
        ),
        Operation(
            f"{id_}ByQuery", TAG, "get", path, summary, answers, parameters=(_IN_QUERY,),
            security=KEYS, bare_status=400,
        ),
    )  # fmt: skip


def _ordered(path: str, id_: str, parameter: Parameter, status: int) -> Operation:
    answers: Mapping[int, Answer] = _ORDERED
    return Operation(
        id_, TAG, "delete", path, "Erase a person, everywhere.", answers,
        parameters=(parameter, _SUPPRESS), security=KEYS, bare_status=status,
    )  # fmt: skip


OPERATIONS: Sequence[Operation] = (
    *_asked("/v1/users", "user", "A person, by any of their ids.", "User"),
    *_asked("/v1/events", "event", "An event's story, by its id or its sender's.", "EventStory"),
    *_asked("/v1/erasures", "erasure", "How far an erasure is.", "Erasure"),
    _ordered("/v1/users/{id}", "eraseUser", _IN_PATH, 202),
    _ordered("/v1/users", "eraseUserByQuery", _IN_QUERY, 400),
)
