"""Bringing the catalog to what a workspace file says: read, complete, plan, write, announce.

All in one transaction that holds the write lock from its first read, so that two applies come one
after the other and each plans against what the other left. Whatever is wrong, nothing is written.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TypeVar

from msgspec import Struct
from sqlalchemy.orm import Session

from trunkline.catalog.announce import Live, Mark, announce, mark_of
from trunkline.catalog.check import Kinds, WorkspaceError, read_workspace, trust_code
from trunkline.catalog.complete import Generated, complete
from trunkline.catalog.database import CatalogError, write_session
from trunkline.catalog.kit_choice import forget_unused_kits
from trunkline.catalog.plan import Plan, plan_changes
from trunkline.catalog.shaping import complete_shaping
from trunkline.catalog.shaping_checks import LoadCode
from trunkline.catalog.snapshots import build_snapshot, write_cache
from trunkline.catalog.store import Stored, read_stored, version_row
from trunkline.catalog.tables import VersionRow
from trunkline.catalog.vault import Vault, open_vault
from trunkline.catalog.workspace import Workspace
from trunkline.catalog.writing import Cause, Writer
from trunkline.kit.clock import Clock
from trunkline.state.home import Home
from trunkline.telemetry import catalog as telemetry

ResultT = TypeVar("ResultT")
BY_NOBODY = Cause()  # a change that touches no playbook


class ApplyResult(Struct, frozen=True):
    """What an apply did, or with `is_dry_run` would do.

    `version` is the catalog's afterwards. `generated` holds secrets: print it once, keep it
    nowhere. `live` is None where nothing changed.
    """

    version: int
    lines: tuple[str, ...]
    unnamed: tuple[str, ...]
    generated: tuple[Generated, ...]
    warnings: tuple[str, ...]
    is_changed: bool
    is_dry_run: bool
    live: Live | None


class _DryRun(Exception):
    """Takes the transaction back."""


def check_cause(cause: Cause) -> None:
    """Raise `CatalogError` where author or note are longer than what is kept, or no line."""
    for name, text, high in (("author", cause.author, 128), ("note", cause.note, 500)):
        if len(text) > high or not text.isprintable():
            raise CatalogError(
                f"the {name} has {len(text)} characters; expected one line of at most {high}"
            )


class Change(Struct):
    """A transaction on the catalog: what stands in it, and the hand that writes."""

    session: Session
    vault: Vault
    stored: Stored
    row: VersionRow
    now_ms: int

    def write(self, plan: Plan, cause: Cause = BY_NOBODY) -> Mark:
        """Write a plan as the next version and return its mark."""
        version = self.row.version + 1
        Writer(self.session, self.vault, version, self.now_ms, cause).write(plan.changes)
        self.row.version = version
        # Never the same mark twice, also when the clock stands still or goes back.
        self.row.changed_ms = max(self.now_ms, self.row.changed_ms + 1)
        self.session.flush()
        forget_unused_kits(self.session)
        return mark_of(self.row)


def apply_workspace(
    home: Home,
    text: str,
    kinds: Kinds,
    environ: Mapping[str, str],
    *,
    base: Path = Path(),
    clock: Clock,
    dry_run: bool = False,
    prune: bool = False,
    author: str = "",
    note: str = "",
    load_code: LoadCode = trust_code,
) -> ApplyResult:
    """Bring the catalog of a home to what a workspace file says. All or nothing.

    `base` is the folder that `{file: PATH}` starts at, left out: the current one. `author` and
    `note` go with what is deployed. `load_code`: see `read_workspace`. Raises
    `WorkspaceError` with every problem of the file, `CatalogError` or `VaultError` where the home's
    own files cannot be used, and SQLAlchemy's errors where the database fails.
    """
    cause = Cause("apply", author, note)
    check_cause(cause)
    reading = read_workspace(text, kinds, environ, base, load_code)
    if reading.workspace is None:
        raise WorkspaceError(reading.problems)
    desired = reading.workspace
    outcome: list[tuple[_Planned, int]] = []

    def work(change: Change) -> Mark | None:
        planned = _plan(desired, change, kinds, load_code, prune)
        mark = change.write(planned.plan, cause) if planned.plan.changes else None
        outcome.append((planned, change.row.version))
        if dry_run:
            raise _DryRun
        return mark

    live: Live | None = None
    try:
        live = change_catalog(home, clock, work)
    except _DryRun:
        pass
    planned, version = outcome[0]
    plan = planned.plan
    return ApplyResult(
        version=version - 1 if dry_run and plan.changes else version,
        lines=plan.lines(),
        unnamed=plan.unnamed,
        generated=() if dry_run else planned.generated,
        warnings=(*reading.warnings, *planned.warnings),
        is_changed=bool(plan.changes),
        is_dry_run=dry_run,
        live=live,
    )


def change_catalog(home: Home, clock: Clock, work: Callable[[Change], Mark | None]) -> Live | None:
    """Run a change in one transaction; tell the running processes where it made a new version.

    `work` returns the mark of what it wrote, or None where there was nothing to write. Returns who
    has it.
    """
    with write_session(home) as session:
        row = version_row(session)
        vault = open_vault(home.key_file, may_create=row.version == 0)
        now_ms = clock.now_ms()
        stored = read_stored(session, vault, now_ms)
        mark = work(Change(session, vault, stored, row, now_ms))
        snapshot = build_snapshot(session, vault) if mark is not None else None
    if mark is None or snapshot is None:
        return None
    try:
        write_cache(home, vault, snapshot)
    except OSError as error:
        # The change is committed; the cache is made again by the first process that loads it.
        telemetry.cache_failed(str(error))
    return announce(home, mark, clock)


class _Planned(Struct, frozen=True):
    plan: Plan
    generated: tuple[Generated, ...]
    warnings: tuple[str, ...]


def _plan(
    desired: Workspace, change: Change, kinds: Kinds, load_code: LoadCode, prune: bool
) -> _Planned:
    stored = change.stored
    completed = complete(desired, stored, prune=prune)
    shaped = complete_shaping(completed.workspace, stored, change.session, kinds, load_code)
    problems = (*completed.problems, *shaped.problems)
    if problems:
        raise WorkspaceError(problems)
    plan = plan_changes(stored.workspace, shaped.workspace, prune=prune)
    return _Planned(plan, completed.generated, shaped.warnings)
