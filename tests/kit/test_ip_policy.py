"""What of an address may be kept, as its sender asked."""

from __future__ import annotations

import pytest

from trunkline.kit.ip_policy import hide_address


@pytest.mark.parametrize(
    ("address", "policy", "kept"),
    [
        ("203.0.113.9", "", "203.0.113.9"),
        ("203.0.113.9", "keep", "203.0.113.9"),
        ("203.0.113.9", " Keep ", "203.0.113.9"),
        ("203.0.113.9", "remove", ""),
        ("203.0.113.9", "stripLastOctet", "203.0.113.0"),
        ("203.0.113.9", "striplastoctet", "203.0.113.0"),
        ("::ffff:203.0.113.9", "stripLastOctet", "203.0.113.0"),
        ("2001:db8:1:2:3:4:5:6", "stripLastOctet", "2001:db8:1::"),
        ("", "stripLastOctet", ""),
        ("unix", "stripLastOctet", ""),
        ("203.0.113.9", "forget", ""),
    ],
)
def test_no_more_is_kept_than_was_allowed(address: str, policy: str, kept: str) -> None:
    assert hide_address(address, policy) == kept
