"""What a workspace file says of playbooks and revisions, and what it comes to."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import msgspec
import pytest

from tests.support.shaped_workspaces import (
    KINDS_AND_KIT,
    crm,
    deployed,
    playbook,
    put,
    wanting,
    workspace,
)
from tests.support.workspaces import APP_ID, ENVIRONMENT, apply, new_home
from trunkline.catalog.check import WorkspaceError, read_workspace
from trunkline.catalog.export import export_workspace
from trunkline.catalog.playbook_text import canonical_tree
from trunkline.catalog.revision_reports import history, list_revisions
from trunkline.catalog.revisions import deploy, save_revision
from trunkline.kit.clock import FakeClock
from trunkline.playbook.program import Problem
from trunkline.state.home import Home


@pytest.fixture
def home(tmp_path: Path) -> Home:
    return new_home(tmp_path)


def problems_of(home: Home, **says: Any) -> str:
    before = home.catalog_file.read_bytes() if home.catalog_file.exists() else b""
    with pytest.raises(WorkspaceError) as raised:
        put(home, **says)
    assert (home.catalog_file.read_bytes() if before else b"") == before
    return "\n".join(raised.value.problems)


def checked(text: str, base: Path = Path()) -> str:
    return "\n".join(read_workspace(text, KINDS_AND_KIT, ENVIRONMENT, base).problems)


def test_a_playbook_becomes_the_first_revision_and_is_deployed(home: Home) -> None:
    assert put(home).lines
    assert deployed(home) == (0, None)
    result = put(home, playbook=playbook())
    assert "~   revision: null → 1" in result.lines
    assert deployed(home) == (1, playbook())
    assert put(home, playbook=playbook()).lines == ()


def test_another_playbook_is_the_next_revision_and_one_that_was_is_known_again(home: Home) -> None:
    for key, number in (("a", 1), ("b", 2), ("c", 3), ("a", 1), ("c", 3), ("d", 4)):
        put(home, playbook=playbook(key))
        assert deployed(home) == (number, playbook(key))
    assert [line.number for line in list_revisions(home)] == [4, 3, 2, 1]


def test_how_a_playbook_is_written_does_not_make_another_one_of_it(home: Home) -> None:
    section = playbook()["global"]
    put(home, playbook={"global": section, "default": {}})
    assert put(home, playbook={"global": {"filters": [], **section}}).lines == ()
    assert deployed(home)[0] == 1


def test_playbooks_that_python_takes_for_equal_are_told_apart(home: Home) -> None:
    for value, number in ((1, 1), (True, 2), (1, 1)):
        transform = {"mapEnum": {"values": {"yes": value}}}
        mapping = {"inputKey": "a", "outputKey": "b", "transforms": [transform]}
        put(home, playbook={"global": {"mappings": [mapping]}})
        assert deployed(home)[0] == number


@pytest.mark.parametrize("says", [{}, {"revision": None}])
def test_a_file_that_does_not_speak_of_playbooks_undoes_no_deployment(
    home: Home, says: dict[str, Any]
) -> None:
    put(home)
    deploy(home, FakeClock(), APP_ID, "crm", playbook())
    assert put(home, **says).lines == ()
    assert deployed(home) == (1, playbook())
    put(home, **says, enabled=False)
    assert deployed(home) == (1, playbook())


@pytest.mark.parametrize(
    "says", [{"playbook": None}, {"revision": 0}, {"playbook": None, "revision": 0}]
)
def test_null_or_revision_0_goes_back_to_the_kind_s_own_form(
    home: Home, says: dict[str, Any]
) -> None:
    put(home, playbook=playbook())
    assert "~   revision: 1 → null" in put(home, **says).lines
    assert deployed(home) == (0, None)
    assert [line.number for line in list_revisions(home)] == [1]  # kept


def test_a_revision_alone_pins_one_that_exists(home: Home) -> None:
    for key in "abc":
        put(home, playbook=playbook(key))
    put(home, revision=2)
    assert deployed(home) == (2, playbook("b"))
    assert put(home, revision=2).lines == ()


def test_a_revision_that_does_not_exist_is_told_with_those_that_do(home: Home) -> None:
    assert problems_of(home, revision=3) == (
        "apps[0].destinations[0] `crm`: revision is 3, which does not exist; expected none: this "
        "destination has no revision yet; give the playbook too, or deploy it with `trunkline "
        "playbook deploy`"
    )
    put(home, playbook=playbook("a"))
    put(home, playbook=playbook("b"))
    assert "revision is 3, which does not exist; expected one of 1, 2;" in problems_of(
        home, revision=3
    )


def test_playbook_and_revision_must_say_the_same(home: Home) -> None:
    put(home, playbook=playbook("a"))
    put(home, playbook=playbook("b"))
    assert put(home, playbook=playbook("b"), revision=2).lines == ()
    put(home, playbook=playbook("a"), revision=1)
    assert deployed(home) == (1, playbook("a"))
    assert "revision is 2, which holds another playbook than the file; a revision never" in (
        problems_of(home, playbook=playbook("a"), revision=2)
    )
    assert deployed(home) == (1, playbook("a"))


def test_a_fresh_home_takes_the_number_that_the_file_says(home: Home) -> None:
    put(home, playbook=playbook("a"), revision=7)
    assert deployed(home) == (7, playbook("a"))
    put(home, playbook=playbook("b"))
    assert deployed(home) == (8, playbook("b"))
    assert "revision is 3, which does not exist; expected one of 7, 8" in problems_of(
        home, playbook=playbook("c"), revision=3
    )


@pytest.mark.parametrize(
    ("says", "told"),
    [
        ({"playbook": None, "revision": 2}, "revision is 2 beside playbook: null"),
        ({"playbook": playbook(), "revision": 0}, "revision is 0, the kind's own form, beside"),
        ({"shadow": 4}, "shadow is 4, which does not exist; expected one of 1;"),
        ({"shadow": 1}, "shadow is 1, which is deployed; expected another revision"),
        ({"kit_digest": "0123456789abcdef"}, "kit_digest is set; expected it beside a kit only"),
    ],
)
def test_what_contradicts_itself_is_told(home: Home, says: dict[str, Any], told: str) -> None:
    put(home, playbook=playbook("first"))
    assert f"apps[0].destinations[0] `crm`: {told}" in problems_of(home, **says)


def test_a_shadow_is_set_kept_and_ended(home: Home) -> None:
    put(home, playbook=playbook("a"))
    number = save_revision(home, FakeClock(), APP_ID, "crm", playbook("b"))
    put(home, shadow=number)
    found = crm(home)
    assert (found.revision, found.shadow_revision) == (1, 2)
    assert json.loads(found.shadow) == playbook("b")
    assert put(home).lines == ()
    put(home, shadow=None)
    assert (crm(home).shadow_revision, crm(home).shadow) == (0, b"")


def test_a_shadow_that_becomes_the_deployed_revision_ends(home: Home) -> None:
    put(home, playbook=playbook("a"))
    save_revision(home, FakeClock(), APP_ID, "crm", playbook("b"))
    put(home, shadow=2)
    put(home, revision=2)
    assert (crm(home).revision, crm(home).shadow_revision) == (2, 0)


def test_who_applied_it_and_why_is_kept(home: Home) -> None:
    text = workspace(playbook=playbook())
    apply(home, text, author="mina", note="send the id", clock=FakeClock(1_800_000_000_000))
    (line,) = list_revisions(home)
    assert (line.author, line.note, line.created) == (
        "mina",
        "send the id",
        "2027-01-15T08:00:00.000Z",
    )
    (row,) = history(home, APP_ID, "crm")
    assert (row.deed, row.author, row.from_revision, row.to_revision) == ("apply", "mina", 0, 1)


def test_a_playbook_lies_in_a_file_beside_the_workspace(home: Home, tmp_path: Path) -> None:
    folder = tmp_path / "file"
    (folder / "playbooks").mkdir(parents=True)
    (folder / "playbooks" / "crm.yaml").write_text(json.dumps(playbook()))
    (folder / "crm.json").write_text("\t" + json.dumps(playbook(), indent="\t"))
    for name in ("playbooks/crm.yaml", "crm.json"):
        apply(home, workspace(playbook={"file": name}), base=folder)
        assert deployed(home) == (1, playbook())


@pytest.mark.parametrize(
    ("name", "told"),
    [
        ("../outside.yaml", 'playbook.file is "../outside.yaml", which lies outside'),
        ("link.yaml", 'playbook.file is "link.yaml", which lies outside'),
        ("/etc/hostname", "which lies outside"),
        ("none.yaml", "none.yaml is not there"),
        (".", "is not there, or no file"),
        ("broken.yaml", "not YAML"),
        ("broken.json", "not JSON"),
        ("latin.yaml", "is no UTF-8 text"),
        ("long.yaml", "has more than"),
        ("wrong.yaml", "playbook.defualt"),
        (3, "playbook.file is 3; expected a path"),
    ],
)
def test_a_playbook_file_that_cannot_be_used_is_told(tmp_path: Path, name: Any, told: str) -> None:
    folder = tmp_path / "file"
    folder.mkdir()
    (tmp_path / "outside.yaml").write_text("default: {}")
    (folder / "link.yaml").symlink_to(tmp_path / "outside.yaml")
    (folder / "broken.yaml").write_text("{a: [")
    (folder / "broken.json").write_text("{'a'")
    (folder / "latin.yaml").write_bytes(b"a: \xff")
    (folder / "long.yaml").write_bytes(b"#" * 5_000_000)
    (folder / "wrong.yaml").write_text("{defualt: {}}")
    problems = checked(workspace(playbook={"file": name}), folder)
    assert told in problems
    assert problems.startswith("apps[0].destinations[0] `crm`: playbook")
    assert len(problems.splitlines()) == 1


def test_check_tells_every_mistake_of_a_playbook_with_its_path() -> None:
    wrong = {
        "default": {
            "mappings": [
                {"inputKey": "a", "outputKey": "b", "transforms": [{"modifyString": "lowrcase"}]},
                {"inputKey": "a", "outputKye": "b"},
            ]
        },
        "eventSpecifc": {},
    }
    lines = checked(workspace(playbook=wrong)).splitlines()
    start = "apps[0].destinations[0] `crm`: playbook"
    assert all(line.startswith(start) for line in lines)
    told = "\n".join(lines)
    assert f"{start}.default.mappings[0].transforms[0]" in told
    assert f"{start}.default.mappings[1].outputKye" in told
    assert f"{start}.eventSpecifc" in told
    assert "did you mean `eventSpecific`?" in told
    assert "did you mean `outputKey`?" in told


@pytest.mark.parametrize("value", [3, "a", [], True])
def test_a_playbook_that_is_no_mapping_is_told(value: Any) -> None:
    assert "playbook is" in checked(workspace(playbook=value))


def test_a_param_without_a_value_is_told_with_what_may_be_meant() -> None:
    settings = {"url": "https://a.example", "params": {"PIXLE_ID": "1", "OTHER": "2"}}
    text = workspace(settings=settings, playbook=wanting("PIXEL_ID", "TOKEN"))
    at = "apps[0].destinations[0] `crm`: settings.params"
    assert checked(text).splitlines() == [
        f"{at}.PIXEL_ID is missing; expected a value for $$PIXEL_ID$$, say 123; "
        "is `PIXLE_ID` meant for it?",
        f"{at}.TOKEN is missing; expected a value for $$TOKEN$$, say 123; "
        "set it in settings.params",
    ]


def test_a_param_that_no_playbook_has_is_a_warning() -> None:
    settings = {"url": "https://a.example", "params": {"ID": "1", "IDD": "2"}}
    text = workspace(settings=settings, playbook=wanting("ID"))
    reading = read_workspace(text, KINDS_AND_KIT, {}, Path())
    assert reading.problems == ()
    assert (
        "apps[0].destinations[0] `crm`: settings.params.IDD is the name of no param of its "
        "playbook; did you mean `ID`?"
    ) in reading.warnings


def test_params_taken_away_from_a_deployed_playbook_are_told_by_apply(home: Home) -> None:
    """The file does not hold the playbook, so only the catalog can tell."""
    settings = {"url": "https://a.example", "params": {"ID": "1"}}
    put(home, settings=settings)
    deploy(home, FakeClock(), APP_ID, "crm", wanting("ID"))
    assert "settings.params.ID is missing" in problems_of(
        home, settings={"url": "https://a.example"}
    )


def test_a_param_s_value_stands_in_no_message() -> None:
    tree = {
        "params": [{"name": "N"}],
        "global": {
            "mappings": [
                {"inputKey": "a", "outputKey": "b", "transforms": [{"modifyString": "$$N$$"}]}
            ]
        },
    }
    settings = {"url": "https://a.example", "params": {"N": "hush-hush-hush"}}
    problems = checked(workspace(settings=settings, playbook=tree))
    assert "playbook.global.mappings[0].transforms[0]" in problems
    assert "•••" in problems
    assert "hush-hush-hush" not in problems


CODE = {"global": {"expressions": [{"lang": "lua", "body": "return input"}]}}


def test_code_where_the_jail_cannot_be_had_is_told(home: Home) -> None:
    text = workspace(playbook=CODE)
    held = (Problem("", "holds code, which cannot run here: no seccomp here"),)
    for given, told in ((held, True), ((), False)):
        reading = read_workspace(text, KINDS_AND_KIT, {}, Path(), lambda *_, given=given: given)
        assert bool(reading.problems) == told
    assert checked(workspace(playbook=playbook())) == ""
    with pytest.raises(WorkspaceError) as raised:
        apply(home, text, load_code=lambda *_: held)
    assert raised.value.problems == (
        "apps[0].destinations[0] `crm`: playbook holds code, which cannot run here: no seccomp "
        "here",
    )


def test_code_that_does_not_load_is_told_by_its_part_and_without_secrets(home: Home) -> None:
    def load(playbook: bytes, params: Mapping[str, str]) -> Sequence[Problem]:
        assert msgspec.json.decode(playbook) == CODE
        return (Problem("global.expressions[0]", f"line 1: near '{params['ID']}'"),)

    settings = {"url": "https://a.example", "params": {"ID": "secret-of-crm"}}
    with pytest.raises(WorkspaceError) as raised:
        apply(home, workspace(settings=settings, playbook=CODE), load_code=load)
    assert raised.value.problems == (
        "apps[0].destinations[0] `crm`: playbook.global.expressions[0] line 1: near '•••'",
    )


def test_an_export_applies_back_to_nothing_and_makes_the_same_elsewhere(
    home: Home, tmp_path: Path
) -> None:
    settings = {"url": "https://a.example", "params": {"ID": "secret-of-crm"}}
    code = {"lang": "lua", "body": 'local a = "# no comment"\n\nreturn {\n\ttotal = 1,\n}\n'}
    tree = {**wanting("ID"), "default": {"expressions": [code]}}
    put(home, settings=settings)
    deploy(home, FakeClock(), APP_ID, "crm", playbook("a"))
    deploy(home, FakeClock(), APP_ID, "crm", tree)
    exported = export_workspace(home, FakeClock(), reveal=True).text
    assert apply(home, exported).lines == ()
    other = new_home(tmp_path / "other")
    apply(other, exported)
    assert deployed(other) == deployed(home) == (2, canonical_tree(tree))
    assert export_workspace(other, FakeClock(), reveal=True).text == exported
    assert "secret-of-crm" not in export_workspace(home, FakeClock()).text


def test_code_is_exported_as_it_was_written(home: Home) -> None:
    body = "local x = input.a\nreturn { b = x }"
    put(home, playbook={"default": {"expressions": [{"lang": "lua", "body": body}]}})
    exported = export_workspace(home, FakeClock()).text
    assert "body: |-\n" in exported
    assert "  local x = input.a\n" in exported
