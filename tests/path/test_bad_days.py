"""Bad days of a node: receivers that misbehave, a full disk, homes and ports that cannot be used,
and a clock that jumps."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import uuid
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.support.bad_receiver import BadReceiver
from tests.support.told_receiver import ToldReceiver
from tests.support.whole_node import (
    PATIENCE_SECONDS,
    WholeNode,
    webhook,
    workspace,
)

IMPATIENT = {"timeout_seconds": 2.0}
HOUR_NS = 3_600_000_000_000
# A module that Python imports at its start: it moves the wall clock of every process of the node by
# what stands in a file, and leaves the machine's alone.
MOVED_CLOCK = """
import os, time
_true = time.time_ns
def _moved():
    try:
        with open(os.environ["MOVED_CLOCK_FILE"]) as file:
            return _true() + int(file.read() or 0)
    except OSError:
        return _true()
time.time_ns = _moved
"""


class Stage(WholeNode):
    """A node, a receiver that behaves, and one that does not."""

    def __init__(self, folder: Path, *, settings: str = "") -> None:
        super().__init__(folder, settings=settings)
        self.good = ToldReceiver()
        self.bad = BadReceiver()
        self.shelf = self.good.shelf("/good")

    def put_good(self) -> None:
        """Apply a workspace with the good destination alone."""
        self.apply(workspace(webhook("good", f"{self.good.url}/good")))

    def arrives(self, *message_ids: str, seconds: float = PATIENCE_SECONDS) -> None:
        """Wait until events are at the good receiver."""
        arrived = self.good.wait(lambda: set(message_ids) <= self.shelf.events.keys(), seconds)
        assert arrived, self.log()[-3000:]

    def end(self) -> None:
        """End everything."""
        self.close()
        self.good.close()
        self.bad.close()


@contextmanager
def running(folder: Path, *, settings: str = "", is_started: bool = True) -> Generator[Stage]:
    """Run a stage with the good destination, and end it whatever happens."""
    stage = Stage(folder, settings=settings)
    try:
        if is_started:
            stage.put_good()
            stage.node.start()
        yield stage
    finally:
        stage.end()


@contextmanager
def mounted(folder: Path, options: str) -> Generator[Path]:
    """Mount a small disk in memory; skip where that is not ours to do."""
    folder.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", options, "tmpfs", str(folder)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        pytest.skip(f"cannot mount a disk in memory here (needs root): {done.stderr.strip()}")
    try:
        yield folder
    finally:
        subprocess.run(["umount", "-l", str(folder)], check=True)


@pytest.mark.slow
def test_receivers_that_misbehave_cost_the_others_nothing(tmp_path: Path) -> None:
    with running(tmp_path / "home", is_started=False) as stage:
        manners = ("never", "drip", "garbage", "flood", "redirect", "no-http", "hang-up")
        bad = [webhook(name, stage.bad.url(name), settings=IMPATIENT) for name in manners]
        bad.append(webhook("nowhere", "http://nothing-here.invalid/hook", settings=IMPATIENT))
        bad.append(webhook("private", stage.bad.url("elsewhere"),
                           settings={"allow_private_addresses": False}))  # fmt: skip
        stage.apply(workspace(webhook("good", f"{stage.good.url}/good"), *bad))
        stage.node.start()
        first = [stage.track(f"user-{number % 10}") for number in range(50)]
        stage.arrives(*first)
        # Every bad one has shown its manners by now, or does so soon.
        stage.until(lambda: stage.bad.requests["never"] >= 2, "it was given up and tried again")
        stage.until(lambda: stage.line("garbage").delivered == 50, "200 is 200, whatever it says")
        stage.until(lambda: "HTTP 302" in stage.state("redirect")["reason"], "a redirect parks")
        stage.until(lambda: stage.state("private")["state"] == "parked", "a private address parks")
        last = [stage.track(f"user-{number % 10}") for number in range(50)]
        begin = stage.clock.monotonic()
        stage.arrives(*last)
        assert stage.clock.monotonic() - begin < 5  # the good one does not wait for the bad ones
        stage.until_settled("good")
        assert stage.bad.requests["elsewhere"] == 0  # no redirect is followed, no guard passed
        for name in ("never", "drip", "no-http", "hang-up", "redirect", "private", "nowhere"):
            line = stage.line(name)
            assert (line.delivered, line.dead, line.pending) == (0, {}, 100), name
        story = stage.say("trace", first[0])["destinations"]
        assert story["never"]["attempts"][0]["reason"] == "timeout"
        assert story["drip"]["attempts"][0]["reason"] == "timeout"
        assert story["hang-up"]["attempts"][0]["outcome"] == "retry"
        assert stage.memory_peak_mb("worker") < 300  # the flood was cut
        assert stage.node.stop() == 0  # also while they hang


@pytest.mark.slow
def test_a_full_disk_is_503_and_told_and_over_when_there_is_room(tmp_path: Path) -> None:
    settings = f"[log]\nreserve_bytes = {4 * 1_048_576}\n"
    with (
        mounted(tmp_path / "home", "size=40m") as folder,
        running(folder, settings=settings) as stage,
    ):
        before = [stage.track() for _ in range(20)]
        stage.arrives(*before)
        children = stage.node.children()
        fill(folder / "filler")
        refused = 0
        taken: list[str] = []
        while refused < 20:
            message_id = str(uuid.uuid4())
            value = {
                "messageId": message_id,
                "event": "E",
                "userId": "u",
                "properties": {"a": "x" * 20_000},
            }
            reply = stage.post("/v1/track", value)
            if reply.status == 200:
                taken.append(message_id)
            else:
                assert reply.status == 503, reply
                assert int(reply.headers["retry-after"]) >= 1
                assert reply.json["code"] == "unavailable"
                refused += 1
        stage.until(lambda: not stage.node.is_ready(), "it says that it is not ready")
        assert "durable" in stage.request("GET", "/health/ready").json["reason"]
        assert stage.request("GET", "/health/live").status == 200
        done = stage.run("doctor", "--json")
        assert done.returncode == 1
        assert "disk" in done.stdout
        assert '"problem"' in done.stdout
        assert "Traceback" not in done.stderr
        (folder / "filler").unlink()
        stage.until(stage.node.is_ready, "it is ready again by itself")
        after = [stage.track() for _ in range(20)]
        stage.arrives(*before, *taken, *after)
        stage.until_settled("good")
        assert stage.node.children() == children, stage.log()[-3000:]
        stage.until(stage.home.reserve_file.exists, "the reserve is made again", 90)
        assert "Traceback" not in stage.log()


@pytest.mark.slow
@pytest.mark.parametrize("name", ["gateway-0", "worker", "background", "console"])
def test_a_process_that_dies_on_a_full_disk_is_back_when_there_is_room(
    tmp_path: Path, name: str
) -> None:
    settings = f"[log]\nreserve_bytes = {4 * 1_048_576}\n"
    with (
        mounted(tmp_path / "home", "size=40m") as folder,
        running(folder, settings=settings) as stage,
    ):
        before = stage.track()
        fill(folder / "filler")
        stage.until(lambda: refuses(stage), "the disk is full")
        fill(folder / "more")  # what the reserve gave is gone too
        killed = stage.node.children()[name]
        os.kill(killed, signal.SIGKILL)
        stage.until(lambda: stage.node.children().get(name, killed) != killed, "it is tried again")
        stage.until(lambda: refuses(stage), "senders are still told to come again")
        # Metrics are written through memory: a page without room on the disk would be a SIGBUS.
        assert "exit_code=-7" not in stage.log()
        (folder / "filler").unlink()
        (folder / "more").unlink()
        stage.until(stage.node.is_ready, "it is ready again by itself")
        stage.arrives(before, stage.track())
        stage.until_settled("good")


@pytest.mark.slow
def test_a_node_that_is_killed_on_a_full_disk_loses_nothing(tmp_path: Path) -> None:
    settings = f"[log]\nreserve_bytes = {4 * 1_048_576}\n"
    with (
        mounted(tmp_path / "home", "size=40m") as folder,
        running(folder, settings=settings) as stage,
    ):
        stage.good.hold("/good")
        taken = [stage.track() for _ in range(20)]
        fill(folder / "filler")
        stage.until(lambda: refuses(stage), "the disk is full")
        stage.node.kill()
        (folder / "filler").unlink()
        stage.good.release("/good")
        stage.node.start()
        stage.arrives(*taken)
        stage.until_settled("good")


def test_a_home_that_cannot_be_written_is_refused_in_one_sentence(tmp_path: Path) -> None:
    folder = tmp_path / "home"
    if os.getuid() == 0:
        with mounted(folder, "ro,size=1m"):
            check_unwritable(folder)
    else:
        folder.mkdir(mode=0o500)
        check_unwritable(folder)


def check_unwritable(folder: Path) -> None:
    done = serve(folder)
    assert done.returncode == 1
    assert str(folder) in done.stderr
    assert done.stderr.count("\n") == 1, done.stderr


def test_a_home_of_a_newer_version_is_refused_and_nothing_in_it_touched(tmp_path: Path) -> None:
    folder = tmp_path / "home"
    folder.mkdir()
    (folder / "version").write_text("trunkline home 99\n")
    for arguments in (["serve"], ["ledger"], ["apply", "/dev/null"]):
        done = command(*arguments, "--home", str(folder))
        assert done.returncode == 1
        assert "99" in done.stderr
        assert done.stderr.count("\n") == 1, done.stderr
    assert [file.name for file in folder.iterdir()] == ["version"]


def test_a_second_node_on_the_same_home_refuses_within_seconds_and_names_the_first(
    tmp_path: Path,
) -> None:
    with running(tmp_path / "home") as stage:
        begin = stage.clock.monotonic()
        done = serve(stage.home.folder)
        took = stage.clock.monotonic() - begin
        assert done.returncode == 1
        assert f"pid {stage.node.pid}" in done.stderr
        assert f"127.0.0.1:{stage.node.ingest_port}" in done.stderr
        assert 4.5 < took < 20  # it waits five seconds for one that is just ending
        stage.arrives(stage.track())


def test_a_taken_port_is_named_and_nothing_is_started(tmp_path: Path) -> None:
    with running(tmp_path / "home") as stage:
        for option, port in (
            ("--listen", stage.node.ingest_port),
            ("--console", stage.node.console_port),
        ):
            done = serve(tmp_path / "other", option, f"127.0.0.1:{port}")
            assert done.returncode == 1
            assert f"127.0.0.1:{port}" in done.stderr
            assert done.stderr.count("\n") == 1, done.stderr
        stage.arrives(stage.track())


@pytest.mark.slow
@pytest.mark.parametrize("hours", [100, -100])
def test_a_clock_that_jumps_expires_nothing_and_loses_nothing(tmp_path: Path, hours: int) -> None:
    (tmp_path / "sitecustomize.py").write_text(MOVED_CLOCK)
    moved = tmp_path / "moved"
    moved.write_text("0")
    environ = {"PYTHONPATH": str(tmp_path), "MOVED_CLOCK_FILE": str(moved)}
    with running(tmp_path / "home", is_started=False) as stage:
        stage.apply(workspace(webhook("good", f"{stage.good.url}/good"),
                              webhook("late", f"{stage.good.url}/late")))  # fmt: skip
        stage.good.answer("/late", 503)
        stage.node.start(environ=environ)
        before = [stage.track(f"user-{number % 3}") for number in range(10)]
        stage.arrives(*before)
        moved.write_text(str(hours * HOUR_NS))
        after = [stage.track(f"user-{number % 3}") for number in range(10)]
        stage.arrives(*after)
        # Retried for 72 hours at the most, and 100 have passed by the wall clock only.
        assert stage.line("late").dead == {}
        for message_id in before:
            stage.track(messageId=message_id)
        stage.until(lambda: stage.acceptance().duplicate == 10, "twins are known across the jump")
        assert stage.node.stop() == 0
        moved.write_text(str(-hours * HOUR_NS))
        stage.node.start(environ=environ)
        last = [stage.track(f"user-{number % 3}") for number in range(10)]
        stage.arrives(*last)
        stage.good.answer("/late", 200)
        late = stage.good.shelf("/late")
        everything = {*before, *after, *last}
        assert stage.good.wait(lambda: everything <= late.events.keys(), 60), stage.log()[-3000:]
        for user in range(3):
            sent = [*before[user::3], *after[user::3], *last[user::3]]
            for shelf in (stage.shelf, late):
                assert [one for one in shelf.events if one in sent] == sent
        stage.until_settled("late")
        assert stage.line("late").dead == {}


def refuses(stage: Stage) -> bool:
    """Send an event that nobody waits for, and say whether it was refused."""
    try:
        return stage.post("/v1/track", {"event": "E", "userId": "u"}).status == 503
    except OSError:
        return False  # nobody listens at the moment


def fill(file: Path) -> None:
    """Write until the disk is full."""
    with file.open("wb", buffering=0) as opened:
        for size in (1_048_576, 4096, 1):
            try:
                while opened.write(b"\0" * size) == size:
                    pass
            except OSError:
                continue


def command(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "trunkline", *arguments], capture_output=True, text=True, timeout=60,
        check=False, cwd=Path(__file__).parent,
    )  # fmt: skip


def serve(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run `serve` where it must refuse."""
    ports = {"--listen": "127.0.0.1:0", "--console": "127.0.0.1:0"}
    ports.update(dict(zip(arguments[::2], arguments[1::2], strict=True)))
    flags = [part for pair in ports.items() for part in pair]
    return command("serve", "--home", str(folder), *flags)
