"""The errors of `POST /push`, as rows of the same table as every other."""

from __future__ import annotations

import msgspec

from trunkline.model import refusal, refusal_rest
from trunkline.model.refusal import ErrorRow

PUSH_NOT_IN_PLAN = ErrorRow(
    "push",
    "feature_not_available",
    403,
    "the organisation's plan does not include push",
    "ask who runs this server to add push to the plan",
)
PUSH_ENVELOPE = ErrorRow(
    "push",
    "invalid_envelope",
    400,
    "the body is {came}, not a JSON object",
    "send an object with recipients, channel and message",
)
PUSH_FIELD = ErrorRow(
    "push",
    "invalid_field",
    400,
    "{field} is {came}",
    "send {expected}",
)
PUSH_TOO_MANY = ErrorRow(
    "push",
    "too_many_recipients",
    413,
    "the request has {count} recipients, and at most {limit} are taken at a time",
    "send several requests",
)


def _shared(row: ErrorRow) -> ErrorRow:
    return msgspec.structs.replace(row, protocol="push")


# In the order of the checks.
PUSH_ERRORS: list[ErrorRow] = [
    _shared(refusal_rest.REST_NO_KEY),
    _shared(refusal_rest.REST_KEY),
    PUSH_NOT_IN_PLAN,
    _shared(refusal.TRACKING_KEY_IN_BROWSER),
    _shared(refusal.TRACKING_ADDRESS),
    _shared(refusal.TRACKING_ORIGIN),
    _shared(refusal_rest.REST_SERVER_ONLY),
    _shared(refusal.TRACKING_NOT_JSON),
    _shared(refusal.TRACKING_TOO_DEEP),
    _shared(refusal.TRACKING_NUMBER),
    PUSH_ENVELOPE,
    PUSH_FIELD,
    PUSH_TOO_MANY,
    _shared(refusal.TRACKING_TOO_LARGE),
]
