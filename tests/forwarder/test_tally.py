"""Counts by the name of the event: the ledger's own, bounded, and the same after any restart."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest

from tests.support.forwarding import Rig, destination, event, run, snapshot
from tests.support.shaped import playbook, rig_with, shaped, without
from trunkline.forwarder import tally
from trunkline.model.outcome import Blocked, Delivered, Outcome, Rejected
from trunkline.model.record import Routing
from trunkline.reports.event_counts import EventCounts, read_event_counts
from trunkline.state.forwarder import OTHER_NAMES
from trunkline.state.inbox import DropLetters, ReplayLetters, ReplayRange


def agrees(rig: Rig) -> None:
    """The tally, summed over names and hours, is the ledger."""
    by_ledger, by_name = (
        rig.rows(f"SELECT uid, kind, reason, {hour}, SUM(count) FROM {table} GROUP BY 1, 2, 3, 4")
        for table, hour in (("ledger", "minute/60"), ("tally", "hour"))
    )
    assert sorted(by_ledger) == sorted(by_name)
    assert by_ledger


def lines(rig: Rig) -> dict[str, EventCounts]:
    return {line.event: line for line in read_event_counts(rig.home, destination="d1")}


def test_each_name_has_its_counts_and_rate(tmp_path: Path) -> None:
    async def story() -> None:
        config = shaped(playbook=playbook(**{"global": without("Secret")}), consent=("ads",))
        rig = rig_with(tmp_path, config, destination(2, enabled=False))
        rig.receiver.answer = lambda s: (
            Rejected("no") if any(i.startswith("bad") for i in s.ids) else Delivered()
        )
        no = Routing(consent={"optOut": {"ads": True}})
        await rig.start()
        rig.put(
            *[event(f"m{i}", f"u{i}", name="Bought") for i in range(6)],
            *[event(f"bad{i}", f"b{i}", name="Bought") for i in range(2)],
            *[event(f"s{i}", f"s{i}", name="Secret") for i in range(3)],
            event("p0", "p", type="page", name="Home"),
            event("c0", "c", name="Bought", routing=no),
        )
        await rig.run_for(3)
        agrees(rig)
        bought, dropped, page = lines(rig)["Bought"], lines(rig)["Secret"], lines(rig)["page"]
        assert (bought.delivered, bought.not_delivered, bought.compliance_filter) == (6, 2, 1)
        assert bought.delivery_rate == 0.75
        assert bought.reasons == {"dead: rejected": 2, "filtered: consent": 1}
        assert (dropped.playbook_filter, dropped.delivery_rate) == (3, None)
        assert page.delivered == 1
        await rig.stop()

    run(story)


def test_the_tally_follows_the_ledger_through_replay_drop_fuse_and_crash(tmp_path: Path) -> None:
    async def story() -> None:
        rig = Rig(tmp_path, fuse_rejections=4)
        rig.snapshot = snapshot(1, destination(1), destination(2, enabled=False))
        answer: list[Outcome] = [Rejected("no")]
        rig.receiver.answer = lambda sent: answer[0]
        await rig.start()
        rig.put(*[event(f"m{i}", f"u{i}", name=f"E{i % 3}") for i in range(9)])
        await rig.run_for(3)
        agrees(rig)
        assert rig.saved().cause == "fuse"
        answer[0] = Delivered()
        await rig.run_for(70)
        await rig.crash()
        answer[0] = Rejected("again")
        await rig.start()
        rig.put(event("x0", "x"), event("x1", "y"))
        await rig.run_for(2)
        ids = [id_ for (id_,) in rig.rows("SELECT id FROM dead_letter ORDER BY id")]
        assert len(ids) == 2
        answer[0] = Delivered()
        now = rig.clock.now_ms()
        rig.ask(ReplayLetters((ids[0],), now))
        rig.ask(DropLetters((ids[1],), now))
        rig.ask(ReplayRange(1, 0, now, now))
        await rig.run_for(10)
        agrees(rig)
        assert rig.balance()[0] == rig.balance()[1]
        assert lines(rig)["Bought"].reasons["dead: dropped"] == 1
        answer[0] = Blocked("locked")
        rig.put(event("y0", "x"))
        await rig.run_for(1)
        agrees(rig)
        await rig.stop()

    run(story)


def test_names_are_bounded_by_the_day_and_the_rest_counts_as_other(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tally, "TALLY_NAMES_MAX", 5)
    day = 86_400_000
    first_ms = 1_700_000_000_000 // day * day

    async def story() -> None:
        rig = Rig(tmp_path)
        await rig.start()
        for round_ in range(2):
            rig.put(
                *[
                    event(f"{round_}-{d}-{n}", name=f"N{n}", received_ms=first_ms + d * day + n)
                    for d in range(2)
                    for n in range(8)
                ]
            )
            await rig.run_for(1)
            await rig.crash()  # what was counted by name before goes on by name
            await rig.start()
        agrees(rig)
        counted = Counter[tuple[int, str]]()
        for hour, name, count in rig.rows("SELECT hour, name, count FROM tally"):
            counted[hour // 24, name] += count
        for d in {hour for hour, _ in counted}:
            assert len({name for at, name in counted if at == d}) == 6
            assert counted[d, OTHER_NAMES] == 6
        await rig.stop()

    run(story)


def test_a_long_name_is_cut(tmp_path: Path) -> None:
    async def story() -> None:
        rig = Rig(tmp_path)
        await rig.start()
        rig.put(event("m0", name="N" * 5000))
        await rig.run_for(1)
        assert rig.rows("SELECT LENGTH(name) FROM tally") == [(tally.NAME_LENGTH_MAX,)]
        await rig.stop()

    run(story)
