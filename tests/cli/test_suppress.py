"""`trunkline suppress`, as it is typed."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from trunkline.__main__ import main

Capture = pytest.CaptureFixture[str]


@pytest.fixture(autouse=True)
def _home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Capture) -> None:
    monkeypatch.setenv("TRUNKLINE_HOME", str(tmp_path / "home"))
    file = tmp_path / "workspace.yaml"
    file.write_text("apps: [{name: Wallet}]")
    assert main(["apply", str(file)]) == 0
    capsys.readouterr()


def run(capsys: Capture, *arguments: str, code: int = 0) -> str:
    assert main(["suppress", *arguments]) == code
    captured = capsys.readouterr()
    return captured.out if code == 0 else captured.out + captured.err


def test_people_are_added_listed_and_removed(capsys: Capture) -> None:
    assert "nobody is suppressed" in run(capsys, "list", "Wallet")
    assert run(capsys, "add", "Wallet", "u-1", "u-2", "--anonymous", "a", "--anonymous", "b") == (
        "4 suppressed: no node runs on this home; the next one starts with it\n"
    )
    assert run(capsys, "add", "Wallet", "u-2", "u-3").startswith("1 suppressed; 1 already: ")
    assert run(capsys, "add", "Wallet", "u-3") == "0 suppressed; 1 already\n"
    listed = run(capsys, "list", "Wallet")
    assert listed.count("\n") == 5 and "u-1" not in listed
    assert run(capsys, "list", "Wallet", "u-3").startswith("user ")
    said = run(capsys, "list", "Wallet", "u-9", code=1)
    assert "nobody of these is suppressed" in said
    assert run(capsys, "remove", "Wallet", "u-3", "u-9").startswith(
        "1 no longer suppressed; 1 were not suppressed: "
    )
    assert "nobody of these is suppressed" in run(capsys, "list", "Wallet", "u-3", code=1)


def test_a_file_names_many(tmp_path: Path, capsys: Capture) -> None:
    file = tmp_path / "ids.txt"
    file.write_text("u-1\n\n  u-2  \nu-1\n")
    done = json.loads(run(capsys, "add", "Wallet", "--file", str(file), "--json"))
    assert (done["changed"], done["unchanged"]) == (2, 0)
    found = json.loads(run(capsys, "list", "Wallet", "u-2", "--json"))
    assert [(person["app"], person["kind"]) for person in found] == [("Wallet", "user")]


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["add", "Wallet"], "nobody is named"),
        (["add", "Walet", "u-1"], "Walet"),
        (["add", "Wallet", "--email", "jane"], "'jane' is no email to suppress"),
        (["add", "Wallet", "--file", "nothing.txt"], "nothing.txt cannot be read"),
    ],
)
def test_what_cannot_be_done_is_told(arguments: list[str], sentence: str, capsys: Capture) -> None:
    assert sentence in run(capsys, *arguments, code=1)


def test_a_line_that_is_no_id_is_refused(tmp_path: Path, capsys: Capture) -> None:
    file = tmp_path / "ids.txt"
    file.write_text("u" * 1001)
    assert "one on each line" in run(capsys, "add", "Wallet", "--file", str(file), code=1)
    file.write_bytes(b"\xff\xfe")
    assert "cannot be read as text" in run(capsys, "add", "Wallet", "--file", str(file), code=1)
