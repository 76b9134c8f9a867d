"""Every shipped kit against its vendor's simulator, on good days and bad.

A kit is driven where it has a simulator and a row in one of `params_*.py`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

import pytest

from tests.vendors.stage import SHORT_TIMEOUT_SECONDS, Stage, Verdict, driven, rows
from trunkline.kits.fixtures import fixture_now
from trunkline.kits.shipped import shipped_kits
from trunkline.model.outcome import Blocked, Delivered, Filtered, Rejected, Retry
from trunkline.simulators.registry import simulators
from trunkline.simulators.simulator import Simulator

DAY_MS = 86_400_000
WORDS: dict[str, type] = {
    "delivered": Delivered, "retry": Retry, "rejected": Rejected, "blocked": Blocked,
}  # fmt: skip
LOST_ANSWERS = ["reset", *(pytest.param(one, marks=pytest.mark.slow) for one in ("cut", "hang"))]
DRIP = pytest.param("drip", marks=pytest.mark.slow)
NOT_NOW = [
    "throttled:7*2",
    "throttled_bare*2",
    pytest.param("unavailable*2", marks=pytest.mark.slow),
]


@pytest.fixture(scope="module")
def stages() -> Iterator[Callable[[str], Stage]]:
    """Give the stage of a kit; it is set up once."""
    made: dict[str, Stage] = {}

    def find(name: str) -> Stage:
        if name not in made:
            made[name] = Stage(name)
        return made[name]

    yield find
    for one in made.values():
        one.close()


@pytest.fixture(params=driven())
def stage(request: pytest.FixtureRequest, stages: Callable[[str], Stage]) -> Stage:
    return stages(request.param)


def own_faults() -> list[tuple[str, str]]:
    return [(name, fault) for name in driven() for fault in simulators()[name].fault_outcomes]


def vendor_of(stage: Stage) -> Simulator:
    return stage.vendor.simulator


def no_complaints(stage: Stage) -> bool:
    assert vendor_of(stage).complaints == []
    return True


def are_all(outcomes: Sequence[Verdict], *kinds: type) -> bool:
    assert outcomes
    assert all(isinstance(outcome, kinds) for outcome in outcomes), outcomes
    return True


def taken_of(stage: Stage, count: int) -> int:
    """Return how many things the vendor has of so many events, on a good day."""
    assert are_all(stage.deliver(stage.several(count)).final, Delivered)
    assert no_complaints(stage)
    return len(vendor_of(stage).taken)


def taken_of_one(stage: Stage) -> int:
    """Return how many things the vendor has of one event; tried once."""
    if not stage.taken_of_one:
        stage.taken_of_one = taken_of(stage, 1)
    return stage.taken_of_one


def test_every_kit_has_a_simulator_and_a_row() -> None:
    names = {*shipped_kits()}
    assert names == {*simulators()} & names, "kits that nothing simulates"
    assert names == {*rows()} & names, "kits without credentials in tests/vendors/params_*.py"
    assert {*rows()} <= names, "rows without a kit"


def test_every_fault_of_a_simulator_says_what_becomes_of_it() -> None:
    untold = {
        name: {*one.own_faults} ^ {*one.fault_outcomes}
        for name, one in simulators().items()
        if {*one.own_faults} != {*one.fault_outcomes}
    }
    assert untold == {}


def test_what_the_fixtures_send_is_taken_without_a_complaint(stage: Stage) -> None:
    assert stage.sending_fixtures
    for fixture in stage.sending_fixtures:
        story = stage.deliver(fixture)
        assert are_all(story.final, Delivered), fixture.name
        assert no_complaints(stage), fixture.name
        assert sum(map(len, story.attempts)) == len(story.final), fixture.name
        assert vendor_of(stage).duplicates == 0, fixture.name
        assert stage.vendor.seen, fixture.name


def test_several_events_are_all_taken_once(stage: Stage) -> None:
    assert taken_of(stage, 3) == 3 * taken_of_one(stage) > 0


@pytest.mark.parametrize("script", NOT_NOW)
def test_what_is_not_taken_now_goes_again(stage: Stage, script: str) -> None:
    good = taken_of_one(stage)
    story = stage.deliver(stage.several(1), script=script)
    assert are_all(story.first, Retry)
    seconds = 7.0 if script.startswith("throttled:") else 0.0
    assert [one.after_seconds for one in story.first if isinstance(one, Retry)] == [seconds]
    assert are_all(story.final, Delivered)
    assert len(vendor_of(stage).taken) == good
    assert no_complaints(stage)


@pytest.mark.parametrize("script", [*LOST_ANSWERS, DRIP])
def test_a_lost_answer_loses_no_event(stage: Stage, script: str) -> None:
    good = taken_of_one(stage)
    story = stage.deliver(
        stage.several(1),
        script=script,
        unknown_outcome="retry",
        timeout_seconds=SHORT_TIMEOUT_SECONDS if script in ("hang", "drip") else 30.0,
    )
    assert are_all(story.first, Retry)
    assert are_all(story.final, Delivered)
    vendor = vendor_of(stage)
    if vendor.deduplicates:
        assert (len(vendor.taken), vendor.duplicates > 0) == (good, True)
    else:
        assert len(vendor.taken) == 2 * good
    assert no_complaints(stage)


@pytest.mark.parametrize("script", LOST_ANSWERS)
def test_where_it_is_given_up_nothing_is_doubled(stage: Stage, script: str) -> None:
    good = taken_of_one(stage)
    story = stage.deliver(
        stage.several(1),
        script=script,
        unknown_outcome="give_up",
        timeout_seconds=SHORT_TIMEOUT_SECONDS if script == "hang" else 30.0,
    )
    assert are_all(story.final, Rejected)
    assert "outcome_unknown" in str(story.final[0])
    assert (len(vendor_of(stage).taken), vendor_of(stage).duplicates) == (good, 0)


def test_wrong_credentials_park_the_destination(stage: Stage) -> None:
    wrong = stage.wrong_params()
    assert wrong or rows()[stage.name].wrong == (), "no param is a secret"
    for params in wrong:
        story = stage.deliver(stage.several(1), over=params)
        assert are_all(story.first, Blocked), [*params]
        assert vendor_of(stage).taken == []
        for value in params.values():
            assert value not in str(story.final)


@pytest.mark.parametrize(("name", "fault"), own_faults())
def test_a_fault_of_the_vendor_becomes_what_it_means(
    name: str, fault: str, stages: Callable[[str], Stage]
) -> None:
    stage = stages(name)
    expected = stage.kind.fault_outcomes[fault]
    if expected == "partial":
        check_partial(stage, fault)
    else:
        check_whole(stage, fault, WORDS[expected])


def check_whole(stage: Stage, fault: str, kind: type) -> None:
    good = taken_of_one(stage)
    story = stage.deliver(stage.several(1), script=f"every:1={fault}", faulty_attempts=1)
    assert are_all(story.first, kind)
    if kind not in (Delivered, Retry):
        assert are_all(story.final, kind)
    elif are_all(story.final, Delivered) and not vendor_of(stage).taken:
        # The vendor said yes and dropped it: nobody can know, and nobody says so.
        assert story.final == [Delivered(verified=False)] * len(story.final)
        assert vendor_of(stage).complaints
    else:
        assert len(vendor_of(stage).taken) == good


def check_partial(stage: Stage, fault: str) -> None:
    each = taken_of_one(stage)
    fixture = stage.several(3)
    story = stage.deliver(fixture, script=f"every:1={fault}", faulty_attempts=1)
    if story.final == [Delivered(verified=False)] * len(story.final):
        # It tells that some were lost and not which: nobody says that all are there.
        assert len(vendor_of(stage).taken) < each * len(fixture.events)
        assert vendor_of(stage).complaints
        return
    # Where the answer names no places the whole batch is refused, and gone through by halves.
    is_searched = all(isinstance(one, Rejected) and not one.is_sure for one in story.first)
    if len(story.first) > 1 and not is_searched:
        assert len({type(outcome) for outcome in story.first}) > 1, story.first
    assert {type(outcome) for outcome in story.final} <= {Delivered, Rejected}
    delivered = sum(isinstance(outcome, Delivered) for outcome in story.final)
    assert len(vendor_of(stage).taken) == each * delivered


def test_an_old_event_is_taken_or_never_sent(stage: Stage) -> None:
    fixture = stage.several(1)
    story = stage.deliver(fixture, now_ms=fixture_now(fixture) + 100 * DAY_MS)
    if isinstance(story.final[0], Delivered):
        assert len(vendor_of(stage).taken) > 0
    else:
        assert are_all(story.final, Filtered, Rejected)
        assert stage.vendor.seen == []
    assert no_complaints(stage)


def test_the_connection_test_tells_good_credentials_from_bad(stage: Stage) -> None:
    verdict = stage.test_connection()
    if stage.kit.test is None or stage.kit.test.none:
        assert (verdict.ok, bool(verdict.sentence)) == (False, True)
        return
    assert verdict.ok, verdict.sentence
    assert vendor_of(stage).taken == []
    assert no_complaints(stage)
    for params in stage.wrong_params():
        refused = stage.test_connection(params)
        assert not refused.ok, (params, refused.sentence)
        for value in params.values():
            assert value not in refused.sentence
