"""What the groups changed since the last save, as rows: one flush, one transaction.

Groups change their memory and write down here what that means on disk, in the same step of the
event loop. A save takes the whole list at once, so a file always holds one moment of all groups.
"""

from __future__ import annotations

from collections.abc import Callable
from itertools import chain

import apsw

from trunkline.forwarder.fates import AttemptMade, Rows, RunMade, fate_rows
from trunkline.forwarder.tally import Names, TallyKey, save_tally
from trunkline.state.forwarder import SAMPLES_MAX

GroupValues = tuple[object, ...]
CountKey = tuple[int, str, int, str, str, str]  # uid, app, minute, kind, reason, name
RunKey = tuple[int, str, str, int]  # uid, kind, reason, revision
ShadowKey = tuple[int, int, str]  # uid, revision, kind
ShadowSample = tuple[int, int, str, int, str, str]  # …, offset, messageId, detail

_GROUP = (
    "INSERT INTO grp (uid, app, id, kind, since, partition, begin, position, seen, at_head,"
    " unfinished, state, cause, state_since_ms, reason, held_ms, behind_bytes, suspects,"
    " settings_digest) VALUES (?,?,?,?,?,0,?,?,?,?,?,?,?,?,?,?,?,?,?)"
    " ON CONFLICT (uid) DO UPDATE SET position=excluded.position, seen=excluded.seen,"
    " at_head=excluded.at_head, unfinished=excluded.unfinished, state=excluded.state,"
    " cause=excluded.cause, state_since_ms=excluded.state_since_ms, reason=excluded.reason,"
    " held_ms=excluded.held_ms, behind_bytes=excluded.behind_bytes, suspects=excluded.suspects,"
    " settings_digest=excluded.settings_digest, kind=excluded.kind"
)
_WAITING = (
    "INSERT INTO waiting (id, uid, lane, offset, app, message_id, received_ms, attempts, first_ms,"
    " due_ms, reason, replay, user, type, name, payload) VALUES (?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?)"
)
_LETTER = (
    "INSERT INTO dead_letter (id, uid, lane, offset, app, message_id, received_ms, at_ms, reason,"
    " detail, attempts, user, type, name, payload, revision, partial, failure)"
    " VALUES (?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?)"
)
_FATE = (
    "INSERT INTO fate (id, uid, kind, at_ms, number, snapshot, delivery_id, status, took_ms,"
    " reason, answer, offsets, outcomes, revision) VALUES (?,?,?,?,?,?,?,?,?,?,?,?,?,?)"
)
_LEDGER = (
    "INSERT INTO ledger (uid, app, minute, kind, reason, count) VALUES (?,?,?,?,?,?)"
    " ON CONFLICT DO UPDATE SET count=count+excluded.count"
)
_SHADOW = (
    "INSERT INTO shadow (uid, revision, kind, count) VALUES (?,?,?,?)"
    " ON CONFLICT DO UPDATE SET count=count+excluded.count"
)
_SHADOW_SAMPLE = (
    "INSERT INTO shadow_sample (uid, revision, kind, offset, message_id, detail)"
    " SELECT ?1, ?2, ?3, ?4, ?5, ?6 WHERE (SELECT COUNT(*) FROM shadow_sample"
    f" WHERE uid=?1 AND revision=?2 AND kind=?3) < {SAMPLES_MAX}"
)
_SETTING = (
    "INSERT INTO setting (name, value) VALUES (?,?) ON CONFLICT DO UPDATE SET value=excluded.value"
)


