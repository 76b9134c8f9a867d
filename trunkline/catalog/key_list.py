"""The keys of a home as a person looks at them: state, last use, and what a browser gave away.

What is configured comes from the catalog, what was seen from the files of the gateways. A leak
belongs to one secret: it is told while that secret opens something, as a Server key's.
"""

from __future__ import annotations

import shlex
from collections.abc import Mapping

import msgspec
from msgspec import Struct
from sqlalchemy.orm import Session

from trunkline.catalog.database import read_session
from trunkline.catalog.formats import format_instant
from trunkline.catalog.keys import DEV_KEY_NAME
from trunkline.catalog.store import read_stored, rows_of
from trunkline.catalog.tables import RevokedRow
from trunkline.catalog.vault import open_vault
from trunkline.catalog.workspace import AppSpec, Instant, Previous, SecretText
from trunkline.kit.clock import Clock
from trunkline.model.snapshot import digest
from trunkline.state.home import Home
from trunkline.state.key_uses import KeyUse, read_all_uses, use_id


class Leak(Struct, frozen=True):
    """Requests in which a browser sent a Server key; `origin` of the last, "" where it named none.

    `last` is RFC 3339.
    """

    count: int
    last: str
    origin: str


class KeyLine(Struct, frozen=True):
    """A secret of a key as a list shows it: never the secret itself.

    `state` is active, overlap, none or revoked; `last_used` the minute of the last request that
    might use it, None where there was none. Times are RFC 3339.
    """

    app: str
    app_name: str
    name: str
    type: str
    state: str
    until: str | None = None
    last_used: str | None = None
    leak: Leak | None = None


def list_keys(home: Home, clock: Clock) -> tuple[KeyLine, ...]:
    """Return every key of every app, and what was revoked. Raises `CatalogError`."""
    with read_session(home) as session:
        if session is None:
            return ()
        vault = open_vault(home.key_file, may_create=False)
        workspace = read_stored(session, vault, clock.now_ms()).workspace
        uses = read_all_uses(home.key_uses_folder)
        lines = [line for app in workspace.apps for line in _lines_of(app, uses)]
        return (*lines, *_revoked_lines(session, {app.id: app.name for app in workspace.apps}))


def tell_leak(line: KeyLine) -> str:
    """Return the sentence about a leak: what was seen, and what to do; "" where there is none."""
    leak = line.leak
    if leak is None:
        return ""
    origin = f"from {leak.origin}" if leak.origin else "that named no origin"
    times = "once" if leak.count == 1 else f"{leak.count} times"
    # A second rotation ends the secret before the last at once.
    deed = "rotate it" if line.state == "active" else f"it opens until {line.until}; end it now"
    command = shlex.join(["trunkline", "key", "rotate", line.app_name or line.app, line.name])
    seen = f"seen in a browser request {origin} {times}, last {leak.last}"
    return f"leaked: {seen}; {deed}: {command}"


def _lines_of(app: AppSpec, uses: Mapping[str, KeyUse]) -> list[KeyLine]:
    dev_key, before = app.s2s.dev_key, app.s2s.dev_key_previous
    lines: list[KeyLine] = []
    if dev_key is not None or before is not None:
        lines += _secret_lines(KeyLine(app.id or "", app.name, DEV_KEY_NAME, "dev", ""), dev_key,
                               before, uses)  # fmt: skip
    for key in app.keys:
        line = KeyLine(app.id or "", app.name, key.name, key.type, "")
        lines += _secret_lines(line, key.secret, key.secret_previous, uses)
    return lines


def _secret_lines(
    line: KeyLine, secret: SecretText | None, previous: Previous | None, uses: Mapping[str, KeyUse]
) -> list[KeyLine]:
    replace = msgspec.structs.replace
    state = "active" if secret is not None else "none"
    lines = [_with_use(replace(line, state=state), secret, uses)]
    if previous is not None:
        line = replace(line, state="overlap", until=format_instant(previous.until))
        lines.append(_with_use(line, previous.secret, uses))
    return lines


def _with_use(line: KeyLine, secret: SecretText | None, uses: Mapping[str, KeyUse]) -> KeyLine:
    use = uses.get(use_id(line.app, digest(secret.text))) if secret is not None else None
    if use is None:
        return line
    leak = None
    if use.leaks and line.type == "server":
        leak = Leak(use.leaks, format_instant(Instant(use.leaked_ms)), use.leaked_from)
    last_used = format_instant(Instant(use.last_ms)) if use.last_ms else None
    return msgspec.structs.replace(line, last_used=last_used, leak=leak)


def _revoked_lines(session: Session, names: dict[str | None, str]) -> list[KeyLine]:
    rows = rows_of(session, RevokedRow, RevokedRow.revoked_ms, RevokedRow.name)
    told: dict[tuple[str, str, int], RevokedRow] = {}  # a key with an overlap had two secrets
    for row in rows:
        told.setdefault((row.app_id, row.name, row.revoked_ms), row)
    return [
        KeyLine(
            row.app_id,
            names.get(row.app_id, ""),
            row.name,
            "dev" if row.name == DEV_KEY_NAME else "key",
            "revoked",
            format_instant(Instant(row.revoked_ms)),
        )
        for row in told.values()
    ]
