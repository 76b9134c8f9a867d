"""Redaction: total, bounded, and no secret comes through."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from trunkline.kit.redact import BODY_BYTES_MAX, redact, redact_pair

SECRET = "hunter2-correct-horse"
SECRET_KEYS = [
    *("password", "passwd", "Authorization", "token", "access_token", "refreshToken", "secret"),
    *("client_secret", "api_key", "apiKey", "api-key", "x-api-key", "dev_key", "devKey", "cookie"),
    *("write_key", "private_key", "key", "pin", "otp", "cvv", "cvv2", "signature", "user.pin"),
]
PLAIN_KEYS = ["keyboard", "shopping", "pinned_city", "panel", "author", "monkey", "metrixUserId"]


@pytest.mark.parametrize("key", SECRET_KEYS)
def test_values_of_secret_keys_are_masked_wherever_they_stand(key: str) -> None:
    for value in (SECRET, [SECRET], {"inner": SECRET}, 77123456):
        body = msgspec.json.encode({"a": [{"b": {key: value}}], "kept": 1})
        assert redact(body) == msgspec.json.encode({"a": [{"b": {key: "[redacted]"}}], "kept": 1})


@pytest.mark.parametrize("key", PLAIN_KEYS)
def test_other_keys_hide_nothing(key: str) -> None:
    body = msgspec.json.encode({key: "plain", "n": 1570274953412, "text": "1570274953412"})
    assert redact(body) == body


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        ("4111111111111111", "[redacted …1111]"),
        ("card 4111 1111 1111 1111.", "card [redacted …1111]."),
        ("6037-9911-0000-0003", "[redacted …0003]"),
        (4111111111111111, "[redacted …1111]"),
        ("4111111111111112", "4111111111111112"),
        ("38400000-8cf0-11bd-b23e-10b96e40000d", "38400000-8cf0-11bd-b23e-10b96e40000d"),
        (1570274953412, 1570274953412),
        (True, True),
        (None, None),
    ],
)
def test_digits_that_pass_as_a_payment_card_are_masked(value: Any, shown: Any) -> None:
    assert redact_pair("note", value) == shown


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("user=1&password=hunter2&x=3", "user=1&password=[redacted]&x=3"),
        ("Authorization: Bearer abc.def\nx: 1", "Authorization: [redacted]\nx: 1"),
        ('{"token": "ab\\"c", "a": 1', '{"token": [redacted], "a": 1'),
        ("{'api_key': 'abc', 'a': 1}", "{'api_key': [redacted], 'a': 1}"),
        ('{"password": "never clo', '{"password": [redacted]'),
        ("pay 4111 1111 1111 1111 now", "pay [redacted …1111] now"),
    ],
)
def test_what_is_no_json_is_redacted_as_text(text: str, shown: str) -> None:
    assert redact(text.encode()).decode() == shown


def test_empty_values_and_booleans_are_shown_since_they_are_no_secret() -> None:
    body = b'{"password":null,"token":"","secret":false}'
    assert redact(body) == body


def test_a_body_that_was_mended_is_shown_mended() -> None:
    assert redact(b'\xef\xbb\xbf{"a":"\\ud83d"}') == '{"a":"\ufffd"}'.encode()


@given(st.binary(max_size=4000), st.integers(0, 3000))
def test_any_bytes_give_bounded_utf8(body: bytes, bytes_max: int) -> None:
    shown = redact(body, bytes_max)
    assert len(shown) <= bytes_max
    assert shown.decode()[:1] is not None


@given(
    st.sampled_from(SECRET_KEYS),
    st.text(max_size=40),
    st.sampled_from(["", "{", '"', "\xff", "]"]),
)
def test_no_secret_comes_through_a_broken_body(key: str, before: str, tail: str) -> None:
    body = msgspec.json.encode({before: before, key: SECRET}) + tail.encode("latin-1")
    assert SECRET.encode() not in redact(body)


@pytest.mark.parametrize("piece", [b"[", b"token", b'token="\\', b"1 ", b'{"a":', b"key:", b"\xff"])
def test_a_long_hostile_body_is_cut_to_its_bound(piece: bytes) -> None:
    assert len(redact(piece * (65_536 // len(piece)))) <= BODY_BYTES_MAX
