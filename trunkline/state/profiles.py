"""The profile store: who is who, their traits, their latest events. `state/profiles.db`.

Written by the engine of profiles, a batch a transaction, and now and then by an
operator's merge or an erasure. What the engine writes can be made again from EVENTS as far as that
is kept; merges and erasures are synced before they return.

- `identifier`: a way to know somebody. `owner` is the identifier it belongs to now: the one with
  the newest of its links, nobody where that one's profile was full. `first_ms` is null while only
  others name it. `latest` are JSON lines `[at_ms, offset, messageId, type, name]` of the events
  that it was the surest identifier of; `entries` says how many, some more than are shown.
  `left_traits` and `left_joins` count what was past a limit.
- `link`: why two identifiers are of one profile. `child` belongs to `owner`, or, where both are
  accounts (`is_join`), neither to the other. `last_ms`, `offset` and `event` are the newest event's
  that says so; `offset` is -1 for an operator's. A link that was cut has `cut_ms`, and counts no
  more.
- `trait`: the newest value by (`at_ms`, `offset`), as JSON; null stands for "cleared".
- `erased`: identifiers whose events below the offset `before` are to be passed over; gone once the
  engine is past it.
- `position`: the next record of EVENTS. `setting.missed`: records that were removed unread.
"""

from __future__ import annotations

import contextlib
import heapq
from collections.abc import Generator, Iterable, Sequence
from typing import cast

import apsw
import msgspec
from msgspec import Struct

from trunkline.kit.identifiers import Identifier, parse_identifier
from trunkline.state.db import SYNC_FULL, SYNC_NORMAL, open_reader, open_writer
from trunkline.state.home import Home
from trunkline.state.profile_links import MEMBERS_MAX, members_of, settle_owner

MIGRATIONS = (
    """
    CREATE TABLE identifier (id INTEGER PRIMARY KEY, app TEXT NOT NULL, kind TEXT NOT NULL,
        value TEXT NOT NULL, owner INTEGER, first_ms INTEGER, last_ms INTEGER,
        entries INTEGER NOT NULL DEFAULT 0, left_traits INTEGER NOT NULL DEFAULT 0,
        left_joins INTEGER NOT NULL DEFAULT 0, latest TEXT NOT NULL DEFAULT '');
    CREATE UNIQUE INDEX identifier_by_value ON identifier (app, value, kind);
    CREATE INDEX identifier_by_owner ON identifier (owner) WHERE owner IS NOT NULL;
    CREATE INDEX identifier_crowded ON identifier (id) WHERE entries > 40;
    CREATE TABLE link (id INTEGER PRIMARY KEY AUTOINCREMENT, app TEXT NOT NULL,
        child INTEGER NOT NULL, owner INTEGER NOT NULL, reason TEXT NOT NULL,
        is_join INTEGER NOT NULL, first_ms INTEGER NOT NULL, last_ms INTEGER NOT NULL,
        offset INTEGER NOT NULL, event TEXT NOT NULL, by TEXT NOT NULL DEFAULT '',
        why TEXT NOT NULL DEFAULT '', cut_ms INTEGER, cut_by TEXT NOT NULL DEFAULT '',
        cut_why TEXT NOT NULL DEFAULT '');
    CREATE INDEX link_by_child ON link (child, owner, reason);
    CREATE INDEX link_by_owner ON link (owner);
    CREATE INDEX link_listed ON link (app, id) WHERE is_join OR reason = 'merged by hand';
    CREATE TABLE trait (identifier INTEGER, name TEXT, at_ms INTEGER NOT NULL,
        offset INTEGER NOT NULL, value BLOB, PRIMARY KEY (identifier, name)) WITHOUT ROWID;
    CREATE TABLE erased (app TEXT, kind TEXT, value TEXT, before INTEGER NOT NULL,
        PRIMARY KEY (app, kind, value)) WITHOUT ROWID;
    CREATE TABLE position (partition INTEGER PRIMARY KEY, next INTEGER NOT NULL);
    CREATE TABLE setting (name TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;
    """,
)

LATEST_MAX = 20  # events of an identifier that are shown

Entry = tuple[int, int, str, str, str]  # at_ms, offset, messageId, type, name

_encode_lines = msgspec.json.Encoder().encode_lines
_LINES = msgspec.json.Decoder(Entry)


class Erased(Struct, frozen=True):
    """What an erasure removed. In the file's free space it stays until `state.db.wipe`."""

    identifiers: int = 0
    links: int = 0
    traits: int = 0
    events: int = 0


