"""The errors of the REST API, as rows of the same table.

What both APIs for batches check in one way has one code and one sentence in both; the others are
ours. One message that fails is answered 200 with the code in `rejected`; the status stands for
what refuses a whole request.
"""

from __future__ import annotations

import msgspec

from trunkline.model import refusal
from trunkline.model.refusal import ErrorRow

REST_NO_KEY = ErrorRow(
    "rest",
    "unknown_key",
    403,
    "the header {header} is missing",
    "send the app's id as X-Application-Id and one of its API keys as X-API-Key",
)
REST_KEY = ErrorRow(
    "rest",
    "unknown_key",
    403,
    "the app id in X-Application-Id or the key in X-API-Key is wrong, or the key's time is over",
    "copy both from the app's settings; the key must be one of this very app",
)
REST_NOT_IN_PLAN = ErrorRow(
    "rest",
    "feature_not_available",
    403,
    "the organisation's plan does not include the REST API",
    "ask who runs this server to add rest to the plan",
)
REST_ENVELOPE = ErrorRow(
    "rest",
    "invalid_envelope",
    400,
    "messages were expected, and {came} came",
    "send an object with a user id and with messages, an array of objects",
)
REST_TOO_MANY = ErrorRow(
    "rest",
    "too_many_messages",
    413,
    "the request holds {count} messages, and at most {limit} are taken at a time",
    "send them in several requests",
)
REST_NO_USER = ErrorRow(
    "rest",
    "no_user_id",
    400,
    "the request names no user",
    'send customUserId, metrixUserId or automationUserId; null, "" and "null" count as absent',
)
REST_IDENTITY = ErrorRow(
    "rest",
    "invalid_identity",
    400,
    "sdkId is {came}",
    "send an object whose sdkId is a string of 1 to {limit} characters",
)
REST_MISSING = ErrorRow(
    "rest",
    "missing_field",
    400,
    "{field} is missing",
    "send {expected}",
)
REST_FIELD = ErrorRow(
    "rest",
    "invalid_field",
    400,
    "{field} is {came}",
    "send {expected}",
)
REST_TIME = ErrorRow(
    "rest",
    "invalid_time",
    400,
    "time is {came}, which is no time",
    "send milliseconds since 1970 UTC, a number",
)
REST_BUSINESS = ErrorRow(
    "rest",
    "server_only_event",
    400,
    "a businessEvent is taken from Server keys only, and {key} is a Client key",
    "send it from a back end with a Server key, or send an action",
)

# Of the paths that are for back ends alone: bulk, reads.
REST_SERVER_ONLY = ErrorRow(
    "rest",
    "server_key_needed",
    403,
    "this needs a Server key, and {key} is a Client key",
    "ask from a back end, with a Server key",
)


def _shared(row: ErrorRow) -> ErrorRow:
    return msgspec.structs.replace(row, protocol="rest")


# Each protocol's rows stand in the order of its checks.
REST_ERRORS: list[ErrorRow] = [
    REST_NO_KEY,
    REST_KEY,
    REST_NOT_IN_PLAN,
    _shared(refusal.TRACKING_KEY_IN_BROWSER),
    _shared(refusal.TRACKING_ADDRESS),
    _shared(refusal.TRACKING_ORIGIN),
    _shared(refusal.TRACKING_NOT_JSON),
    _shared(refusal.TRACKING_TOO_DEEP),
    REST_ENVELOPE,
    REST_TOO_MANY,
    _shared(refusal.TRACKING_TOO_LARGE),
    REST_NO_USER,
    REST_IDENTITY,
    _shared(refusal.TRACKING_NOT_OBJECT),
    _shared(refusal.TRACKING_NUMBER),
    _shared(refusal.TRACKING_TYPE),
    REST_MISSING,
    REST_FIELD,
    REST_TIME,
    REST_BUSINESS,
    _shared(refusal.TRACKING_SERVER_ONLY),
    _shared(refusal.TRACKING_PLAN),
]
