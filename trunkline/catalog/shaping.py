"""Which playbook, revision, shadow and kit each destination of a workspace file comes to have.

What a file says of playbooks, and what it comes to:

- nothing, or `revision: null` alone: what is deployed stays, so that a file that does not speak of
  playbooks undoes no deployment of the command line;
- `playbook` alone: the revision of that content, else a new one; deployed;
- `revision` alone: that revision, which must exist; 0 is the kind's own form;
- both: a revision that holds just that; one above all there are is made under its number;
- `playbook: null`: the kind's own form.

A kit is taken as it was imported last, or as it is shipped where none of that name was imported,
unless `kit_digest` names another content of it.
"""

from __future__ import annotations

from typing import Any, NoReturn, cast

import msgspec
from msgspec import UNSET, Struct
from sqlalchemy.orm import Session

from trunkline.catalog.check import Kinds, check_params, report_connection
from trunkline.catalog.conform import Place
from trunkline.catalog.kit_choice import KitChoice
from trunkline.catalog.revision_rows import (
    content_of,
    decode_tree,
    digest_of,
    find_revision,
    next_number,
    number_of_digest,
    numbers_of,
    read_uids,
    shaping_of,
    unknown_revision,
)
from trunkline.catalog.shaping_checks import LoadCode, unknown_kit, unused_params
from trunkline.catalog.shaping_params import takes_kit
from trunkline.catalog.store import Stored
from trunkline.catalog.workspace import AppSpec, DestinationSpec, Workspace

Tree = dict[str, Any]
NO_DESTINATION = 0  # a uid that no destination has


class _WrongError(Exception):
    """Something a destination says cannot be; the message is the end of a problem's line."""

    def __init__(self, key: str, sentence: str) -> None:
        super().__init__(sentence)
        self.key = key


class Shaped(Struct, frozen=True):
    """The workspace with every playbook, revision, shadow and kit in it, or why it cannot be."""

    workspace: Workspace
    problems: tuple[str, ...]
    warnings: tuple[str, ...]


def complete_shaping(
    workspace: Workspace, stored: Stored, session: Session, kinds: Kinds, load_code: LoadCode
) -> Shaped:
    """Fill in what shapes the events of each destination, from the file and from what is stored.

    The apps of `workspace` have their ids (`complete`).
    """
    completion = _Completion(stored, session, kinds, load_code)
    apps = tuple(
        completion.app(app, Place().key("apps").item(index, {"id": app.id, "name": app.name}))
        for index, app in enumerate(workspace.apps)
    )
    return Shaped(
        msgspec.structs.replace(workspace, apps=apps),
        tuple(completion.problems),
        tuple(completion.warnings),
    )


