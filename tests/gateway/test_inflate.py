"""Decompression within a bound."""

from __future__ import annotations

import gzip
import zlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trunkline.gateway.inflate import MEMBERS_MAX, inflate


@given(st.lists(st.binary(max_size=200), min_size=1, max_size=5), st.integers(0, 3))
def test_all_members_come_out_and_zeros_behind_them_do_not(parts: list[bytes], zeros: int) -> None:
    data = b"".join(gzip.compress(part) for part in parts) + b"\0" * zeros
    assert inflate(data, "gzip", 2000) == b"".join(parts)


@given(st.binary(min_size=1, max_size=300))
def test_exactly_the_limit_passes_and_one_more_does_not(body: bytes) -> None:
    packed, deflated = gzip.compress(body), zlib.compress(body)
    assert inflate(packed, "gzip", len(body)) == inflate(deflated, "deflate", len(body)) == body
    assert inflate(packed, "gzip", len(body) - 1) is None
    assert inflate(deflated, "deflate", len(body) - 1) is None


@given(st.binary(min_size=1, max_size=300), st.data())
def test_a_stream_that_ends_early_is_never_half_a_body(body: bytes, data: st.DataObject) -> None:
    packed = gzip.compress(body)
    cut = packed[: data.draw(st.integers(1, len(packed) - 1))]
    with pytest.raises(ValueError, match="ends early"):
        inflate(cut, "gzip", 1000)


@pytest.mark.parametrize(
    "data",
    [b"plain", gzip.compress(b"a") + b"more", b"\x1f\x8b\x08junk"],
    ids=["plain", "more", "junk"],
)
def test_what_is_no_gzip_is_refused_with_a_sentence(data: bytes) -> None:
    with pytest.raises(ValueError, match=r"Content-Encoding|ends early"):
        inflate(data, "gzip", 1000)


def test_bytes_behind_a_deflate_stream_are_refused() -> None:
    with pytest.raises(ValueError, match="behind the end"):
        inflate(zlib.compress(b"a") + b"b", "deflate", 1000)


def test_thousands_of_empty_members_are_refused_not_worked_through() -> None:
    with pytest.raises(ValueError, match=str(MEMBERS_MAX)):
        inflate(gzip.compress(b"") * 20_000, "gzip", 1000)


def test_a_limit_that_is_used_up_is_no_limit_of_zero() -> None:
    data = gzip.compress(b"x" * 10) + gzip.compress(b"y" * 1_000_000)
    assert inflate(data, "gzip", 10) is None
