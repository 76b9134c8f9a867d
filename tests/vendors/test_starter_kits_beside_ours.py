"""Every kit of ours beside the public kit of its vendor: no difference without an explanation."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from tests.support.kits import kit_names, kit_params, read_kit
from tests.support.kits import kits_folder as kits_folder
from tests.support.starter_differences import (
    GUIDE,
    Row,
    described,
    read_differences,
    read_unpaired,
)
from tests.support.starter_kits_beside import events, judge
from trunkline.kits.shipped import shipped_kits

pytestmark = pytest.mark.usefixtures("kits_folder")

SHOWN_MAX = 40  # sentences


@pytest.mark.parametrize("name", read_differences())
def test_every_difference_from_the_public_kit_is_explained(name: str) -> None:
    unexplained, stale = judge(read_differences()[name])
    assert not unexplained, "\n".join(
        [f"{len(unexplained)} differences without an explanation:", *unexplained[:SHOWN_MAX]]
    )
    assert not stale, "\n".join(stale)


def test_a_difference_without_a_row_and_a_row_without_a_difference_are_told_with_what_to_do() -> (
    None
):
    known = read_differences()["meta"]
    amount, idle = known.rows[2], Row("it", "a", "b", "c", ("page",), only_ours=("custom_data.it",))
    assert amount.differs == ("custom_data.value",)
    rows = (*(row for row in known.rows if row is not amount), idle)
    unexplained, stale = judge(msgspec.structs.replace(known, rows=rows))
    assert unexplained[0] == (
        "meta beside facebook-pixel: Checkout Started: custom_data.value is 25.0 in ours, 24.99 "
        "there; mend the kit, or explain it by a row of "
        "tests/vendors/starter_differences/meta.yaml (differs)"
    )
    assert [sentence.split(": ", 1)[1] for sentence in stale] == [
        "'it': only_ours 'custom_data.it' explains no difference any more; take it out",
        "'it': events 'page' explains no difference any more; take it out",
    ]


def test_an_event_that_one_side_alone_sends_is_told() -> None:
    known = read_differences()["adjust"]
    rows = tuple(row for row in known.rows if not row.not_sent_by_ours)
    unexplained, _ = judge(msgspec.structs.replace(known, rows=rows))
    assert unexplained[0].startswith("adjust beside adjust: Cart Viewed: not sent by ours; mend")


@pytest.mark.parametrize("more", [{}, {"is_beside": True, "differs": ("url",)}])
def test_a_row_says_which_differences_it_explains_or_that_no_request_shows_it(more: Any) -> None:
    with pytest.raises(ValueError, match="patterns of differences, or `is_beside: true`"):
        Row("it", "a", "b", "c", **more)


def test_every_public_kit_is_compared_or_is_named_as_one_that_is_not() -> None:
    compared = [name for one in read_differences().values() for name in one.public]
    unpaired = read_unpaired()
    named = [*compared, *unpaired.other_ways, *unpaired.other_vendors]
    assert sorted(named) == kit_names()
    assert {one.kit for one in read_differences().values()} <= set(shipped_kits())


@pytest.mark.parametrize("name", read_differences())
def test_every_param_that_is_given_is_one_of_the_kit(name: str) -> None:
    one = read_differences()[name]
    assert {*one.params.ours} <= {param.name for param in shipped_kits()[one.kit].params}
    theirs = {key for public in one.public for key in kit_params(read_kit(public))}
    assert {*one.params.public} <= theirs


def test_the_guide_has_a_table_of_everything_that_is_compared_below_its_heading() -> None:
    for name, one in read_differences().items():
        text = (GUIDE / one.guide.page).read_text("utf-8")
        assert f"\n## {one.guide.title}\n\n<!-- differences: {name} -->\n" in text, name
        assert f" {len(events())} events" in text, one.guide.page
    shown = [name for page in GUIDE.glob("*.md") for name in described(page.read_text("utf-8"))]
    assert sorted(shown) == sorted(read_differences())
