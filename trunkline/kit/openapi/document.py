"""The whole document, put together from the descriptions of the protocols."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from functools import cache

import msgspec

from trunkline.kit.openapi import (
    analytics_js,
    bulk,
    custom_event,
    gateway,
    jitsu,
    push,
    reads,
    rest,
    s2s,
    tracking,
)
from trunkline.kit.openapi.parts import RETRY_AFTER, Answer, Operation, Parameter
from trunkline.model.event import JsonObject

_PARTS = (tracking, analytics_js, custom_event, rest, push, reads, bulk, s2s, jitsu, gateway)

_ABOUT = """\
What a Trunkline node takes from senders, on its ingest port.

A 2xx says that the events lie on disk, synced. Bodies are JSON in UTF-8 whatever `Content-Type`
says; `Content-Encoding` may be gzip or deflate. A slash at the end of a path is the same path, and
every path answers `OPTIONS`, for pages of other origins. Every answer carries `X-Request-Id`.

Examples say the status that they get in `x-status`; so does an operation without a body.
"""
_SECURITY: JsonObject = {
    "writeKey": {
        "type": "http",
        "scheme": "basic",
        "description": "An API key of the app as the user, with no password.",
    },
    "writeKeyHeader": {
        "type": "apiKey",
        "in": "header",
        "name": "X-Write-Key",
        "description": "An API key of the app. It may also stand in the body as `writeKey`.",
    },
    "applicationId": {
        "type": "apiKey",
        "in": "header",
        "name": "X-Application-Id",
        "description": "The id of the app, beside one of its API keys.",
    },
    "apiKey": {
        "type": "apiKey",
        "in": "header",
        "name": "X-API-Key",
        "description": "An API key of the app.",
    },
    "devKey": {
        "type": "apiKey",
        "in": "header",
        "name": "Authorization",
        "description": "The dev key of the app's S2S settings, bare.",
    },
}
_HEADERS: JsonObject = {
    RETRY_AFTER: {
        "description": "After how many seconds to send the same request again.",
        "schema": {"type": "integer", "minimum": 1},
    },
    "Preference-Applied": {
        "description": "`multi-status`, as it was asked for.",
        "schema": {"type": "string"},
    },
}


def documented() -> Sequence[Operation]:
    """Return every operation that is described."""
    return [_with_bad_path(operation) for part in _PARTS for operation in part.OPERATIONS]


def _with_bad_path(operation: Operation) -> Operation:
    """Add what the gateway answers where a parameter of the path is no text, as it says all else.

    A pixel has no failures at all; what says 400 for something else says it for this, too.
    """
    failure = operation.answers.get(503)
    if "{" not in operation.path or failure is None or 400 in operation.answers:
        return operation
    told = "The path holds bytes that are no UTF-8."
    answer = msgspec.structs.replace(failure, description=told, headers=())
    return msgspec.structs.replace(operation, answers={**operation.answers, 400: answer})


@cache
def document_json() -> bytes:
    """Return the document as JSON, indented."""
    return msgspec.json.format(msgspec.json.encode(_document()), indent=2) + b"\n"


def _document() -> JsonObject:
    paths: dict[str, JsonObject] = {}
    shared = _name_shared(documented())
    for operation in documented():
        paths.setdefault(operation.path, {})[operation.method] = _render(operation, shared)
    schemas = {name: schema for part in _PARTS for name, schema in part.SCHEMAS.items()}
    return {
        "openapi": "3.1.0",
        "info": {"title": "Trunkline ingest", "version": "1", "description": _ABOUT},
        "servers": [{"url": "http://127.0.0.1:8080", "description": "A node on this machine."}],
        "tags": [{"name": part.TAG, "description": part.ABOUT} for part in _PARTS],
        "paths": dict(sorted(paths.items())),
        "components": {
            "schemas": dict(sorted(schemas.items())),
            "responses": {name: _render_answer(answer) for answer, name in shared.items()},
            "securitySchemes": _SECURITY,
            "headers": _HEADERS,
        },
    }


def _name_shared(operations: Sequence[Operation]) -> Mapping[Answer, str]:
    """Return a name for each answer that several operations give, in the order of its names."""
    counts = Counter(
        (answer, status) for operation in operations for status, answer in operation.answers.items()
    )
    names: dict[str, Answer] = {}
    for (answer, status), count in counts.items():
        if count > 1:
            name = f"{answer.schema}{status}"
            names[name if name not in names else f"{name}Also"] = answer
    return {answer: name for name, answer in sorted(names.items())}


def _render(operation: Operation, shared: Mapping[Answer, str]) -> JsonObject:
    rendered: JsonObject = {
        "operationId": operation.id,
        "tags": [operation.tag],
        "summary": operation.summary,
    }
    if operation.description:
        rendered["description"] = operation.description
    if operation.parameters:
        rendered["parameters"] = [_render_parameter(each) for each in operation.parameters]
    if operation.body:
        rendered["requestBody"] = {"required": True, "content": _render_body(operation)}
    rendered["responses"] = {
        str(status): {"$ref": f"#/components/responses/{shared[answer]}"}
        if answer in shared
        else _render_answer(answer)
        for status, answer in sorted(operation.answers.items())
    }
    if not operation.body:
        rendered["x-status"] = operation.bare_status
    rendered["security"] = [{scheme: [] for scheme in way} for way in operation.security]
    return rendered


def _render_body(operation: Operation) -> JsonObject:
    content: JsonObject = {"schema": {"$ref": f"#/components/schemas/{operation.body}"}}
    if operation.examples:
        content["examples"] = {
            each.name: {"summary": each.summary, "value": each.value, "x-status": each.status}
            for each in operation.examples
        }
    return dict.fromkeys(operation.body_types, content)


def _render_parameter(parameter: Parameter) -> JsonObject:
    rendered: JsonObject = {
        "name": parameter.name,
        "in": parameter.place,
        "required": parameter.is_required or parameter.place == "path",
        "description": parameter.description,
        "schema": dict(parameter.schema) or {"type": "string"},
    }
    return {**rendered, "example": parameter.example} if parameter.example else rendered


def _render_answer(answer: Answer) -> JsonObject:
    rendered: JsonObject = {"description": answer.description}
    if answer.headers:
        rendered["headers"] = {
            name: {"$ref": f"#/components/headers/{name}"} for name in answer.headers
        }
    schema = {"$ref": f"#/components/schemas/{answer.schema}"} if answer.schema else {}
    rendered["content"] = {answer.content_type: {"schema": schema} if schema else {}}
    return rendered
