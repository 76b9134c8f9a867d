"""A profile as it is shown: made at each reading from what the store holds of its identifiers.

Each trait is the newest by time among the profile's identifiers. Of what several people share, only
what surely came after the others were gone is shown: what was done on it before may be theirs.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import cast

import apsw
import msgspec
from msgspec import Struct

from trunkline.kit.identifiers import RANKS, Identifier
from trunkline.kit.times import format_ms
from trunkline.state.home import Home
from trunkline.state.profile_links import IDENTIFIERS_MAX, Merge, list_merges
from trunkline.state.profiles import LATEST_MAX, ProfileStore, read_latest, read_profiles

TRAITS_MAX = 500
TRAIT_BYTES_MAX = 1_048_576
MERGES_MAX = 100
LINKS_MAX = 200
_COUNTED_MAX = 10_000


class IdentifierView(Struct, frozen=True, rename="camel", omit_defaults=True):
    """An identifier of a profile. `belongs_to` is what its newest link says, as `kind:value`."""

    kind: str
    value: str
    first_seen: str
    last_seen: str
    belongs_to: str | None = None
    because: str | None = None


class LatestEvent(Struct, frozen=True, rename="camel"):
    """One of the latest events."""

    message_id: str
    type: str
    event: str
    time: str


class Undone(Struct, frozen=True):
    """When a merge was undone, by whom, and why."""

    time: str
    by: str
    why: str


class MergeView(Struct, frozen=True, omit_defaults=True):
    """What joined accounts, or was done by hand. `event` is the messageId of an alias."""

    id: int
    identifiers: tuple[str, str]
    reason: str
    time: str
    event: str = ""
    by: str = ""
    why: str = ""
    undone: Undone | None = None


class Profile(Struct, frozen=True, rename="camel"):
    """Everything that is kept of one person."""

    id: str
    identifiers: tuple[IdentifierView, ...]
    traits: dict[str, msgspec.Raw]
    trait_times: dict[str, str]
    first_seen: str
    last_seen: str
    latest_events: tuple[LatestEvent, ...]
    merges: tuple[MergeView, ...]
    notes: tuple[str, ...]


class _Member(Struct):
    """A row of `identifier`; what is before `since_ms` may be somebody else's."""

    id: int
    kind: str
    value: str
    owner: int | None
    first_ms: int | None
    last_ms: int | None
    left_traits: int
    left_joins: int
    latest: str
    since_ms: int | None = None

    @property
    def name(self) -> str:
        return f"{self.kind}:{self.value}"

    @property
    def begin_ms(self) -> int:
        assert self.first_ms is not None
        return self.first_ms if self.since_ms is None else max(self.first_ms, self.since_ms)

    def has(self, at_ms: int) -> bool:
        """Say whether a moment is surely this profile's."""
        return self.since_ms is None or at_ms >= self.since_ms


def read_profile(home: Home, app: str, text: str) -> Profile | None:
    """Return the profile that an id belongs to; None where nothing is known of it.

    `text` is a value, or `kind:value`. Raises `apsw.Error` where the store cannot be read.
    """
    with read_profiles(home) as store:
        return None if store is None else show_profile(store, app, text)


def show_profile(store: ProfileStore, app: str, text: str) -> Profile | None:
    """Return the profile of an id, from an open store."""
    found = [each for each in store.find(app, text) if _is_seen(store.db, each[0])]
    if not found:
        return None
    number, identifier = found[0]
    numbers = store.members(number)
    members = [member for member in _read(store.db, numbers) if member.first_ms is not None]
    _bound(store.db, members)
    return _show(store.db, app, members, _other_meanings(found, text, numbers, identifier))


def read_merges(home: Home, app: str, limit: int) -> list[MergeView]:
    """Return the merges of an app, the newest first."""
    with read_profiles(home) as store:
        found = [] if store is None else list_merges(store.db, app, limit)
    return [_merge_view(merge) for merge in found]