class Changes:
    """Rows to write. `groups` are functions that make a group's row at the moment of the save."""

    def __init__(self) -> None:
        self.groups: dict[int, Callable[[], GroupValues]] = {}
        self.waiting_in: list[tuple[object, ...]] = []
        self.waiting_set: list[tuple[int, int, int, str, int]] = []  # attempts, first, due, why, id
        self.waiting_out: list[tuple[int]] = []
        self.letters_in: list[tuple[object, ...]] = []
        self.letters_out: list[tuple[int]] = []
        self.attempts: list[AttemptMade] = []
        self.runs: dict[RunKey, list[int]] = {}  # → offsets
        self.counts: dict[CountKey, int] = {}  # of the ledger, and by the event's name
        self.shadows: dict[ShadowKey, int] = {}
        self.shadow_samples: list[ShadowSample] = []
        self.settings: dict[str, str] = {}
        self.jobs: list[tuple[int, int, int]] = []  # position, until, id
        self.jobs_out: list[tuple[int]] = []
        self.ended: list[tuple[int, int]] = []  # removed_ms, uid
        self.rows: list[GroupValues] = []  # `groups`, made by `close`
        self._runs: list[RunMade] = []

    def __bool__(self) -> bool:
        return bool(self.groups or self.settings or self.ended or self.jobs or self.weight)

    @property
    def weight(self) -> int:
        """About how much is not saved, in rows."""
        return (
            len(self.waiting_in)
            + len(self.waiting_set)
            + len(self.waiting_out)
            + len(self.letters_in)
            + len(self.attempts)
            + 2 * len(self.counts)
            + len(self.runs)
            + len(self.shadows)
            + len(self.jobs_out)
        )

    def close(self, now_ms: int, snapshot: int, next_id: Callable[[], int]) -> None:
        """Make the rows that depend on the moment. Nothing is added after this."""
        self.rows = [make() for make in self.groups.values()]
        for (uid, kind, reason, revision), offsets in self.runs.items():
            code = b"X" if kind == "expired" else b""
            self._runs.append(
                (next_id(), uid, kind, now_ms, snapshot, reason, offsets, code, revision)
            )

    def write(self, db: apsw.Connection, names: Names) -> None:
        """Write everything. Within a transaction."""
        for statement, rows in self._statements():
            if rows:
                db.executemany(statement, rows)
        save_tally(db, names, self._tally())

    def _ledger(self) -> Rows:
        found: dict[tuple[int, str, int, str, str], int] = {}
        for (uid, app, minute, kind, reason, _), number in self.counts.items():
            key = (uid, app, minute, kind, reason)
            found[key] = found.get(key, 0) + number
        return [(*key, number) for key, number in found.items() if number]

    def _tally(self) -> dict[TallyKey, int]:
        found: dict[TallyKey, int] = {}
        for (uid, app, minute, kind, reason, name), number in self.counts.items():
            key = (uid, app, minute // 60, name, kind, reason)
            found[key] = found.get(key, 0) + number
        return found

    def _statements(self) -> list[tuple[str, Rows]]:
        fates, spans = fate_rows(self.attempts, self._runs)
        return [
            (_GROUP, self.rows),
            (_WAITING, self.waiting_in),
            (
                "UPDATE waiting SET attempts=?, first_ms=?, due_ms=?, reason=? WHERE id=?",
                list[tuple[object, ...]](self.waiting_set),
            ),
            ("DELETE FROM waiting WHERE id=?", list[tuple[object, ...]](self.waiting_out)),
            (_LETTER, self.letters_in),
            ("DELETE FROM dead_letter WHERE id=?", list[tuple[object, ...]](self.letters_out)),
            (_FATE, fates),
            ("INSERT INTO fate_span (uid, bucket, fate) VALUES (?,?,?)", spans),
            (_LEDGER, self._ledger()),
            (_SHADOW, [(*key, number) for key, number in self.shadows.items()]),
            (_SHADOW_SAMPLE, list(chain(self.shadow_samples))),
            ("UPDATE job SET position=?, until=? WHERE id=?", list(chain(self.jobs))),
            ("DELETE FROM job WHERE id=?", list(chain(self.jobs_out))),
            ("UPDATE grp SET removed_ms=? WHERE uid=?", list(chain(self.ended))),
            ("DELETE FROM waiting WHERE uid=?", [(uid,) for _, uid in self.ended]),
            ("DELETE FROM job WHERE uid=?", [(uid,) for _, uid in self.ended]),
            (_SETTING, list(self.settings.items())),
        ]
