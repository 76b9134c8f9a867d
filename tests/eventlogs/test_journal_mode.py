"""A segment without a write-ahead log could lose what it acknowledged: there is none."""

from __future__ import annotations

import random
from pathlib import Path

import apsw
import pytest

from tests.support.inline import InlineExecutor
from tests.support.power import PowerVFS
from trunkline.eventlogs.sqlite import SqliteEventLog
from trunkline.kit.clock import FakeClock
from trunkline.kit.eventlog import LogFailure, Record
from trunkline.state.db import use_wal

pytestmark = pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("fails", range(1, 6))
def test_syncs_that_fail_while_a_segment_is_made_cost_no_acknowledged_record(
    tmp_path: Path, fails: int, seed: int
) -> None:
    vfs = PowerVFS(f"journal-{fails}-{seed}")
    kept: list[bytes] = []

    def open_log(folder: str) -> SqliteEventLog:
        return SqliteEventLog(
            tmp_path / folder,
            FakeClock(),
            segment_bytes=65_536,
            reserve_bytes=0,
            vfs=vfs.name,
            tidy=InlineExecutor(),
        )

    log = open_log("before")
    appender = log.appender("accepted", 0)
    follower = log.reader("accepted", "g", {})  # keeps a segment open, so closing syncs nothing
    for number in range(12):
        follower.read(1)
        vfs.syncs_to_fail = fails if number == 1 else vfs.syncs_to_fail
        record = Record(b"k", b"%d" % number * 9000, number)
        try:
            appender.append([record])
        except LogFailure:
            continue
        kept.append(record.value)
        if number > 1:
            break
    assert len(kept) == 2
    vfs.is_off = True
    for _ in range(3):
        log.close()
    vfs.lose_power(tmp_path / "before", tmp_path / "after", random.Random(seed))
    log = open_log("after")
    reader = log.reader("accepted", "g", {})
    found: list[bytes] = []
    while taken := reader.read(100):
        found += [fetched.record.value for fetched in taken]
    assert [value for value in found if value in kept] == kept
    log.close()
    vfs.unregister()


def test_a_file_that_cannot_have_a_write_ahead_log_is_refused() -> None:
    db = apsw.Connection(":memory:")
    with pytest.raises(apsw.IOError, match="stays 'memory'"):
        use_wal(db)
    db.close()
