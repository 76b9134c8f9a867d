"""The errors of bulk imports over HTTP, as rows of the same table.

What is wrong with a key is said as on all paths of the REST API.
"""

from __future__ import annotations

import msgspec

from trunkline.model import refusal, refusal_rest
from trunkline.model.refusal import ErrorRow

BULK_NOT_IN_PLAN = ErrorRow(
    "bulk",
    "feature_not_available",
    403,
    "the organisation's plan does not include bulk imports",
    "ask who runs this server to add bulk to the plan",
)
BULK_PARAMETER = ErrorRow(
    "bulk",
    "invalid_parameter",
    400,
    "the parameter {name} is {came}",
    "send {expected}",
)
BULK_UNKNOWN_PARAMETER = ErrorRow(
    "bulk",
    "unknown_parameter",
    400,
    "there is no parameter {name}",
    "send some of {expected}",
)
BULK_FORMAT = ErrorRow(
    "bulk",
    "unknown_format",
    415,
    "the Content-Type {came} tells no format",
    "send Content-Type: application/x-ndjson or text/csv, or the parameter format=ndjson or csv",
)
BULK_ENCODING = ErrorRow(
    "bulk",
    "bad_encoding",
    415,
    "the Content-Encoding {came} is not known here",
    "send gzip, zstd, or no compression",
)
BULK_COLUMNS = ErrorRow(
    "bulk",
    "invalid_mapping",
    400,
    "the parameter {name} does not fit: {why}",
    "send mapping=COLUMN=FIELD or set=FIELD=VALUE, as often as needed, or JSON objects of them",
)
BULK_EMPTY = ErrorRow(
    "bulk",
    "empty_file",
    400,
    "the request has no body",
    "send the file as the body of the request",
)
BULK_FULL = ErrorRow(
    "bulk",
    "too_many_imports",
    503,
    "as many imports of this app are waiting as may be; nothing of this file was stored",
    "send it again when one of them is through",
)
BULK_UNKNOWN = ErrorRow(
    "bulk",
    "unknown_import",
    404,
    "this app has no import {came}",
    "ask with an id that POST /v1/bulk answered; GET /v1/bulk lists the latest",
)
BULK_NO_REJECTS = ErrorRow(
    "bulk",
    "no_rejects",
    404,
    "no rejected lines of the import {came} are kept",
    "either none was rejected, or they are older than 30 days",
)


def _shared(row: ErrorRow) -> ErrorRow:
    return msgspec.structs.replace(row, protocol="bulk")


# The order is that of the checks.
BULK_ERRORS: list[ErrorRow] = [
    _shared(refusal_rest.REST_NO_KEY),
    _shared(refusal_rest.REST_KEY),
    BULK_NOT_IN_PLAN,
    _shared(refusal.TRACKING_KEY_IN_BROWSER),
    _shared(refusal.TRACKING_ADDRESS),
    _shared(refusal.TRACKING_ORIGIN),
    _shared(refusal_rest.REST_SERVER_ONLY),
    BULK_UNKNOWN_PARAMETER,
    BULK_PARAMETER,
    BULK_FORMAT,
    BULK_ENCODING,
    BULK_COLUMNS,
    BULK_EMPTY,
    BULK_FULL,
    BULK_UNKNOWN,
    BULK_NO_REJECTS,
]
