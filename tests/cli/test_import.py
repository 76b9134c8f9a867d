"""`trunkline import`, as it is typed, on a home where no node runs."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.support.bulk_stage import track
from trunkline.__main__ import main
from trunkline.catalog.current import load_snapshot
from trunkline.state.home import Home
from trunkline.state.imports import identify, open_imports

Capture = pytest.CaptureFixture[str]
CSV = "customer;event name;at;price\n0012;Order;2021-02-03 10:00:00;12.5\n13;Order;never;1\n"


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Capture) -> Path:
    monkeypatch.setenv("TRUNKLINE_HOME", str(tmp_path / "home"))
    monkeypatch.chdir(tmp_path)
    (tmp_path / "workspace.yaml").write_text("apps: [{name: Shop}]")
    assert main(["apply", "workspace.yaml"]) == 0
    capsys.readouterr()
    lines = [track(n) for n in range(20)]
    (tmp_path / "good.ndjson").write_text("\n".join(map(json.dumps, lines)))
    (tmp_path / "mixed.ndjson").write_text("\n".join([*map(json.dumps, lines), "no event"]))
    (tmp_path / "orders.csv").write_text(CSV)
    return tmp_path


def run(capsys: Capture, *arguments: str, code: int = 0) -> str:
    assert main(["import", *arguments, "--app", "Shop"]) == code
    captured = capsys.readouterr()
    return captured.out + captured.err


def say(capsys: Capture, *arguments: str, code: int = 0) -> dict[str, Any]:
    outcomes = json.loads(run(capsys, *arguments, "--json", code=code))
    (outcome,) = outcomes["files"]
    for count in ("lines", "accepted", "stored", "duplicate", "judged", "rejected"):
        assert outcomes[count] == outcome[count]
    assert outcome["lines"] == outcome["accepted"] + outcome["rejected"]
    if outcome["importId"]:  # no dry run
        assert outcome["accepted"] == outcome["stored"] + outcome["duplicate"]
    return outcome


def test_a_good_file_ends_with_0_and_a_second_run_does_nothing(capsys: Capture) -> None:
    said = say(capsys, "good.ndjson")
    assert (said["lines"], said["stored"], said["rejected"]) == (20, 20, 0)
    assert said["rejectsFile"] is None
    again = run(capsys, "good.ndjson")
    assert "nothing was done now (--again takes it again)" in again
    assert "20 events stored, 0 rejected" in again
    assert again.count("which of them are duplicates is judged by the node") == 1


def test_rejected_lines_end_with_3_and_stand_in_a_file(capsys: Capture, folder: Path) -> None:
    said = say(capsys, "mixed.ndjson", code=3)
    assert (said["lines"], said["stored"], said["rejected"]) == (21, 20, 1)
    assert said["rejectsFile"] == "mixed.ndjson.rejects.ndjson"
    (reject,) = map(json.loads, (folder / said["rejectsFile"]).read_text().splitlines())
    assert (reject["line"], reject["code"], reject["row"]) == (21, "malformed_json", "no event")
    run(capsys, "mixed.ndjson", code=3)  # what it came to stays what it is


def test_a_dry_run_stores_nothing_and_shows_the_first_rejects(
    capsys: Capture, folder: Path
) -> None:
    text = run(capsys, "mixed.ndjson", "--dry-run", code=3)
    assert "a dry run: nothing was stored" in text
    assert "line 21: malformed_json: " in text
    assert not list(folder.glob("*.rejects.*")) and not (folder / "home/log/accepted").exists()
    said = say(capsys, "mixed.ndjson", "--dry-run", code=3)
    assert (said["lines"], said["accepted"], said["stored"], said["rejected"]) == (21, 20, 0, 1)
    assert say(capsys, "mixed.ndjson", code=3)["note"].startswith("which of them are duplicates")


def test_json_adds_up_what_several_files_came_to(capsys: Capture) -> None:
    files = ["good.ndjson", "mixed.ndjson"]
    said = json.loads(run(capsys, *files, "--json", code=3))
    counts = ("lines", "accepted", "stored", "duplicate", "rejected")
    assert [said[count] for count in counts] == [41, 40, 40, 0, 1]
    assert said["judged"] is False  # no node has
    assert [(each["file"], each["stored"]) for each in said["files"]] == [
        ("good.ndjson", 20), ("mixed.ndjson", 20),
    ]  # fmt: skip


def test_guessed_columns_are_shown_and_want_a_yes(capsys: Capture, folder: Path) -> None:
    (folder / "other.csv").write_text(CSV.replace("customer", "user id").replace("at", "when"))
    text = run(capsys, "other.csv", code=1)
    assert "  user id     userId (guessed)" in text and "  0012" in text
    assert "  when        properties.when (guessed)" in text
    assert "add --yes if this is right" in text
    assert say(capsys, "other.csv", "--yes", code=3)["accepted"] == 0  # none has a time


def test_a_mapping_that_was_said_needs_no_yes(capsys: Capture) -> None:
    said = say(capsys, "orders.csv", "--mapping", "customer=userId", "--mapping", "at=timestamp",
               code=3)  # fmt: skip
    assert (said["accepted"], said["rejected"]) == (1, 1)


def test_a_table_without_a_user_or_event_is_not_begun(capsys: Capture, folder: Path) -> None:
    (folder / "bare.csv").write_text("uid,when,price\nu,2021-01-01,1\n")
    assert 'give --set event="Name"' in run(capsys, "bare.csv", "--yes", code=1)
    rest = ["--set", "event=Order", "--mapping", "when=timestamp"]
    assert say(capsys, "bare.csv", *rest)["accepted"] == 1


def test_an_import_that_was_begun_otherwise_is_not_mixed(capsys: Capture, folder: Path) -> None:
    run(capsys, "good.ndjson")
    home = Home(folder / "home")
    with open_imports(home) as imports:
        app = load_snapshot(home).apps[0].id
        row = imports.find(app, identify(folder / "good.ndjson"))
        assert row is not None
        row.done_ms, row.position, row.rows, row.accepted = 0, 10, 10, 10  # as if killed there
        imports.save(row)
    assert "its import was begun otherwise" in run(capsys, "good.ndjson", "--live", code=1)
    said = say(capsys, "good.ndjson")
    assert (said["accepted"], said["note"]) == (20, "went on behind row 10, where it had stopped")


def test_users_are_imported_and_a_table_of_them_is_shown_first(
    capsys: Capture, folder: Path
) -> None:
    lines = [{"userId": f"u-{n}", "email": f"{n}@b.example"} for n in range(3)]
    (folder / "users.ndjson").write_text("\n".join(map(json.dumps, [*lines, track()])))
    said = say(capsys, "users.ndjson", "--kind", "users", code=3)
    assert (said["accepted"], said["rejected"]) == (3, 1)
    (folder / "users.csv").write_text("id,mobile,level\n0042,0912,3\n,0913,4\n")
    text = run(capsys, "users.csv", "--kind", "users", "--yes", code=3)
    assert "  id      customUserId (guessed)            0042" in text
    assert "  level   customAttributes.level (guessed)  3" in text
    (folder / "bare.csv").write_text("mobile\n0912\n")
    assert "no column fills one of customUserId" in run(
        capsys, "bare.csv", "--kind", "users", code=1
    )
    # The same file is one import as events and another as users.
    assert "nothing was done now" in run(capsys, "users.ndjson", "--kind", "users", code=3)
    assert say(capsys, "users.ndjson", code=3)["rejected"] == 3


def test_the_last_imports_are_listed(capsys: Capture, folder: Path) -> None:
    assert main(["import", "--list"]) == 0
    assert "no file was imported yet" in capsys.readouterr().out
    run(capsys, "good.ndjson")
    run(capsys, "mixed.ndjson", code=3)
    assert main(["import", "--list", "--app", "Shop"]) == 0
    text = capsys.readouterr().out
    assert text.index("mixed.ndjson") < text.index("good.ndjson")
    assert "done     events good.ndjson" in text and "20 lines, 20 stored, 0 rejected" in text
    assert main(["import", "--list", "--json"]) == 0
    listed = json.loads(capsys.readouterr().out)
    assert [each["state"] for each in listed] == ["done", "done"]
    assert (listed[0]["duplicate"], listed[0]["judged"]) == (0, False)  # no node has judged them


def test_a_file_that_changed_is_another_import(capsys: Capture, folder: Path) -> None:
    run(capsys, "good.ndjson")
    assert say(capsys, "good.ndjson", "--again")["accepted"] == 20
    file = folder / "good.ndjson"
    file.write_bytes(file.read_bytes() + b"\n" + json.dumps(track(99)).encode())
    assert say(capsys, "good.ndjson")["accepted"] == 21  # the node finds those it knows


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        ([], "name a file to import"),
        (["nosuch.ndjson"], "nosuch.ndjson: there is no such file"),
        (["good.ndjson", "--mapping", "a=userId"], "are for columns"),
        (["orders.csv", "--mapping", "nosuch=userId"], "no column 'nosuch'"),
        (["orders.csv", "--mapping", "customer"], "customer"),
        (["orders.csv", "--set", "event"], "expected FIELD=VALUE"),
        (["orders.csv", "--format", "parquet"], "no Parquet file"),
        (["workspace.yaml"], "give --format"),
        (["good.ndjson", "orders.csv", "--rejects", "x"], "--rejects is for one file"),
    ],
)
def test_what_cannot_be_imported_is_one_sentence(
    arguments: list[str], sentence: str, capsys: Capture
) -> None:
    assert sentence in run(capsys, *arguments, code=1)


def test_an_app_that_is_not_there_is_told(capsys: Capture) -> None:
    assert main(["import", "good.ndjson", "--app", "Nosuch"]) == 1
    assert "'Nosuch' names no app" in capsys.readouterr().err
