"""A state file of the version before playbooks goes on where it was."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support.forwarding import APP, Rig, event, run
from trunkline.reports.event_counts import read_event_counts
from trunkline.reports.ledger import read_ledger
from trunkline.state.db import StateVersionError, open_writer
from trunkline.state.forwarder import MIGRATIONS, pack_offsets
from trunkline.state.home import HomeLock

MINUTE = 1_700_000_000_000 // 60_000


def write_version_1(rig: Rig) -> None:
    """A destination that has delivered 3 of 6, filtered 1, buried 1, and has 1 waiting."""
    rig.home.prepare()
    rig.home.forwarder_file.parent.mkdir(exist_ok=True)
    db = open_writer(rig.home.forwarder_file, MIGRATIONS[:1])
    values = (APP, pack_offsets([]))
    db.execute(
        "INSERT INTO grp VALUES (1, ?, 'd1', 'post', 1, 0, 0, 6, 6, 1, ?, 'running', '', 0, '', 0,"
        " 0, x'', x'', NULL)",
        values,
    )
    row = "(?, 1, 'u:a', ?, ?, ?, 1700000000000, 2, 5, 0, 'HTTP 503', 0, 'u:a', 'track', 'B', ?)"
    db.execute(f"INSERT INTO waiting VALUES {row}", (1, 5, APP, "m5", b'{"messageId": "m5"}'))
    db.execute(
        "INSERT INTO dead_letter VALUES (2, 1, 'u:b', 4, ?, 'm4', 1700000000000, 1700000001000,"
        " 'rejected', 'HTTP 422', 1, 'u:b', 'track', 'B', x'7b7d')",
        (APP,),
    )
    db.execute(
        "INSERT INTO fate VALUES (3, 1, 'attempt', 1700000000000, 1, 1, 'key', 200, 3.5,"
        " 'HTTP 200', x'', ?, x'44')",
        (pack_offsets([0, 1, 2]),),
    )
    db.execute("INSERT INTO fate_span VALUES (1, 0, 3)")
    for kind, reason, count in (
        ("delivered", "", 3),
        ("filtered", "types", 1),
        ("dead", "rejected", 1),
    ):
        db.execute(
            "INSERT INTO ledger VALUES (1, ?, ?, ?, ?, ?)", (APP, MINUTE, kind, reason, count)
        )
    for name, value in (("head", "6"), ("snapshot", "1"), ("next_id", "100"), ("newest", "1")):
        db.execute("INSERT INTO setting VALUES (?, ?)", (name, value))
    db.close()


def test_an_old_file_upgrades_without_loss_and_goes_on(tmp_path: Path) -> None:
    async def story() -> None:
        rig = Rig(tmp_path)
        rig.put(*[event(f"m{i}", "a", name="B") for i in range(6)])
        write_version_1(rig)
        await rig.start()
        rig.put(event("m6", "c", name="New"))
        await rig.run_for(5)
        assert sorted(rig.delivered()) == ["m5", "m6"], "what waited, and what came"
        assert rig.ledger() == {"delivered": 5, "filtered types": 1, "dead rejected": 1}
        assert rig.balance() == (7, 7)
        letters = rig.rows("SELECT message_id, revision, partial, failure FROM dead_letter")
        assert letters == [("m4", 0, b"", b"")]
        assert rig.rows("SELECT revision, outcomes FROM fate WHERE id=3") == [(0, b"D")]
        counted = {line.event: line.delivered for line in read_event_counts(rig.home)}
        assert counted == {"(other)": 3, "B": 1, "New": 1}
        await rig.stop()

    run(story)


def test_a_report_brings_an_old_file_up_to_date_where_no_node_runs(tmp_path: Path) -> None:
    rig = Rig(tmp_path)
    write_version_1(rig)
    assert [line.delivered for line in read_event_counts(rig.home)] == [3]
    assert read_ledger(rig.home, rig.log).destinations[0].delivered == 3


def test_while_an_older_node_runs_a_report_says_what_to_do(tmp_path: Path) -> None:
    rig = Rig(tmp_path)
    write_version_1(rig)
    lock = HomeLock(rig.home)
    assert lock.try_take("pid 1 trunkline serve")
    try:
        with pytest.raises(StateVersionError, match="restart that node"):
            read_event_counts(rig.home)
    finally:
        lock.release()
