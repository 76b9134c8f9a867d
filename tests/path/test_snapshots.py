"""The catalog changes, goes away, breaks and comes back while events flow: they do not notice."""

from __future__ import annotations

import signal
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support.steady_load import SteadyLoad, disorder_of
from tests.support.told_receiver import ToldReceiver
from tests.support.whole_node import APP, KEY, PATIENCE_SECONDS, WholeNode, webhook, workspace

LIVE_SECONDS_MAX = 2.0
APPLIES = 20
FOLLOWERS = 4  # two gateways, the worker, the background


class Stage(WholeNode):
    """A node with two gateways."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder, workers=2)
        self.receiver = ToldReceiver()
        self.shelf = self.receiver.shelf("/all")
        self.put()

    def put(self, **app: Any) -> float:
        """Apply the workspace with some fields of the app; return the seconds that it took."""
        begin = self.clock.monotonic()
        text = workspace(webhook("receiver", f"{self.receiver.url}/all"), **app)
        result = self.apply(text)
        took = self.clock.monotonic() - begin
        if result.live is not None and self.node.is_ready():
            assert (result.live.processes, result.live.waiting) == (FOLLOWERS, 0)
        return took

    def arrives(self, *message_ids: str) -> None:
        """Wait until events are at the receiver."""
        arrived = self.receiver.wait(
            lambda: set(message_ids) <= self.shelf.events.keys(), PATIENCE_SECONDS
        )
        assert arrived, self.log()[-3000:]

    def status(self, key: str) -> int:
        """Return what an event under a key is answered."""
        return self.post("/v1/track", {"event": "E", "userId": "u"}, key).status

    def until_every_gateway(self, key: str, status: int) -> float:
        """Wait until both gateways answer a key so: many connections in a row do. In seconds."""
        return self.until(
            lambda: all(self.status(key) == status for _ in range(16)), f"{status} everywhere"
        )

    def assert_nothing_lost_or_doubled(self, load: SteadyLoad) -> None:
        """Hold the receiver against what was answered yes."""
        self.arrives(*load.acknowledged)
        self.until_settled("receiver")
        assert load.refused == []
        assert self.shelf.extra_copies == 0
        assert disorder_of(self.shelf) == []
        line = self.line("receiver")
        assert (line.delivered, line.dead, line.filtered) == (line.accepted, {}, {})
        assert line.accepted == len(self.shelf.events)


@pytest.fixture
def stage(tmp_path: Path) -> Iterator[Stage]:
    stage = Stage(tmp_path / "home")
    try:
        stage.node.start()
        marks = stage.home.run_folder / "snapshots"
        stage.until(lambda: len([*marks.glob("*.json")]) == FOLLOWERS, "all follow the catalog")
        yield stage
    finally:
        stage.close()
        stage.receiver.close()


@pytest.mark.slow
def test_twenty_applies_under_load_are_live_at_once_and_cost_no_event(stage: Stage) -> None:
    with SteadyLoad(stage.node.ingest_port, lanes=4) as load:
        took = [stage.put(name=f"Path {number}") for number in range(APPLIES)]
    stage.assert_nothing_lost_or_doubled(load)
    assert sorted(took)[APPLIES // 2] < LIVE_SECONDS_MAX  # the whole command, not its last part
    versions = {
        line.partition("version=")[2].split()[0]
        for line in stage.log().splitlines()
        if "snapshot_loaded" in line and "process=worker" in line
    }
    assert str(APPLIES + 1) in versions


@pytest.mark.slow
def test_each_record_names_the_snapshot_that_decided_it(stage: Stage) -> None:
    before = stage.track()
    stage.put(name="Renamed")
    after = stage.track()
    stage.arrives(before, after)
    stage.until_settled("receiver")
    versions = [
        stage.say("trace", message_id)["stages"][0]["facts"]["snapshot"]
        for message_id in (before, after)
    ]
    assert versions == [1, 2]


def break_nothing(home: WholeNode) -> None:
    """Remove the database and all that belongs to it."""
    for file in home.home.folder.glob("catalog.db*"):
        file.unlink()


def break_to_garbage(home: WholeNode) -> None:
    """Put something else in the database's place."""
    break_nothing(home)
    home.home.catalog_file.write_bytes(b"this is no database" * 1000)


def break_to_nothing(home: WholeNode) -> None:
    """Cut the database to no length, as a full disk or a bad copy does."""
    break_nothing(home)
    home.home.catalog_file.touch()


