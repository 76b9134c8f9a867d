"""Which device an event is in order with."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from trunkline.kit.identifiers import device_of

ZERO = "00000000-0000-0000-0000-000000000000"


@pytest.mark.parametrize(
    ("device", "expected"),
    [
        ({"type": "Android", "advertisingId": "AD-1", "id": "x"}, "android:ad-1"),
        ({"type": "ios", "advertisingId": ZERO, "id": "IDFV-1"}, "ios:idfv-1"),
        ({"type": "ios", "id": "IDFV-1"}, "ios:idfv-1"),
        ({"advertisingId": "AD-1"}, "other:ad-1"),
        ({"type": "ios", "advertisingId": ZERO}, ""),
        ({"type": "ios", "advertisingId": 7}, ""),
        ("a phone", ""),
        (None, ""),
    ],
)
def test_the_device_of_an_event(device: Any, expected: str) -> None:
    assert device_of(msgspec.json.encode({"context": {"device": device}})) == expected


@pytest.mark.parametrize("event", [b"{}", b'{"context": 7}', b"no json", b"\xff"])
def test_what_names_no_device_has_none(event: bytes) -> None:
    assert device_of(event) == ""
