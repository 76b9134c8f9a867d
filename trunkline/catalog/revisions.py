"""The life of playbooks: save, deploy, roll back, run in the shadow, read what was.

A revision is numbered and never changes. Each function is one transaction. What events are shaped
with changes by deployments alone, each a new version of the catalog, which every running process
has before the function returns. An app is named by its id, a destination by its id in the app.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Literal, cast

import msgspec
from msgspec import Struct

from trunkline.catalog.announce import Live, Mark
from trunkline.catalog.apply import Change, change_catalog, check_cause
from trunkline.catalog.check import WorkspaceError, check_params, trust_code
from trunkline.catalog.conform import Place
from trunkline.catalog.database import CatalogError
from trunkline.catalog.plan import plan_changes
from trunkline.catalog.playbook_text import canonical_tree, report
from trunkline.catalog.revision_rows import (
    content_of,
    decode_tree,
    deployments_of,
    digest_of,
    find_revision,
    next_number,
    number_of_digest,
    numbers_of,
    read_uids,
    shaping_of,
    unknown_revision,
)
from trunkline.catalog.shaping_checks import LoadCode
from trunkline.catalog.tables import DeploymentRow
from trunkline.catalog.workspace import DestinationSpec, Workspace
from trunkline.catalog.writing import Cause, revision_row
from trunkline.kit.clock import Clock
from trunkline.playbook.program import PlaybookError
from trunkline.state.home import Home

Tree = dict[str, Any]
OWN_FORM = 0


class Deployed(Struct, frozen=True):
    """What is in force after a change, what was before it, and who has it (None: no change)."""

    app: str
    destination: str
    revision: int
    before: int
    live: Live | None


class _Target(Struct, frozen=True):
    change: Change
    uid: int
    spec: DestinationSpec
    app: str

    @property
    def place(self) -> Place:
        return Place(anchor=f"{self.app}/{self.spec.id}")


def save_revision(
    home: Home,
    clock: Clock,
    app: str,
    destination: str,
    tree: Any,
    *,
    author: str = "",
    note: str = "",
) -> int:
    """Keep a playbook as a revision and return its number; nothing is deployed.

    A playbook that a revision holds already gives that one's number. Raises `WorkspaceError` with
    every mistake of the playbook, `CatalogError` for a destination there is not.
    """
    saved: list[int] = []
    cause = Cause("save", author, note)

    def work(change: Change) -> Mark | None:
        target = _find(change, app, destination)
        saved.append(_save(target, _canonical(tree, target.place), cause))
        return None

    _run(home, clock, cause, work)
    return saved[0]


def deploy(
    home: Home,
    clock: Clock,
    app: str,
    destination: str,
    what: int | Tree,
    *,
    author: str = "",
    note: str = "",
    load_code: LoadCode = trust_code,
) -> Deployed:
    """Deploy a revision by its number (0: the kind's own form), or a playbook, saved with it.

    A shadow of that revision ends. Raises `WorkspaceError` with every mistake of the playbook and
    every param that is missing, `CatalogError` for a revision or destination there is not.
    """
    cause = Cause("deploy", author, note)

    def pick(target: _Target) -> int:
        return what if isinstance(what, int) else _save_tree(target, what, cause)

    return _deploy(home, clock, app, destination, pick, cause, load_code)


def rollback(
    home: Home,
    clock: Clock,
    app: str,
    destination: str,
    *,
    author: str = "",
    note: str = "",
    load_code: LoadCode = trust_code,
) -> Deployed:
    """Deploy what was deployed before; again, what was before that. Raises as `deploy` does."""

    def pick(target: _Target) -> int:
        rows = deployments_of(target.change.session, target.uid)
        stack = stack_of(rows, target.spec.revision or OWN_FORM)
        if len(stack) < 2:
            raise CatalogError(
                f"{target.place.anchor}: nothing was deployed before; there is nothing to go back "
                "to; `trunkline playbook deploy` brings a revision into force"
            )
        return stack[-2]

    cause = Cause("rollback", author, note)
    return _deploy(home, clock, app, destination, pick, cause, load_code)


def set_shadow(
    home: Home,
    clock: Clock,
    app: str,
    destination: str,
    what: int | Tree | None,
    *,
    author: str = "",
    note: str = "",
    load_code: LoadCode = trust_code,
) -> Deployed:
    """Let a revision (or a playbook, saved as one) run beside the deployed one; None: no more.

    `revision` and `before` of the answer are the shadow's, 0 for none. Raises as `deploy` does.
    """
    cause = Cause("shadow", author, note)

    def alter(target: _Target) -> DestinationSpec:
        if what is None:
            return msgspec.structs.replace(target.spec, shadow=None)
        number = what if isinstance(what, int) else _save_tree(target, what, cause)
        if number == target.spec.revision:
            raise CatalogError(
                f"{target.place.anchor}: revision {number} is deployed; a shadow of it would "
                "compare nothing; name another"
            )
        _check(target, _tree_of(target, number), load_code)
        return msgspec.structs.replace(target.spec, shadow=number)

    return _alter(home, clock, app, destination, alter, cause, "shadow")


# ── one change ──


def _deploy(
    home: Home,
    clock: Clock,
    app: str,
    destination: str,
    pick: Callable[[_Target], int],
    cause: Cause,
    load_code: LoadCode,
) -> Deployed:
    def alter(target: _Target) -> DestinationSpec:
        number = pick(target)
        tree = None if number == OWN_FORM else _tree_of(target, number)
        _check(target, tree, load_code)
        return msgspec.structs.replace(
            target.spec,
            revision=number or None,
            playbook=tree,
            shadow=None if target.spec.shadow == number else target.spec.shadow,
        )

    return _alter(home, clock, app, destination, alter, cause, "revision")


def _alter(
    home: Home,
    clock: Clock,
    app: str,
    destination: str,
    alter: Callable[[_Target], DestinationSpec],
    cause: Cause,
    told: Literal["revision", "shadow"],
) -> Deployed:
    numbers: list[int] = []

    def work(change: Change) -> Mark | None:
        target = _find(change, app, destination)
        spec = alter(target)
        numbers.extend((getattr(target.spec, told) or 0, getattr(spec, told) or 0))
        existing = change.stored.workspace
        plan = plan_changes(existing, _with(existing, app, spec), prune=False)
        return change.write(plan, cause) if plan.changes else None

    live = _run(home, clock, cause, work)
    return Deployed(app, destination, numbers[1], numbers[0], live)


def _run(
    home: Home, clock: Clock, cause: Cause, work: Callable[[Change], Mark | None]
) -> Live | None:
    check_cause(cause)
    return change_catalog(home, clock, work)


def _with(workspace: Workspace, app: str, spec: DestinationSpec) -> Workspace:
    """Return a workspace with one destination in the place of that of its id."""
    replace = msgspec.structs.replace
    apps = [
        replace(
            found,
            destinations=tuple(spec if d.id == spec.id else d for d in found.destinations),
        )
        if found.id == app
        else found
        for found in workspace.apps
    ]
    return replace(workspace, apps=tuple(apps))


def _find(change: Change, app: str, destination: str) -> _Target:
    for found in change.stored.workspace.apps:
        for spec in found.destinations:
            if (found.id, spec.id) == (app, destination):
                uid = read_uids(change.session)[app, destination]
                return _Target(change, uid, spec, app)
    raise CatalogError(
        f"{app}/{destination} is no destination of this home; `trunkline destination list` names "
        "those there are"
    )


def _save_tree(target: _Target, tree: Any, cause: Cause) -> int:
    return _save(target, _canonical(tree, target.place), cause)


def _save(target: _Target, tree: Tree, cause: Cause) -> int:
    session, content = target.change.session, content_of(tree)
    deployed = target.spec.revision
    if deployed and content_of(cast(Tree, target.spec.playbook)) == content:
        return deployed
    found = number_of_digest(session, target.uid, digest_of(content))
    if found is not None:
        return found
    number = next_number(session, target.uid)
    session.add(revision_row(target.uid, number, content, cause, target.change.now_ms))
    session.flush()
    return number


def _canonical(tree: Any, place: Place) -> Tree:
    try:
        return canonical_tree(tree)
    except PlaybookError as error:
        told: list[str] = []
        report(error.problems, place.key("playbook"), told)
        raise WorkspaceError(tuple(told)) from error


def _tree_of(target: _Target, number: int) -> Tree:
    row = find_revision(target.change.session, target.uid, number)
    if row is None:
        numbers = numbers_of(target.change.session, target.uid)
        advice = "`trunkline playbook list` shows them"
        raise CatalogError(
            f"{target.place.anchor}: revision {unknown_revision(number, numbers, advice)}"
        )
    return decode_tree(row.content)


def _check(target: _Target, tree: Tree | None, load_code: LoadCode) -> None:
    problems: list[str] = []
    shaping = shaping_of(target.change.session, target.spec, tree)
    check_params(shaping, target.place, problems, load_code)
    if problems:
        raise WorkspaceError(tuple(problems))


def stack_of(rows: Sequence[DeploymentRow], revision: int) -> list[int]:
    """Return what was deployed and not rolled back, the present revision last."""
    stack = [rows[0].from_revision if rows else revision]
    for row in rows:
        if row.deed == "rollback" and len(stack) > 1:
            stack.pop()
        else:
            stack.append(row.to_revision)
    return stack
