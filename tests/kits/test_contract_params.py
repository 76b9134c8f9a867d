"""An age limit that an operator says: `olderThan: $$NAME$$`."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from trunkline.kit.destination import Mapped
from trunkline.kits.connection import parse_connection
from trunkline.kits.filled import fill_connection
from trunkline.model.outcome import Filtered

NOW_MS = 1_795_169_730_000
DAY_MS = 86_400_000
CONNECTION: dict[str, Any] = {
    "params": [{"name": "AGE_MAX", "defaultValue": "7d", "pattern": "[1-9][0-9]*[smhd]"}],
    "default": {"endpoint": "https://vendor.example/"},
    "contract": [{"rule": "too_old", "olderThan": "$$AGE_MAX$$", "then": "drop"}],
}


def event_of(days: float) -> Mapped:
    timestamp = msgspec.json.encode({"timestamp": (NOW_MS - int(days * DAY_MS)) / 1000})
    return Mapped("m-1", "Shop", "u-42", "track", "x", timestamp, timestamp)


def is_dropped(days: float, **given: str) -> bool:
    contract = fill_connection(parse_connection(CONNECTION), given).contract
    return contract is not None and isinstance(contract.judge(event_of(days), NOW_MS), Filtered)


@pytest.mark.parametrize(
    ("days", "given", "expected"),
    [
        (6.9, {}, False),
        (7.1, {}, True),
        (7.1, {"AGE_MAX": "30d"}, False),
        (31, {"AGE_MAX": "30d"}, True),
        (0.1, {"AGE_MAX": "1h"}, True),
        (1000, {"AGE_MAX": ""}, False),
    ],
)
def test_the_param_says_how_old_an_event_may_be(
    days: float, given: dict[str, str], expected: bool
) -> None:
    assert is_dropped(days, **given) is expected


def test_a_value_that_is_no_span_is_told_and_not_shown() -> None:
    with pytest.raises(ValueError, match="AGE_MAX must be a number with s, m, h or d") as caught:
        is_dropped(1, AGE_MAX="forever")
    assert "forever" not in str(caught.value)


def test_a_param_that_nobody_declares_is_told() -> None:
    bare: dict[str, Any] = {**CONNECTION, "params": []}
    with pytest.raises(ValueError, match="AGE_MAX must be given"):
        fill_connection(parse_connection(bare), {})
