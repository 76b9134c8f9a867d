"""The catalog between real processes: two who apply at once, and one that follows."""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.support.shaped_workspaces import workspace
from tests.support.workspaces import APP_ID, SMALL, apply, new_home
from trunkline.catalog.database import read_session
from trunkline.catalog.revision_reports import history
from trunkline.catalog.store import version_row
from trunkline.kit.clock import SystemClock

ROOT = Path(__file__).parent.parent.parent
FOLLOW = """
import sys
from pathlib import Path
from trunkline.catalog.follow import SnapshotFollower
from trunkline.kit.clock import SystemClock
from trunkline.state.home import Home
from trunkline.telemetry import log

log.configure("test")
follower = SnapshotFollower(
    Home(Path(sys.argv[1])), SystemClock(), lambda snapshot: print(snapshot.version, flush=True)
)
follower.start()
sys.stdin.read()
follower.close()
"""
APPLY = """
import sys
from pathlib import Path
from tests.support.workspaces import apply
from trunkline.kit.clock import SystemClock
from trunkline.state.home import Home

name, rounds = sys.argv[2], int(sys.argv[3])
sys.stdin.readline()
for number in range(rounds):
    text = f"apps: [{{name: {name}, keys: [{{name: k{number}, type: server}}]}}]"
    print(apply(Home(Path(sys.argv[1])), text, clock=SystemClock()).version, flush=True)
"""


DEPLOY = """
import sys
from pathlib import Path
from tests.support.shaped_workspaces import playbook
from tests.support.workspaces import APP_ID
from trunkline.catalog.revisions import deploy
from trunkline.kit.clock import SystemClock
from trunkline.state.home import Home

home, name, rounds = Home(Path(sys.argv[1])), sys.argv[2], int(sys.argv[3])
sys.stdin.readline()
for number in range(rounds):
    done = deploy(home, SystemClock(), APP_ID, "crm", playbook(f"{name}{number}"), author=name)
    print(done.before, done.revision, done.live.processes, done.live.waiting, flush=True)
"""


def run(code: str, *arguments: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", code, *arguments],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        cwd=ROOT,
    )


def read_line(process: subprocess.Popen[str]) -> str:
    assert process.stdout is not None
    return process.stdout.readline().strip()


def finish(process: subprocess.Popen[str]) -> None:
    process.communicate(timeout=30)
    assert process.returncode == 0


@pytest.mark.slow
def test_a_change_is_live_in_another_process_within_two_seconds(tmp_path: Path) -> None:
    home = new_home(tmp_path)
    followers = [run(FOLLOW, str(tmp_path)) for _ in range(2)]
    assert [read_line(process) for process in followers] == ["0", "0"]
    for version in ("1", "2", "3"):
        started = time.monotonic()
        result = apply(home, SMALL.replace("Wallet", f"W{version}"), clock=SystemClock())
        assert [read_line(process) for process in followers] == [version, version]
        assert time.monotonic() - started < 2
        assert result.live is not None
        assert result.live.sentence() == "live in 2 processes"
    followers[0].kill()
    followers[0].wait()
    result = apply(home, SMALL, clock=SystemClock())
    assert result.live is not None
    assert result.live.processes == 1
    for process in followers:
        process.communicate(timeout=30)


@pytest.mark.slow
def test_a_change_arrives_though_its_bell_is_lost(tmp_path: Path) -> None:
    """Somebody took `run/` away: no bell rings, and the follower looks by itself."""
    home = new_home(tmp_path)
    follower = run(FOLLOW, str(tmp_path))
    assert read_line(follower) == "0"
    for bell in home.catalog_bells.iterdir():
        bell.unlink()
    started = time.monotonic()
    apply(home, SMALL, clock=SystemClock())
    assert read_line(follower) == "1"
    assert time.monotonic() - started < 2
    finish(follower)


@pytest.mark.slow
def test_two_processes_that_apply_at_once_lose_nothing(tmp_path: Path) -> None:
    """Also the very first apply: the two race to make database, tables and key."""
    home = new_home(tmp_path)
    rounds = 8
    processes = [run(APPLY, str(tmp_path), name, str(rounds)) for name in ("A", "B")]
    outputs = [process.communicate("go\n", timeout=60)[0].split() for process in processes]
    assert [process.returncode for process in processes] == [0, 0]
    versions = [int(version) for output in outputs for version in output]
    assert sorted(versions) == list(range(1, 2 * rounds + 1))
    with read_session(home) as session:
        assert session is not None
        assert version_row(session).version == 2 * rounds
    again = apply(home, "apps: []")
    assert again.unnamed == ("app A", "app B") or again.unnamed == ("app B", "app A")


@pytest.mark.slow
def test_two_processes_that_deploy_at_once_leave_one_chain_of_deployments(tmp_path: Path) -> None:
    """And each was live in the process that follows before its command returned."""
    home = new_home(tmp_path)
    apply(home, workspace())
    follower = run(FOLLOW, str(tmp_path))
    assert read_line(follower) == "1"
    rounds = 6
    processes = [run(DEPLOY, str(tmp_path), name, str(rounds)) for name in ("A", "B")]
    outputs = [process.communicate("go\n", timeout=60)[0].splitlines() for process in processes]
    assert [process.returncode for process in processes] == [0, 0]
    told = [tuple(map(int, line.split())) for output in outputs for line in output]
    assert {(processes, waiting) for _, _, processes, waiting in told} == {(1, 0)}
    rows = history(home, APP_ID, "crm")[::-1]
    assert [row.from_revision for row in rows] == [0, *(row.to_revision for row in rows[:-1])]
    assert sorted((before, after) for before, after, *_ in told) == sorted(
        (row.from_revision, row.to_revision) for row in rows
    )
    assert sorted(row.to_revision for row in rows) == list(range(1, 2 * rounds + 1))
    seen = [read_line(follower)]
    while seen[-1] != str(1 + 2 * rounds):
        seen.append(read_line(follower))
    finish(follower)
