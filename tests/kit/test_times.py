"""Times: every form that a sender uses, and the one that Trunkline writes."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trunkline.kit.times import MS_MAX, MS_MIN, format_ms, parse_time_ms

MS = 1_795_169_730_123  # 2026-11-20T10:15:30.123Z
SECOND = MS - 123


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("2026-11-20T10:15:30.123Z", MS),
        ("2026-11-20T10:15:30Z", SECOND),
        ("2026-11-20T10:15:30", SECOND),
        ("2026-11-20T10:15", SECOND - 30_000),
        ("2026-11-20", SECOND - ((10 * 60 + 15) * 60 + 30) * 1000),
        ("2026-11-20T10:15:30.1Z", SECOND + 100),
        ("2026-11-20T10:15:30,123Z", MS),
        ("2026-11-20T10:15:30.123456+00:00", MS),
        ("2026-11-20T10:15:30.1239999Z", MS),
        ("2026-11-20T13:45:30.123456789+03:30", MS),
        ("2026-11-20T02:15:30.123-0800", MS),
        ("2026-11-20T10:15:30.123-00", MS),
        ("2026-11-20 10:15:30.123", MS),
        ("2026-11-20t10:15:30.123z", MS),
        (" 2026-11-20T10:15:30.123Z ", MS),
        ("20261120T101530Z", SECOND),
        ("2026-12-31T23:59:60Z", 1_798_761_600_000),
        ("2026-12-31T23:59:60.500Z", 1_798_761_600_500),
        (MS, MS),
        (str(MS), MS),
        (SECOND // 1000, SECOND),
        (str(SECOND // 1000), SECOND),
        (SECOND / 1000 + 0.5, SECOND + 500),
        ("1795169730.5", SECOND + 500),
        (0, 0),
        (-1, -1000),
        (99_999_999_999, 99_999_999_999_000),
        (100_000_000_000, 100_000_000_000),
    ],
)
def test_every_precision_and_zone_is_read(value: object, expected: int) -> None:
    assert parse_time_ms(value) == expected


@pytest.mark.parametrize(
    "value",
    [
        None,
        True,
        "",
        " ",
        "yesterday",
        "2026-13-01T00:00:00Z",
        "2026-02-30T00:00:00Z",
        "2026-11-20T25:00:00Z",
        "2026-11-20T10:15:30+99:00",
        "0000-01-01T00:00:00Z",
        "0001-01-01T00:00:00+05:00",
        "9999-12-31T23:59:59.999999-00:01",
        "٢٠٢٦-11-20T10:15:30Z",
        "²",
        "1e9",
        "0x10",
        "2026-11-20T10:15:30Z" * 9,
        "9" * 18,
        float("nan"),
        float("inf"),
        -1e300,
        10**400,
        1_795_169_730_123_000,
        [],
        {},
        b"2026-11-20",
    ],
)
def test_what_is_no_time_is_none(value: object) -> None:
    assert parse_time_ms(value) is None


@given(st.integers(MS_MIN, MS_MAX))
def test_what_is_written_reads_back_as_the_same_moment(ms: int) -> None:
    text = format_ms(ms)
    assert parse_time_ms(text) == ms
    assert len(text) == 24


@given(st.datetimes(timezones=st.timezones()))
def test_a_moment_is_the_same_whatever_its_zone(moment: datetime) -> None:
    in_utc = moment.astimezone(UTC) if 2 < moment.year < 9998 else moment.replace(tzinfo=UTC)
    there = moment if 2 < moment.year < 9998 else in_utc
    assert parse_time_ms(there.isoformat()) == parse_time_ms(in_utc.isoformat())


@given(st.one_of(st.text(), st.floats(), st.integers(), st.booleans(), st.none()))
def test_reading_never_raises_and_what_it_returns_can_be_written(value: object) -> None:
    ms = parse_time_ms(value)
    assert ms is None or parse_time_ms(format_ms(ms)) == ms


@given(st.integers())
def test_a_time_beyond_the_calendar_is_written_as_its_nearest_end(ms: int) -> None:
    assert parse_time_ms(format_ms(ms)) == min(max(ms, MS_MIN), MS_MAX)
