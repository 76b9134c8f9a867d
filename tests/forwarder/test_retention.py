"""What may be forgotten: nothing that a power loss could make us need again."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.forwarding import Rig, destination, event, run, snapshot
from tests.support.power import PowerVFS
from trunkline.kit.eventlog import LogFailure
from trunkline.model.record import EVENTS
from trunkline.state.db import open_reader
from trunkline.state.forwarder import read_groups

pytestmark = pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")


@pytest.fixture
def disk() -> Iterator[PowerVFS]:
    vfs = PowerVFS("retention")
    yield vfs
    vfs.unregister()


def test_what_is_committed_to_the_log_is_in_the_file_and_not_only_in_its_journal(
    tmp_path: Path,
) -> None:
    async def story() -> None:
        rig = Rig(tmp_path / "home")
        await rig.start()
        rig.put(*[event(f"m{i}", "a") for i in range(30)])
        await rig.run_for(3)
        committed = rig.log.committed(EVENTS, "1")
        assert committed == {0: 30}
        alone = tmp_path / "alone.db"  # what a power loss leaves for sure
        shutil.copy(rig.home.forwarder_file, alone)
        db = open_reader(alone)
        assert db is not None
        assert [row.position for row in read_groups(db)] == [30]
        db.close()
        await rig.stop()

    run(story)


def test_a_full_disk_ends_no_delivery_and_what_was_not_saved_is_saved_later(
    tmp_path: Path, disk: PowerVFS
) -> None:
    async def story() -> None:
        rig = Rig(tmp_path)
        rig.options["vfs"] = disk.name
        await rig.start()
        rig.put(event("m0", "a"))
        await rig.run_for(3)
        disk.is_full = True
        rig.put(event("m1", "a"))
        await rig.run_for(70, step=0.5)  # raises where the engine ended
        disk.is_full = False
        rig.put(event("m2", "a"))
        await rig.run_for(3)
        assert rig.delivered() == ["m0", "m1", "m2"]
        assert rig.balance() == (3, 3)
        await rig.stop()

    run(story)


def test_a_group_that_could_not_be_forgotten_is_forgotten_after_a_restart(tmp_path: Path) -> None:
    async def story() -> None:
        rig = Rig(tmp_path)
        await rig.start()
        rig.put(event("m0", "a"))
        await rig.run_for(3)
        assert rig.log.committed(EVENTS, "1") == {0: 1}

        def fail(topic: str, group: str) -> None:
            raise LogFailure("the disk is full")

        rig.snapshot = snapshot(2, destination(2, since=2))
        rig.log.forget = fail
        await rig.run_for(65, step=0.5)
        assert rig.log.committed(EVENTS, "1") == {0: 1}
        await rig.crash()
        del rig.log.forget
        await rig.start()
        await rig.run_for(3)
        assert rig.log.committed(EVENTS, "1") == {}
        await rig.stop()

    run(story)
