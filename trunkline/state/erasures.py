"""Erasures: who is to be forgotten, how far that is, what it came to. `state/erasures.db`.

An order is a row, synced before anybody is told that it was taken. While it is open the row holds
the id it was ordered for and all identifiers that were found; once it is done both are wiped, and
what is left is a digest made with the home's own key: who knows the id can find the job, nobody
else can say whom it was about.

- `job.state`: waiting, running, done. `step` is the one that is under way.
- `job.until_offset`: the offset of EVENTS below which events are erased, -1 until the job is begun.
  `accepted` is the same of each partition of ACCEPTED, as JSON.
- `job.counts` and `job.sent_to` are JSON: what each step removed, and which destinations were sent
  how many of the events. `problem` is why the last try ended early, "" where none did.
- `found`: events of EVENTS that the job erases, written down before they are erased, so that the
  steps after that know them; gone when the job is done.
"""

from __future__ import annotations

import contextlib
import hashlib
import uuid
from collections.abc import Generator, Iterable, Sequence
from typing import Any, Literal, cast

import apsw
import msgspec
from msgspec import Struct
from msgspec.structs import asdict, fields

from trunkline.state.db import SYNC_FULL, open_reader, open_writer, wipe
from trunkline.state.home import Home

OPEN_MAX = 10_000  # jobs that are not done, of all apps
DONE_KEEP_MS = 400 * 86_400_000
_ROWS_AT_ONCE = 1000

MIGRATIONS = (
    """
    CREATE TABLE job (id TEXT PRIMARY KEY, app TEXT NOT NULL, who TEXT NOT NULL,
        digest TEXT NOT NULL, key TEXT NOT NULL, suppress INTEGER NOT NULL,
        ordered_ms INTEGER NOT NULL, state TEXT NOT NULL, step TEXT NOT NULL,
        members TEXT NOT NULL, until_offset INTEGER NOT NULL, accepted TEXT NOT NULL,
        counts TEXT NOT NULL, sent_to TEXT NOT NULL, begun_ms INTEGER NOT NULL,
        done_ms INTEGER NOT NULL, tries INTEGER NOT NULL, problem TEXT NOT NULL) WITHOUT ROWID;
    CREATE INDEX job_by_order ON job (ordered_ms, id);
    CREATE INDEX job_by_person ON job (app, digest);
    CREATE TABLE found (job TEXT, offset INTEGER, partition INTEGER NOT NULL,
        origin INTEGER NOT NULL, message_id TEXT NOT NULL,
        PRIMARY KEY (job, offset)) WITHOUT ROWID;
    """,
)

FORGET = "forget"  # the last step
State = Literal["waiting", "running", "done"]


class TooManyErasures(Exception):
    """So many are open that no more are taken."""


class Found(Struct, frozen=True):
    """An event that is erased: its offset, the record of ACCEPTED it came from, its messageId."""

    offset: int
    partition: int
    origin: int
    message_id: str


class ErasureRow(Struct):
    """A job; see the top of this file."""

    id: str
    app: str
    who: str
    digest: str
    key: str
    suppress: bool
    ordered_ms: int
    state: State = "waiting"
    step: str = ""
    members: str = "[]"
    until_offset: int = -1
    accepted: str = "{}"
    counts: str = "{}"
    sent_to: str = "{}"
    begun_ms: int = 0
    done_ms: int = 0
    tries: int = 0
    problem: str = ""

    def count(self, **numbers: int) -> None:
        """Add to what the job removed."""
        counts = self.read_counts()
        for name, number in numbers.items():
            counts[name] = counts.get(name, 0) + number
        self.counts = msgspec.json.encode(counts).decode()

    def set_count(self, **numbers: int) -> None:
        """Say how many the job removed in all."""
        self.counts = msgspec.json.encode({**self.read_counts(), **numbers}).decode()

    def read_counts(self) -> dict[str, int]:
        """Return what the job removed so far, by what it is."""
        return msgspec.json.decode(self.counts, type=dict[str, int])

    def read_sent_to(self) -> dict[str, int]:
        """Return how many of the events each destination was sent, by its id."""
        return msgspec.json.decode(self.sent_to, type=dict[str, int])


_NAMES = tuple(field.name for field in fields(ErasureRow))
_SELECT = f"SELECT {', '.join(_NAMES)} FROM job"
_SAVE = (
    f"INSERT OR REPLACE INTO job ({', '.join(_NAMES)})"
    f" VALUES ({', '.join(':' + name for name in _NAMES)})"
)