class ProfileStore:
    """The store, through one connection. Every writing method is a transaction of its own."""

    def __init__(self, db: apsw.Connection) -> None:
        self.db = db

    def find(self, app: str, text: str) -> list[tuple[int, Identifier]]:
        """Return what an id may mean in an app, the likeliest first: row ids and identifiers.

        What came in events goes before what others only named.
        """
        seen: list[tuple[int, Identifier]] = []
        named: list[tuple[int, Identifier]] = []
        for identifier in dict.fromkeys(parse_identifier(text)):
            row = self.db.execute(
                "SELECT id, first_ms FROM identifier WHERE app=? AND value=? AND kind=?",
                (app, identifier.value, identifier.kind),
            ).fetchone()
            if row is not None:
                found = seen if row[1] is not None else named
                found.append((cast("int", row[0]), identifier))
        return seen + named

    def members(self, identifier: int, members_max: int = MEMBERS_MAX) -> set[int]:
        """Return the identifiers of the profile that one belongs to."""
        return members_of(self.db, identifier, members_max)

    def members_of(self, app: str, text: str) -> set[tuple[str, str]]:
        """Return kind and value of everything that the profile of an id is known by.

        Empty where the store knows no such id. Of an id that means several, the likeliest counts.
        """
        found = self.find(app, text)
        if not found:
            return set()
        return {
            (kind, value)
            for member in self.members(found[0][0])
            for kind, value in self.db.execute(
                "SELECT kind, value FROM identifier WHERE id=?", (member,)
            )
        }

    def erase(self, app: str, members: Iterable[tuple[str, str]], before: int) -> Erased:
        """Remove identifiers with all that is kept of them. Durable when it returns.

        Their events below the offset `before` of EVENTS that the engine has not read yet are passed
        over; later ones make a new profile. To say again is harmless.
        """
        people = sorted(set(members))
        with transaction(self.db):
            counts = self._erase(app, people)
            position = read_position(self.db)
            if position is None or position < before:
                self.db.executemany(
                    "INSERT INTO erased VALUES (?, ?, ?, ?) ON CONFLICT DO UPDATE SET"
                    " before=max(before, excluded.before)",
                    [(app, kind, value, before) for kind, value in people],
                )
        return Erased(*counts)

    def _erase(self, app: str, people: Sequence[tuple[str, str]]) -> tuple[int, int, int, int]:
        db = self.db
        identifiers = links = traits = events = 0
        for kind, value in people:
            row = db.execute(
                "SELECT id, entries FROM identifier WHERE app=? AND value=? AND kind=?",
                (app, value, kind),
            ).fetchone()
            if row is None:
                continue
            number, entries = cast("tuple[int, int]", row)
            left = [child for (child,) in db.execute(
                "SELECT DISTINCT child FROM link WHERE owner=? AND NOT is_join", (number,)
            )]  # fmt: skip
            db.execute("DELETE FROM trait WHERE identifier=?", (number,))
            traits += db.changes()
            db.execute("DELETE FROM link WHERE child=? OR owner=?", (number, number))
            links += db.changes()
            db.execute("DELETE FROM identifier WHERE id=?", (number,))
            for child in cast("list[int]", left):
                settle_owner(db, child)
            identifiers += 1
            events += entries
        return identifiers, links, traits, events

    def close(self) -> None:
        """Let go of the file."""
        self.db.close()


@contextlib.contextmanager
def open_profiles(home: Home, sync: str = SYNC_FULL) -> Generator[ProfileStore]:
    """Open the store to write, making it where it is new. Raises `apsw.Error`, or
    `StateVersionError` for a store of a newer Trunkline."""
    store = ProfileStore(open_for_writing(home, sync))
    try:
        yield store
    finally:
        store.close()


@contextlib.contextmanager
def read_profiles(home: Home) -> Generator[ProfileStore | None]:
    """Open the store to look at, in one moment of it; None where there is none yet."""
    db = open_reader(home.profiles_file)
    if db is None:
        yield None
        return
    try:
        db.execute("BEGIN")
        yield ProfileStore(db)
    finally:
        db.close()


def open_for_writing(
    home: Home, sync: str = SYNC_NORMAL, vfs: str | None = None
) -> apsw.Connection:
    """Open the file. Raises as `open_writer` does."""
    return open_writer(home.profiles_file, MIGRATIONS, sync, vfs)


@contextlib.contextmanager
def transaction(db: apsw.Connection) -> Generator[None]:
    """Hold the right to write from the beginning: there are writers in other processes."""
    db.execute("BEGIN IMMEDIATE")
    try:
        yield
        db.execute("COMMIT")
    except BaseException:
        if db.in_transaction:
            db.execute("ROLLBACK")
        raise


def read_position(db: apsw.Connection) -> int | None:
    """Return the next record of EVENTS; None before the first batch."""
    row = db.execute("SELECT next FROM position WHERE partition=0").fetchone()
    return None if row is None else cast("int", row[0])


def save_position(db: apsw.Connection, following: int) -> None:
    """Write down the next record of EVENTS, and forget erasures that lie behind it."""
    db.execute("INSERT OR REPLACE INTO position VALUES (0, ?)", (following,))
    db.execute("DELETE FROM erased WHERE before<=?", (following,))


def read_erased(db: apsw.Connection) -> dict[tuple[str, str, str], int]:
    """Return whose events are passed over below which offset, by app, kind and value."""
    rows = db.execute("SELECT app, kind, value, before FROM erased")
    return {
        (app, kind, value): before
        for app, kind, value, before in cast("list[tuple[str, str, str, int]]", list(rows))
    }


def count_missed(db: apsw.Connection) -> int:
    """Return how many events were removed before they were read."""
    row = db.execute("SELECT value FROM setting WHERE name='missed'").fetchone()
    return 0 if row is None else int(cast("str", row[0]))


def add_missed(db: apsw.Connection, count: int) -> None:
    """Count events that were removed before they were read."""
    missed = count_missed(db) + count
    db.execute("INSERT OR REPLACE INTO setting VALUES ('missed', ?)", (str(missed),))


def read_latest(latest: str) -> list[Entry]:
    """Return the latest events of an identifier, the newest first."""
    return heapq.nlargest(LATEST_MAX, (_LINES.decode(line) for line in latest.split("\n") if line))


def write_latest(entries: Sequence[Entry]) -> str:
    """Return events as they are kept."""
    return _encode_lines(entries).decode()


def trim_latest(latest: str) -> str:
    """Return the newest of the events that are kept; not decoded, for it is done all the time."""
    lines = latest.split("\n")[:-1]
    lines.sort(key=_time_of, reverse=True)
    return "\n".join(lines[:LATEST_MAX]) + "\n"


def _time_of(line: str) -> tuple[int, int]:
    at_ms, offset, _ = line[1:].split(",", 2)
    return int(at_ms), int(offset)
