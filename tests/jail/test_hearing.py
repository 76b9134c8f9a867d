"""What a jailed process says is believed to be nothing."""

from __future__ import annotations

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from trunkline.jail.frames import Answers, Heard, decode_said, encode_message
from trunkline.jail.hearing import DEPTH_MAX, is_deep, shaped_of
from trunkline.jail.places import code_path
from trunkline.playbook.program import Failure, Shaped, Step

PIECES = st.sampled_from(
    [b"{", b"}", b"[", b"]", b'"', b",", b":", b"1", b"null", b'"type"', b'"answers"', b'"shaped"']
    + [b'"outputs"', b'"notes"', b'"\\ud800"', b"\xff", b"1e999", b"-", b"9" * 40]
)


@given(st.one_of(st.binary(max_size=200), st.lists(PIECES, max_size=30).map(b"".join)))
def test_nonsense_raises_nothing_but_value_error(text: bytes) -> None:
    for said in (text, b'{"type":"answers","notes":[],"shaped":[{"outputs":[' + text + b"]}]}"):
        try:
            heard = decode_said(said)
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
    heard = decode_said(encode_message(Answers((shaped,), ("a line",))))
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
        assert shaped_of(decode_said(encode_message(Answers((shaped,), ()))), 1) is None


def test_wide_is_not_deep() -> None:
    wide = {"a": [{} for _ in range(DEPTH_MAX * 2)]}
    assert shaped_of(decode_said(encode_message(Answers((Shaped((wide,)),), ()))), 1)


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
