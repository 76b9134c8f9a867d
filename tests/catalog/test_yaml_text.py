"""YAML from strangers: bounded, inert, and read by YAML 1.2's rules."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trunkline.kit import yaml_text
from trunkline.kit.yaml_text import YamlError, read_yaml


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("[no, on, Yes, y]", ["no", "on", "Yes", "y"]),
        ("[true, True, false, ~, null, ]", [True, True, False, None, None]),
        ("[1, -2, 010, 0x10, 1:30, 1_000]", [1, -2, 10, "0x10", "1:30", "1_000"]),
        ("[1.5, .5, 1e3, .inf, .nan, 1e999]", [1.5, 0.5, 1000.0, ".inf", ".nan", "1e999"]),
        ("2026-12-01T00:00:00Z", "2026-12-01T00:00:00Z"),
        ("'1'", "1"),
        ("{1: a, true: b, null: c}", {"1": "a", "true": "b", "null": "c"}),
        ("\ufeffa: 1", {"a": 1}),
        ("a: &x [1]\nb: *x", {"a": [1], "b": [1]}),
        ("99999999999999999999999", "99999999999999999999999"),
        ("a: |\n  one\n  two\n", {"a": "one\ntwo\n"}),
    ],
)
def test_scalars_follow_the_core_schema(text: str, value: Any) -> None:
    assert read_yaml(text) == value


def test_a_billion_laughs_are_counted_before_they_are_laughed() -> None:
    lines = ["a0: &a0 [lol, lol, lol, lol, lol, lol, lol, lol, lol, lol]"]
    for level in range(1, 12):
        alias = ", ".join([f"*a{level - 1}"] * 10)
        lines.append(f"a{level}: &a{level} [{alias}]")
    with pytest.raises(YamlError, match="more than 1000000 values with its aliases written out"):
        read_yaml("\n".join(lines))


@pytest.mark.parametrize("text", ["[" * 40, "a: " + "{b: " * 40, "- " * 40 + "x"])
def test_deep_nesting_is_refused(text: str) -> None:
    with pytest.raises(YamlError, match="nested more than 32 levels deep"):
        read_yaml(text)


def test_a_hundred_thousand_brackets_cost_no_stack() -> None:
    with pytest.raises(YamlError, match="nested more than 32"):
        read_yaml("[" * 100_000)


def test_a_file_past_the_limit_is_not_read(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(yaml_text, "CHARACTERS_MAX", 10)
    with pytest.raises(YamlError, match="the file has 11 characters; at most 10 are read"):
        read_yaml("x" * 11)


@pytest.mark.parametrize(
    "text",
    [
        "!!python/object/apply:os.system [true]",
        "!!python/name:os.system",
        "!!binary aGk=",
        "!custom {a: 1}",
        "a: !!str 5",
    ],
)
def test_a_tag_is_refused_and_nothing_runs(text: str) -> None:
    with pytest.raises(YamlError, match=r"the tag .* is not taken"):
        read_yaml(text)


@pytest.mark.parametrize("text", ["a: \x00", "a: \x07", 'a: "\\0"', "a: \udc80"])
def test_a_character_that_no_text_holds_is_refused(text: str) -> None:
    with pytest.raises(YamlError):
        read_yaml(text)


@given(st.text(alphabet=st.sampled_from(list("ab:-[]{},&*!#|>'\"%@`~? \n\t\\019.")), max_size=60))
def test_any_text_is_read_or_refused_and_nothing_else(text: str) -> None:
    try:
        value = read_yaml(text)
    except YamlError as error:
        assert str(error)
    else:
        assert value is None or isinstance(value, str | int | float | bool | list | dict)
