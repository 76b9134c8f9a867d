"""Bulk imports described: a file of history in, and how far it is."""

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
    text,
)
from trunkline.kit.openapi.rest import KEYS, NO_RIGHT
from trunkline.model.event import JsonObject

TAG = "bulk"
ABOUT = "Files of historical events and users. Server keys only."
NDJSON = "application/x-ndjson"

SCHEMAS: dict[str, JsonObject] = {
    "ImportFile": text("Lines of JSON or CSV; gzip and zstd are found by their first bytes."),
    "ImportTaken": fields(
        "The file lies on disk.",
        ("status", "id", "kind", "bytes"),
        status={"const": "accepted"},
        id=text("What to ask by how far it is."),
        kind={"enum": ["events", "users"]},
        bytes=integer("How large it was, as sent."),
    ),
    "Import": fields(
        "How far an import is. At any moment lines = stored + duplicate + rejected; a line is "
        "one event or user; a body of the REST API counts as one line and as all of its messages.",
        ("id", "kind", "state", "lines", "stored", "duplicate", "judged", "rejected"),
        id=text("What to ask by how far it is."),
        kind={"enum": ["events", "users"]},
        state={"enum": ["waiting", "running", "stopped", "done", "failed"]},
        lines=integer("Lines that were read."),
        stored=integer("Events that were new."),
        duplicate=integer("Events that were known already."),
        judged={"type": "boolean", "description": "Whether the counts are final."},
        rejected=integer("Lines that were not taken."),
        rate={"type": "number", "description": "Lines a second."},
        secondsLeft={"type": ["number", "null"]},
    ),
    "ImportList": fields(
        "The latest imports.", ("imports",), imports={"type": "array", "items": {"type": "object"}}
    ),
}

_ABSENT = Parameter("id", "path", "The import's id.", "import-nobody-knows")
_ASKED: dict[int, Answer] = {
    **failures("RestError", has_body=False, is_stored=False),
    403: NO_RIGHT,
}
_UNKNOWN = Answer("This app has no such import.", "RestError")
_LINE = (
    '{"type":"track","event":"Order Completed","userId":"u-1","timestamp":"2021-02-03T04:05Z"}\n'
)

OPERATIONS: Sequence[Operation] = (
    Operation(
        "bulkImport",
        TAG,
        "post",
        "/v1/bulk",
        "Take in a file of history.",
        {
            **failures("RestError", is_stored=False),
            202: Answer("The file is on disk; its lines are read soon.", "ImportTaken"),
            400: Answer("A parameter is unknown or unfit, or the file is empty.", "RestError"),
            403: NO_RIGHT,
            507: Answer("There is no room for the file.", "RestError"),
        },
        body="ImportFile",
        body_types=(NDJSON, "text/csv"),
        examples=(
            Example("event", "A file of one event.", _LINE, 202),
            Example("empty", "No file.", "", 400),
        ),
        parameters=(
            Parameter(
                "kind",
                "query",
                "What the lines are.",
                "events",
                {"type": "string", "enum": ["events", "users"]},
                is_required=True,
            ),
            Parameter("format", "query", "`ndjson` or `csv`, where Content-Type does not tell."),
            Parameter("mapping", "query", "`COLUMN=FIELD`, as often as needed, for CSV."),
            Parameter("set", "query", "`FIELD=VALUE`, the same for every row, for CSV."),
            Parameter("historical", "query", "`false`: events of now, for all destinations."),
        ),
        security=KEYS,
    ),
    Operation(
        "imports",
        TAG,
        "get",
        "/v1/bulk",
        "The latest imports.",
        {**_ASKED, 200: Answer("Here they are.", "ImportList")},
        security=KEYS,
    ),
    Operation(
        "import",
        TAG,
        "get",
        "/v1/bulk/{id}",
        "How far an import is.",
        {**_ASKED, 200: Answer("Here it is.", "Import"), 404: _UNKNOWN},
        parameters=(_ABSENT,),
        security=KEYS,
        bare_status=404,
    ),
    Operation(
        "importRejects",
        TAG,
        "get",
        "/v1/bulk/{id}/rejects",
        "The lines that were rejected, each with its number and reason.",
        {**_ASKED, 200: Answer("A line of JSON each.", content_type=NDJSON), 404: _UNKNOWN},
        parameters=(_ABSENT,),
        security=KEYS,
        bare_status=404,
    ),
)
