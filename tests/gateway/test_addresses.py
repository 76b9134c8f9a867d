"""Whose request it is, given what a chain of proxies claims."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trunkline.gateway.addresses import Callers, parse_address

PROXIES = ("10.0.0.0/8", "127.0.0.1", "2001:db8:f::/48")


@pytest.mark.parametrize(
    ("text", "address"),
    [
        ("1.2.3.4", "1.2.3.4"),
        (" 1.2.3.4:5678 ", "1.2.3.4"),
        ("2001:DB8::1", "2001:db8::1"),
        ("[2001:db8::1]:443", "2001:db8::1"),
        ("[2001:db8::1]", "2001:db8::1"),
        ('"[2001:db8::1]:443"', "2001:db8::1"),
        ("fe80::1%eth0", "fe80::1"),
        ("::ffff:1.2.3.4", "1.2.3.4"),
        ("[::ffff:1.2.3.4]:80", "1.2.3.4"),
        ("unknown", None),
        ("_hidden", None),
        ("", None),
        ("1.2.3", None),
        ("1.2.3.4.5", None),
        ("example.com:80", None),
    ],
)
def test_addresses_are_read_in_every_form_that_proxies_write(text: str, address: str) -> None:
    assert parse_address(text) == address


@pytest.mark.parametrize(
    ("client", "forwarded", "caller"),
    [
        ("203.0.113.1:5", "", "203.0.113.1"),
        ("203.0.113.1:5", "6.6.6.6", "203.0.113.1"),  # no proxy of ours: not believed
        ("10.0.0.1:5", "", "10.0.0.1"),
        ("10.0.0.1:5", "6.6.6.6", "6.6.6.6"),
        ("10.0.0.1:5", "1.1.1.1, 6.6.6.6", "6.6.6.6"),  # the left is what the caller wrote
        ("10.0.0.1:5", "1.1.1.1, 6.6.6.6,10.0.0.2", "6.6.6.6"),
        ("10.0.0.1:5", "10.0.0.3, 10.0.0.2", "10.0.0.3"),  # nobody but proxies
        ("10.0.0.1:5", "6.6.6.6, garbage, 10.0.0.2", "10.0.0.2"),
        ("10.0.0.1:5", "garbage", "10.0.0.1"),
        ("10.0.0.1:5", ",,", "10.0.0.1"),
        ("10.0.0.1:5", "[2001:db8::9]:80, 10.0.0.2:99", "2001:db8::9"),
        ("[2001:db8:f::1]:5", "6.6.6.6", "6.6.6.6"),
        ("[::ffff:10.0.0.1]:5", "6.6.6.6", "6.6.6.6"),
        ("[2001:db8::1]:5", "6.6.6.6", "2001:db8::1"),
    ],
)
def test_the_caller_is_the_rightmost_hop_that_is_no_trusted_proxy(
    client: str, forwarded: str, caller: str
) -> None:
    assert Callers(PROXIES).find(client, forwarded) == caller


@given(st.text(max_size=300))
def test_no_header_makes_it_raise_or_name_what_is_no_address(forwarded: str) -> None:
    found = Callers(PROXIES).find("10.0.0.1:5", forwarded)
    assert parse_address(found) == found


def test_a_chain_without_end_is_walked_a_little_way() -> None:
    assert Callers(PROXIES).find("10.0.0.1:5", "10.0.0.9," * 100_000) == "10.0.0.1"
    chain = "6.6.6.6," + ",".join(["10.0.0.9"] * 1000)
    assert Callers(PROXIES).find("10.0.0.1:5", chain) == "10.0.0.9"
