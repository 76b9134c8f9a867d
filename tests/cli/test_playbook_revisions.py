"""`playbook list|show|deploy|rollback|shadow` and `apply --note`, as they are typed."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from trunkline.__main__ import main

WORKSPACE = """
apps:
  - id: zcmwmxbkmuodelu
    name: Wallet
    destinations:
      - {id: crm, kind: webhook, settings: {url: "https://crm.example/hook"}}
      - {id: ads, kind: webhook, settings: {url: "https://ads.example/hook"}}
"""
PLAYBOOK = "global:\n  enrichments:\n  - {outputKey: source, staticString: %s}\n"
Capture = pytest.CaptureFixture[str]


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Capture) -> Path:
    """A home with two destinations, and two playbooks beside it."""
    monkeypatch.setenv("TRUNKLINE_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("USER", "mina")
    monkeypatch.chdir(tmp_path)
    Path("workspace.yaml").write_text(WORKSPACE)
    Path("one.yaml").write_text(PLAYBOOK % "one")
    Path("two.json").write_text(
        '{"global": {"enrichments": [{"outputKey": "source", "staticString": "two"}]}}'
    )
    assert main(["apply", "workspace.yaml"]) == 0
    capsys.readouterr()
    return tmp_path


def typed(line: str) -> int:
    return main(["playbook", *line.split()])


def answered(line: str, capsys: Capture) -> Any:
    assert typed(f"{line} --json") == 0
    return json.loads(capsys.readouterr().out)


def test_deploy_and_rollback_say_what_was_and_what_is(capsys: Capture) -> None:
    for line, told in (
        ("deploy --destination crm one.yaml", "revision 1 deployed, before it its own form"),
        ("deploy --destination crm two.json", "revision 2 deployed, before it revision 1"),
        ("deploy --destination crm two.json", "revision 2 is deployed already"),
        ("rollback --destination crm", "revision 1 deployed, before it revision 2"),
        ("deploy --destination zcmwmxbkmuodelu/crm --revision 2", "revision 2 deployed"),
        ("deploy --destination crm --revision 0", "its own form deployed, before it revision 2"),
    ):
        assert typed(line) == 0
        assert f"zcmwmxbkmuodelu/crm: {told}" in capsys.readouterr().out


def test_a_deployment_answers_programs_in_json(capsys: Capture) -> None:
    assert answered("deploy --destination crm one.yaml", capsys) == {
        "app": "zcmwmxbkmuodelu",
        "destination": "crm",
        "revision": 1,
        "before": 0,
        "live": {"processes": 0, "waiting": 0},
    }
    assert answered("deploy --destination crm --revision 1", capsys)["live"] is None
    assert answered("rollback --destination crm", capsys)["revision"] == 0


def test_list_marks_what_is_deployed_and_what_runs_in_the_shadow(capsys: Capture) -> None:
    main(["playbook", "deploy", "--destination", "crm", "one.yaml", "--note", "the first"])
    typed("shadow --destination crm two.json --author omid")
    typed("deploy --destination ads one.yaml")
    capsys.readouterr()
    assert typed("list") == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split("  20")[0] for line in lines] == [
        "zcmwmxbkmuodelu/crm  revision 2 shadow",
        "zcmwmxbkmuodelu/crm  revision 1 deployed",
        "zcmwmxbkmuodelu/ads  revision 1 deployed",
    ]
    assert lines[0].endswith("Z  omid")
    assert lines[1].endswith("Z  mina  the first")
    assert len(answered("list --destination ads", capsys)) == 1
    assert len(answered("list --app zcmwmxbkmuodelu", capsys)) == 3
    assert answered("list --app another", capsys) == []


def test_history_tells_who_deployed_what_when_and_why(capsys: Capture) -> None:
    main(["apply", "workspace.yaml"])
    typed("deploy --destination crm one.yaml")
    main(["playbook", "rollback", "--destination", "crm", "--note", "it was wrong"])
    capsys.readouterr()
    assert typed("list --destination crm --history") == 0
    newest, oldest = capsys.readouterr().out.splitlines()
    assert newest.endswith("Z  rollback  revision 1 → its own form  mina  it was wrong")
    assert oldest.endswith("Z  deploy  its own form → revision 1  mina")
    assert answered("list --destination crm --history", capsys)[0]["deed"] == "rollback"
    assert answered("list --destination ads --history", capsys) == []


def test_show_prints_a_playbook_that_can_be_deployed_again(folder: Path, capsys: Capture) -> None:
    typed("deploy --destination crm one.yaml")
    typed("deploy --destination crm two.json")
    capsys.readouterr()
    assert typed("show --destination crm --revision 1") == 0
    text = capsys.readouterr().out
    assert text.startswith("# zcmwmxbkmuodelu/crm revision 1  20")
    (folder / "again.yaml").write_text(text)
    assert answered("deploy --destination crm again.yaml", capsys)["revision"] == 1
    shown = answered("show --destination crm", capsys)
    assert (shown["number"], shown["author"]) == (1, "mina")
    assert shown["playbook"]["global"]["enrichments"][0]["staticString"] == "one"
    assert typed("show --destination ads") == 0
    assert "has no playbook: webhook's own form" in capsys.readouterr().out


def test_what_shadows_came_to_is_told_where_nothing_is_asked(capsys: Capture) -> None:
    assert typed("shadow --destination crm") == 0
    assert capsys.readouterr().out == "no shadow runs\n"
    typed("shadow --destination crm two.json")
    capsys.readouterr()
    assert typed("shadow --destination crm --json") == 0
    assert json.loads(capsys.readouterr().out) == {"running": 1, "revisions": []}


def test_shadow_is_set_said_again_and_ended(capsys: Capture) -> None:
    for line, told in (
        ("shadow --destination crm two.json", "revision 1 runs in the shadow: no node runs"),
        ("shadow --destination crm --revision 1", "revision 1 runs in the shadow, as before"),
        ("shadow --destination crm --off", "no shadow: no node runs"),
        ("shadow --destination crm --off", "no shadow, as before"),
    ):
        assert typed(line) == 0
        assert f"zcmwmxbkmuodelu/crm: {told}" in capsys.readouterr().out


def test_apply_keeps_who_and_why(folder: Path, capsys: Capture) -> None:
    text = WORKSPACE.replace('crm.example/hook"}', 'crm.example/hook"}, playbook: {file: one.yaml}')
    (folder / "workspace.yaml").write_text(text)
    assert main(["check", "workspace.yaml"]) == 0
    assert main(["apply", "workspace.yaml", "--note", "by file", "--author", "omid"]) == 0
    capsys.readouterr()
    (line,) = answered("list", capsys)
    assert (line["author"], line["note"], line["is_deployed"]) == ("omid", "by file", True)


@pytest.mark.parametrize(
    ("line", "told"),
    [
        ("deploy --destination crm", "name one of the two: FILE, or --revision"),
        ("deploy --destination crm one.yaml --revision 1", "name one of the two"),
        ("deploy --destination cmr one.yaml", "'cmr' is no destination; expected one of"),
        ("deploy --destination crm --revision 3", "revision is 3, which does not exist"),
        ("deploy --destination crm none.yaml", "none.yaml is not there"),
        ("deploy --destination crm .", "is not there, or no file"),
        ("rollback --destination crm", "zcmwmxbkmuodelu/crm: nothing was deployed before"),
        ("shadow --destination crm --off --revision 1", "--off ends the shadow"),
        ("show --destination crm --revision 9", "revision is 9, which does not exist"),
        ("list --history", "--history is of one destination"),
    ],
)
def test_what_cannot_be_done_is_one_sentence(line: str, told: str, capsys: Capture) -> None:
    for option in ("", " --json"):
        assert typed(line + option) == 1
        captured = capsys.readouterr()
        assert captured.out == ""
        assert told in captured.err
        assert len(captured.err.splitlines()) == 1


@pytest.mark.parametrize("verb", ["deploy", "shadow"])
def test_every_mistake_of_a_playbook_is_told(folder: Path, verb: str, capsys: Capture) -> None:
    (folder / "wrong.yaml").write_text("globl: {}\ndefault: {mapings: []}\n")
    assert typed(f"{verb} --destination crm wrong.yaml") == 1
    lines = capsys.readouterr().err.splitlines()
    assert [line.split(" is ")[0] for line in lines] == [
        "zcmwmxbkmuodelu/crm: playbook.globl",
        "zcmwmxbkmuodelu/crm: playbook.default.mapings",
    ]
    assert answered("list", capsys) == []
