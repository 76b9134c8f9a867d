"""What pages load described: the script, its parts, and who their visitor is."""

from __future__ import annotations

from collections.abc import Sequence

from trunkline.kit.openapi.parts import Answer, Operation, Parameter, failures, fields
from trunkline.model.event import JsonObject

TAG = "analytics_js"
ABOUT = "First-party Analytics.js: what pages load."
JAVASCRIPT = "text/javascript"

SCHEMAS: dict[str, JsonObject] = {
    "Visitor": fields(
        "Who the page's visitor is.",
        ("anonymousId",),
        anonymousId={"type": ["string", "null"], "description": "Of the cookie; null for none."},
    ),
}

_SCRIPT: dict[int, Answer] = {
    200: Answer("The script.", content_type=JAVASCRIPT),
    304: Answer("The script that is known already.", content_type=JAVASCRIPT),
    403: Answer("The key may not be in a page; said in a comment.", content_type=JAVASCRIPT),
    404: Answer("There is no such script; said in a comment.", content_type=JAVASCRIPT),
    503: Answer("The server is full or starting.", content_type=JAVASCRIPT),
}
_KEY = Parameter("writeKey", "path", "A Client key.", "{writeKey}")


def _script(path: str, id_: str, parameter: Parameter, status: int) -> Operation:
    return Operation(
        id_, TAG, "get", path, "The script of a key, or a part of it.", _SCRIPT,
        parameters=(parameter,), bare_status=status,
    )  # fmt: skip


OPERATIONS: Sequence[Operation] = (
    _script("/analytics.js/v1/{writeKey}/analytics.min.js", "script", _KEY, 200),
    _script("/s/{file}", "scriptShort", Parameter("file", "path", "KEY.js.", "nobody.js"), 404),
    _script(
        "/analytics-next/bundles/{file}",
        "scriptPart",
        Parameter("file", "path", "A part of the script.", "nothing.js"),
        404,
    ),
    Operation(
        "visitor",
        TAG,
        "get",
        "/s/{writeKey}/visitor",
        "Who the page's visitor is, by the cookie of this domain.",
        {
            **failures("TrackingError", has_body=False, is_stored=False),
            200: Answer("The visitor.", "Visitor"),
            401: Answer("The key is not known.", "TrackingError"),
            403: Answer("The key may not be used from there.", "TrackingError"),
        },
        parameters=(_KEY,),
    ),
)
