"""What holds for every verb: help with an example, --json, exit codes, one sentence on failure."""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Iterator
from pathlib import Path

import cyclopts
import pytest

from trunkline.__main__ import main
from trunkline.cli import build, list_verbs

APP = build(is_whole=True)
Capture = pytest.CaptureFixture[str]
# What each verb needs to be asked something; what is left out needs nothing.
ARGUMENTS = {
    "apply": ["workspace.yaml"],
    "check": ["workspace.yaml"],
    "dead-letters show": ["m-1"],
    "destination pause": ["Shop/hook"],
    "destination probe": ["Shop/hook"],
    "destination resume": ["Shop/hook"],
    "destination send": ["Shop/hook", "--fixture", "purchase"],
    "destination test": ["Shop/hook"],
    "key change": ["Shop", "web", "--type", "client"],
    "key new": ["Shop", "web", "--type", "client"],
    "key revoke": ["Shop", "web"],
    "key rotate": ["Shop", "web"],
    "erase": ["Shop", "u-42", "--yes"],
    "import": ["events.ndjson", "--app", "Shop"],
    "kits import": ["kits"],
    "kits new": ["acme", "--out", "acme.yaml"],
    "kits remove": ["acme"],
    "kits show": ["acme"],
    "kits test": ["no-such-vendor"],
    "playbook deploy": ["--destination", "hook", "--revision", "1"],
    "playbook diff": ["--destination", "hook", "--to", "1"],
    "playbook rollback": ["--destination", "hook"],
    "playbook shadow": ["--destination", "hook", "--off"],
    "playbook show": ["--destination", "hook"],
    "profile list-merges": ["Shop"],
    "profile merge": ["Shop", "u-42", "u-43"],
    "profile show": ["Shop", "u-42"],
    "profile unmerge": ["Shop", "17"],
    "refused resend": ["Shop"],
    "refused show": ["1"],
    "replay": ["--destination", "hook", "--from", "1h"],
    "send": ["Shop", "Order Completed"],
    "suppress add": ["Shop", "u-42"],
    "suppress list": ["Shop"],
    "suppress remove": ["Shop", "u-42"],
    "tail": ["--seconds", "0.01"],
    "trace": ["m-1"],
}
# On an empty home these answer; the others have nothing to work on and fail.
ANSWERS = {
    "dead-letters drop", "dead-letters list", "dead-letters replay", "destination list", "doctor",
    "export", "key list", "kits list", "kits new", "ledger", "playbook list",
    "refused list", "simulate", "tail",
}  # fmt: skip
STARTS_A_NODE = {"prove", "serve"}


def leaves(app: cyclopts.App, path: tuple[str, ...] = ()) -> Iterator[str]:
    """Yield every command that does something, as it is typed."""
    for name in app:
        if not name.startswith("-"):
            below = [*leaves(app[name], (*path, name))]
            yield from below or [" ".join((*path, name))]


