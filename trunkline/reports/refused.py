"""Refused events for people, and what it takes to send them again."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import msgspec
from msgspec import Struct

from trunkline.kit.redact import redact
from trunkline.kit.times import format_ms
from trunkline.model.record import AcceptedEvent, Posting, decode_origin
from trunkline.reports.state import reading
from trunkline.state.home import Home
from trunkline.state.resent import RefusedId, read_resent


class Refused(Struct, frozen=True, rename="camel"):
    """An event that was not accepted. `count` above 1: they came too fast to keep, or together.

    `resent_at` is when it was sent again, "" where it was not. `index` is where in its request it
    stood, from 0 as in the answer; None where it was all of it, or where that is not known.
    """

    id: int
    app: str
    at: str
    protocol: str
    key: str
    address: str
    request_id: str
    code: str
    message: str
    message_id: str
    body: str
    count: int
    resent_at: str = ""
    index: int | None = None


class RefusedOrigin(Struct, frozen=True):
    """A refused event, and how it came; `body` is what is left of it, redacted."""

    refused: Refused
    at_ms: int
    body: bytes
    origin: Posting | AcceptedEvent | None

    @property
    def known_by(self) -> RefusedId:
        """What tells it from every other."""
        return RefusedId(self.refused.id, self.at_ms)


class RefusedFilter(Struct, frozen=True):
    """Which refused events. None means any; `since_ms` is Unix milliseconds."""

    app: str | None = None
    code: str | None = None
    since_ms: int = 0
    ids: Sequence[int] | None = None
    limit: int = 100


_WHERE = (
    "FROM refused WHERE (:app IS NULL OR app=:app) AND (:code IS NULL OR code=:code)"
    " AND (:ids IS NULL OR id IN (SELECT value FROM json_each(:ids))) AND at_ms>=:since_ms"
)
_ROWS = (
    "SELECT id, app, at_ms, protocol, key, address, request_id, code, message, message_id, body,"
    f" count, origin {_WHERE} ORDER BY id DESC LIMIT :limit"
)


def list_refused(home: Home, which: RefusedFilter) -> list[Refused]:
    """Return what was refused, newest first."""
    resent = read_resent(home)
    return [_refused(row, resent) for row in _read_rows(home, which)]


def read_refused(
    home: Home, which: RefusedFilter, *, is_resent_wanted: bool
) -> list[RefusedOrigin]:
    """Return what was refused with what it takes to send it again, oldest first.

    The limit holds for what was not sent again yet, where only that is wanted.
    """
    resent = read_resent(home)
    with reading(home, "pipeline") as db:
        if db is None:
            return []
        known = [
            RefusedId(*row)
            for row in db.execute(f"SELECT id, at_ms {_WHERE} ORDER BY id", _values(which))
        ]
    wanted = [each.id for each in known if is_resent_wanted or each not in resent]
    chosen = wanted[: which.limit]
    rows = _read_rows(home, RefusedFilter(ids=chosen, limit=len(chosen)))
    return [
        RefusedOrigin(
            _refused(row, resent),
            row[2],
            bytes(row[10]),
            None if row[12] is None else decode_origin(bytes(row[12])),
        )
        for row in reversed(rows)
    ]


def _read_rows(home: Home, which: RefusedFilter) -> list[Sequence[Any]]:
    with reading(home, "pipeline") as db:
        if db is None:
            return []
        return list(db.execute(_ROWS, {**_values(which), "limit": which.limit}))


def _values(which: RefusedFilter) -> dict[str, Any]:
    ids = None if which.ids is None else msgspec.json.encode(which.ids).decode()
    return {"app": which.app, "code": which.code, "ids": ids, "since_ms": which.since_ms}


def _refused(row: Sequence[Any], resent: Mapping[RefusedId, int]) -> Refused:
    id_, app, at_ms, protocol, key, address, request, code, message, message_id, *_ = row
    body, count, origin = row[10:]
    resent_ms = resent.get(RefusedId(id_, at_ms))
    # What the pipeline could not shape was accepted, so its body is whole: hidden only here.
    came = None if origin is None else decode_origin(bytes(origin))
    shown = redact(bytes(body)) if isinstance(came, AcceptedEvent) else bytes(body)
    index = came.index if isinstance(came, Posting) and came.index >= 0 else None
    resent_at = "" if resent_ms is None else format_ms(resent_ms)
    text = shown.decode("utf-8", "replace")
    return Refused(
        id_, app, format_ms(at_ms), protocol, key, address, request, code, message, message_id,
        text, count, resent_at, index,
    )  # fmt: skip