@pytest.mark.slow
@pytest.mark.parametrize("damage", [break_nothing, break_to_garbage, break_to_nothing])
def test_events_go_on_without_the_catalog_and_a_restart_goes_on_from_the_cache(
    stage: Stage, damage: Any
) -> None:
    kept = stage.home.catalog_file.read_bytes()
    with SteadyLoad(stage.node.ingest_port, lanes=2) as load:
        stage.until(lambda: len(load.acknowledged) > 10, "events flow")
        damage(stage)
        before = len(load.acknowledged)
        # Long enough for every process to have looked, and to have found it broken.
        stage.until(lambda: stage.log().count("catalog_unreadable") >= FOLLOWERS, "all have looked")
        stage.until(lambda: len(load.acknowledged) > before + 20, "events go on")
        assert stage.node.stop() == 0
        stage.node.start()
        before = len(load.acknowledged)
        stage.until(lambda: len(load.acknowledged) > before + 20, "events go on from the cache")
    assert "source=cache" in stage.log()
    stage.assert_nothing_lost_or_doubled(load)
    # The database comes back from its backup, and is followed again.
    break_nothing(stage)
    stage.home.catalog_file.write_bytes(kept)
    stage.until(lambda: stage.log().count("catalog_readable") >= FOLLOWERS, "all can read it again")
    stage.put(name="After the backup")
    assert stage.node.children().keys() == {
        "worker",
        "gateway-0",
        "gateway-1",
        "background",
        "console",
    }


@pytest.mark.slow
def test_a_locked_catalog_holds_up_no_event_and_an_apply_says_so(
    stage: Stage, tmp_path: Path
) -> None:
    file = tmp_path / "workspace.yaml"
    file.write_text(workspace(webhook("receiver", f"{stage.receiver.url}/all"), name="Locked"))
    locker = sqlite3.connect(stage.home.catalog_file, isolation_level=None)
    try:
        locker.execute("BEGIN EXCLUSIVE")
        with SteadyLoad(stage.node.ingest_port, lanes=2) as load:
            stage.until(lambda: len(load.acknowledged) > 20, "events flow")
            done = stage.run("apply", str(file))
            assert done.returncode == 1
            assert "Traceback" not in done.stderr
            assert "lock" in done.stderr
            before = len(load.acknowledged)
            stage.until(lambda: len(load.acknowledged) > before + 20, "events go on")
    finally:
        locker.close()
    stage.assert_nothing_lost_or_doubled(load)
    stage.put(name="Unlocked")


@pytest.mark.slow
def test_a_rotated_key_opens_beside_the_new_one_and_a_revoked_one_opens_nothing(
    stage: Stage,
) -> None:
    assert stage.status(KEY) == 200
    issued = stage.say("key", "rotate", APP, "backend", "--overlap-hours", "1")
    assert issued["previous_until"]
    assert stage.until_every_gateway(issued["secret"], 200) < LIVE_SECONDS_MAX
    stage.until_every_gateway(KEY, 200)
    stage.say("key", "rotate", APP, "backend", "--overlap-hours", "0")
    # The one before the last ended with the second rotation.
    stage.until_every_gateway(KEY, 401)
    stage.say("key", "new", APP, "short", "--type", "server")
    short = stage.say("key", "rotate", APP, "short")["secret"]
    stage.until_every_gateway(short, 200)
    assert stage.say("key", "revoke", APP, "short")["live"] == {
        "processes": FOLLOWERS,
        "waiting": 0,
    }
    assert stage.until_every_gateway(short, 401) < LIVE_SECONDS_MAX
    # No workspace file brings a revoked secret back.
    text = workspace(keys=[{"name": "short", "type": "server", "secret": short}])
    file = stage.home.folder.parent / "revoked.yaml"
    file.write_text(text)
    done = stage.run("apply", str(file))
    assert done.returncode == 1
    assert "revoked" in done.stderr
    assert short not in done.stderr
    assert stage.status(short) == 401


@pytest.mark.slow
def test_an_apply_that_is_killed_leaves_the_old_or_the_new_catalog(
    stage: Stage, tmp_path: Path
) -> None:
    for number in range(6):
        file = tmp_path / f"{number}.yaml"
        file.write_text(
            workspace(webhook("receiver", f"{stage.receiver.url}/all"), name=f"N {number}")
        )
        command = [
            sys.executable,
            "-m",
            "trunkline",
            "apply",
            str(file),
            "--home",
            str(stage.home.folder),
        ]
        process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        stage.clock.pause(0.3 + 0.15 * number)
        process.send_signal(signal.SIGKILL)
        process.wait()
        message_id = stage.track()
        stage.arrives(message_id)
    took = stage.put(name="Whole")
    assert took < 5 * LIVE_SECONDS_MAX