def _is_seen(db: apsw.Connection, number: int) -> bool:
    """Say whether an identifier came in an event of its own, and was not only named by others."""
    row = db.execute("SELECT first_ms FROM identifier WHERE id=?", (number,)).fetchone()
    return row is not None and row[0] is not None


def _read(db: apsw.Connection, numbers: Iterable[int]) -> Iterator[_Member]:
    for number in numbers:
        row = db.execute(
            "SELECT id, kind, value, owner, first_ms, last_ms, left_traits, left_joins, latest"
            " FROM identifier WHERE id=?",
            (number,),
        ).fetchone()
        if row is not None:
            yield _Member(*row)  # pyright: ignore[reportArgumentType] as the table has them


def _bound(db: apsw.Connection, members: Sequence[_Member]) -> None:
    """Set from when on each member is surely this profile's alone."""
    by_id = {member.id: member for member in members}
    for member in members:
        rows = db.execute(
            "SELECT owner, first_ms, last_ms FROM link"
            " WHERE child=? AND NOT is_join AND cut_ms IS NULL",
            (member.id,),
        )
        links = cast("list[tuple[int, int, int]]", list(rows))
        member.since_ms = _begin_of(
            [(first, last) for owner, first, last in links if owner in by_id],
            [last for owner, _, last in links if owner not in by_id],
        )
    # What belongs to something shared is shared as long as that.
    for member in sorted(members, key=lambda each: RANKS.get(each.kind, 9)):
        owner = by_id.get(member.owner) if member.owner is not None else None
        if owner is not None and owner.since_ms is not None:
            member.since_ms = max(owner.since_ms, member.since_ms or owner.since_ms)


def _begin_of(own: Sequence[tuple[int, int]], foreign: Sequence[int]) -> int | None:
    """Return from when on a shared identifier is surely its profile's own; None: always.

    Of a link the first and the last sign are known. Where others came in between, it may have gone
    to and fro, and only what is behind the last sign is sure.
    """
    if not foreign:
        return None
    first = min((first for first, _ in own), default=0)
    last = max((last for _, last in own), default=0)
    return first if first > max(foreign) else max(last, *foreign)


def _show(db: apsw.Connection, app: str, members: list[_Member], others: Sequence[str]) -> Profile:
    members.sort(key=lambda each: (RANKS.get(each.kind, 9), each.begin_ms, each.value))
    traits, times, left = _traits(db, members)
    merges = list_merges(db, app, MERGES_MAX, {member.id for member in members})
    return Profile(
        id=members[0].name,
        identifiers=tuple(_identifier_view(db, each, members) for each in members),
        traits=traits,
        trait_times=times,
        first_seen=format_ms(min(member.begin_ms for member in members)),
        last_seen=format_ms(max(member.last_ms or 0 for member in members)),
        latest_events=_latest(members),
        merges=tuple(_merge_view(merge) for merge in merges),
        notes=(*others, *_notes(db, members, left)),
    )


def _identifier_view(
    db: apsw.Connection, member: _Member, members: Sequence[_Member]
) -> IdentifierView:
    owner = next((each for each in members if each.id == member.owner), None)
    reason = db.execute(
        "SELECT reason FROM link WHERE child=? AND owner=? AND cut_ms IS NULL"
        " ORDER BY last_ms DESC, offset DESC LIMIT 1",
        (member.id, member.owner),
    ).fetchone()
    return IdentifierView(
        kind=member.kind,
        value=member.value,
        first_seen=format_ms(member.begin_ms),
        last_seen=format_ms(member.last_ms or 0),
        belongs_to=None if owner is None else owner.name,
        because=None if reason is None else cast("str", reason[0]),
    )


