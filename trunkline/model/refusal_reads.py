"""The errors of reads and erasures, as rows of the same table.

What is wrong with a key is said as on all paths of the REST API.
"""

from __future__ import annotations

import msgspec

from trunkline.model import refusal, refusal_rest
from trunkline.model.refusal import ErrorRow

READS_ID = ErrorRow(
    "reads",
    "invalid_id",
    400,
    "the id is {came}",
    "send an id of 1 to {limit} characters in the path, percent-encoded; one that holds a slash"
    " goes into the query: ?id=",
)
READS_SUPPRESS = ErrorRow(
    "reads",
    "invalid_parameter",
    400,
    "the parameter suppress is {came}",
    "send true or false, or leave it out",
)
READS_NO_USER = ErrorRow(
    "reads",
    "user_not_found",
    404,
    "nothing is kept under the id {came}",
    "ask by one of the person's ids; events of the last seconds may not be counted yet",
)
READS_NO_EVENT = ErrorRow(
    "reads",
    "event_not_found",
    404,
    "no event with the id {came} is known here",
    "ask by the messageId of the answer, or by the id that was sent; was it refused, or is it older"
    " than the log keeps?",
)
READS_NO_JOB = ErrorRow(
    "reads",
    "erasure_not_found",
    404,
    "this app has no erasure {came}",
    "ask by the job that the order was answered with",
)
READS_FULL = ErrorRow(
    "reads",
    "too_many_erasures",
    503,
    "as many erasures as may wait are waiting",
    "order it again later",
)


def _shared(row: ErrorRow) -> ErrorRow:
    return msgspec.structs.replace(row, protocol="reads")


READS_ERRORS: list[ErrorRow] = [
    _shared(refusal_rest.REST_NO_KEY),
    _shared(refusal_rest.REST_KEY),
    _shared(refusal_rest.REST_NOT_IN_PLAN),
    _shared(refusal.TRACKING_KEY_IN_BROWSER),
    _shared(refusal.TRACKING_ADDRESS),
    _shared(refusal.TRACKING_ORIGIN),
    _shared(refusal_rest.REST_SERVER_ONLY),
    READS_ID,
    READS_SUPPRESS,
    READS_NO_USER,
    READS_NO_EVENT,
    READS_NO_JOB,
    READS_FULL,
]
