"""Saving, deploying, rolling back and shadowing revisions from the command line's side."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import insert

from tests.support.shaped_workspaces import crm, deployed, playbook, put, wanting
from tests.support.workspaces import APP_ID, apply, new_home
from trunkline.catalog.check import WorkspaceError
from trunkline.catalog.current import load_snapshot
from trunkline.catalog.database import CatalogError, write_session
from trunkline.catalog.follow import SnapshotFollower
from trunkline.catalog.revision_reports import history, list_revisions, read_revision
from trunkline.catalog.revision_rows import REVISIONS_MAX
from trunkline.catalog.revisions import deploy, rollback, save_revision, set_shadow, stack_of
from trunkline.catalog.tables import DeploymentRow, RevisionRow
from trunkline.kit.clock import FakeClock, SystemClock
from trunkline.model.snapshot import Snapshot
from trunkline.playbook.program import Problem
from trunkline.state.home import Home

CLOCK = FakeClock(1_800_000_000_000)
CRM = (APP_ID, "crm")


@pytest.fixture
def home(tmp_path: Path) -> Home:
    home = new_home(tmp_path)
    put(home)
    return home


def test_a_saved_revision_changes_nothing_that_is_sent(home: Home) -> None:
    before = load_snapshot(home)
    assert save_revision(home, CLOCK, *CRM, playbook("a"), author="mina", note="first") == 1
    assert load_snapshot(home) == before
    assert read_revision(home, *CRM, 1).playbook == playbook("a")


def test_the_same_playbook_is_the_same_revision(home: Home) -> None:
    assert save_revision(home, CLOCK, *CRM, playbook("a")) == 1
    assert save_revision(home, CLOCK, *CRM, playbook("b")) == 2
    assert save_revision(home, CLOCK, *CRM, {"default": {}, **playbook("a")}) == 1
    assert deploy(home, CLOCK, *CRM, playbook("b")).revision == 2
    assert len(list_revisions(home)) == 2


def test_a_deployment_is_the_next_version_of_the_catalog(home: Home) -> None:
    done = deploy(home, CLOCK, *CRM, playbook("a"))
    assert (done.revision, done.before) == (1, 0)
    assert load_snapshot(home).version == 2
    assert deployed(home) == (1, playbook("a"))
    again = deploy(home, CLOCK, *CRM, 1)
    assert (again.revision, again.before, again.live) == (1, 1, None)
    assert load_snapshot(home).version == 2
    deploy(home, CLOCK, *CRM, 0)
    assert deployed(home) == (0, None)


def test_rolling_back_twice_goes_back_two_and_not_to_and_fro(home: Home) -> None:
    for key in "abc":
        deploy(home, CLOCK, *CRM, playbook(key))
    numbers = [rollback(home, CLOCK, *CRM).revision for _ in range(3)]
    assert numbers == [2, 1, 0]
    with pytest.raises(CatalogError, match="nothing was deployed before"):
        rollback(home, CLOCK, *CRM)
    assert deployed(home) == (0, None)


def test_what_is_deployed_after_a_rollback_goes_back_to_what_that_left(home: Home) -> None:
    for number in (playbook("a"), playbook("b"), playbook("c")):
        deploy(home, CLOCK, *CRM, number)
    rollback(home, CLOCK, *CRM)
    deploy(home, CLOCK, *CRM, playbook("d"))
    assert [rollback(home, CLOCK, *CRM).revision for _ in range(3)] == [2, 1, 0]


def test_an_apply_counts_as_a_deployment(home: Home) -> None:
    put(home, playbook=playbook("a"))
    put(home, playbook=playbook("b"))
    rollback(home, CLOCK, *CRM, author="mina", note="wrong")
    assert deployed(home) == (1, playbook("a"))
    rows = history(home, *CRM)
    assert [(row.deed, row.from_revision, row.to_revision) for row in rows] == [
        ("rollback", 2, 1),
        ("apply", 1, 2),
        ("apply", 0, 1),
    ]
    assert (rows[0].author, rows[0].note, rows[0].at) == (
        "mina",
        "wrong",
        "2027-01-15T08:00:00.000Z",
    )


@given(st.lists(st.sampled_from(["back", *range(5)]), max_size=40))
def test_any_deployments_and_rollbacks_are_a_stack(steps: list[Any]) -> None:
    stack, rows = [0], []
    for step in steps:
        if step == stack[-1] or (step == "back" and len(stack) == 1):
            continue  # changes nothing, so nothing is kept of it
        before = stack[-1]
        if step == "back":
            stack.pop()
        else:
            stack.append(step)
        deed = "rollback" if step == "back" else "deploy"
        rows.append(DeploymentRow(deed=deed, from_revision=before, to_revision=stack[-1]))
        assert stack_of(rows, stack[-1]) == stack
    assert stack_of(rows, stack[-1]) == stack


def test_a_shadow_runs_beside_and_ends(home: Home) -> None:
    deploy(home, CLOCK, *CRM, playbook("a"))
    done = set_shadow(home, CLOCK, *CRM, playbook("b"))
    assert (done.revision, done.before) == (2, 0)
    assert (crm(home).revision, crm(home).shadow_revision) == (1, 2)
    assert set_shadow(home, CLOCK, *CRM, 2).live is None
    with pytest.raises(CatalogError, match="revision 1 is deployed; a shadow of it would compare"):
        set_shadow(home, CLOCK, *CRM, 1)
    assert set_shadow(home, CLOCK, *CRM, None).before == 2
    assert crm(home).shadow == b""


def test_a_shadow_that_is_deployed_ends(home: Home) -> None:
    set_shadow(home, CLOCK, *CRM, playbook("a"))
    deploy(home, CLOCK, *CRM, 1)
    assert (crm(home).revision, crm(home).shadow_revision) == (1, 0)


@pytest.mark.parametrize(
    ("act", "told"),
    [
        (lambda h: deploy(h, CLOCK, *CRM, 4), "revision is 4, which does not exist; expected one"),
        (lambda h: set_shadow(h, CLOCK, *CRM, -1), "revision is -1, which does not exist"),
        (lambda h: deploy(h, CLOCK, APP_ID, "no", 1), "no is no destination of this home"),
        (lambda h: read_revision(h, APP_ID, "no"), "no is no destination of this home"),
        (lambda h: read_revision(h, *CRM, 9), "revision is 9, which does not exist"),
        (lambda h: deploy(h, CLOCK, *CRM, 1, note="n" * 501), "the note has 501 characters"),
        (lambda h: deploy(h, CLOCK, *CRM, 1, author="a\nb"), "the author has 3 characters"),
    ],
)
def test_what_cannot_be_done_is_one_sentence_and_changes_nothing(
    home: Home, act: Any, told: str
) -> None:
    save_revision(home, CLOCK, *CRM, playbook("a"))
    before = home.catalog_file.read_bytes()
    with pytest.raises(CatalogError) as raised:
        act(home)
    assert told in str(raised.value)
    assert home.catalog_file.read_bytes() == before


def test_a_wrong_playbook_is_told_whole_and_not_saved(home: Home) -> None:
    wrong = {"defualt": {}, "global": {"mapings": []}}
    for act in (save_revision, deploy, set_shadow):
        with pytest.raises(WorkspaceError) as raised:
            act(home, CLOCK, *CRM, wrong)
        assert len(raised.value.problems) == 2
        assert all(p.startswith(f"{APP_ID}/crm: playbook.") for p in raised.value.problems)
    assert list_revisions(home) == ()


def test_a_playbook_whose_params_are_not_given_is_not_deployed(home: Home) -> None:
    number = save_revision(home, CLOCK, *CRM, wanting("PIXEL"))
    for act in (deploy, set_shadow):
        with pytest.raises(WorkspaceError) as raised:
            act(home, CLOCK, *CRM, number)
        assert raised.value.problems[0].startswith(
            f"{APP_ID}/crm: settings.params.PIXEL is missing"
        )
    assert deployed(home) == (0, None)


def test_code_is_not_deployed_where_the_jail_cannot_be_had(home: Home) -> None:
    code = {"global": {"expressions": [{"lang": "lua", "body": "return input"}]}}
    held = (Problem("", "holds code, which cannot run here: no seccomp"),)
    with pytest.raises(WorkspaceError, match="cannot run here: no seccomp"):
        deploy(home, CLOCK, *CRM, code, load_code=lambda *_: held)
    assert list_revisions(home) == ()  # all or nothing


def test_there_is_an_end_to_revisions(home: Home) -> None:
    with write_session(home) as session:
        row = {"destination_uid": 1, "author": "", "note": "", "created_ms": 0, "digest": "0"}
        numbers = range(1, REVISIONS_MAX + 1)
        session.execute(
            insert(RevisionRow), [{**row, "content": "{}", "number": number} for number in numbers]
        )
    with pytest.raises(CatalogError, match="at most 10000 are kept"):
        save_revision(home, CLOCK, *CRM, playbook("one too many"))
    assert deploy(home, CLOCK, *CRM, 0).live is None


def test_a_destination_made_anew_has_no_revisions_of_the_one_before(home: Home) -> None:
    deploy(home, CLOCK, *CRM, playbook("a"))
    apply(home, f"apps: [{{id: {APP_ID}, name: Wallet}}]", prune=True)
    put(home)
    assert (list_revisions(home), history(home, *CRM)) == ((), ())
    assert deployed(home) == (0, None)


def test_lists_are_of_all_of_one_app_or_of_one(home: Home) -> None:
    deploy(home, CLOCK, *CRM, playbook("a"), author="mina")
    set_shadow(home, CLOCK, *CRM, playbook("b"))
    lines = list_revisions(home)
    assert [(li.number, li.is_deployed, li.is_shadow) for li in lines] == [
        (2, False, True),
        (1, True, False),
    ]
    assert list_revisions(home, APP_ID) == list_revisions(home, *CRM) == lines
    assert list_revisions(home, "other") == list_revisions(home, APP_ID, "other") == ()
    assert read_revision(home, *CRM).number == 1
    assert read_revision(home, *CRM, 0).playbook is None


def test_a_home_without_a_catalog_has_no_revisions(tmp_path: Path) -> None:
    home = new_home(tmp_path / "new")
    assert list_revisions(home) == ()
    with pytest.raises(CatalogError, match="is no destination of this home"):
        read_revision(home, *CRM)


def test_a_deployment_is_live_in_a_follower_before_it_returns(home: Home) -> None:
    seen: list[Snapshot] = []
    follower = SnapshotFollower(home, SystemClock(), seen.append)
    follower.start()
    try:
        for act in (
            lambda: deploy(home, SystemClock(), *CRM, playbook("a")),
            lambda: deploy(home, SystemClock(), *CRM, playbook("b")),
            lambda: rollback(home, SystemClock(), *CRM),
            lambda: set_shadow(home, SystemClock(), *CRM, 2),
        ):
            done = act()
            assert done.live is not None
            assert (done.live.processes, done.live.waiting) == (1, 0)
            assert seen[-1] == load_snapshot(home)
    finally:
        follower.close()
    told = [s.apps[0].destinations[0] for s in seen]
    assert [(d.revision, d.shadow_revision) for d in told] == [
        (0, 0),
        (1, 0),
        (2, 0),
        (1, 0),
        (1, 2),
    ]


def test_deployments_at_once_come_one_after_the_other(home: Home) -> None:
    errors: list[BaseException] = []

    def work(key: str) -> None:
        try:
            for number in range(4):
                deploy(home, SystemClock(), *CRM, playbook(f"{key}{number}"), author=key)
        except BaseException as error:
            errors.append(error)

    threads = [threading.Thread(target=work, args=(key,)) for key in "abc"]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert errors == []
    assert sorted(line.number for line in list_revisions(home)) == list(range(1, 13))
    rows = history(home, *CRM)[::-1]
    assert [row.from_revision for row in rows] == [0, *(row.to_revision for row in rows[:-1])]
    assert crm(home).revision == rows[-1].to_revision
    assert load_snapshot(home).version == 13
