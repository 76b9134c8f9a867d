"""What descriptions of operations are made of, and the answers that many of them share."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal

from msgspec import Struct

from trunkline.model.event import JsonObject

JSON = "application/json"


class Example(Struct, frozen=True):
    """A request that may be sent as it stands, with a good key, and the status it gets."""

    name: str
    summary: str
    value: Any
    status: int = 200


class Parameter(Struct, frozen=True):
    """A parameter of the path, the query or the headers. `example` is sent with the examples.

    Without a `schema` it is a string.
    """

    name: str
    place: Literal["path", "query", "header"]
    description: str
    example: str = ""
    schema: Mapping[str, Any] = {}
    is_required: bool = False


class Answer(Struct, frozen=True):
    """An answer: `schema` names one of the components, "" for a body that is no JSON."""

    description: str
    schema: str = ""
    content_type: str = JSON
    headers: tuple[str, ...] = ()


class Operation(Struct, frozen=True):
    """One method of one path. `body` is the schema of its JSON, "" where it takes none.

    `security` are the ways to show a key, any of which is enough; a way may ask for several.
    `bare_status` is what an operation without a body answers to the examples of its path.
    """

    id: str
    tag: str
    method: Literal["get", "post", "delete"]
    path: str
    summary: str
    answers: Mapping[int, Answer]
    description: str = ""
    body: str = ""
    body_types: Sequence[str] = (JSON,)
    examples: Sequence[Example] = ()
    parameters: Sequence[Parameter] = ()
    security: Sequence[Sequence[str]] = ()
    bare_status: int = 200


RETRY_AFTER = "Retry-After"


def failures(schema: str, *, has_body: bool = True, is_stored: bool = True) -> dict[int, Answer]:
    """Return what the gateway itself answers, in the shape that a protocol gives it."""
    answers = {
        503: Answer(
            "Nothing of it was stored: the server is full, starting, or its disk takes nothing.",
            schema,
            headers=(RETRY_AFTER,),
        )
    }
    if is_stored:
        sentence = "A rate limit of the app or the key is reached; nothing of it was stored."
        answers[429] = Answer(sentence, schema, headers=(RETRY_AFTER,))
    if has_body:
        answers |= {
            400: Answer("The body broke off, or is not what its Content-Encoding says.", schema),
            408: Answer("The body did not arrive in time.", schema),
            413: Answer("The body is larger than is taken here.", schema),
            415: Answer("The Content-Encoding is not known here.", schema),
        }
    return answers


def text(description: str, **more: Any) -> JsonObject:
    """Return the schema of a string."""
    return {"type": "string", "description": description, **more}


def number(description: str, **more: Any) -> JsonObject:
    """Return the schema of a number."""
    return {"type": "number", "description": description, **more}


def integer(description: str, **more: Any) -> JsonObject:
    """Return the schema of an integer."""
    return {"type": "integer", "description": description, **more}


def truth(description: str, **more: Any) -> JsonObject:
    """Return the schema of a boolean."""
    return {"type": "boolean", "description": description, **more}


def array(items: JsonObject, description: str, **more: Any) -> JsonObject:
    """Return the schema of an array."""
    return {"type": "array", "items": items, "description": description, **more}


def ref(name: str) -> JsonObject:
    """Return a reference to a schema of the components."""
    return {"$ref": f"#/components/schemas/{name}"}


def fields(description: str, needed: Sequence[str] = (), /, **properties: JsonObject) -> JsonObject:
    """Return the schema of an object; fields that it does not name are allowed."""
    schema: JsonObject = {
        "type": "object",
        "description": description,
        "properties": properties,
    }
    return {**schema, "required": [*needed]} if needed else schema


def optional(schema: JsonObject) -> JsonObject:
    """Return a schema that takes null too, which counts as absent."""
    return {**schema, "type": [schema["type"], "null"]}
