"""Any JSON value, for properties: whatever an event may hold."""

from __future__ import annotations

from typing import Any

from hypothesis import strategies as st

# Texts that functions of playbooks look at more closely than at others.
_TELLING = st.sampled_from(
    [
        "", " ", "a@b.c", "Jane.Doe+x@Gmail.com", "2026-11-20T10:15:30.250Z", "1e400", "-0.5", "12",
        "+98 912 000 1234", "https://a.example/?x=1&y=%ff#top", "en-US", "yes", "United States",
        "۱۲", "é", "\u2028", "%s", "\x00", "9" * 400,
    ]
)  # fmt: skip
_NUMBERS = st.integers(-(2**63), 2**63 - 1) | st.floats(allow_nan=False, allow_infinity=False)
SCALARS = st.none() | st.booleans() | _NUMBERS | _TELLING | st.text(max_size=20)
_KEYS = st.sampled_from(["id", "price", "quantity", "name", "offset", "1"]) | st.text(max_size=5)


def _grow(values: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    return st.lists(values, max_size=4) | st.dictionaries(_KEYS, values, max_size=4)


JSON = st.recursive(SCALARS, _grow, max_leaves=12)