def _traits(
    db: apsw.Connection, members: Sequence[_Member]
) -> tuple[dict[str, msgspec.Raw], dict[str, str], int]:
    """Return the newest traits by name, their times, and how many there is no room for."""
    newest: dict[str, tuple[int, int, bytes | None]] = {}
    for member in members:
        rows = db.execute(
            "SELECT name, at_ms, offset, value FROM trait WHERE identifier=?", (member.id,)
        )
        for name, at_ms, offset, value in cast("list[tuple[str, int, int, bytes | None]]", rows):
            before = newest.get(name)
            if member.has(at_ms) and (before is None or before[:2] < (at_ms, offset)):
                newest[name] = (at_ms, offset, value)
    present = [
        (at_ms, offset, name, value)
        for name, (at_ms, offset, value) in newest.items()
        if value is not None
    ]
    present.sort(key=lambda each: each[:2], reverse=True)
    room, shown = TRAIT_BYTES_MAX, 0
    for _, _, _, value in present[:TRAITS_MAX]:
        room -= len(value)
        shown += room >= 0
    kept = sorted(present[:shown], key=lambda each: each[2])
    return (
        {name: msgspec.Raw(value) for _, _, name, value in kept},
        {name: format_ms(at_ms) for at_ms, _, name, _ in kept},
        len(present) - shown,
    )


def _latest(members: Sequence[_Member]) -> tuple[LatestEvent, ...]:
    entries = sorted(
        {entry for member in members for entry in read_latest(member.latest)
         if member.has(entry[0])},
        reverse=True,
    )  # fmt: skip
    return tuple(
        LatestEvent(message_id, type_, name, format_ms(at_ms))
        for at_ms, _, message_id, type_, name in entries[:LATEST_MAX]
    )


def _merge_view(merge: Merge) -> MergeView:
    undone = None
    if merge.cut_ms is not None:
        undone = Undone(format_ms(merge.cut_ms), merge.cut_by, merge.cut_why)
    return MergeView(
        id=merge.id,
        identifiers=(merge.owner, merge.child),
        reason=merge.reason,
        time=format_ms(merge.at_ms),
        event=merge.event,
        by=merge.by,
        why=merge.why,
        undone=undone,
    )


# What a reader should know of a profile.


def _notes(db: apsw.Connection, members: Sequence[_Member], left: int) -> Iterator[str]:
    for member in members:
        if member.since_ms is not None and member.since_ms > (member.first_ms or 0):
            yield (
                f"{member.name} was somebody else's until {format_ms(member.since_ms)}; what it "
                "did before is not shown"
            )
    count = sum(_homeless(db, member) for member in members)
    if count:
        yield (
            f"{count} identifiers were left out: a profile has at most {IDENTIFIERS_MAX}; is one "
            "id shared by many people?"
        )
    if joins := sum(member.left_joins for member in members):
        yield (
            f"{joins} times an alias was left out: together there would be more than "
            f"{IDENTIFIERS_MAX} identifiers"
        )
    if traits := sum(member.left_traits for member in members):
        yield f"{traits} times a trait was past a limit (names, or bytes) and was left out"
    if left:
        yield f"{left} older traits are not shown: at most {TRAITS_MAX}, and 1 MiB"


def _homeless(db: apsw.Connection, member: _Member) -> int:
    """Count the identifiers that claim to belong to a member, and found its profile full."""
    return cast(
        "int",
        db.execute(
            "SELECT count(*) FROM (SELECT 1 FROM link l JOIN identifier c ON c.id=l.child"
            " WHERE l.owner=? AND NOT l.is_join AND l.cut_ms IS NULL AND c.owner IS NULL LIMIT ?)",
            (member.id, _COUNTED_MAX),
        ).get,
    )


def _other_meanings(
    found: Sequence[tuple[int, Identifier]], text: str, numbers: set[int], chosen: Identifier
) -> list[str]:
    """Say what else an id could have meant: the same value of another kind, in another profile."""
    others = [f"{each.kind}:{each.value}" for number, each in found if number not in numbers]
    if not others:
        return []
    return [
        f"{text} is taken as {chosen.kind}; it is of other profiles too: ask for "
        + ", or ".join(others)
    ]
