"""Short cuts of patterns: the same as RE2 for every text."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trunkline.playbook.conditions import compile_pattern
from trunkline.playbook.patterns import full_match

PATTERNS = (
    ".+", "(?s).+", "[A-Z]{3}", "[0-9]{5,20}", "[a-z0-9]+", "[A-Za-z][A-Za-z0-9_]*",
    "G-[A-Z0-9]{4}", "tw[0-9][a-z]*", "[^a]+", "a|b", "([0-9]{1,3}\\.){3}[0-9]{1,3}", "[A-Z]{2}|",
)  # fmt: skip
TEXTS = st.one_of(
    st.text(max_size=30),
    st.text(alphabet="abGT-19_.\n\r é\ud800", max_size=12),
    st.from_regex(r"[A-Za-z][A-Za-z0-9_]{0,8}\n?", fullmatch=True),
)


@pytest.mark.slow
@pytest.mark.parametrize("pattern", PATTERNS)
@given(text=TEXTS)
def test_a_short_cut_says_what_re2_says(pattern: str, text: str) -> None:
    try:
        said = compile_pattern(pattern).fullmatch(text) is not None
    except UnicodeEncodeError:
        said = False
    assert full_match(pattern)(text) is said


def test_a_pattern_that_re2_does_not_take_is_refused() -> None:
    with pytest.raises(ValueError, match="no regular expression that RE2 takes"):
        full_match("(a")