LEAVES = [*leaves(APP)]


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("TRUNKLINE_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("COLUMNS", "200")
    monkeypatch.chdir(tmp_path)
    return tmp_path / "home"


def test_every_file_of_the_folder_is_a_verb_and_every_verb_is_walked() -> None:
    assert {leaf.split()[0] for leaf in LEAVES} == set(list_verbs())


@pytest.mark.parametrize("leaf", [*LEAVES, *list_verbs()])
def test_help_says_what_it_does_and_shows_an_example_that_parses(
    leaf: str, capsys: Capture
) -> None:
    assert main([*leaf.split(), "--help"]) == 0
    text = capsys.readouterr().out
    example = re.search(r"Example: `?(trunkline [^\n`]*)", text)
    assert example, text
    words = shlex.split(example[1].strip())
    assert words[0] == "trunkline"
    assert words[1 : 1 + len(leaf.split())] == leaf.split()
    APP.parse_args(words[1:], exit_on_error=False, print_error=False)


@pytest.mark.parametrize("leaf", LEAVES)
def test_every_command_takes_json(leaf: str, capsys: Capture) -> None:
    assert main([*leaf.split(), "--help"]) == 0
    assert "--json" in capsys.readouterr().out


@pytest.mark.parametrize("leaf", sorted(ANSWERS))
def test_json_of_an_empty_home_is_json(leaf: str, capsys: Capture) -> None:
    assert main([*leaf.split(), *ARGUMENTS.get(leaf, []), "--json"]) == 0
    captured = capsys.readouterr()
    assert captured.err == ""
    if leaf == "tail":
        assert captured.out == ""  # nothing has passed
    else:
        json.loads(captured.out)


@pytest.mark.parametrize("leaf", sorted({*LEAVES} - ANSWERS - STARTS_A_NODE))
@pytest.mark.parametrize("option", [[], ["--json"]], ids=["text", "json"])
def test_what_cannot_be_done_is_one_sentence_and_exit_code_1(
    leaf: str, option: list[str], capsys: Capture
) -> None:
    assert main([*leaf.split(), *ARGUMENTS.get(leaf, []), *option]) == 1
    expect_one_sentence(capsys)


# These need no home; prove makes its own, below the one it is given.
HOMELESS = {"check", "kits new", "kits test", "prove", "simulate"}


@pytest.mark.parametrize("leaf", sorted({*LEAVES} - HOMELESS))
def test_a_home_of_a_newer_version_is_refused_by_every_command(
    leaf: str, home: Path, tmp_path: Path, capsys: Capture
) -> None:
    home.mkdir()
    (home / "version").write_text("trunkline home 99\n")
    (tmp_path / "workspace.yaml").write_text("apps: []\n")
    assert main([*leaf.split(), *ARGUMENTS.get(leaf, [])]) == 1
    assert "has format 99" in expect_one_sentence(capsys)
    assert [entry.name for entry in home.iterdir()] == ["version"]


@pytest.mark.parametrize("leaf", LEAVES)
def test_an_option_that_does_not_exist_is_one_sentence_and_exit_code_2(
    leaf: str, capsys: Capture
) -> None:
    assert main([*leaf.split(), *ARGUMENTS.get(leaf, []), "--no-such-option"]) == 2
    assert "no-such-option" in expect_one_sentence(capsys)


@pytest.mark.parametrize(
    ("arguments", "word"),
    [
        (["nosuch"], "nosuch"),
        (["trace"], "message-id"),
        (["dead-letters", "nosuch"], "nosuch"),
        (["refused", "show", "x"], "x"),
    ],
)
def test_a_command_line_that_makes_no_sense_is_one_sentence_and_exit_code_2(
    arguments: list[str], word: str, capsys: Capture
) -> None:
    assert main(arguments) == 2
    assert word in expect_one_sentence(capsys).lower()


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["serve", "--listen", "nowhere"], "expected HOST:PORT"),
        (["ledger", "--since", "yesterday"], "'yesterday' is no time"),
        (["prove", "--kills", "0"], "--kills"),
        (["send", "Shop", "Order"], "'Shop' names no app"),
    ],
)
def test_a_wrong_value_is_one_sentence_that_names_it(
    arguments: list[str], sentence: str, capsys: Capture
) -> None:
    assert main(arguments) == 1
    assert sentence in expect_one_sentence(capsys)


def test_wrong_boot_settings_are_one_line_that_names_them(home: Path, capsys: Capture) -> None:
    home.mkdir()
    (home / "trunkline.toml").write_text("[gateway]\nworkers = 0\n")
    assert main(["ledger"]) == 1
    assert "workers" in expect_one_sentence(capsys)


@pytest.mark.parametrize("leaf", ["destination list", "dead-letters list", "ledger", "trace"])
def test_a_state_file_that_is_no_database_is_one_sentence(
    leaf: str, home: Path, capsys: Capture
) -> None:
    (home / "state").mkdir(parents=True)
    for name in ("forwarder.db", "pipeline.db"):
        (home / "state" / name).write_bytes(b"garbage!" * 1000)
    assert main([*leaf.split(), *ARGUMENTS.get(leaf, [])]) == 1
    expect_one_sentence(capsys)


def test_a_home_that_cannot_be_made_is_one_sentence(tmp_path: Path, capsys: Capture) -> None:
    (tmp_path / "file").write_text("")
    assert main(["ledger", "--home", str(tmp_path / "file" / "home")]) == 1
    assert "cannot make a home there" in expect_one_sentence(capsys)


def expect_one_sentence(capsys: Capture) -> str:
    """Return standard error, which is one line; standard output is empty."""
    captured = capsys.readouterr()
    assert captured.out == ""
    assert len(captured.err.splitlines()) == 1, captured.err
    return captured.err
