"""Short cuts are only faster: phone numbers and patterns come out as their libraries say."""

from __future__ import annotations

import random

import phonenumbers
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from trunkline.playbook import phones
from trunkline.playbook.conditions import compile_pattern
from trunkline.playbook.quick_patterns import quick_full_match, quick_search

MARKS = ("", "", "", "", " ", "-", ".", " (", ") ")


def international(dice: random.Random, code: int) -> str:
    """Write a number of a country, an example of its or any digits, as a person might."""
    region = dice.choice(phonenumbers.COUNTRY_CODE_TO_REGION_CODE[code])
    shown = phonenumbers.example_number(region)
    digits = str(code) + "".join(dice.choice("0123456789") for _ in range(dice.randint(3, 13)))
    if shown is not None and dice.random() < 0.6:
        digits = str(code) + phonenumbers.national_significant_number(shown)
    return "+" + "".join(digit + dice.choice(MARKS) for digit in digits[:-1]) + digits[-1]


def test_a_number_with_its_country_code_is_what_the_library_makes_of_it() -> None:
    dice, quick = random.Random(7), 0
    for code in phonenumbers.COUNTRY_CODE_TO_REGION_CODE:
        for text in [international(dice, code) for _ in range(12)]:
            found = phones._quick(text)
            if found is not None:
                quick += 1
                assert {phones._parse(text, country) for country in ("", "US", "IR")} == {found}
    assert quick > 500


PATTERNS = [
    "^[A-Za-z][A-Za-z0-9_]{0,39}$", "^(google_|ga_|firebase_|_)", "^.{101}", "^.{3}", "^a[bc]+",
    "^a[bc]+$", "^$", "^", "^abc$", "^abc", "[A-Z]{3}", "abc", "a.c", ".+", "(?s).+", "a[0-9]*",
    ".", "^.*$", "^(a|ab)$",
]  # fmt: skip
TEXTS = st.one_of(
    st.sampled_from(["abc", "google_x", "ga_", "ABC", "a\n", "abc\n", "abcb", "", "x" * 101]),
    st.text(st.sampled_from("abcABC_09 \n."), max_size=6),
)


@pytest.mark.slow
@pytest.mark.parametrize("pattern", PATTERNS)
def test_a_pattern_finds_what_re2_finds(pattern: str) -> None:
    slow, search, full_match = (
        compile_pattern(pattern),
        quick_search(pattern),
        quick_full_match(pattern),
    )
    assert search is not None or full_match is not None

    @settings(max_examples=60, deadline=None)
    @given(TEXTS)
    def hold(text: str) -> None:
        if search is not None:
            assert search(text) is (slow.search(text) is not None)
        if full_match is not None:
            assert full_match(text) is (slow.fullmatch(text) is not None)

    hold()


@pytest.mark.parametrize(
    "pattern", ["(a+)+b", "^(a|b", "^a*b*", "^a|b", "^(a)+$", r"^\d{3}$", "^é"]
)
def test_other_patterns_are_left_to_re2(pattern: str) -> None:
    assert quick_search(pattern) is None
    assert quick_full_match(pattern) is None
