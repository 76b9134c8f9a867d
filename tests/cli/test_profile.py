"""`trunkline profile`, as it is typed; and what `doctor` says of the store."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.support.profile_world import ProfileWorld, happened, identify
from trunkline.__main__ import main
from trunkline.catalog.current import load_snapshot

Capture = pytest.CaptureFixture[str]


@pytest.fixture
def world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Capture) -> ProfileWorld:
    monkeypatch.setenv("TRUNKLINE_HOME", str(tmp_path / "home"))
    file = tmp_path / "workspace.yaml"
    file.write_text("apps: [{id: abcdefghijklmno, name: Wallet}, {name: Other}]")
    assert main(["apply", str(file)]) == 0
    world = ProfileWorld(tmp_path / "home")
    world.snapshot = load_snapshot(world.home)
    app = world.snapshot.apps[0].id
    world.take(
        happened(0, "", "a", app=app),
        happened(1, "jane", "a", app=app, name="Bought"),
        happened(2, "joe", app=app),
    )
    world.close()
    capsys.readouterr()
    return world


def run(capsys: Capture, *arguments: str, code: int = 0) -> str:
    assert main(["profile", *arguments]) == code
    captured = capsys.readouterr()
    return captured.out if code == 0 else captured.err


def test_a_profile_is_shown(world: ProfileWorld, capsys: Capture) -> None:
    assert run(capsys, "show", "Wallet", "a").splitlines() == [
        "userId:jane  first seen 2026-11-21T10:00:00.000Z  last seen 2026-11-21T10:01:00.000Z",
        "  userId            jane  2026-11-21T10:01:00.000Z",
        "  anonymousId       a  2026-11-21T10:01:00.000Z  → userId:jane (seen together)",
        "  2026-11-21T10:01:00.000Z  track Bought  m1",
        "  2026-11-21T10:00:00.000Z  track Viewed  m0",
    ]
    shown: Any = json.loads(run(capsys, "show", "abcdefghijklmno", "a", "--json"))
    assert shown["id"] == "userId:jane"


def test_what_is_not_there_is_said(world: ProfileWorld, capsys: Capture) -> None:
    assert "nothing is known of 'nobody' in Wallet" in run(
        capsys, "show", "Wallet", "nobody", code=1
    )
    assert "nothing is known of 'jane' in Other" in run(capsys, "show", "Other", "jane", code=1)
    assert "expected one of: Wallet, Other" in run(capsys, "show", "Walet", "jane", code=1)
    assert "'nobody'" in run(capsys, "merge", "Wallet", "jane", "nobody", code=1)
    assert "one profile already" in run(capsys, "merge", "Wallet", "jane", "a", code=1)
    assert "no merge 99" in run(capsys, "unmerge", "Wallet", "99", code=1)
    assert "expected 1 to" in run(capsys, "list-merges", "Wallet", "--limit", "0", code=1)
    assert run(capsys, "list-merges", "Wallet") == "nothing was merged\n"


def test_a_merge_is_made_listed_and_undone(world: ProfileWorld, capsys: Capture) -> None:
    said = run(capsys, "merge", "Wallet", "a", "joe", "--why", "ticket 7", "--by", "maria")
    assert said == "merged: number 2; `trunkline profile unmerge Wallet 2` undoes it\n"
    assert "userId:jane = userId:joe  merged by hand  maria  ticket 7" in run(
        capsys, "list-merges", "Wallet"
    )
    assert run(capsys, "list-merges", "Other") == "nothing was merged\n"
    assert "no merge 2" in run(capsys, "unmerge", "Other", "2", code=1), "it is another app's"
    assert run(capsys, "unmerge", "Wallet", "2", "--by", "tom") == "undone: number 2\n"
    assert run(capsys, "list-merges", "Wallet").rstrip().endswith("Z tom")
    assert "no merge 2" in run(capsys, "unmerge", "Wallet", "2", code=1)
    assert "userId:jane" not in run(capsys, "show", "Wallet", "joe").split("merge")[0]


def test_doctor_tells_of_a_store_that_is_behind_missed_or_broken(
    world: ProfileWorld, capsys: Capture, monkeypatch: pytest.MonkeyPatch
) -> None:
    def finding() -> Any:
        main(["doctor", "--json"])
        found = json.loads(capsys.readouterr().out)
        return next(each for each in found if each["about"] == "profiles")

    assert finding() == {"about": "profiles", "verdict": "ok", "text": "0 events behind"}
    again = ProfileWorld(world.home.folder)
    again.put([identify(5, "jane")] * 3)
    again.close()
    monkeypatch.setattr("trunkline.cli.doctor.PROFILE_LAG_MAX", 2)
    assert finding()["verdict"] == "warning" and finding()["text"].startswith("3 events behind")
    world.home.profiles_file.write_bytes(b"no database" * 1000)
    for side in ("-wal", "-shm"):
        world.home.profiles_file.with_name(f"profiles.db{side}").unlink(missing_ok=True)
    assert finding()["verdict"] == "problem" and "cannot be read" in finding()["text"]
    assert "see `trunkline doctor`" in run(capsys, "show", "Wallet", "a", code=1)
