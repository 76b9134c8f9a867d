"""Imports and whole nodes: beside a running one, before one starts, killed in the middle."""

from __future__ import annotations

import gzip
import json
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support.bulk_stage import LONG_AGO, track
from tests.support.told_receiver import ToldReceiver
from tests.support.whole_node import (
    APP,
    COMMAND_SECONDS,
    PATIENCE_SECONDS,
    WholeNode,
    webhook,
    workspace,
)
from trunkline.bulk.importing import PARTITION
from trunkline.kit.settings import load_boot
from trunkline.model.record import ACCEPTED
from trunkline.node import open_log

EVENTS = 12_000
MEMORY_SLACK_MB = 40.0


# Kills itself for good behind an append, before the position is saved: the nth time it would be.
DYING = """
import os, signal, sys
from trunkline.state.imports import Imports
left, save = int(sys.argv[1]), Imports.save
def save_or_die(self, row):
    global left
    left -= 1
    if left == 0:
        os.kill(os.getpid(), signal.SIGKILL)
    save(self, row)
Imports.save = save_or_die
from trunkline.__main__ import main
sys.exit(main(sys.argv[2:]))
"""


class Stage(WholeNode):
    """A node with a destination that takes history and one that does not."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder / "home")
        self.folder = folder
        self.receiver = ToldReceiver()
        bought = {"events": ["Purchase Completed"]}
        self.apply(
            workspace(
                webhook("archive", f"{self.receiver.url}/archive", historical=True, filter=bought),
                webhook("now", f"{self.receiver.url}/now"),
            )
        )

    def write(self, name: str, count: int, **fields: Any) -> Path:
        """Write a file of so many events without ids."""
        path = self.folder / name
        data = "".join(json.dumps(track(n, **fields)) + "\n" for n in range(count)).encode()
        path.write_bytes(gzip.compress(data, 1) if name.endswith(".gz") else data)
        return path

    def import_and_die(self, file: Path, nth_save: int) -> None:
        """Import in a process that is killed before its nth save."""
        command = ["import", str(file), "--app", APP, "--home", str(self.home.folder)]
        done = subprocess.run(
            [sys.executable, "-c", DYING, str(nth_save), *command],
            capture_output=True, check=False, timeout=COMMAND_SECONDS,
        )  # fmt: skip
        assert done.returncode == -signal.SIGKILL, done.stderr

    def appended(self) -> int:
        """Return the end of the partition of imports."""
        log = open_log(self.home, load_boot(self.home.settings_file, {}, {}), self.clock)
        try:
            return log.ends(ACCEPTED).get(PARTITION, 0)
        finally:
            log.close()

    def listed_adding_up(self) -> dict[str, Any]:
        """Return what is told of the last import; its counts add up at any moment."""
        row: dict[str, Any] = self.say("import", "--list")[0]
        assert row["lines"] == row["stored"] + row["duplicate"] + row["rejected"]
        return row

    def check_each_once(self, count: int) -> None:
        """Assert that each event came to the archive, once, and none of them to the other."""
        self.until_settled("archive", 3 * PATIENCE_SECONDS)
        self.until_settled("now")
        shelf = self.receiver.shelf("/archive")
        assert shelf.extra_copies == 0
        events = shelf.events.values()
        numbers = sorted(event["properties"]["number"] for event in events)
        assert numbers == list(range(count))
        assert all(event["historical"] is True for event in events)
        assert {event["timestamp"] for event in events} == {LONG_AGO}
        assert self.line("now").filtered == {"historical": count}


@pytest.fixture
def stage(tmp_path: Path) -> Iterator[Stage]:
    made = Stage(tmp_path)
    yield made
    made.close()
    made.receiver.close()


def test_killed_twice_beside_a_running_node_each_event_is_stored_once(stage: Stage) -> None:
    file = stage.write("events.ndjson.gz", EVENTS)
    stage.node.start()
    live = stage.track(event="Live")
    stage.import_and_die(file, 4)
    assert stage.appended() == 3000  # the last thousand is in the log and in no saved position
    stage.import_and_die(file, 5)
    done = stage.run("import", str(file), "--app", APP)
    assert done.returncode == 0, done.stderr
    assert f"{EVENTS:,} events stored, 0 duplicates, 0 rejected" in done.stdout
    assert "went on behind row 6,000" in done.stdout
    stage.check_each_once(EVENTS)
    assert [*stage.receiver.shelf("/now").events] == [live]
    assert stage.acceptance().received == EVENTS + 1


def test_killed_where_no_node_runs_and_taken_up_by_the_next_one(stage: Stage) -> None:
    file = stage.write("events.ndjson", EVENTS)
    stage.import_and_die(file, 3)
    stage.import_and_die(file, 1)
    (said,) = stage.say("import", str(file), "--app", APP)["files"]
    assert (said["stored"], said["duplicate"], said["judged"]) == (EVENTS, 0, False)
    assert stage.appended() == EVENTS
    stage.node.start()
    stage.check_each_once(EVENTS)
    assert stage.acceptance().received == EVENTS
    (again,) = stage.say("import", str(file), "--app", APP)["files"]
    assert (again["stored"], again["duplicate"], again["judged"]) == (EVENTS, 0, True)


def test_what_was_known_is_counted_through_kills_and_while_it_runs(stage: Stage) -> None:
    """Half of the file is known, and its own last thousand stands in it twice."""
    known, file = stage.write("known.ndjson", EVENTS // 2), stage.write("more.ndjson", EVENTS)
    lines = file.read_bytes().splitlines(keepends=True)
    # An event without an id is known by its line and content: so the end has ids of its own.
    ends = [json.dumps(track(n, messageId=f"end-{n}")).encode() + b"\n" for n in range(1000)]
    file.write_bytes(b"".join([*lines[:-1000], *ends, *ends, b"no event\n"]))
    stage.node.start()
    stage.say("import", str(known), "--app", APP)
    stage.import_and_die(file, 4)
    stage.listed_adding_up()
    stage.import_and_die(file, 4)
    row = stage.listed_adding_up()
    assert (row["state"], row["lines"]) == ("running", 5000)
    (said,) = json.loads(stage.run("import", str(file), "--app", APP, "--json").stdout)["files"]
    assert (said["lines"], said["rejected"], said["judged"]) == (EVENTS + 1001, 1, True)
    assert (said["stored"], said["duplicate"]) == (EVENTS // 2, EVENTS // 2 + 1000)
    assert stage.listed_adding_up()["stored"] == said["stored"]
    counted = stage.acceptance()
    assert (counted.accepted, counted.duplicate) == (EVENTS, said["duplicate"])


def test_run_twice_it_stores_nothing_twice(stage: Stage) -> None:
    file = stage.write("events.ndjson", 1500)
    stage.node.start()
    (first,) = stage.say("import", str(file), "--app", APP)["files"]
    assert (first["stored"], first["duplicate"]) == (1500, 0)
    (second,) = stage.say("import", str(file), "--app", APP)["files"]
    assert second["note"].startswith("this file was imported")
    copy = stage.folder / "copy.ndjson"
    copy.write_bytes(file.read_bytes())
    (third,) = stage.say("import", str(copy), "--app", APP)["files"]
    assert (third["stored"], third["duplicate"]) == (0, 1500)
    stage.check_each_once(1500)


def test_the_trace_of_an_imported_event_names_its_line(stage: Stage) -> None:
    file = stage.write("events.ndjson", 3, messageId="m-1")
    stage.node.start()
    (said,) = stage.say("import", str(file), "--app", APP)["files"]
    assert (said["stored"], said["duplicate"]) == (1, 2)
    traced = stage.run("trace", "m-1")
    assert f"{said['importId']}:1" in traced.stdout


def test_memory_does_not_grow_with_the_file(stage: Stage) -> None:
    peaks = [_peak_mb(stage, stage.write(f"{count}.ndjson.gz", count)) for count in (2_000, 60_000)]
    assert peaks[1] < peaks[0] + MEMORY_SLACK_MB


def _peak_mb(stage: Stage, file: Path) -> float:
    """Return the most memory that an import took, as the kernel counts it for a child."""
    code = (
        "import resource, subprocess, sys; subprocess.run(sys.argv[1:], check=True, "
        "capture_output=True); print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss)"
    )
    command = [sys.executable, "-m", "trunkline", "import", str(file), "--app", APP]
    done = subprocess.run(
        [sys.executable, "-c", code, *command, "--home", str(stage.home.folder)],
        capture_output=True, text=True, check=True, timeout=100,
    )  # fmt: skip
    return int(done.stdout) / 1024
