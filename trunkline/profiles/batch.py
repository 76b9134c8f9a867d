"""One batch of events on its way into the profile store: gathered in memory, written at once.

Most events say nothing new: their identifiers are known to belong together, and only "last seen"
and the latest events change. So sets of identifiers that were looked up are remembered, and what a
batch changes is added up for each identifier before it is written.

Where more than one claim an identifier, all its links decide (`settle_owner`), and they are written
first. So the outcome does not depend on the order in which events come, but for limits.
"""

from __future__ import annotations

import heapq
from collections import defaultdict
from typing import NamedTuple, cast

import apsw
from msgspec.structs import replace

from trunkline.kit.identifiers import (
    Identifier,
    Ids,
    Named,
    identifiers_of,
    previous_of,
    read_traits,
    time_of,
)
from trunkline.model.record import StoredEvent
from trunkline.profiles.traits import Given, write_traits
from trunkline.state.profile_links import (
    ALIAS,
    IDENTIFY,
    SEEN,
    Claim,
    add_claim,
    join,
    settle_owner,
)
from trunkline.state.profiles import LATEST_MAX, Entry, trim_latest, write_latest
from trunkline.telemetry.profiles import LeftOut

KNOWN_SETS_MAX = 40_000  # some 500 B each
_CROWDED = 30_000  # below it nobody goes soon, and keeping the order takes 3 µs
_GATHERED_MAX = 2 * LATEST_MAX
_NAME_CHARACTERS_MAX = 200
_ENTRIES_MAX = 40  # as the index `identifier_crowded` has it


# What says whom an event names: app, whether it is an `identify`, its ids as they came.
Key = tuple[str, bool, Ids]


class Known(NamedTuple):
    """Row ids: of a set of identifiers, and of the links from each but the first to the first."""

    identifiers: tuple[int, ...]
    links: tuple[int, ...]


class Memory:
    """What was looked up, for as long as nobody else writes to the store."""

    def __init__(self) -> None:
        self.sets: dict[Key, Known] = {}
        self.contested: set[int] = set()

    def clear(self) -> None:
        """Forget everything."""
        self.sets.clear()
        self.contested.clear()

    def find(self, key: Key) -> Known | None:
        """Return a set that is remembered; where it is crowded, it is now the last that goes."""
        if len(self.sets) < _CROWDED:
            return self.sets.get(key)
        known = self.sets.pop(key, None)
        if known is not None:
            self.sets[key] = known
        return known

    def put(self, key: Key, known: Known) -> None:
        """Remember a set; the one that was asked for longest ago makes room."""
        if len(self.contested) > KNOWN_SETS_MAX:
            self.clear()
        if len(self.sets) >= KNOWN_SETS_MAX:
            del self.sets[next(iter(self.sets))]
        self.sets[key] = known


class Seen:
    """What a batch holds of one set of identifiers: its newest events, and when the first was."""

    __slots__ = ("entries", "first", "known")

    def __init__(self, known: Known) -> None:
        self.known = known
        self.first: int | None = None  # of those that are in `entries` no more
        self.entries: list[Entry] = []

    def trim(self) -> None:
        """Keep the newest events only."""
        oldest = min(self.entries)[0]
        self.first = oldest if self.first is None else min(self.first, oldest)
        self.entries = heapq.nlargest(LATEST_MAX, self.entries)


class _Touch:
    """What a batch changes of one identifier."""

    __slots__ = ("entries", "first", "last")

    def __init__(self, first: int, last: int) -> None:
        self.first = first
        self.last = last
        self.entries: list[Entry] = []

    def see(self, first: int, last: int) -> None:
        if last > self.last:
            self.last = last
        if first < self.first:
            self.first = first

    def note(self, entries: list[Entry]) -> None:
        held = self.entries + entries if self.entries else entries
        self.entries = heapq.nlargest(LATEST_MAX, held) if len(held) > LATEST_MAX else held


class _Alias(NamedTuple):
    """That the account or browser of row `first` was called `previous` before."""

    app: str
    first: int
    is_account: bool
    previous: str
    claim: Claim
    is_client: bool


