"""Following the catalog: what is in force at a start, after a change, and when the database fails.

`look` is called by hand where the thread would only make a test wait.
"""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
import structlog
from structlog.testing import capture_logs

from tests.support.workspaces import APP_ID, FULL, SMALL, apply, new_home
from trunkline.catalog.follow import SnapshotFollower
from trunkline.catalog.snapshots import CACHE_HEADER
from trunkline.kit.clock import FakeClock, SystemClock
from trunkline.model.snapshot import Snapshot
from trunkline.state.home import Home


@pytest.fixture
def home(tmp_path: Path) -> Home:
    return new_home(tmp_path)


@pytest.fixture(autouse=True)
def _plain_logs() -> Iterator[None]:
    structlog.reset_defaults()
    yield
    structlog.reset_defaults()


def follower_of(home: Home) -> SnapshotFollower:
    follower = SnapshotFollower(home, FakeClock())
    follower.look()
    return follower


def version_of(follower: SnapshotFollower) -> int | None:
    snapshot = follower.current()
    return None if snapshot is None else snapshot.version


def test_before_the_first_load_nothing_is_known(home: Home) -> None:
    assert SnapshotFollower(home, FakeClock()).current() is None


def test_a_home_without_any_apply_is_known_to_be_empty(home: Home) -> None:
    snapshot = follower_of(home).current()
    assert snapshot is not None
    assert (snapshot.version, snapshot.apps) == (0, ())
    assert not home.catalog_file.exists()


def test_a_start_loads_what_was_applied(home: Home) -> None:
    apply(home, FULL)
    snapshot = follower_of(home).current()
    assert snapshot is not None
    assert snapshot.apps_by_id[APP_ID].destinations[0].id == "ledger"


def test_a_look_loads_only_what_changed(home: Home) -> None:
    apply(home, FULL)
    follower = follower_of(home)
    first = follower.current()
    follower.look()
    assert follower.current() is first
    apply(home, SMALL.replace("Wallet", "Purse"))
    follower.look()
    assert version_of(follower) == 2


def test_a_change_reaches_the_thread_and_the_listener(home: Home) -> None:
    seen: list[int] = []
    arrived = threading.Event()

    def listen(snapshot: Snapshot) -> None:
        seen.append(snapshot.version)
        if snapshot.version == 1:
            arrived.set()

    follower = SnapshotFollower(home, SystemClock(), listen)
    follower.start()
    try:
        result = apply(home, SMALL, clock=SystemClock())
        assert arrived.wait(2)
    finally:
        follower.close()
    assert seen == [0, 1]
    assert result.live is not None
    assert result.live.sentence() == "live in 1 process"


def test_a_listener_that_raises_keeps_nobody_from_new_snapshots(home: Home) -> None:
    def listen(_snapshot: Snapshot) -> None:
        raise ValueError("listener")

    follower = SnapshotFollower(home, FakeClock(), listen)
    with capture_logs() as logs:
        follower.look()
        apply(home, SMALL)
        follower.look()
    assert version_of(follower) == 1
    assert [line["event"] for line in logs].count("snapshot_listener_failed") == 2


@pytest.mark.parametrize("damage", ["deleted", "corrupt", "emptied", "a folder"])
def test_a_database_that_breaks_leaves_the_last_snapshot_in_force(home: Home, damage: str) -> None:
    apply(home, FULL)
    follower = follower_of(home)
    break_database(home, damage)
    with capture_logs() as logs:
        for _ in range(3):
            follower.look()
    assert version_of(follower) == 1
    assert [line["event"] for line in logs] == ["catalog_unreadable"]  # once, not three times


@pytest.mark.parametrize("damage", ["deleted", "corrupt", "a folder"])
def test_a_start_without_a_database_works_with_the_snapshot_that_was_kept(
    home: Home, damage: str
) -> None:
    apply(home, FULL)
    break_database(home, damage)
    follower = follower_of(home)
    assert version_of(follower) == 1
    snapshot = follower.current()
    assert snapshot is not None
    assert b"hush-hush-hush" in snapshot.apps[0].destinations[0].settings


