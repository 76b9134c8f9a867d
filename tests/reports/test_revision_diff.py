"""What changes between two revisions is counted by kind and path, and shown by example."""

from __future__ import annotations

from trunkline.playbook.program import Failure, Shaped
from trunkline.reports.revision_diff import KINDS, PATHS_MAX, compare_revisions

DROPPED = Shaped(filtered="global.filters[0]")
FAILED = Shaped(failure=Failure("default.expressions[0]", 2, "no", "", {}))


def sent(**output: object) -> Shaped:
    return Shaped(outputs=(output,))


def test_every_event_is_counted_once_by_what_changes() -> None:
    pairs = [
        ("same", sent(a=1), sent(a=1)),
        ("different", sent(a=1), sent(a=2)),
        ("newly_filtered", sent(a=1), DROPPED),
        ("no_longer_filtered", DROPPED, sent(a=1)),
        ("newly_failing", sent(a=1), FAILED),
        ("newly_failing", DROPPED, FAILED),
        ("no_longer_failing", FAILED, sent(a=1)),
        ("same", DROPPED, DROPPED),
        ("same", FAILED, FAILED),
    ]
    diff = compare_revisions([(kind, "e", b, a) for kind, b, a in pairs], examples_max=100)
    assert diff.events == len(pairs) == sum(diff.counts.values())
    assert tuple(diff.counts) == KINDS
    assert diff.counts["same"] == 3
    assert diff.counts["newly_failing"] == 2
    assert all(example.message_id == example.kind for example in diff.examples)
    assert len(diff.examples) == 6


def test_a_path_is_counted_once_an_event_whatever_its_place_in_a_list() -> None:
    before = sent(items=[{"price": 1}, {"price": 2}], currency="USD")
    after = sent(items=[{"price": 3}, {"price": 4}], currency="USD")
    diff = compare_revisions([("m", "e", before, after)] * 3, examples_max=1)
    assert diff.paths == {"items[].price": 3}
    assert len(diff.examples) == 1
    assert [change.path for change in diff.examples[0].changes] == [
        "items[0].price",
        "items[1].price",
    ]


def test_one_event_that_becomes_several_is_different() -> None:
    several = Shaped(outputs=({"a": 1}, {"a": 2}))
    diff = compare_revisions([("m", "e", sent(a=1), several)], examples_max=1)
    assert diff.counts["different"] == 1
    assert diff.examples[0].after == "sent as 2"


def test_paths_that_senders_invent_are_bounded() -> None:
    pairs = [("m", "e", sent(**{f"k{n}": 1}), sent()) for n in range(PATHS_MAX + 50)]
    diff = compare_revisions(pairs, examples_max=0)
    assert len(diff.paths) == PATHS_MAX
    assert diff.counts["different"] == PATHS_MAX + 50
