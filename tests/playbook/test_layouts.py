"""Layouts: what they write, what they read, and that nothing stops them."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trunkline.kit.times import parse_time_ms
from trunkline.playbook.layouts import format_moment, milliseconds_of, moment_of, parse_moment

TEHRAN = timezone(timedelta(hours=3, minutes=30))
MORNING = datetime(2026, 3, 7, 9, 5, 8, 120_034, tzinfo=TEHRAN)
NOON = datetime(2026, 11, 20, 12, 15, 30, tzinfo=UTC)

WRITTEN = [
    (MORNING, "2006-01-02T15:04:05Z07:00", "2026-03-07T09:05:08+03:30"),
    (NOON, "2006-01-02T15:04:05Z07:00", "2026-11-20T12:15:30Z"),
    (MORNING, "2006-01-02T15:04:05.000Z", "2026-03-07T05:35:08.120Z"),
    (MORNING, "2006-01-02T15:04:05-0700", "2026-03-07T09:05:08+0330"),
    (MORNING, "2006-01-02 15:04:05-07:00", "2026-03-07 09:05:08+03:30"),
    (MORNING, "2006-01-02 15:04:05.000", "2026-03-07 09:05:08.120"),
    (MORNING, "05.999999", "08.120034"),
    (MORNING, "05.999", "08.12"),
    (NOON, "05.999Z07:00", "30Z"),
    (MORNING, "05,000000000", "08,120034000"),
    (MORNING, "20060102_1504", "20260307_0905"),
    (MORNING, "Mon Jan _2 15:04:05 2006", "Sat Mar  7 09:05:08 2026"),
    (MORNING, "Monday, 2 January 06 3:4:5PM", "Saturday, 7 March 26 9:5:8AM"),
    (NOON, "03pm", "12pm"),
    (MORNING, "002 __2", "066  66"),
    (NOON, "Mon, 02 Jan 2006 15:04:05 MST", "Fri, 20 Nov 2026 12:15:30 UTC"),
    (MORNING, "Z0700 Z07 -07", "+0330 +03 +03"),
    (NOON, "Z0700 Z07:00:00 -07:00:00", "Z Z +00:00:00"),
    (MORNING, "January Janet", "March Janet"),
    (MORNING, "no time at all", "no time at all"),
]

READ = [
    ("2006-01-02T15:04:05Z07:00", "2026-03-07T09:05:08+03:30", "2026-03-07T05:35:08Z"),
    ("2006-01-02T15:04:05Z07:00", "2026-03-07T09:05:08Z", "2026-03-07T09:05:08Z"),
    ("2006-01-02T15:04:05Z07:00", "2026-03-07T09:05:08.123456789Z", "2026-03-07T09:05:08.123456Z"),
    ("2006-01-02", "2026-03-07", "2026-03-07T00:00:00Z"),
    ("02/01/2006 15:04", "07/03/2026 09:05", "2026-03-07T09:05:00Z"),
    ("2/1/06", "7/3/26", "2026-03-07T00:00:00Z"),
    ("1/2/06", "12/31/69", "1969-12-31T00:00:00Z"),
    ("Jan _2 2006 3:04 PM", "mar  7 2026 9:05 pm", "2026-03-07T21:05:00Z"),
    ("Monday, January 2, 2006", "Saturday, March 7, 2026", "2026-03-07T00:00:00Z"),
    ("2006 002", "2026 066", "2026-03-07T00:00:00Z"),
    ("02 Jan 2006 15:04:05 MST", "07 Mar 2026 09:05:08 EST", "2026-03-07T14:05:08Z"),
    ("2006-01-02 15:04:05.000", "2026-03-07 09:05:08.120", "2026-03-07T09:05:08.12Z"),
    ("2006-01-02T15:04:05Z07:00", "2016-12-31T23:59:60Z", "2017-01-01T00:00:00Z"),
]

UNREADABLE = [
    ("2006-01-02", "2026-02-30"),
    ("2006-01-02", "2026-03-07T"),
    ("2006-01-02", ""),
    ("2006-01-02", "۲۰۲۶-۰۳-۰۷"),
    ("03:04 PM", "13:04 PM"),
    ("2006 002", "2025 366"),
    ("02 Jan 2006 MST", "07 Mar 2026 ABC"),
    ("2006-01-02T15:04:05Z07:00", "2026-03-07T09:05:08+03:75"),
    ("2006-01-02T15:04:05Z07:00", "2026-03-07T09:05:08+99:00"),
    ("2006", "2" * 1000),
]


@pytest.mark.parametrize(("moment", "layout", "text"), WRITTEN)
def test_a_layout_writes_what_the_reference_moment_spells(
    moment: datetime, layout: str, text: str
) -> None:
    assert format_moment(moment, layout) == text


@pytest.mark.parametrize(("layout", "text", "moment"), READ)
def test_a_layout_reads_a_time(layout: str, text: str, moment: str) -> None:
    assert parse_moment(text, layout) == moment_of(moment)


@pytest.mark.parametrize(("layout", "text"), UNREADABLE)
def test_what_a_layout_cannot_read_is_none(layout: str, text: str) -> None:
    assert parse_moment(text, layout) is None


MOMENTS = st.datetimes(
    datetime(1, 1, 3),
    datetime(9999, 12, 29),
    timezones=st.integers(-14 * 60, 14 * 60).map(lambda m: timezone(timedelta(minutes=m))),
)
WHOLE_LAYOUTS = st.sampled_from(
    [
        "2006-01-02T15:04:05.000000Z07:00",
        "Mon Jan _2 15:04:05.999999 -0700 2006",
        "2006.002 03:04:05,000000 pm -07:00",
        "2 January 2006 3h4m5.000000s PM Z0700",
    ]
)


@given(MOMENTS, WHOLE_LAYOUTS)
def test_what_a_layout_writes_it_reads(moment: datetime, layout: str) -> None:
    text = format_moment(moment, layout)
    assert text is not None
    assert parse_moment(text, layout) == moment


# Pieces of layouts in any order, so that the ambiguous ones meet.
LAYOUTS = st.lists(
    st.sampled_from(
        [
            "2006",
            "01",
            "02",
            "002",
            "_2",
            "__2",
            "1",
            "2",
            "3",
            "4",
            "5",
            "15",
            "PM",
            "Jan",
            "January",
            "Mon",
            "MST",
            "-07:00",
            "Z0700",
            ".000",
            ".999",
            "Z",
            "x",
            "(",
            "*",
        ]
    ),
    max_size=12,
).map("".join) | st.text(max_size=150)


@given(MOMENTS | st.sampled_from([datetime.min, datetime.max]), LAYOUTS, st.text(max_size=120))
def test_no_layout_and_no_text_raises(moment: datetime, layout: str, text: str) -> None:
    aware = moment if moment.tzinfo else moment.replace(tzinfo=TEHRAN)
    written = format_moment(aware, layout)
    for candidate in (text, written or ""):
        parsed = parse_moment(candidate, layout)
        assert parsed is None or parsed.tzinfo is not None
    found = moment_of(text)
    assert found is None or milliseconds_of(found) is not None


@given(st.datetimes(datetime(1, 1, 2), datetime(9999, 12, 30)), st.integers(0, 9), st.booleans())
def test_times_read_as_the_gateway_reads_them(moment: datetime, digits: int, is_utc: bool) -> None:
    fraction = f".{moment.microsecond:06}000"[: digits + 1] if digits else ""
    text = f"{moment:%Y-%m-%dT%H:%M:%S}".rjust(19, "0") + fraction + ("Z" if is_utc else "-05:00")
    found = moment_of(text)
    assert found is not None
    assert milliseconds_of(found) == parse_time_ms(text)


@pytest.mark.parametrize(
    ("value", "milliseconds"),
    [
        (1_795_169_730, 1_795_169_730_000),
        (1_795_169_730_250, 1_795_169_730_250),
        (1.5, 1500),
        ("2026-11-20", 1_795_132_800_000),
        ("2026-11-20 10:15", 1_795_169_700_000),
        (" 2026-11-20T10:15:30.9999Z ", 1_795_169_730_999),
        ("1969-12-31T23:59:59.9999Z", -1),
    ],
)
def test_a_time_may_be_a_number_or_a_date(value: object, milliseconds: int) -> None:
    found = moment_of(value)
    assert found is not None
    assert milliseconds_of(found) == milliseconds


@pytest.mark.parametrize("value", [None, True, "", "soon", 1e300, [], "0000-01-01", "2026-13-01"])
def test_what_is_no_time_is_none(value: object) -> None:
    assert moment_of(value) is None