def break_database(home: Home, damage: str) -> None:
    file = home.catalog_file
    size = file.stat().st_size
    file.unlink()
    if damage == "corrupt":
        file.write_bytes(b"garbage!" * (size // 8))
    elif damage == "emptied":
        file.touch()
    elif damage == "a folder":
        file.mkdir()


def test_a_database_that_comes_back_is_followed_again(home: Home) -> None:
    apply(home, FULL)
    follower = follower_of(home)
    kept = home.catalog_file.read_bytes()
    home.catalog_file.write_bytes(b"garbage!" * 1000)
    follower.look()
    home.catalog_file.write_bytes(kept)
    apply(home, SMALL.replace("Wallet", "Purse"))
    with capture_logs() as logs:
        follower.look()
    assert version_of(follower) == 2
    assert logs[-1]["event"] == "catalog_readable"


def test_a_database_made_anew_is_taken_though_its_version_is_the_same(home: Home) -> None:
    apply(home, FULL)
    follower = follower_of(home)
    home.catalog_file.unlink()
    apply(home, SMALL.replace("Wallet", "Purse"), clock=FakeClock(1_800_000_000_000))
    follower.look()
    snapshot = follower.current()
    assert snapshot is not None
    assert (snapshot.version, snapshot.apps[0].name) == (1, "Purse")


@pytest.mark.slow
def test_a_locked_database_leaves_the_last_snapshot_in_force(home: Home) -> None:
    apply(home, FULL)
    follower = follower_of(home)
    apply(home, SMALL.replace("Wallet", "Purse"))
    holder = sqlite3.connect(home.catalog_file, isolation_level=None)
    holder.execute("BEGIN EXCLUSIVE")
    follower.look()
    assert version_of(follower) == 1
    fresh = follower_of(home)  # a process that starts meanwhile: the kept snapshot
    assert version_of(fresh) == 2
    holder.execute("ROLLBACK")
    holder.close()
    follower.look()
    assert version_of(follower) == 2


@pytest.mark.parametrize("content", [b"", b"{}", CACHE_HEADER, CACHE_HEADER + b"garbage"])
def test_without_database_and_kept_snapshot_nothing_is_known_and_nothing_raised(
    home: Home, content: bytes
) -> None:
    apply(home, FULL)
    break_database(home, "corrupt")
    home.snapshot_file.write_bytes(content)
    assert follower_of(home).current() is None


def test_a_lost_key_file_raises_nothing_and_is_told(home: Home) -> None:
    apply(home, FULL)
    home.key_file.unlink()
    with capture_logs() as logs:
        follower = follower_of(home)
    assert follower.current() is None
    assert "secret.key is missing" in logs[0]["reason"]
    assert not home.key_file.exists()


def test_no_log_line_holds_a_secret(home: Home) -> None:
    with capture_logs() as logs:
        apply(home, FULL)
        follower = follower_of(home)
        break_database(home, "corrupt")
        follower.look()
    assert "hush-hush-hush" not in repr(logs)
    assert "dev-key-of-the-wallet" not in repr(logs)


def test_a_file_of_a_dead_process_keeps_no_apply_waiting(home: Home) -> None:
    folder = home.run_folder / "snapshots"
    folder.mkdir(parents=True)
    dead = b'{"pid":2147483646,"mark":{"version":0,"changed_ms":0}}'
    (folder / "2147483646-aaaa.json").write_bytes(dead)
    (folder / "1-bbbb.json").write_bytes(b"torn")
    result = apply(home, SMALL)
    assert result.live is not None
    assert (result.live.processes, result.live.waiting) == (0, 0)


def test_an_apply_says_who_has_not_taken_the_change(home: Home) -> None:
    """A process that follows without a thread takes nothing: the apply waits its two seconds."""
    follower_of(home)
    clock = FakeClock()
    started = clock.monotonic()
    result = apply(home, SMALL, clock=clock)
    assert result.live is not None
    assert (result.live.processes, result.live.waiting) == (0, 1)
    assert 2 <= clock.monotonic() - started < 2.1
