"""Values of a call as JSON bytes: what Python holds and JSON does not know gets one clear form."""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import date, datetime
from decimal import Decimal
from enum import Enum
from typing import Union
from uuid import UUID

from trunkline_sdk.clock import format_ms, to_ms
from trunkline_sdk.errors import EventTooLarge, InvalidEvent

Id = Union[str, int]
Moment = Union[datetime, int]
"""A moment: an aware datetime, or milliseconds since 1970 UTC."""

MESSAGE_ID_CHARS_MAX = 100


def encode_event(event: Mapping[str, object], what: str, bytes_max: int) -> bytes:
    """Return an event as JSON in UTF-8. Raises `InvalidEvent`, `EventTooLarge`; `what` names it."""
    try:
        body = encode_json(event)
    except (TypeError, ValueError, RecursionError) as error:
        raise InvalidEvent(f"{what} cannot be written as JSON: {error}") from error
    if len(body) > bytes_max:
        raise EventTooLarge(
            f"{what} is {len(body):,} bytes as JSON; at most {bytes_max:,} are taken. "
            "Send a reference to large content instead of the content."
        )
    return body


def encode_json(value: object) -> bytes:
    """Return a value as JSON in UTF-8. Raises `TypeError`, `ValueError`, `RecursionError`."""
    text = json.dumps(
        value, ensure_ascii=False, allow_nan=False, separators=(",", ":"), default=_plain
    )
    try:
        return text.encode()
    except UnicodeEncodeError:
        # Half of an emoji, cut off by somebody's length limit: it costs itself, not the event.
        return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace").encode()


def read_moment(moment: Moment | None, now: int, what: str) -> int:
    """Return milliseconds since 1970; `now` where no moment is given. Raises `InvalidEvent`."""
    if moment is None:
        return now
    if isinstance(moment, datetime):
        return _aware_ms(moment, what)
    if isinstance(moment, bool) or not isinstance(moment, int):  # pyright: ignore[reportUnnecessaryIsInstance]
        raise InvalidEvent(
            f"{what} is {moment!r}; send a datetime with a time zone, or milliseconds since 1970"
        )
    return moment


def read_id(value: Id | None, what: str) -> str | None:
    """Return an id as text; None where it is absent or empty. Raises `InvalidEvent`."""
    if value is None or value == "":
        return None
    if isinstance(value, bool) or not isinstance(value, (str, int)):  # pyright: ignore[reportUnnecessaryIsInstance]
        raise InvalidEvent(f"{what} is {value!r}; send text or a whole number")
    return str(value)


def read_text(value: str | None, what: str) -> str:
    """Return text that must not be empty. Raises `InvalidEvent`."""
    if not isinstance(value, str) or not value.strip():
        raise InvalidEvent(f"{what} is {value!r}; send text that is not empty")
    return value


def check_message_id(value: str) -> str:
    """Return a message id of the caller's own. Raises `InvalidEvent`."""
    read_text(value, "message_id")
    if len(value) > MESSAGE_ID_CHARS_MAX:
        raise InvalidEvent(
            f"message_id has {len(value)} characters; at most {MESSAGE_ID_CHARS_MAX} are taken"
        )
    return value


def _plain(value: object) -> object:
    if isinstance(value, datetime):
        return format_ms(_aware_ms(value, "a moment in the event"))
    if isinstance(value, date):
        return value.isoformat()
    if isinstance(value, Decimal):
        return _number(value)
    if isinstance(value, UUID):
        return str(value)
    if isinstance(value, Enum):
        return value.value
    if isinstance(value, (set, frozenset, tuple)):
        return list(value)  # pyright: ignore[reportUnknownArgumentType, reportUnknownVariableType]
    if isinstance(value, Mapping):
        return dict(value)  # pyright: ignore[reportUnknownArgumentType, reportUnknownVariableType]
    raise TypeError(f"a {type(value).__name__} ({value!r:.80}) has no form in JSON; convert it")


def _number(value: Decimal) -> int | float:
    if not value.is_finite():
        raise ValueError(f"{value} is no finite number")
    return int(value) if value == value.to_integral_value() else float(value)


def _aware_ms(moment: datetime, what: str) -> int:
    if moment.tzinfo is None:
        raise InvalidEvent(
            f"{what} is {moment.isoformat()} without a time zone, so it may be any of 24 moments; "
            "use datetime.now(timezone.utc)"
        )
    return to_ms(moment)
