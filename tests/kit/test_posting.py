"""What is noted of how a refused event came: enough to send it again, bounded, nothing secret."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from trunkline.kit.posting import BESIDE_BYTES_MAX, WHOLE_BYTES_MAX, PostedAs
from trunkline.kit.protocol import Request, Route
from trunkline.kit.redact import redact
from trunkline.model.record import Posting, decode_origin, encode_record

ROUTE = Route("POST", "/v1/track", 1000, 1000)


def request(path: str = "/v1/track", **headers: str) -> Request:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return Request(ROUTE, path, {}, "", named, b"", "", 0, "r")


def note(posted: PostedAs, body: bytes = b"{}") -> Any:
    return posted.note(body, redact(body))


def test_only_headers_that_decide_something_are_noted_and_no_key() -> None:
    posted = PostedAs(
        request(
            authorization="Basic s3cret", x_api_key="s3cret", x_write_key="s3cret", cookie="s3cret",
            origin="https://shop.example", idempotency_key="i-1", user_agent="u" * 600,
        )
    )  # fmt: skip
    found = note(posted)
    assert found.headers == {
        "origin": "https://shop.example",
        "idempotency-key": "i-1",
        "user-agent": "u" * 512,
    }
    assert b"s3cret" not in encode_record(found)


def test_where_in_its_array_an_event_stood_is_noted() -> None:
    posted = PostedAs(request(), within="batch")
    body, large = b"{}", b'{"a":"' + b"b" * 4000 + b'"}'
    assert [posted.note(each, redact(each), 7).index for each in (body, large)] == [7, 7]  # pyright: ignore[reportOptionalMemberAccess]
    assert note(posted).index == -1
    assert PostedAs(request()).note(body, body, 0) == note(PostedAs(request()))  # all of its body


def test_a_note_of_an_older_version_has_no_index() -> None:
    whole = encode_record(PostedAs(request(), within="batch").note(b"{}", b"{}", 7))
    fields = msgspec.msgpack.decode(whole)
    older = decode_origin(msgspec.msgpack.encode(fields[:-1]))
    assert isinstance(older, Posting)
    assert (older.within, older.index) == ("batch", -1)


def test_a_larger_body_is_noted_up_to_a_limit() -> None:
    posted = PostedAs(request())
    assert note(posted, b'{"a":"b"}').whole == b""
    middle = b'{"a":"' + b"b" * 4000 + b'"}'
    assert note(posted, middle).whole == middle
    assert note(posted, b'{"a":"' + b"b" * WHOLE_BYTES_MAX + b'"}').whole == b""


@pytest.mark.parametrize(
    "beside",
    [b'{"context":{"password":"hunter2"}}', b'{"a":"' + b"b" * BESIDE_BYTES_MAX + b'"}'],
)
def test_what_stood_beside_and_is_secret_or_large_is_not_noted(beside: bytes) -> None:
    assert note(PostedAs(request(), within="batch", beside=beside)) is None
    assert note(PostedAs(request(), headers={"x-event-metadata": beside.decode()})) is None


def test_a_path_that_is_long_is_not_noted() -> None:
    assert note(PostedAs(request("/v1/pixel/" + "x" * BESIDE_BYTES_MAX))) is None


@given(st.text(st.characters(codec=None), max_size=20), st.text(st.characters(codec=None)))
def test_any_text_of_a_request_can_be_stored(path: str, agent: str) -> None:
    found = note(PostedAs(request("/" + path, user_agent=agent)))
    assert decode_origin(encode_record(found)) == found
