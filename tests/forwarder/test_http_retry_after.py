"""`Retry-After` in all its forms."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trunkline.forwarder.retry_after import AFTER_SECONDS_MAX, after_seconds

NOW_MS = 1_795_170_000_000  # Fri, 20 Nov 2026 10:20:00 GMT


@pytest.mark.parametrize(
    ("header", "seconds"),
    [
        (None, 0),
        ("", 0),
        ("0", 0),
        ("7", 7),
        (" 120 ", 120),
        ("1.5", 1.5),
        ("86401", AFTER_SECONDS_MAX),
        ("9999999999", AFTER_SECONDS_MAX),
        ("99999999999999999999", 0),
        ("-5", 0),
        ("soon", 0),
        ("1e9", 0),
        ("Fri, 20 Nov 2026 10:20:30 GMT", 30),
        ("Friday, 20-Nov-26 10:20:30 GMT", 30),
        ("Fri Nov 20 10:20:30 2026", 30),
        ("Fri, 20 Nov 2026 10:19:30 GMT", 0),
        ("Sat, 20 Nov 2027 10:20:30 GMT", AFTER_SECONDS_MAX),
        ("Fri, 99 Nov 2026 10:20:30 GMT", 0),
    ],
)
def test_a_wait_is_between_nothing_and_a_day(header: str | None, seconds: float) -> None:
    assert after_seconds(header, NOW_MS) == pytest.approx(seconds)


@given(st.text(max_size=60))
def test_any_text_gives_a_wait(header: str) -> None:
    assert 0 <= after_seconds(header, NOW_MS) <= AFTER_SECONDS_MAX
