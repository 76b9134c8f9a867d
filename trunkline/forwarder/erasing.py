"""Erasing a person from what the forwarder holds: memory, waiting events, dead letters, answers.

Passes are made until one finds nothing more, since what is under way when a pass comes by may wait
or be a dead letter afterwards. An event of theirs that was not delivered yet is filtered, a dead
letter is counted as erased: the ledger balances at every moment.

EVENTS holds nothing of the person any more when this begins. What was read from it before is
known by `People`, which every event is held against that lies below a person's offset.
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Collection, Iterable, Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

import apsw
from msgspec import Struct

from trunkline.forwarder.inbox import Letter, count
from trunkline.forwarder.item import Item
from trunkline.kit.erasure import ERASED, Forgotten, NotYet, Person, mentions
from trunkline.state.forwarder import BUCKET, OUTCOME_NAMES, unpack_offsets

if TYPE_CHECKING:
    from trunkline.forwarder.group import Group
    from trunkline.forwarder.shared import Shared

PEOPLE_MAX = 1000  # remembered; what was read before the last of so many is long gone from memory
ROWS_AT_ONCE = 1000
BUCKETS_AT_ONCE = 50
PASS_SECONDS = 0.1
HELD_SECONDS_MAX = 120.0
_SENT = frozenset({"delivered", "unverified"})


class People:
    """Those whose events must go nowhere, though somebody may still hold them in memory."""

    def __init__(self) -> None:
        self._people: deque[Person] = deque(maxlen=PEOPLE_MAX)
        self._until: dict[str, int] = {}

    def add(self, person: Person) -> None:
        """Remember a person."""
        if person not in self._people:
            self._people.append(person)
            self._until[person.app] = max(self._until.get(person.app, 0), person.until)

    def knows(self, app: str) -> bool:
        """Say whether somebody of an app is remembered."""
        return app in self._until

    def may_hold(self, app: str, offset: int) -> bool:
        """Say whether an event must be looked at; false for all that is new."""
        return offset < self._until.get(app, 0)

    def hold(self, app: str, offset: int, event: bytes) -> bool:
        """Say whether an event is one of theirs."""
        return self.may_hold(app, offset) and any(
            offset < person.until and person.app == app and person.owns(event)
            for person in self._people
        )


class _Row(Struct, frozen=True):
    """A waiting event or dead letter of the person, as it is counted, and its offset."""

    letter: Letter
    offset: int


class Eraser:
    """Erases one person."""

    def __init__(self, shared: Shared, groups: Mapping[int, Group], person: Person) -> None:
        self._shared = shared
        self._groups = groups
        self._person = person
        self._hints = person.hints()
        self._done = Forgotten()
        self._offsets: set[int] = set()

    async def erase(self, offsets: Collection[int]) -> Forgotten:
        """Erase; `offsets` are the person's events in EVENTS. Raises `NotYet`."""
        clock = self._shared.clock
        self._shared.erased.add(self._person)
        self._offsets.update(offsets)
        deadline = clock.monotonic() + HELD_SECONDS_MAX
        while await self._pass():
            if clock.monotonic() >= deadline:
                raise NotYet("events of the person are under way at a destination and do not end")
            await clock.sleep(PASS_SECONDS)
        await self._erase_answers()
        return self._done

    async def _pass(self) -> bool:
        """Erase what can be; say whether there was anything."""
        found = [self._skip(group) for group in self._own_groups()]
        waiting = await self._rows_of("waiting")
        await self._drop_waiting(waiting)
        letters = await self._rows_of("dead_letter")
        if letters:
            ids = [row.letter.id for row in letters]
            await self._shared.writer.transact(partial(_drop_letters, letters))
            self._done.dead_letters += len(ids)
            self._tell(letters)
            for group in self._groups.values():
                group.forget_suspects(frozenset(ids))
        self._offsets.update(row.offset for row in (*waiting, *letters))
        return bool(sum(found) or waiting or letters)

    def _own_groups(self) -> list[Group]:
        return [each for each in self._groups.values() if each.config.app == self._person.app]

    def _skip(self, group: Group) -> int:
        """Be done with what no batch holds; return how many events of theirs are in memory."""
        mine = [item for item in group.book.place.open.values() if self._is_mine(item)]
        if not mine:
            return 0
        idle = {item.offset for item in group.lanes.idle()}
        if any(item.offset not in idle for item in mine):
            group.give_back_sleeping()
            idle = {item.offset for item in group.lanes.idle()}
        here = [item for item in mine if item.offset in idle]
        group.lanes.remove({item.offset for item in here})
        for item in here:
            group.book.skip(item, ERASED)
        self._done.pending += len(here)
        self._offsets.update(item.offset for item in here)
        group.book.touch()
        group.pump()
        return len(mine)

    def _is_mine(self, item: Item) -> bool:
        body = item.mapped.body
        return mentions(body, self._hints) and self._shared.erased.hold(
            self._person.app, item.offset, body
        )

    # Rows of the state file

    async def _rows_of(self, table: str) -> list[_Row]:
        found: list[_Row] = []
        after = 0
        while True:
            rows, after = await self._shared.writer.transact(
                partial(_read_rows, table, after, self._person, self._hints)
            )
            found += rows
            if not after:
                return found

    async def _drop_waiting(self, rows: Sequence[_Row]) -> None:
        """Drop events whose lanes are at rest; the others are there in the next pass."""
        taken: dict[tuple[int, str], None] = {}
        free: list[_Row] = []
        for row in rows:
            key = (row.letter.uid, row.letter.lane)
            if key in taken or self._take(*key):
                taken[key] = None
                free.append(row)
        if not free:
            return
        gone = await self._shared.writer.transact(partial(_drop_waiting, free))
        self._done.pending += len(gone)
        self._tell([row for row in free if row.letter.id in gone])
        for row in free:
            group = self._groups.get(row.letter.uid)
            if row.letter.id in gone and group is not None and not group.is_ended:
                group.book.remove_waiting(row.letter.lane, row.letter.size)
        for uid, lane in taken:
            self._let_go(uid, lane)

    def _tell(self, rows: Iterable[_Row]) -> None:
        """Have the trace say what became of these events."""
        writer = self._shared.writer
        for row in rows:
            key = (row.letter.uid, "filtered", ERASED, 0)
            writer.changes.runs.setdefault(key, []).append(row.offset)
        writer.touch()

    def _take(self, uid: int, name: str) -> bool:
        """Keep a lane from being sent; False where it is under way."""
        group = self._groups.get(uid)
        if group is None or group.is_ended:
            return True
        lane = group.book.waiting.lanes.get(name)
        if lane is None or lane.is_under_way:
            return False
        group.book.waiting.take(name)
        return True

    def _let_go(self, uid: int, name: str) -> None:
        group = self._groups.get(uid)
        if group is None or group.is_ended:
            return
        lane = group.book.waiting.lanes.get(name)
        if lane is not None:
            group.book.waiting.release(name, lane.due_at, lane.floor_at)
        group.book.touch()
        group.pump()

    # What destinations answered

    async def _erase_answers(self) -> None:
        buckets = sorted({offset // BUCKET for offset in self._offsets})
        uids = await self._shared.writer.transact(partial(_uids_of, self._person.app))
        sent: dict[int, set[int]] = {}
        for start in range(0, len(buckets), BUCKETS_AT_ONCE):
            part = buckets[start : start + BUCKETS_AT_ONCE]
            self._done.answers += await self._shared.writer.transact(
                partial(_blank_answers, uids, part, self._offsets, self._hints, sent)
            )
        for group in self._own_groups():
            if mentions(group.standing.reason.encode(), self._hints):
                group.standing.reason = ERASED
                group.book.touch()
        await self._shared.writer.transact(partial(_drop_samples, uids, self._offsets, self._hints))
        self._done.sent = {uid: len(offsets) for uid, offsets in sent.items() if offsets}


def _read_rows(
    table: str, after: int, person: Person, hints: Sequence[bytes], db: apsw.Connection
) -> tuple[list[_Row], int]:
    """Return rows of the person behind an id, and the id to go on from; 0 at the end."""
    found: list[_Row] = []
    last = read = 0
    for row in db.execute(
        "SELECT id, uid, app, received_ms, reason, LENGTH(payload), lane, type, name, offset,"
        f" payload FROM {table} WHERE id>? ORDER BY id LIMIT ?",
        (after, ROWS_AT_ONCE),
    ):
        values: tuple[Any, ...] = tuple(row)
        last, read = values[0], read + 1
        offset, payload = values[9:]
        is_mine = values[2] == person.app and offset < person.until and mentions(payload, hints)
        if is_mine and person.owns(payload):
            found.append(_Row(Letter(*values[:9]), offset))
    return found, last if read == ROWS_AT_ONCE else 0


def _drop_waiting(rows: Iterable[_Row], db: apsw.Connection) -> set[int]:
    gone: set[int] = set()
    for row in rows:
        db.execute("DELETE FROM waiting WHERE id=?", (row.letter.id,))
        if db.changes():
            count(db, row.letter, "filtered", ERASED, 1)
            gone.add(row.letter.id)
    return gone


def _drop_letters(rows: Iterable[_Row], db: apsw.Connection) -> None:
    for row in rows:
        db.execute("DELETE FROM dead_letter WHERE id=?", (row.letter.id,))
        if db.changes():
            count(db, row.letter, "dead", row.letter.reason, -1)
            count(db, row.letter, "dead", ERASED, 1)


def _uids_of(app: str, db: apsw.Connection) -> list[int]:
    return [int(row[0]) for row in db.execute("SELECT uid FROM grp WHERE app=?", (app,))]


def _blank_answers(
    uids: Sequence[int],
    buckets: Sequence[int],
    offsets: Collection[int],
    hints: Sequence[bytes],
    sent: dict[int, set[int]],
    db: apsw.Connection,
) -> int:
    """Blank what was answered to requests that carried these events; note who was sent them."""
    blanked = 0
    for uid in uids:
        for bucket in buckets:
            rows: list[tuple[Any, ...]] = list(
                db.execute(
                    "SELECT fate.id, kind, reason, answer, offsets, outcomes FROM fate_span"
                    " JOIN fate ON fate.id=fate_span.fate WHERE fate_span.uid=? AND bucket=?",
                    (uid, bucket),
                )
            )
            for number, kind, reason, answer, packed, codes in rows:
                carried = unpack_offsets(packed)
                mine = [place for place, offset in enumerate(carried) if offset in offsets]
                if not mine:
                    continue
                if kind == "attempt":
                    names = Counter(
                        carried[place]
                        for place in mine
                        if OUTCOME_NAMES[codes[place if len(codes) > 1 else 0]] in _SENT
                    )
                    sent.setdefault(uid, set()).update(names)
                told = ERASED if mentions(str(reason).encode(), hints) else reason
                if answer or told != reason:
                    db.execute("UPDATE fate SET answer=x'', reason=? WHERE id=?", (told, number))
                    blanked += 1
    return blanked


def _drop_samples(
    uids: Sequence[int], offsets: Collection[int], hints: Sequence[bytes], db: apsw.Connection
) -> None:
    """Drop what was kept of comparisons with a revision in the shadow."""
    for uid in uids:
        rows: list[tuple[Any, ...]] = list(
            db.execute("SELECT id, offset, detail FROM shadow_sample WHERE uid=?", (uid,))
        )
        for number, offset, detail in rows:
            if offset in offsets or mentions(str(detail).encode(), hints):
                db.execute("DELETE FROM shadow_sample WHERE id=?", (number,))