class Erasures:
    """The jobs of a home. Whoever orders adds rows; one engine carries them out."""

    def __init__(self, db: apsw.Connection) -> None:
        self._db = db

    def order(
        self, app: str, who: str, digest: str, key: str, suppress: bool, now_ms: int
    ) -> ErasureRow:
        """Keep an order, durably. One that waits for the same person is that order.

        Raises `TooManyErasures`.
        """
        with _writing(self._db):
            same = self._all(
                "app=? AND digest=? AND state='waiting' ORDER BY ordered_ms LIMIT 1", (app, digest)
            )
            if same:
                if suppress and not same[0].suppress:
                    same[0].suppress = True
                    self._put(same[0])
                return same[0]
            count = cast(
                "int", self._db.execute("SELECT COUNT(*) FROM job WHERE state!='done'").get
            )
            if count >= OPEN_MAX:
                raise TooManyErasures
            row = ErasureRow(str(uuid.uuid4()), app, who, digest, key, suppress, now_ms)
            self._put(row)
            return row

    def get(self, job: str) -> ErasureRow | None:
        """Return a job by its id."""
        found = self._all("id=?", (job,))
        return found[0] if found else None

    def open_jobs(self, but: Iterable[str], rows_max: int) -> list[ErasureRow]:
        """Return jobs to carry on with: the oldest that are not done, and none of `but`."""
        left_out = list(but)
        marks = ",".join("?" * len(left_out))
        return self._all(
            f"state!='done' AND id NOT IN ({marks}) ORDER BY ordered_ms, id LIMIT ?",
            [*left_out, rows_max],
        )

    def latest(self, rows_max: int, app: str | None = None) -> list[ErasureRow]:
        """Return the last orders, the newest first."""
        return self._all(
            "(?1 IS NULL OR app=?1) ORDER BY ordered_ms DESC, id LIMIT ?2", (app, rows_max)
        )

    def open_since(self, before_ms: int) -> list[ErasureRow]:
        """Return the jobs that were ordered before a time and are not done."""
        return self._all(
            "state!='done' AND ordered_ms<? ORDER BY ordered_ms LIMIT 100", (before_ms,)
        )

    def save(self, row: ErasureRow) -> None:
        """Write a job down; durable when it returns."""
        with _writing(self._db):
            self._put(row)

    def add_found(self, job: str, events: Sequence[Found]) -> None:
        """Write down events that are about to be erased. Durable."""
        for start in range(0, len(events), _ROWS_AT_ONCE):
            with _writing(self._db):
                self._db.executemany(
                    "INSERT OR IGNORE INTO found VALUES (?,?,?,?,?)",
                    [
                        (job, each.offset, each.partition, each.origin, each.message_id)
                        for each in events[start : start + _ROWS_AT_ONCE]
                    ],
                )

    def read_found(self, job: str, after: int, rows_max: int) -> list[Found]:
        """Return events that a job erases, behind an offset, in order."""
        rows = self._db.execute(
            "SELECT offset, partition, origin, message_id FROM found WHERE job=? AND offset>?"
            " ORDER BY offset LIMIT ?",
            (job, after, rows_max),
        )
        return [Found(*cast("tuple[int, int, int, str]", row)) for row in rows]

    def count_found(self, job: str) -> int:
        """Return how many events a job erases, as far as they are known."""
        return cast("int", self._db.execute("SELECT COUNT(*) FROM found WHERE job=?", (job,)).get)

    def forget(self, rows: Sequence[ErasureRow]) -> bool:
        """Forget whom jobs were about, for good, which is their last step.

        False: a reader is in the way; say it again. Durable.
        """
        with _writing(self._db):
            for row in rows:
                row.step, row.who, row.members = FORGET, "", "[]"
                self._put(row)
                self._db.execute("DELETE FROM found WHERE job=?", (row.id,))
        return wipe(self._db)

    def finish(self, row: ErasureRow, now_ms: int) -> None:
        """Write down that a job is done. Durable."""
        row.state, row.step, row.problem, row.done_ms = "done", "", "", now_ms
        with _writing(self._db):
            self._put(row)
            self._db.execute(
                "DELETE FROM job WHERE state='done' AND done_ms<?", (now_ms - DONE_KEEP_MS,)
            )

    def _put(self, row: ErasureRow) -> None:
        self._db.execute(_SAVE, asdict(row))

    def _all(self, where: str, values: Sequence[Any]) -> list[ErasureRow]:
        rows = list(self._db.execute(f"{_SELECT} WHERE {where}", tuple(values)))
        return [msgspec.convert(dict(zip(_NAMES, row, strict=True)), ErasureRow, strict=False)
                for row in rows]  # fmt: skip


@contextlib.contextmanager
def open_erasures(home: Home) -> Generator[Erasures]:
    """Open the file, making it where it is new."""
    db = open_writer(home.erasures_file, MIGRATIONS, SYNC_FULL)
    try:
        yield Erasures(db)
    finally:
        db.close()


@contextlib.contextmanager
def read_erasures(home: Home) -> Generator[Erasures | None]:
    """Open the file to look at; None where nothing was ever ordered."""
    db = open_reader(home.erasures_file)
    if db is None:
        yield None
        return
    try:
        yield Erasures(db)
    finally:
        db.close()


def person_digest(key: bytes, app: str, who: str) -> str:
    """Return what stands for an id once its job is done. `key`: `ERASURE_PURPOSE`'s of the home."""
    text = f"{app}\0{who}".encode("utf-8", "surrogatepass")
    return hashlib.blake2b(text, digest_size=16, key=key).hexdigest()


@contextlib.contextmanager
def _writing(db: apsw.Connection) -> Generator[None]:
    db.execute("BEGIN IMMEDIATE")
    try:
        yield
        db.execute("COMMIT")
    finally:
        if db.in_transaction:
            db.execute("ROLLBACK")
