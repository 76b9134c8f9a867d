"""What a jailed process says is believed to be nothing."""

from __future__ import annotations

import os

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from trunkline.jail.frames import (
    Answer,
    Answers,
    Heard,
    Ready,
    decode_said,
    encode_message,
    frame_of,
    parts_of,
    receive_frame,
)
from trunkline.jail.hearing import DEPTH_MAX, is_deep, shaped_of
from trunkline.jail.places import code_path
from trunkline.playbook.program import Failure, Shaped, Step

PIECES = st.sampled_from(
    [b"{", b"}", b"[", b"]", b'"', b",", b":", b"1", b"null", b'"type"', b'"answers"', b'"shaped"']
    + [b'"sizes"', b'"notes"', b'"\\ud800"', b"\xff", b"1e999", b"-", b"9" * 40]
)


def said_of(shaped: Shaped) -> tuple[bytes, bytes]:
    """What a jailed process says of one event: the message, and what stands beside it."""
    texts = [msgspec.json.encode(output) for output in shaped.outputs]
    sizes = tuple(map(len, texts))
    answer = Answer(sizes, shaped.filtered, shaped.failure, shaped.steps)
    return encode_message(Answers((answer,), ("a line",))), b"".join(texts)


@given(st.one_of(st.binary(max_size=200), st.lists(PIECES, max_size=30).map(b"".join)))
def test_nonsense_raises_nothing_but_value_error(text: bytes) -> None:
    whole = b'{"type":"answers","notes":[],"shaped":[{"sizes":[%d]}]}' % len(text)
    lying = b'{"type":"answers","notes":[],"shaped":[{"sizes":[' + text + b"]}]}"
    for message, parts in ((text, b""), (text, b"{}"), (whole, text), (lying, b"{}")):
        try:
            heard = decode_said(message, parts)
        except ValueError:
            continue
        shaped = shaped_of(heard, 1)
        assert shaped is None or isinstance(msgspec.json.encode(shaped), bytes)


@pytest.mark.parametrize("text", [b"[" * 100_000, b'{"a":' * 100_000])
def test_what_is_deeper_than_the_stack_is_nonsense(text: bytes) -> None:
    with pytest.raises(ValueError, match="no message"):
        decode_said(b'{"type":"value","notes":[],"value":' + text)


@pytest.mark.parametrize(
    "shaped",
    [
        Shaped(({"a": [1, 2.5, None, True, "é"]}, {})),
        Shaped(filtered="global.filters[0]"),
        Shaped(failure=Failure("functions[0]", 3, "no", "{}", {"a": 1})),
        Shaped(({"a": 1},), steps=(Step("global.mappings[0]", "a", 1),)),
    ],
    ids=["outputs", "filtered", "failure", "steps"],
)
def test_an_answer_is_heard_as_it_was_said(shaped: Shaped) -> None:
    heard = decode_said(*said_of(shaped))
    assert isinstance(heard, Heard)
    assert heard.notes == ("a line",)
    assert shaped_of(heard, 1) == [shaped]
    assert shaped_of(heard, 2) is None


def test_answers_nested_deeper_than_any_playbook_makes_are_not_taken() -> None:
    deep = {"a": [[]]}
    for _ in range(DEPTH_MAX):
        deep = {"a": deep}
    assert is_deep(deep)
    for shaped in (
        Shaped((deep,)),
        Shaped(failure=Failure("", 0, "", "", deep)),
        Shaped(steps=(Step("", "", deep),)),
    ):
        assert shaped_of(decode_said(*said_of(shaped)), 1) is None


def test_wide_is_not_deep() -> None:
    wide = {"a": [{} for _ in range(DEPTH_MAX * 2)]}
    assert shaped_of(decode_said(*said_of(Shaped((wide,)))), 1)


@pytest.mark.parametrize("sizes", [(1,), (3,), (2, 1), (), (3, -1), (-1, 3), (2**40,), (2, 0)])
def test_sizes_that_lie_are_not_taken(sizes: tuple[int, ...]) -> None:
    message = encode_message(Answers((Answer(sizes),), ()))
    assert shaped_of(decode_said(message, b"{}"), 1) is None


def test_what_stands_beside_a_message_that_has_nothing_is_nonsense() -> None:
    with pytest.raises(ValueError, match="belong to no message"):
        decode_said(encode_message(Ready()), b"{}")


@given(st.lists(st.binary(max_size=20), max_size=5), st.binary(max_size=20))
def test_a_frame_holds_what_was_put_into_it(parts: list[bytes], message: bytes) -> None:
    reading, writing = os.pipe()
    try:
        os.write(writing, frame_of(7, message, parts))
        frame = receive_frame(reading)
    finally:
        os.close(reading)
        os.close(writing)
    assert frame is not None
    assert (frame.number, frame.message) == (7, message)
    assert parts_of(frame.parts, map(len, parts)) == parts


@pytest.mark.parametrize(
    ("tree", "path"),
    [
        ({"functions": [{"lang": "python", "body": ""}]}, "functions[0]"),
        (
            {"default": {"mappings": [{"transforms": [{"expression": {"lang": "", "body": ""}}]}]}},
            "default.mappings[0].transforms[0].expression",
        ),
        ({"functions": [{"lang": "python", "body": ""}] * 2}, "code"),
        ({}, "code"),
    ],
)
def test_the_part_that_holds_the_code_is_found(tree: dict[str, object], path: str) -> None:
    assert code_path(msgspec.json.encode(tree)) == path
    assert code_path(b"") == "code"
