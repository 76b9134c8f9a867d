"""The second decoder: what it mends, what it refuses, and that it never surprises the first."""

from __future__ import annotations

import json
import math
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from trunkline.kit.json_repair import (
    DEPTH_MAX,
    JsonError,
    decode_repaired,
    has_long_number,
    is_too_deep,
    mend_text,
    read_json,
)

VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=20,
)

MENDED: list[tuple[bytes, Any]] = [
    (b'\xef\xbb\xbf{"a": 1}', {"a": 1}),
    (b'"cut \\ud83d"', "cut \ufffd"),
    (b'"\\udc00 low"', "\ufffd low"),
    (b'"\\ud83d\\ude00"', "😀"),
    (b'"\xed\xa0\xbd"', "\ufffd"),
    (b'"\xed\xa0\xbd\xed\xb8\x80"', "😀"),
    (b'{"\\ud83d": 1}', {"\ufffd": 1}),
    (b'["\\u0000"]', ["\0"]),
    (b'{"a": 1, "a": 2}', {"a": 2}),
    (b"123456789012345678901234567890", 123456789012345678901234567890),
    (b" [1.5e3 , -0.0]\r\n", [1500.0, -0.0]),
]

REFUSED: list[tuple[bytes, str, str]] = [
    (b"", "malformed", "the body is empty"),
    (b" \n", "malformed", "the body is empty"),
    (b"{", "malformed", "not JSON: expecting property name enclosed in double quotes at byte 1"),
    ("{'é': 1}".encode(), "malformed", "at byte 1"),
    ('["é", x]'.encode(), "malformed", "not JSON: expecting value at byte 7"),
    (b"\xef\xbb\xbf[x]", "malformed", "not JSON: expecting value at byte 4"),
    (b"{} {}", "malformed", "not JSON: extra data at byte 3"),
    (b'"a\nb"', "malformed", "not JSON: invalid control character at byte 2"),
    (b"[01]", "malformed", "at byte 2"),
    (b"[.5]", "malformed", "at byte 1"),
    (b'["x", NaN]', "invalid_number", "NaN at byte 6 is no JSON number"),
    (b'{"NaN": -Infinity}', "invalid_number", "-Infinity at byte 8 is no JSON number"),
    (b'["1e999", 1e999]', "invalid_number", "the number 1e999 at byte 10 does not fit a double"),
    (b"[" + b"9" * 400 + b"]", "invalid_number", "the number 9999"),
    (b"[" + b"9" * 5000 + b"]", "invalid_number", "… at byte 1 does not fit a double"),
    (b"[" * 65 + b"]" * 65, "too_deep", "more than 64 levels deep"),
    (b"[" * 50_000, "too_deep", "more than 64 levels deep"),
    ('{"a": 1}'.encode("utf-16"), "not_utf8", "the body is UTF-16 or UTF-32"),
    ('{"a": 1}'.encode("utf-16-be"), "not_utf8", "the body is UTF-16 or UTF-32"),
    ('{"a": 1}'.encode("utf-32"), "not_utf8", "the body is UTF-16 or UTF-32"),
    (b'{"a": "\xe9"}', "not_utf8", "byte 7 (0xe9) is not valid UTF-8"),
    (b'\xef\xbb\xbf"\xff"', "not_utf8", "byte 4 (0xff) is not valid UTF-8"),
]


@pytest.mark.parametrize(("body", "value"), MENDED)
def test_what_real_senders_get_wrong_is_mended(body: bytes, value: Any) -> None:
    got, clean = decode_repaired(body)
    assert got == value
    assert msgspec.json.decode(clean) == value
    assert read_json(body)[0] == value


@pytest.mark.parametrize(("body", "code", "words"), REFUSED)
def test_what_cannot_be_taken_is_named_with_its_byte(body: bytes, code: str, words: str) -> None:
    for decode in (decode_repaired, read_json):
        with pytest.raises(JsonError) as caught:
            decode(body)
        assert caught.value.code == code
        assert words in str(caught.value)


def test_a_number_beyond_a_double_leaves_the_rest_readable() -> None:
    with pytest.raises(JsonError) as caught:
        decode_repaired(b'{"a": 1e999, "b": [-1e999], "c": "\\ud83d"}')
    assert caught.value.value == {"a": math.inf, "b": [-math.inf], "c": "\ufffd"}


def test_the_body_itself_comes_back_when_nothing_was_wrong() -> None:
    body = b' {"a" : 1.50, "b":"\\u00e9"} '
    assert read_json(body) == ({"a": 1.5, "b": "é"}, body)


@given(st.binary())
def test_any_bytes_give_a_value_or_a_json_error(body: bytes) -> None:
    try:
        value, clean = read_json(body)
    except JsonError as error:
        assert str(error)
    else:
        assert msgspec.json.decode(clean) == value


@given(st.lists(st.sampled_from([*'[]{}",:\\0e9-.N', "\ud83d", "é", "1" * 309, " "])).map("".join))
def test_any_json_like_text_gives_a_value_or_a_json_error(text: str) -> None:
    body = text.encode("utf-8", "surrogatepass")
    try:
        value, clean = decode_repaired(body)
    except JsonError as error:
        assert str(error)
    else:
        assert msgspec.json.decode(clean) == value


@given(VALUES)
def test_both_decoders_read_the_same(value: Any) -> None:
    for body in (msgspec.json.encode(value), json.dumps(value).encode()):
        assert repr(decode_repaired(body)[0]) == repr(msgspec.json.decode(body)) == repr(value)


def deepest(text: str) -> int:
    """The depth by a plain scan: the specification of `is_too_deep`."""
    depth = most = 0
    is_string = is_escaped = False
    for ch in text:
        if is_string:
            is_escaped, was_escaped = ch == "\\" and not is_escaped, is_escaped
            is_string = ch != '"' or was_escaped
        elif ch == '"':
            is_string = True
        elif ch in "[{":
            depth += 1
            most = max(most, depth)
        elif ch in "]}":
            depth -= 1
    return most


@given(
    st.lists(
        st.sampled_from(["[" * 33, "{" * 31, "[", "]", "}" * 5, '"', "\\", 'x"', "a,1"]),
        max_size=30,
    ).map("".join)
)
def test_too_deep_is_what_a_plain_scan_says(text: str) -> None:
    assert is_too_deep(text.encode()) == (deepest(text) > DEPTH_MAX)


@pytest.mark.parametrize("levels", [1, 64, 65, 66, 1000])
def test_sixty_four_levels_are_taken_and_not_one_more(levels: int) -> None:
    body = b'{"a":[' * (levels // 2) + b"[" * (levels % 2) + b"]" * (levels % 2)
    body += b"]}" * (levels // 2)
    assert is_too_deep(body) == (levels > DEPTH_MAX)


def test_a_flat_batch_of_many_brackets_is_not_deep() -> None:
    assert not is_too_deep(b"[" + b'{"a":["[[[["]},' * 5000 + b"1]")


@pytest.mark.parametrize(("digits", "is_long"), [(308, False), (309, True)])
def test_digits_beyond_a_double_are_found(digits: int, is_long: bool) -> None:
    assert has_long_number(b'{"a":' + b"7" * digits + b"}") == is_long


@given(st.text(st.characters()))
def test_mended_text_can_be_written_as_utf8(text: str) -> None:
    assert mend_text(text).encode().decode() == mend_text(text)
    joined = text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "ignore")
    assert mend_text(joined) == joined
