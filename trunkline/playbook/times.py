"""Times of events as vendors want them: seconds, milliseconds, or text by a layout."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

from trunkline.playbook.layouts import (
    RFC3339,
    fixed_zone,
    format_moment,
    milliseconds_of,
    moment_of,
    parse_moment,
    seconds_of,
)
from trunkline.playbook.scalars import fields_of, number_of


def epoch_seconds(value: Any) -> int | None:
    """Return Unix seconds of a time: RFC 3339, a date, or a number of seconds or milliseconds."""
    moment = moment_of(value)
    return None if moment is None else seconds_of(moment)


def epoch_milliseconds(value: Any) -> int | None:
    """Return Unix milliseconds of a time: RFC 3339, a date, or a number of either unit."""
    moment = moment_of(value)
    return None if moment is None else milliseconds_of(moment)


def rewrite_time(value: Any, input_layout: str = "", output_layout: str = "") -> str | None:
    """Read a time by a layout (empty: RFC 3339) and write it by another one (empty: the same)."""
    moment = _read(value, input_layout)
    return None if moment is None else format_moment(moment, output_layout or RFC3339)


def date_time(value: Any, options: Any = None) -> str | None:
    """Do the same by options: `inputFormat`, `outputFormat`, `outputLocation: {offset}`.

    The offset is in seconds east of UTC; without it the time stays in the zone that it came in.
    """
    fields = fields_of(options) or {}
    moment = _read(value, _text(fields.get("inputFormat")))
    if moment is None:
        return None
    moved = _move(moment, (fields_of(fields.get("outputLocation")) or {}).get("offset"))
    return (
        None
        if moved is None
        else format_moment(moved, _text(fields.get("outputFormat")) or RFC3339)
    )


def _read(value: Any, layout: str) -> datetime | None:
    # What the layout does not fit may be RFC 3339 all the same: the kits name a layout without a
    # fraction, and the times of events have one.
    moment = parse_moment(value, layout) if layout and isinstance(value, str) else None
    return moment or moment_of(value)


def _move(moment: datetime, offset: Any) -> datetime | None:
    seconds = number_of(offset)
    if seconds is None:
        return moment
    try:
        return moment.astimezone(fixed_zone(timedelta(seconds=round(seconds))))
    except (ValueError, OverflowError):
        return None


def _text(value: Any) -> str:
    return value if isinstance(value, str) else ""
