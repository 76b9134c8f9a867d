"""`trunkline refused resend` as it is typed wrongly, and over what an older version kept."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support.whole_node import APP, workspace
from trunkline.__main__ import main
from trunkline.catalog.apply import apply_workspace
from trunkline.kit.clock import SystemClock
from trunkline.node import destination_kinds
from trunkline.state.db import open_writer
from trunkline.state.home import Home
from trunkline.state.pipeline import MIGRATIONS

Capture = pytest.CaptureFixture[str]


@pytest.fixture
def home(tmp_path: Path) -> Path:
    folder = tmp_path / "home"
    place = Home(folder)
    place.prepare()
    apply_workspace(place, workspace(), destination_kinds(), {}, clock=SystemClock(), prune=False)
    # As a version before notes wrote it: the reader brings it up to date.
    db = open_writer(place.pipeline_file, MIGRATIONS[:1])
    db.execute(
        "INSERT INTO refused VALUES (17, ?, 1, 'tracking', 'backend', '', 'r', 'invalid_field',"
        " 'event is 5; send a string', '', x'7b7d', 1)",
        (APP,),
    )
    db.close()
    return folder


def run(home: Path, *arguments: str) -> int:
    return main(["refused", *arguments, "--home", str(home)])


def test_what_an_older_version_refused_is_shown_and_not_sent(home: Path, capsys: Capture) -> None:
    assert run(home, "show", "17") == 0
    assert "invalid_field: event is 5" in capsys.readouterr().out
    assert run(home, "resend", APP, "--yes") == 3
    said = capsys.readouterr().out
    assert "cannot be sent: how it came was not kept" in said
    assert said.endswith("0 events of 0 refused were sent again; 1 were not.\n")


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["Nobody"], "'Nobody' names no app; there are: pathpathpathpat (Path)"),
        ([APP, "--id", "99"], "no refused event 99 of Path; `trunkline refused list` shows"),
        ([APP, "--edit", "event.json"], "--edit gives one event anew: say which with one --id"),
        ([APP, "--id", "17", "--edit", "none.json"], "--edit none.json: No such file"),
        ([APP, "--set", "size"], "--set 'size': expected PATH=VALUE, say properties.size=42"),
        ([APP, "--set", "a..b=1"], "--set 'a..b=1': expected PATH=VALUE"),
        ([APP, "--since", "soon"], "'soon' is no time; expected 2026-11-20T10:15:30Z, or 2h"),
        ([APP, "--limit", "0"], "--limit 0: expected 1 to 10,000; run it again for more"),
    ],
)
def test_a_wrong_call_is_told_what_was_expected(
    home: Path, capsys: Capture, arguments: list[str], sentence: str
) -> None:
    assert run(home, "resend", *arguments) == 1
    assert sentence in capsys.readouterr().err


def test_where_nothing_fits_it_says_so(home: Path, capsys: Capture) -> None:
    assert run(home, "resend", APP, "--code", "too_large") == 0
    assert capsys.readouterr().out.startswith("Nothing that was refused fits")