class _Completion:
    def __init__(self, stored: Stored, session: Session, kinds: Kinds, load_code: LoadCode) -> None:
        self.problems: list[str] = []
        self.warnings: list[str] = []
        self._session = session
        self._kinds = kinds
        self._load_code = load_code
        self._known = {
            (app.id or "", destination.id): destination
            for app in stored.workspace.apps
            for destination in app.destinations
        }
        self._uids = read_uids(session)
        self._kits = KitChoice(session)

    def app(self, app: AppSpec, place: Place) -> AppSpec:
        destinations = tuple(
            self._destination(
                app.id or "",
                spec,
                place.key("destinations").item(index, {"kind": spec.kind, "id": spec.id}),
            )
            for index, spec in enumerate(app.destinations)
        )
        return msgspec.structs.replace(app, destinations=destinations)

    def _destination(self, app: str, spec: DestinationSpec, place: Place) -> DestinationSpec:
        known = self._known.get((app, spec.id))
        uid = self._uids.get((app, spec.id), NO_DESTINATION)
        try:
            kit = self._kit(spec)
            playbook, revision = self._revision(spec, known, uid)
            shadow = self._shadow(spec, known, uid, revision)
        except _WrongError as error:
            at = place
            for key in error.key.split("."):
                at = at.key(key)
            self.problems.append(at.says(str(error)))
            return spec
        completed = msgspec.structs.replace(
            spec, kit_digest=kit, playbook=playbook, revision=revision, shadow=shadow
        )
        if completed != known:
            self._check(completed, place)
        return completed

    # ── kit ──

    def _kit(self, spec: DestinationSpec) -> str | None:
        """Return the digest of the kit that a destination works with."""
        if not takes_kit(self._kinds[spec.kind].settings_type):
            if spec.kit_digest is not None:
                _wrong(
                    "kit_digest",
                    f"is set; expected it beside a kit only, which {spec.kind} "
                    "does not take; remove it",
                )
            return None
        name = str(spec.settings.get("kit"))
        current = self._kits.current(name)
        if current is None:
            _wrong("settings.kit", unknown_kit(name, self._kits.names))
        digest = spec.kit_digest or current
        if not self._kits.take(name, digest):
            _wrong(
                "kit_digest",
                f"is {digest}, which no kit {name} of this home has; expected "
                f"{current}, the one it has now; import that content, or leave it out",
            )
        return digest

    # ── playbook and revision ──

    def _revision(
        self, spec: DestinationSpec, known: DestinationSpec | None, uid: int
    ) -> tuple[Tree | None, int | None]:
        """Return the deployed playbook and its number; None and None for the kind's own form."""
        if spec.playbook is UNSET:
            if spec.revision is not None:
                return self._pinned(uid, spec.revision)
            return _deployed(known)
        if spec.playbook is None:
            if spec.revision:
                _wrong(
                    "revision",
                    f"is {spec.revision} beside playbook: null, the kind's own "
                    "form; expected one of the two; remove one",
                )
            return None, None
        if spec.revision is None:
            return spec.playbook, self._number_for(spec.playbook, known, uid)
        return spec.playbook, self._held_number(spec.playbook, spec.revision, uid)

    def _pinned(self, uid: int, number: int) -> tuple[Tree | None, int | None]:
        if number == 0:
            return None, None
        row = find_revision(self._session, uid, number)
        if row is None:
            _wrong(
                "revision",
                self._unknown(
                    uid,
                    number,
                    "give the playbook too, or deploy it with `trunkline playbook deploy`",
                ),
            )
        return decode_tree(row.content), number

    def _number_for(self, tree: Tree, known: DestinationSpec | None, uid: int) -> int:
        """Return the number of a content: the deployed one, else the newest that holds it, or the
        next."""
        content = content_of(tree)  # compared as text: to Python 1 and true are equal
        if (
            known is not None
            and known.revision
            and content_of(cast(Tree, known.playbook)) == content
        ):
            return known.revision
        found = number_of_digest(self._session, uid, digest_of(content))
        return found or next_number(self._session, uid)

    def _held_number(self, tree: Tree, number: int, uid: int) -> int:
        if number == 0:
            _wrong(
                "revision",
                "is 0, the kind's own form, beside a playbook; expected one of the two; remove one",
            )
        row = find_revision(self._session, uid, number)
        if row is not None and row.content != content_of(tree):
            _wrong(
                "revision",
                f"is {number}, which holds another playbook than the file; a "
                "revision never changes; leave revision out to save this one as the next, or "
                "leave playbook out to deploy that one",
            )
        if row is None and number < next_number(self._session, uid):
            _wrong(
                "revision",
                self._unknown(uid, number, "leave it out to save this playbook as the next"),
            )
        return number

    def _shadow(
        self, spec: DestinationSpec, known: DestinationSpec | None, uid: int, revision: int | None
    ) -> int | None:
        if spec.shadow is UNSET:
            kept = None if known is None else cast(int | None, known.shadow)
            return None if kept == revision else kept  # a shadow that is deployed compares nothing
        if spec.shadow is None:
            return None
        if spec.shadow == revision:
            _wrong(
                "shadow",
                f"is {spec.shadow}, which is deployed; expected another revision; remove it",
            )
        if find_revision(self._session, uid, spec.shadow) is None:
            _wrong(
                "shadow",
                self._unknown(
                    uid,
                    spec.shadow,
                    "remove it, or save that revision first: `trunkline playbook shadow`",
                ),
            )
        return spec.shadow

    def _unknown(self, uid: int, number: int, advice: str) -> str:
        return unknown_revision(number, numbers_of(self._session, uid), advice)

    # ── together ──

    def _check(self, spec: DestinationSpec, place: Place) -> None:
        known = len(self.problems)
        shaping = shaping_of(self._session, spec, cast(Tree | None, spec.playbook))
        check_params(shaping, place, self.problems, self._load_code)
        if spec.kit_digest is None:
            return
        params = place.key("settings").key("params")
        self.warnings += [params.key(name).says(told) for name, told in unused_params(shaping)]
        if len(self.problems) == known:
            report_connection(spec.settings, shaping, self._kinds[spec.kind], place, self.problems)


def _deployed(known: DestinationSpec | None) -> tuple[Tree | None, int | None]:
    if known is None:
        return None, None
    return cast(Tree | None, known.playbook), known.revision


def _wrong(key: str, sentence: str) -> NoReturn:
    raise _WrongError(key, sentence)
