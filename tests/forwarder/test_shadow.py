"""A shadow revision: everything it would have made is counted, and nothing of it is felt."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.support.forwarding import Rig, destination, event, run, snapshot
from tests.support.shaped import Keep, lua, marked, playbook, rig_with, secret, shaped, without
from tests.support.unjailed import Unjailed
from trunkline.forwarder.shadow import QUEUE_EVENTS_MAX, Shadow, compare
from trunkline.kit.shaping import Held, Shaper
from trunkline.model.outcome import Delivered, Retry
from trunkline.playbook.program import Failure, Shaped
from trunkline.reports.shadow import ShadowCounts, read_shadow

OTHER = lua(
    "if input.messageId == 'm1' then error('bad') end\n"
    "if input.messageId == 'm2' then return {id = 'changed'} end\n"
    "return {id = input.messageId}"
)


def counts(rig: Rig) -> ShadowCounts:
    (found,) = read_shadow(rig.home, 1)
    return found


def test_each_event_is_counted_once_by_what_the_shadow_would_have_made(tmp_path: Path) -> None:
    async def story() -> None:
        config = shaped(
            playbook=playbook(**{"global": without("Secret")}), shadow=OTHER, shadow_revision=5
        )
        rig = rig_with(tmp_path, config, workshop=Unjailed())
        rig.receiver.answer = lambda s: Retry("busy") if s.number == 1 else Delivered()
        await rig.start()
        rig.put(*[event(f"m{i}", f"u{i}") for i in range(5)], secret("s0", "z"))
        await rig.run_for(20)
        found = counts(rig)
        assert (found.revision, found.same, found.different, found.failed) == (5, 3, 1, 1)
        assert (found.filtered_differently, found.skipped) == (1, 0)
        told = {sample.message_id: (sample.kind, sample.detail) for sample in found.samples}
        assert told["m2"] == ("different", "[0].id: 'm2' → 'changed'")
        assert told["s0"][1] == "dropped by global.filters[0] → sent"
        assert "bad" in told["m1"][1]
        assert sorted(rig.delivered()) == [f"m{i}" for i in range(5)]
        assert {id_ for id_, _ in Keep.kept} == {f"m{i}" for i in range(5)}, "nothing else is sent"
        await rig.stop()

    run(story)


def test_a_shadow_beside_the_kinds_own_form_is_compared_with_the_event(tmp_path: Path) -> None:
    async def story() -> None:
        whole = playbook(default={"mappings": [{"inputKey": "input", "outputKey": ""}]})
        rig = rig_with(tmp_path, destination(kind="keep", shadow=whole, shadow_revision=1))
        await rig.start()
        rig.put(event("m0", "a"))
        await rig.run_for(0.5)
        assert counts(rig).same == 1
        assert Keep.kept == [("m0", rig.accepted[0].event)]
        await rig.stop()

    run(story)


def test_a_shadow_that_cannot_be_used_fails_by_itself(tmp_path: Path) -> None:
    async def story() -> None:
        rig = rig_with(tmp_path, shaped(shadow=b'{"defalt": {}}', shadow_revision=2))
        await rig.start()
        rig.put(event("m0", "a"), event("m1", "b"))
        await rig.run_for(0.5)
        assert sorted(rig.delivered()) == ["m0", "m1"]
        assert counts(rig).failed == 2
        assert "defalt" in counts(rig).samples[0].detail
        await rig.stop()

    run(story)


def test_a_shadow_whose_code_is_paused_is_skipped(tmp_path: Path) -> None:
    async def story() -> None:
        shop = Unjailed()
        shop.held = "paused"
        rig = rig_with(tmp_path, shaped(shadow=OTHER, shadow_revision=2), workshop=shop)
        await rig.start()
        rig.put(event("m0", "a"))
        await rig.run_for(0.5)
        assert rig.delivered() == ["m0"]
        assert counts(rig).skipped == 1
        await rig.stop()

    run(story)


def test_a_shadow_whose_code_does_not_load_has_failed_and_says_why(tmp_path: Path) -> None:
    async def story() -> None:
        broken = shaped(shadow=lua("retur 1"), shadow_revision=2)
        rig = rig_with(tmp_path, broken, workshop=Unjailed())
        await rig.start()
        rig.put(event("m0", "a"))
        await rig.run_for(0.5)
        assert rig.delivered() == ["m0"]
        assert (counts(rig).failed, counts(rig).skipped) == (1, 0)
        assert "line 1" in counts(rig).samples[0].detail
        await rig.stop()

    run(story)


class Slow(Shaper):
    """Takes ten seconds for whatever it is given."""

    def __init__(self, rig: Rig) -> None:
        self.rig = rig
        self.most = 0

    async def shape(self, events: Any, *, explain: bool = False) -> list[Shaped | Held]:
        self.most = max(self.most, len(events))
        await self.rig.clock.sleep(10)
        return [Shaped(({"id": "x"},))] * len(events)

    async def call(self, name: str, values: dict[str, Any]) -> Any:
        raise AssertionError

    async def close(self) -> None:
        pass


def test_a_slow_shadow_holds_up_nothing_and_what_it_misses_is_counted(tmp_path: Path) -> None:
    async def story() -> None:
        rig = rig_with(tmp_path, shaped(shadow=marked("x"), shadow_revision=2))
        await rig.start()
        group = rig.forwarder.groups[1]
        slow = Slow(rig)
        outfit = group.outfit
        outfit._shadow = Shadow(group.config, group.shared, slow)
        rig.put(*[event(f"m{i}", f"u{i}") for i in range(QUEUE_EVENTS_MAX + 500)])
        await rig.run_for(3)
        assert len(rig.delivered()) == QUEUE_EVENTS_MAX + 500, "delivery does not wait for it"
        found = counts(rig)
        assert 400 <= found.skipped <= 500
        assert slow.most == 20
        await rig.stop()

    run(story)


def test_samples_are_bounded_and_a_new_shadow_counts_by_itself(tmp_path: Path) -> None:
    async def story() -> None:
        rig = rig_with(tmp_path, shaped(shadow=marked("a"), shadow_revision=2))
        await rig.start()
        rig.put(*[event(f"m{i}", f"u{i}") for i in range(60)])
        await rig.run_for(2)
        rig.snapshot = snapshot(2, shaped(shadow=marked("r1"), shadow_revision=3))
        await rig.run_for(0.5)
        rig.put(event("n0", "a"))
        await rig.run_for(1)
        new, old = read_shadow(rig.home, 1)
        assert (old.revision, old.different, len(old.samples)) == (2, 60, 20)
        assert (new.revision, new.same, new.samples) == (3, 1, [])
        await rig.stop()

    run(story)


FAILED = Shaped(failure=Failure("x", 0, "no", "", None))
SENT = Shaped(({"a": 1},))
DROPPED = Shaped(filtered="global.filters[0]")


@pytest.mark.parametrize(
    ("deployed", "shadow", "kind"),
    [
        (SENT, SENT, "same"),
        (SENT, Shaped(({"a": 1.0},)), "same"),
        (SENT, Shaped(({"a": True},)), "different"),
        (SENT, Shaped(({"a": 1}, {"a": 1})), "different"),
        (DROPPED, Shaped(filtered="functions[0]"), "same"),
        (DROPPED, SENT, "filtered_differently"),
        (SENT, DROPPED, "filtered_differently"),
        (SENT, FAILED, "failed"),
        (FAILED, FAILED, "failed"),
        (FAILED, SENT, "different"),
        (FAILED, DROPPED, "different"),
    ],
)
def test_kinds_of_difference(deployed: Shaped, shadow: Shaped, kind: str) -> None:
    assert compare(deployed, shadow)[0] == kind
