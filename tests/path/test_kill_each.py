"""Each process of a node killed under load, alone and all at once; frozen; and stopped politely.

Nothing that was answered yes is lost, the processes are back, and each user's events come in order.
"""

from __future__ import annotations

import asyncio
import os
import random
import signal
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.steady_load import SteadyLoad, disorder_of
from tests.support.told_receiver import ToldReceiver
from tests.support.whole_node import WholeNode, webhook, workspace
from trunkline.kit.clock import SystemClock
from trunkline.proof.nodes import RealNode
from trunkline.proof.prove import prove

NAMES = {"worker", "gateway-0", "background", "console"}
STOP_SECONDS_MAX = 10.0
FROZEN_SECONDS = 3.0


class Stage(WholeNode):
    """A node that delivers to one receiver."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.receiver = ToldReceiver()
        self.shelf = self.receiver.shelf("/all")
        self.apply(workspace(webhook("receiver", f"{self.receiver.url}/all")))

    def end(self) -> None:
        """End the node and the receiver."""
        self.close()
        self.receiver.close()

    def until_owed_is_here(self, load: SteadyLoad) -> None:
        """Wait until all that was answered yes has come; it balances, in order, all of it."""
        arrived = self.receiver.wait(lambda: load.acknowledged <= self.shelf.events.keys(), 60)
        assert arrived, (
            sorted(load.acknowledged - self.shelf.events.keys())[:5],
            self.log()[-3000:],
        )
        assert disorder_of(self.shelf) == []
        assert load.refused == []
        self.until_settled("receiver", 60)
        line = self.line("receiver")
        assert (line.delivered, line.dead, line.filtered) == (line.accepted, {}, {})
        # One event of a lane may be stored whose answer was lost and that was not sent again.
        assert line.accepted >= len(load.acknowledged)
        assert line.accepted == len(self.shelf.events)

    def kill_one(self, name: str) -> None:
        """SIGKILL one process and wait until another has taken its place."""
        killed = self.node.children()[name]
        os.kill(killed, signal.SIGKILL)
        self.until(lambda: self.node.children().get(name, killed) != killed, f"{name} is back")

    def wait_for_events(self, more: int) -> None:
        """Wait until so many events more are at the receiver."""
        count = len(self.shelf.events) + more
        assert self.receiver.wait(lambda: len(self.shelf.events) >= count, 60), self.log()[-3000:]


@pytest.fixture
def stage(tmp_path: Path) -> Iterator[Stage]:
    stage = Stage(tmp_path / "home")
    try:
        stage.node.start()
        yield stage
    finally:
        stage.end()


@pytest.mark.slow
@pytest.mark.parametrize("name", sorted(NAMES))
def test_a_process_killed_under_load_is_back_and_nothing_is_lost(stage: Stage, name: str) -> None:
    with SteadyLoad(stage.node.ingest_port) as load:
        stage.wait_for_events(50)
        for _ in range(3):
            others = {k: pid for k, pid in stage.node.children().items() if k != name}
            stage.kill_one(name)
            stage.wait_for_events(50)
            left = {k: pid for k, pid in stage.node.children().items() if k != name}
            assert left == others  # nobody else was disturbed
    stage.until_owed_is_here(load)
    assert stage.node.is_ready()
    if name == "console":
        assert "trunkline_gateway_requests_total" in stage.metrics()


@pytest.mark.slow
def test_the_supervisor_killed_alone_takes_its_children_along_and_a_new_node_starts(
    stage: Stage,
) -> None:
    with SteadyLoad(stage.node.ingest_port) as load:
        stage.wait_for_events(50)
        orphans = stage.node.children()
        os.kill(stage.node.pid, signal.SIGKILL)
        stage.until(lambda: not any(is_alive(pid) for pid in orphans.values()), "all died with it")
        stage.node.kill()  # only reaps what is dead
        took = stage.clock.monotonic()
        stage.node.start()
        took = stage.clock.monotonic() - took
        stage.wait_for_events(50)
    stage.until_owed_is_here(load)
    assert took < 20


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_the_whole_group_killed_ten_times_loses_nothing(tmp_path: Path) -> None:
    proof = asyncio.run(prove(tmp_path / "proof", SystemClock(), random.Random(7), 10, 12.0))
    assert (proof.kills, proof.lost) == (10, 0)
    assert proof.acknowledged > 100
    assert proof.delivered >= proof.acknowledged
    assert not (tmp_path / "proof").exists()  # kept only where something was lost


@pytest.mark.slow
def test_a_frozen_worker_stops_no_answer_and_catches_up(stage: Stage) -> None:
    with SteadyLoad(stage.node.ingest_port) as load:
        stage.wait_for_events(20)
        worker = stage.node.children()["worker"]
        os.kill(worker, signal.SIGSTOP)
        before = len(load.acknowledged)
        stage.clock.pause(FROZEN_SECONDS)
        gained = len(load.acknowledged) - before
        os.kill(worker, signal.SIGCONT)
        stage.wait_for_events(gained)
    assert gained > 20
    assert load.slowest_seconds < FROZEN_SECONDS
    assert stage.node.children()["worker"] == worker
    stage.until_owed_is_here(load)


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT], ids=lambda n: n.name)
def test_a_polite_stop_under_load_is_clean_within_ten_seconds(
    stage: Stage, number: signal.Signals
) -> None:
    with SteadyLoad(stage.node.ingest_port) as load:
        stage.wait_for_events(50)
        begin = stage.clock.monotonic()
        # Ctrl-C reaches the whole group, SIGTERM the supervisor.
        (os.killpg if number is signal.SIGINT else os.kill)(stage.node.pid, number)
        code = stage.node.stop()
        took = stage.clock.monotonic() - begin
        assert (code, took < STOP_SECONDS_MAX) == (0, True), (code, took, stage.log()[-3000:])
        assert "process_killed" not in stage.log()
        stage.node.start()
        stage.wait_for_events(50)
    stage.until_owed_is_here(load)
    # A clean stop finishes what is under way: nothing had to be sent twice.
    assert stage.shelf.extra_copies == 0


@pytest.mark.slow
def test_a_node_stops_within_ten_seconds_while_a_receiver_hangs_and_a_body_dribbles(
    stage: Stage,
) -> None:

    stage.receiver.hold("/all")
    held = stage.track()
    stage.until(lambda: stage.line("receiver").pending == 1, "it is under way")
    slow = socket.create_connection(("127.0.0.1", stage.node.ingest_port))
    slow.sendall(b"POST /v1/track HTTP/1.1\r\nHost: a\r\nContent-Length: 1000\r\n\r\n{")
    begin = stage.clock.monotonic()
    assert stage.node.stop() == 0
    assert stage.clock.monotonic() - begin < STOP_SECONDS_MAX
    slow.close()
    stage.receiver.release("/all")
    stage.node.start()
    assert stage.receiver.wait(lambda: held in stage.shelf.events, 40)


def test_a_killed_node_starts_again_at_once(stage: Stage) -> None:
    message_id = stage.track()
    stage.node.kill()
    node = RealNode(stage.home.folder, clock=stage.clock)
    try:
        begin = stage.clock.monotonic()
        node.start()
        # The lock ends with its holders: nobody waits its five seconds out.
        assert "is in use" not in stage.log()
        assert stage.clock.monotonic() - begin < 20
        assert stage.receiver.wait(lambda: message_id in stage.shelf.events, 40)
    finally:
        node.kill()


def is_alive(pid: int) -> bool:
    try:
        return (Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]) != "Z"
    except OSError:
        return False
