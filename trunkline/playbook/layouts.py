"""Times as text, by layouts that spell one moment: Monday, 2 January 2006, 15:04:05, zone -07:00.

`2006-01-02 15:04` says how a time looks by writing that moment down, as the Go language has it and
the kits do. Everything here is total: what cannot be read or written is None. A moment is a
`datetime` that knows its zone, good to the microsecond; what is finer is cut off. A text without a
zone is UTC.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta, timezone, tzinfo
from functools import lru_cache
from typing import NamedTuple

LAYOUT_MAX = 100  # characters
RFC3339 = "2006-01-02T15:04:05.999Z07:00"

_TEXT_MAX = 100  # characters
_SECONDS_BELOW = 100_000_000_000  # a smaller number is seconds, as everywhere in the node
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MONTHS = (
    "January", "February", "March", "April", "May", "June", "July", "August", "September",
    "October", "November", "December",
)  # fmt: skip
_DAYS = ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday")
# The abbreviations that RFC 5322 gives an offset; any other one says nothing certain.
_ZONE_HOURS = {
    "UTC": 0, "GMT": 0, "UT": 0, "Z": 0,
    "EST": -5, "EDT": -4, "CST": -6, "CDT": -5, "MST": -7, "MDT": -6, "PST": -8, "PDT": -7,
}  # fmt: skip
_FRACTION = re.compile(r"[.,](?:0+|9+)")
_TOKEN = re.compile(
    r"January|Jan(?![a-z])|Monday|Mon(?![a-z])|MST|__2|_2(?!006)|2006|002|0[1-6]|15|[1-5]|PM|pm"
    r"|[-Z]07(?:0000|:00:00|00|:00)?|[.,](?:0+|9+)(?![0-9])"
)


class Part(NamedTuple):
    """A piece of a layout: a token that stands for a field of time, or text that is itself."""

    text: str
    is_token: bool


@lru_cache(maxsize=512)
def split_layout(layout: str) -> tuple[Part, ...]:
    """Return the pieces of a layout in order; only the first 100 characters count."""
    return tuple(_parts(layout[:LAYOUT_MAX]))


def _parts(layout: str) -> Iterator[Part]:
    at = 0
    for match in _TOKEN.finditer(layout):
        if match.start() > at:
            yield Part(layout[at : match.start()], False)
        yield Part(match[0], True)
        at = match.end()
    if at < len(layout):
        yield Part(layout[at:], False)


def format_moment(moment: datetime, layout: str) -> str | None:
    """Write a moment in its own zone. A layout with a bare `Z` for the zone gets UTC."""
    parts = split_layout(layout)
    if any(not part.is_token and part.text.startswith("Z") for part in parts):
        try:
            moment = moment.astimezone(UTC)
        except OverflowError:
            return None
    return "".join(_write(part.text, moment) if part.is_token else part.text for part in parts)


_WRITERS: dict[str, Callable[[datetime], str]] = {
    "January": lambda t: _MONTHS[t.month - 1],
    "Jan": lambda t: _MONTHS[t.month - 1][:3],
    "1": lambda t: str(t.month),
    "01": lambda t: f"{t.month:02}",
    "Monday": lambda t: _DAYS[t.weekday()],
    "Mon": lambda t: _DAYS[t.weekday()][:3],
    "2": lambda t: str(t.day),
    "_2": lambda t: f"{t.day:2}",
    "02": lambda t: f"{t.day:02}",
    "__2": lambda t: f"{t.timetuple().tm_yday:3}",
    "002": lambda t: f"{t.timetuple().tm_yday:03}",
    "15": lambda t: f"{t.hour:02}",
    "3": lambda t: str(t.hour % 12 or 12),
    "03": lambda t: f"{t.hour % 12 or 12:02}",
    "4": lambda t: str(t.minute),
    "04": lambda t: f"{t.minute:02}",
    "5": lambda t: str(t.second),
    "05": lambda t: f"{t.second:02}",
    "2006": lambda t: f"{t.year:04}",
    "06": lambda t: f"{t.year % 100:02}",
    "PM": lambda t: "AM" if t.hour < 12 else "PM",
    "pm": lambda t: "am" if t.hour < 12 else "pm",
    "MST": lambda t: t.tzname() or "UTC",
}


def _write(token: str, moment: datetime) -> str:
    writer = _WRITERS.get(token)
    if writer:
        return writer(moment)
    if token[0] in ".,":
        return _write_fraction(token, moment)
    return _write_zone(token, moment)


def _write_fraction(token: str, moment: datetime) -> str:
    digits = f"{moment.microsecond:06}".ljust(len(token) - 1, "0")[: len(token) - 1]
    if token[1] == "0":
        return token[0] + digits
    digits = digits.rstrip("0")
    return token[0] + digits if digits else ""


def _write_zone(token: str, moment: datetime) -> str:
    offset = moment.utcoffset() or timedelta()
    seconds = round(offset.total_seconds())
    if token[0] == "Z" and not seconds:
        return "Z"
    hours, rest = divmod(abs(seconds), 3600)
    minutes, seconds_left = divmod(rest, 60)
    colon = ":" if ":" in token else ""
    numbers = [hours, minutes, seconds_left][: (len(token) - token.count(":") - 1) // 2]
    return ("-" if seconds < 0 else "+") + colon.join(f"{number:02}" for number in numbers)


def parse_moment(text: str, layout: str) -> datetime | None:
    """Read a time by a layout. As in Go, a fraction may follow the seconds unasked."""
    match = _pattern(layout).fullmatch(text) if len(text) <= _TEXT_MAX else None
    if match is None:
        return None
    fields = {name: value for name, value in match.groupdict().items() if value is not None}
    try:
        return _moment(fields)
    except (ValueError, OverflowError):
        return None


# Possessive, so that nothing is tried twice: `1` and `2` take two digits where there are two.
_ONE_OR_TWO = "[0-9]{1,2}+"
_READERS: dict[str, tuple[str, str]] = {
    "January": ("month_name", "|".join(_MONTHS)),
    "Jan": ("month_name", "|".join(name[:3] for name in _MONTHS)),
    "1": ("month", _ONE_OR_TWO),
    "01": ("month", "[0-9]{2}"),
    "Monday": ("weekday", "|".join(_DAYS)),
    "Mon": ("weekday", "|".join(name[:3] for name in _DAYS)),
    "2": ("day", _ONE_OR_TWO),
    "_2": ("day", " ?" + _ONE_OR_TWO),
    "02": ("day", "[0-9]{2}"),
    "__2": ("yearday", " {0,2}[0-9]{1,3}+"),
    "002": ("yearday", "[0-9]{3}"),
    "15": ("hour", _ONE_OR_TWO),
    "3": ("hour12", _ONE_OR_TWO),
    "03": ("hour12", "[0-9]{2}"),
    "4": ("minute", _ONE_OR_TWO),
    "04": ("minute", "[0-9]{2}"),
    "5": ("second", _ONE_OR_TWO),
    "05": ("second", "[0-9]{2}"),
    "2006": ("year", "[0-9]{4}"),
    "06": ("short_year", "[0-9]{2}"),
    "PM": ("half", "AM|PM"),
    "pm": ("half", "am|pm"),
    "MST": ("zone_name", "[A-Z]{1,5}+"),
}


@lru_cache(maxsize=512)
def _pattern(layout: str) -> re.Pattern[str]:
    parts = split_layout(layout)
    seen: set[str] = set()
    pieces: list[str] = []
    for number, part in enumerate(parts):
        following = parts[number + 1].text if number + 1 < len(parts) else ""
        pieces.append(_piece(part, following, seen))
    return re.compile("".join(pieces), re.IGNORECASE | re.ASCII)


def _piece(part: Part, following: str, seen: set[str]) -> str:
    if not part.is_token:
        return re.escape(part.text)
    name, pattern = _READERS.get(part.text) or _reader_of_rest(part.text)
    # A field that stands twice is read where it stands first.
    piece = f"(?P<{name}>{pattern})" if name not in seen else f"(?:{pattern})"
    seen.add(name)
    if name == "second" and "fraction" not in seen and not _FRACTION.fullmatch(following):
        seen.add("fraction")
        piece += "(?P<fraction>[.,][0-9]++)?"
    return piece


def _reader_of_rest(token: str) -> tuple[str, str]:
    if token[0] in ".,":
        return "fraction", r"[.,][0-9]++" if token[1] == "0" else r"(?:[.,][0-9]++)?"
    colon = ":" if ":" in token else ""
    pairs = (len(token) - token.count(":") - 1) // 2
    digits = colon.join(["[0-9]{2}"] * pairs)
    return "zone", f"[+-]{digits}" + ("|Z" if token[0] == "Z" else "")


def _moment(fields: dict[str, str]) -> datetime:
    """Put a moment together. Raises ValueError where the fields are no time that exists."""
    year = int(fields.get("year", 1))
    if "short_year" in fields:
        short = int(fields["short_year"])
        year = short + (1900 if short >= 69 else 2000)
    day, minute = int(fields.get("day", 1)), int(fields.get("minute", 0))
    second = int(fields.get("second", 0))
    # RFC 3339 knows a second 60: the moment is then the first one after it.
    leap = timedelta(seconds=1 if second == 60 else 0)
    clock = (_hour(fields), minute, min(second, 59) if leap else second)
    moment = datetime(
        year, _month(fields), day, *clock, _microseconds(fields.get("fraction", "")), _zone(fields)
    )
    if "yearday" in fields:
        moment += timedelta(days=int(fields["yearday"]) - moment.timetuple().tm_yday)
        if moment.year != year:
            raise ValueError("no such day of the year")
    return moment + leap


def _month(fields: dict[str, str]) -> int:
    if "month_name" in fields:
        short = fields["month_name"][:3].capitalize()
        return 1 + next(n for n, name in enumerate(_MONTHS) if name.startswith(short))
    return int(fields.get("month", 1))


def _hour(fields: dict[str, str]) -> int:
    if "hour12" not in fields:
        return int(fields.get("hour", 0))
    hour = int(fields["hour12"])
    if not 1 <= hour <= 12:
        raise ValueError("an hour of twelve")
    return hour % 12 + (12 if fields.get("half", "").upper() == "PM" else 0)


def _microseconds(fraction: str) -> int:
    return int(fraction[1:7].ljust(6, "0")) if len(fraction) > 1 else 0


def _zone(fields: dict[str, str]) -> tzinfo:
    if "zone_name" in fields and "zone" not in fields:
        name = fields["zone_name"].upper()
        if name not in _ZONE_HOURS:
            raise ValueError("a zone of unknown offset")
        hours = _ZONE_HOURS[name]
        return timezone(timedelta(hours=hours), name) if hours else UTC
    text = fields.get("zone", "Z").replace(":", "").upper()
    if text == "Z":
        return UTC
    numbers = [int(text[at : at + 2]) for at in range(1, len(text), 2)]
    hours, minutes, seconds = (numbers + [0, 0])[:3]
    if minutes > 59 or seconds > 59:
        raise ValueError("a zone of more than 59 minutes")
    offset = timedelta(hours=hours, minutes=minutes, seconds=seconds)
    return fixed_zone(-offset if text[0] == "-" else offset)


def fixed_zone(offset: timedelta) -> tzinfo:
    """Return the zone of an offset. Raises ValueError beyond a day."""
    return timezone(offset) if offset else UTC


_RFC3339 = re.compile(
    r"([0-9]{4}-[0-9]{2}-[0-9]{2})"
    r"(?:[Tt ]([0-9]{2}:[0-9]{2}(?::[0-9]{2})?)([.,][0-9]++)?([Zz]|[+-][0-9]{2}:?[0-9]{2})?)?"
)


def moment_of(value: object) -> datetime | None:
    """Read RFC 3339 with any fraction, a date alone, or Unix time as a number.

    A number below 100,000,000,000 is seconds, a greater one milliseconds.
    """
    if isinstance(value, str):
        return _parse_rfc3339(value.strip()) if len(value) <= _TEXT_MAX else None
    if isinstance(value, int | float) and not isinstance(value, bool):
        return _of_number(value)
    return None


def _parse_rfc3339(text: str) -> datetime | None:
    match = _RFC3339.fullmatch(text)
    if match is None:
        return None
    date, time, fraction, zone = match.groups()
    clock = (time or "00:00:00").ljust(8, "x").replace("xxx", ":00")
    fields = dict(zip(("year", "month", "day"), date.split("-"), strict=True))
    fields |= dict(zip(("hour", "minute", "second"), clock.split(":"), strict=True))
    fields |= {"fraction": fraction or "", "zone": zone or "Z"}
    try:
        return _moment(fields)
    except (ValueError, OverflowError):
        return None


def _of_number(value: float) -> datetime | None:
    if not math.isfinite(value):
        return None
    seconds = value if abs(value) < _SECONDS_BELOW else value / 1000
    try:
        return _EPOCH + timedelta(seconds=seconds)
    except OverflowError:
        return None


def milliseconds_of(moment: datetime) -> int:
    """Return Unix milliseconds; what is finer is cut off, never rounded up."""
    return (moment - _EPOCH) // timedelta(milliseconds=1)


def seconds_of(moment: datetime) -> int:
    """Return Unix seconds; what is finer is cut off, never rounded up."""
    return (moment - _EPOCH) // timedelta(seconds=1)
