"""The short cuts of `quick.py` do what the transforms do, on everything."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.support.playbook_fuzz import STRANGE, TEXTS, exact
from trunkline.playbook.quick import quicken
from trunkline.playbook.transforms import TRANSFORMS

CHAINS: list[list[tuple[str, Any]]] = [
    [("modifyString", "trim")],
    [("modifyString", "lowercase")],
    [("modifyString", "uppercase")],
    [("toHash", "sha256")],
    [("modifyString", "trim"), ("toHash", "sha256")],
    [("modifyString", "trim"), ("modifyString", "lowercase"), ("toHash", "sha256")],
    [("modifyString", "uppercase"), ("modifyString", "lowercase"), ("modifyString", "trim"),
     ("toHash", "sha256"), ("modifyString", "uppercase")],
    [("modifyString", "lowercase"), ("toHash", "md5")],
    [("toTimestamp", "inSeconds")],
    [("toTimestamp", "inMillis")],
    [("toScalar", "float")],
    [("pluckValues", {"extractKey": "a"}), ("joinValues", {"separator": ","})],
    [("mapItems", {"fields": {"x": "a", "y": "b"}})],
    [("mapItems", {"fields": {"x": "a.b"}})],
]  # fmt: skip

ITEMS = st.dictionaries(st.sampled_from("abc"), st.none() | st.integers() | st.text(max_size=3))
TIMES = st.datetimes().map(lambda moment: moment.isoformat(timespec="milliseconds") + "Z")
VALUES = (
    st.text()
    | st.from_regex(r"\A[+-]?[0-9]{1,17}\.?[0-9]{0,17}\Z")
    | st.from_regex(r"\A[ 0-9a-fA-F]{63,65}\Z")
    | TIMES
    | st.from_regex(r"\A[0-9]{4}-[0-9]{2}-[0-9]{2}[T ][0-9]{2}:[0-9]{2}:[0-9]{2}[.,][0-9]{3}[Zz]\Z")
    | st.lists(ITEMS | st.none() | st.text(max_size=2) | st.dictionaries(st.just("a"), ITEMS))
    | st.integers()
    | st.floats()
    | ITEMS
)


@pytest.mark.slow
@pytest.mark.parametrize("chain", CHAINS, ids=[" ".join(name for name, _ in c) for c in CHAINS])
def test_a_short_cut_does_what_the_transforms_do(chain: list[tuple[str, Any]]) -> None:
    links = [(name, argument, TRANSFORMS[name].prepare(argument)) for name, argument in chain]
    quick = quicken(links)

    @settings(max_examples=60, deadline=None)
    @given(VALUES)
    def agree(value: Any) -> None:
        expected = made = value
        for _, _, run in links:
            expected = run(expected)
        for run in quick:
            made = run(made)
        assert exact(made) == exact(expected)

    agree()
    for value in (*STRANGE, *TEXTS, "İ" * 5000, "a" * 64, "A" * 4097, "1969-12-31T23:59:59.999Z"):
        agree.hypothesis.inner_test(value)
