"""The worst days: callers killed in the middle, nodes killed under them, answers lost.

What a call returned for arrives, and each as one event; what was being called when the kill came
may have arrived or not.
"""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from trunkline_sdk import Limits, Trunkline

from tests.support.losing_proxy import LosingProxy
from tests.support.python_sdk_stage import SOURCE, SdkStage
from tests.support.whole_node import KEY

pytestmark = [pytest.mark.slow, pytest.mark.timeout(400)]

EVENTS = 2_000
PATIENCE = 120.0
QUICK = Limits(retry_seconds_max=0.5)
# Prints an id only after the call returned, in one write, so that a kill cannot cut it in half.
CALLER = """
import os, sys
from trunkline_sdk import Trunkline
url, key, path, name, begin, end = sys.argv[1:]
client = Trunkline(key, url, queue_path=path)
for n in range(int(begin), int(end)):
    given = client.track(f"u-{n % 7}", "Seen", {"n": n}, message_id=f"{name}-{n}")
    os.write(1, (given + "\\n").encode())
sys.exit(not client.flush(100))
"""


@pytest.fixture
def own_stage(tmp_path: Path) -> Iterator[SdkStage]:
    stage = SdkStage(tmp_path / "home")
    try:
        stage.node.start()
        yield stage
    finally:
        stage.close()


def start(
    stage: SdkStage, path: Path, name: str, begin: int = 0, end: int = EVENTS
) -> subprocess.Popen[str]:
    command = [sys.executable, "-c", CALLER, stage.node.url, KEY, str(path), name]
    return subprocess.Popen(
        [*command, str(begin), str(end)],
        env={**os.environ, "PYTHONPATH": str(SOURCE)}, stdout=subprocess.PIPE, text=True,
    )  # fmt: skip


def read_ids(process: subprocess.Popen[str], count: int) -> list[str]:
    assert process.stdout is not None
    return [process.stdout.readline().strip() for _ in range(count)]


def kill(process: subprocess.Popen[str]) -> list[str]:
    """SIGKILL it, and return the ids whose calls had returned and were not read yet."""
    process.send_signal(signal.SIGKILL)
    rest, _ = process.communicate(timeout=PATIENCE)
    assert process.returncode == -signal.SIGKILL
    return rest.split()


def assert_each_is_one_event(stage: SdkStage, told: set[str], called: set[str]) -> None:
    stage.until_arrived(told, PATIENCE)
    stage.until_settled("receiver")
    arrived = set(stage.shelf.events)
    assert told <= arrived <= called
    accepted = stage.acceptance()
    assert accepted.accepted == len(arrived) and not accepted.refused and accepted.balanced
    assert stage.line("receiver").delivered == len(arrived)


def test_a_killed_caller_loses_and_doubles_nothing_that_it_was_told(
    own_stage: SdkStage, tmp_path: Path
) -> None:
    dice, path, told, begin = random.Random(5), tmp_path / "q.db", list[str](), 0
    for _ in range(4):
        process = start(own_stage, path, "one", begin)
        told += read_ids(process, dice.randrange(100, 400)) + kill(process)
        begin = len(told)  # the call that was cut is made again, with its id
    assert 0 < begin < EVENTS
    last = start(own_stage, path, "one", begin)
    told += read_ids(last, EVENTS - begin)
    last.communicate(timeout=PATIENCE)
    assert last.returncode == 0 and len(told) == EVENTS == len(set(told))
    assert_each_is_one_event(own_stage, set(told), set(told))


def test_a_caller_killed_while_the_node_is_down_is_made_good_by_the_next(
    own_stage: SdkStage, tmp_path: Path
) -> None:
    own_stage.node.kill()
    process = start(own_stage, tmp_path / "q.db", "one")
    told = read_ids(process, 700) + kill(process)
    own_stage.node.start()
    with Trunkline(KEY, own_stage.node.url, queue_path=tmp_path / "q.db", limits=QUICK) as client:
        own_stage.until(lambda: client.waiting() == 0, "all is sent", PATIENCE)
    called = {*told, f"one-{len(told)}"}
    assert_each_is_one_event(own_stage, set(told), called)


def test_processes_share_a_file_while_one_of_them_is_killed(
    own_stage: SdkStage, tmp_path: Path
) -> None:
    path, names = tmp_path / "q.db", ("one", "two", "killed")
    processes = [start(own_stage, path, name) for name in names]
    told = read_ids(processes[2], 300) + kill(processes[2])
    called = {f"killed-{len(told)}"}
    for process in processes[:2]:
        output, _ = process.communicate(timeout=PATIENCE)
        assert process.returncode == 0
        told += output.split()
    with Trunkline(KEY, own_stage.node.url, queue_path=path) as client:
        own_stage.until(lambda: client.waiting() == 0, "all is sent", PATIENCE)
    assert len(told) == len(set(told)) >= 2 * EVENTS + 300
    assert_each_is_one_event(own_stage, set(told), called | set(told))


def test_events_survive_a_node_that_is_killed_twice(own_stage: SdkStage) -> None:
    told: set[str] = set()
    with Trunkline(KEY, own_stage.node.url, limits=QUICK) as client:
        for _ in range(2):
            told |= {client.track(f"u-{n % 7}", "Seen") for n in range(500)}
            own_stage.node.kill()
            told |= {client.track(f"u-{n % 7}", "Seen") for n in range(500)}
            own_stage.node.start()
        assert client.flush(PATIENCE)
    assert_each_is_one_event(own_stage, told, told)


def test_lost_answers_double_nothing(own_stage: SdkStage) -> None:
    proxy = LosingProxy(own_stage.node.ingest_port)
    try:
        with Trunkline(KEY, proxy.url, limits=QUICK) as client:
            told = {client.track(f"u-{n % 7}", "Seen") for n in range(500)}
            assert client.flush(PATIENCE)
    finally:
        proxy.close()
    assert proxy.lost > 0
    assert_each_is_one_event(own_stage, told, told)
    assert own_stage.acceptance().duplicate > 0