class Batch:
    """Takes events, then writes what they change; within one transaction."""

    def __init__(self, db: apsw.Connection, memory: Memory) -> None:
        self._db = db
        self._memory = memory
        self.seen: dict[Key, Seen] = {}
        self._touches: dict[int, _Touch] = {}
        self._links: dict[int, tuple[int, int, int, str]] = {}
        self._unsettled: set[int] = set()
        self._given: dict[int, Given] = {}
        self._aliases: list[_Alias] = []
        self.left_out: dict[LeftOut, int] = defaultdict(int)
        self.trait_bytes = 0

    def take(self, event: StoredEvent, named: Named, key: Key, offset: int) -> None:
        """Take an event that names somebody."""
        at_ms = time_of(named.timestamp)
        if at_ms is None:
            at_ms = event.received_ms
        seen = self.seen.get(key)
        if seen is None:
            seen = self._begin(key, at_ms, offset)
        entries = seen.entries
        name = event.name
        if len(name) > _NAME_CHARACTERS_MAX:
            name = name[:_NAME_CHARACTERS_MAX]
        entries.append((at_ms, offset, event.message_id, event.type, name))
        if len(entries) > _GATHERED_MAX:
            seen.trim()
        if event.type == "identify":
            self._take_traits(seen.known.identifiers[0], event.event, (at_ms, offset))
        elif event.type == "alias":
            self._take_alias(event, named, key, at_ms, offset)

    def write(self) -> None:
        """Write everything down."""
        for seen in self.seen.values():
            self._add_up(seen)
        self._write_touches()
        self._write_links()
        for alias in self._aliases:
            self._write_alias(alias)
        for number in sorted(self._unsettled):
            if not settle_owner(self._db, number):
                self.left_out["identifiers"] += 1
        for number, given in self._given.items():
            left = write_traits(self._db, number, given)
            self.left_out["traits"] += left
        self._trim_latest()

    # One event

    def _begin(self, key: Key, at_ms: int, offset: int) -> Seen:
        known = self._memory.find(key)
        if known is None:
            known = self._look_up(key, at_ms, offset)
            self._memory.put(key, known)
        seen = self.seen[key] = Seen(known)
        return seen

    def _look_up(self, key: Key, at_ms: int, offset: int) -> Known:
        app, is_identify, ids = key
        reason = IDENTIFY if is_identify else SEEN
        numbers = tuple(self._number_of(app, each) for each in identifiers_of(ids))
        links = tuple(
            self._link(app, Claim(child, numbers[0], reason, at_ms, offset, ""))
            for child in numbers[1:]
        )
        return Known(numbers, links)

    def _number_of(self, app: str, identifier: Identifier) -> int:
        row = self._db.execute(
            "SELECT id FROM identifier WHERE app=? AND value=? AND kind=?",
            (app, identifier.value, identifier.kind),
        ).fetchone()
        if row is not None:
            return cast("int", row[0])
        self._db.execute(
            "INSERT INTO identifier (app, kind, value) VALUES (?, ?, ?)",
            (app, identifier.kind, identifier.value),
        )
        return self._db.last_insert_rowid()

    def _is_known(self, app: str, account: str) -> bool:
        row = self._db.execute(
            "SELECT 1 FROM identifier WHERE app=? AND value=? AND kind='userId'", (app, account)
        ).fetchone()
        return row is not None

    def _link(self, app: str, claim: Claim) -> int:
        number = add_claim(self._db, app, claim)
        owners = self._db.execute(
            "SELECT count(*) FROM (SELECT DISTINCT owner FROM link WHERE child=? LIMIT 2)",
            (claim.child,),
        ).get
        if owners > 1:
            self._memory.contested.add(claim.child)
        self._unsettled.add(claim.child)
        return number

    def _take_traits(self, identifier: int, event: bytes, moment: tuple[int, int]) -> None:
        traits = read_traits(event)
        if not traits:
            return
        self.trait_bytes += len(event)
        given = self._given.setdefault(identifier, {})
        for name, value in traits.items():
            before = given.get(name)
            if before is None or before[0] < moment:
                given[name] = (moment, value)

    def _take_alias(
        self, event: StoredEvent, named: Named, key: Key, at_ms: int, offset: int
    ) -> None:
        previous = previous_of(named)
        if not previous:
            return
        kind, value = identifiers_of(key[2])[0]
        if event.is_client and kind != "userId":  # it may say whose a browser is, and no more
            return
        first = self.seen[key].known.identifiers[0]
        claim = Claim(0, first, ALIAS, at_ms, offset, event.message_id)
        is_account = kind == "userId" and value != previous
        self._aliases.append(_Alias(event.app, first, is_account, previous, claim, event.is_client))

    # All of them

    def _add_up(self, seen: Seen) -> None:
        """Add what was seen of a set to what changes of its identifiers and links."""
        known, entries = seen.known, seen.entries
        newest = entries[0] if len(entries) == 1 else max(entries)
        last = newest[0]
        first = last if len(entries) == 1 else min(entries)[0]
        if seen.first is not None and seen.first < first:
            first = seen.first
        touches = self._touches
        for number in known.identifiers:
            touch = touches.get(number)
            if touch is None:
                touches[number] = _Touch(first, last)
            else:
                touch.see(first, last)
        touches[known.identifiers[0]].note(entries)
        for child, link in zip(known.identifiers[1:], known.links, strict=True):
            before = self._links.get(link)
            if before is None:
                self._links[link] = (first, *newest[:3])
            else:  # the same ones, written in another way
                self._links[link] = (min(first, before[0]), *max(newest[:3], before[1:]))
            if child in self._memory.contested:
                self._unsettled.add(child)

    def _write_touches(self) -> None:
        self._db.executemany(
            "UPDATE identifier SET first_ms=min(coalesce(first_ms, ?1), ?1),"
            " last_ms=max(coalesce(last_ms, ?2), ?2), entries=entries+?3, latest=latest||?4"
            " WHERE id=?5",
            [
                (touch.first, touch.last, len(touch.entries), write_latest(touch.entries), number)
                for number, touch in self._touches.items()
            ],
        )

    def _write_links(self) -> None:
        self._db.executemany(
            "UPDATE link SET first_ms=min(first_ms, ?1),"
            " event=CASE WHEN (?2, ?3) >= (last_ms, offset) THEN ?4 ELSE event END,"
            " offset=CASE WHEN (?2, ?3) >= (last_ms, offset) THEN ?3 ELSE offset END,"
            " last_ms=max(last_ms, ?2) WHERE id=?5",
            [(*touched, number) for number, touched in self._links.items()],
        )

    def _write_alias(self, alias: _Alias) -> None:
        """Join an account with the one it was before; a browser of that name comes to it."""
        app, first = alias.app, alias.first
        browser = self._number_of(app, Identifier("anonymousId", alias.previous))
        if browser != first:
            self._write_claim(app, replace(alias.claim, child=browser))
        if not alias.is_account:
            return
        if alias.is_client:
            self.left_out["client_joins"] += self._is_known(app, alias.previous)
            return
        account = self._number_of(app, Identifier("userId", alias.previous))
        if not join(self._db, app, replace(alias.claim, child=account)):
            self.left_out["joins"] += 1
            self._db.execute("UPDATE identifier SET left_joins=left_joins+1 WHERE id=?", (first,))

    def _write_claim(self, app: str, claim: Claim) -> None:
        link = self._link(app, claim)
        self._links = {link: (claim.at_ms, claim.at_ms, claim.offset, claim.event)}
        self._write_links()

    def _trim_latest(self) -> None:
        rows = self._db.execute(
            f"SELECT id, latest FROM identifier INDEXED BY identifier_crowded"
            f" WHERE entries > {_ENTRIES_MAX}"
        )
        crowded = cast("list[tuple[int, str]]", list(rows))
        self._db.executemany(
            f"UPDATE identifier SET entries={LATEST_MAX}, latest=? WHERE id=?",
            [(trim_latest(latest), number) for number, latest in crowded],
        )
