"""The steps of an erasure. Each may be done again from its beginning: a kill costs time only.

    begin       where the logs end now: what comes later is new
    identify    wait for the pipeline and the profiles to be past that; who the person is
    suppress    where it was ordered
    profiles    the store of profiles
    events      EVENTS: what is left of each event keeps its offset
    deliveries  what the forwarder holds; who was sent what
    accepted    ACCEPTED: the bodies as they came
    refused     refused events and repeats
    rejects     what imports rejected

The job's row is saved between steps; what counts it holds is of steps that ended.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence

import msgspec
from msgspec import Struct

from trunkline.catalog.suppression import suppress
from trunkline.erasure.rejects import erase_rejects, has_open_imports
from trunkline.kit.clock import Clock
from trunkline.kit.erasure import (
    Forgotten,
    NotYet,
    Person,
    mentions,
    rest_of_accepted,
    rest_of_stored,
)
from trunkline.kit.eventlog import EventLog, Fetched, Record
from trunkline.kit.identifiers import Identifier, parse_identifier
from trunkline.kit.suppression import PersonKind
from trunkline.model.record import (
    ACCEPTED,
    EVENTS,
    Accepted,
    AcceptedEvent,
    decode_accepted,
    decode_stored,
)
from trunkline.model.snapshot import Snapshot
from trunkline.reports.state import reading
from trunkline.state.erasures import ErasureRow, Erasures, Found
from trunkline.state.home import Home
from trunkline.state.profiles import open_profiles, read_position, read_profiles

PARTITION = 0  # EVENTS of one node has one partition
RECORDS_AT_ONCE = 2000
WAIT_SECONDS = 30.0  # for others to come as far as they must; then the job is put off
POLL_SECONDS = 0.1
_SUPPRESSED_KINDS: Mapping[str, PersonKind] = {"userId": "user", "anonymousId": "anonymous"}

ForgetDeliveries = Callable[[Person, Collection[int]], Forgotten]
ForgetRefused = Callable[[Person, Sequence[str]], tuple[int, int]]


class Tools(Struct, frozen=True):
    """What the steps work with. `check` raises where the node stops; `wipes` are for the end."""

    home: Home
    log: EventLog
    clock: Clock
    snapshot: Callable[[], Snapshot | None]
    forget_deliveries: ForgetDeliveries
    forget_refused: ForgetRefused
    wipes: Sequence[Callable[[], bool]]
    check: Callable[[], None]


class Work:
    """One job on its way. Every step raises `NotYet`, `LogFailure`, `CatalogError`, `apsw.Error`
    where it cannot go on now."""

    def __init__(self, tools: Tools, erasures: Erasures, row: ErasureRow) -> None:
        self._tools = tools
        self._erasures = erasures
        self._row = row

    def do_all(self) -> None:
        """Carry the job on to its end, but for wiping it."""
        for step in (
            self._begin,
            self._identify,
            self._suppress,
            self._profiles,
            self._events,
            self._deliveries,
            self._accepted,
            self._refused,
            self._rejects,
        ):
            self._tools.check()
            self._row.step = step.__name__[1:]
            self._erasures.save(self._row)
            step()

    # Who is meant, and until where

    def _begin(self) -> None:
        row, log = self._row, self._tools.log
        if row.state == "waiting":
            if has_open_imports(self._tools.home, row.app, row.ordered_ms):
                raise NotYet("waits for an import of the app; it goes on by itself")
            ends = {str(number): end for number, end in log.ends(ACCEPTED).items()}
            row.accepted = msgspec.json.encode(ends).decode()
            row.state, row.begun_ms = "running", self._tools.clock.now_ms()

    def _identify(self) -> None:
        row = self._row
        if row.until_offset >= 0:
            return
        wanted = self._accepted_ends()
        self._wait(lambda: _is_past(self._pipeline_positions(), wanted), "the pipeline")
        until = self._tools.log.ends(EVENTS).get(PARTITION, 0)
        self._wait_for_profiles(until)
        members = sorted(self._find_members())
        row.members = msgspec.json.encode(members).decode()
        row.until_offset = until

    def _accepted_ends(self) -> dict[int, int]:
        return msgspec.json.decode(self._row.accepted, type=dict[int, int])

    def _pipeline_positions(self) -> dict[int, int]:
        with reading(self._tools.home, "pipeline") as db:
            if db is None:
                return {}
            rows = db.execute("SELECT partition, next FROM position WHERE topic=?", (ACCEPTED,))
            return {int(partition): int(next_) for partition, next_ in rows}

    def _wait_for_profiles(self, until: int) -> None:
        """Wait: a store that is behind would keep the ids, to know what to pass over."""

        def is_past() -> bool:
            with read_profiles(self._tools.home) as store:
                position = None if store is None else read_position(store.db)
            return store is None or (position is not None and position >= until)

        self._wait(is_past, "the profiles")

    def _find_members(self) -> set[Identifier]:
        """Return all that the person is known by; with what an id may mean, where several."""
        app, who = self._row.app, self._row.who
        found = set(parse_identifier(who))
        with read_profiles(self._tools.home) as store:
            for kind, value in list(found):
                known = (
                    set[tuple[str, str]]()
                    if store is None
                    else store.members_of(app, f"{kind}:{value}")
                )
                if known and (kind, value) in known:
                    found |= {Identifier(*each) for each in known}
        return found

    def _person(self) -> Person:
        members = msgspec.json.decode(self._row.members, type=list[Identifier])
        return Person(self._row.app, frozenset(members), self._row.until_offset)

    def _suppress(self) -> None:
        if not self._row.suppress:
            return
        named: dict[PersonKind, list[str]] = {}
        for kind, value in sorted(self._person().identifiers):
            if kind in _SUPPRESSED_KINDS and value.strip():
                named.setdefault(_SUPPRESSED_KINDS[kind], []).append(value)
        if named:
            suppress(self._tools.home, self._tools.clock, self._row.app, named)

    # Where the person is

    def _profiles(self) -> None:
        if not self._tools.home.profiles_file.exists():
            return
        person = self._person()
        with open_profiles(self._tools.home) as store:
            gone = store.erase(person.app, person.identifiers, person.until)
            self._row.count(
                identifiers=gone.identifiers, traits=gone.traits, profile_events=gone.events
            )

    def _events(self) -> None:
        person, log = self._person(), self._tools.log
        hints = person.hints()
        at = log.begins(EVENTS).get(PARTITION, 0)
        while at < person.until:
            self._tools.check()
            some, at = log.search(
                EVENTS, PARTITION, range(at, person.until), hints, RECORDS_AT_ONCE
            )
            found: list[Found] = []
            left: dict[int, Record] = {}
            for fetched in some:
                self._take_event(person, fetched, found, left)
            if found:
                self._erasures.add_found(self._row.id, found)
                log.replace(EVENTS, PARTITION, left)
        log.replace(EVENTS, PARTITION, {})  # what a kill left of it
        self._row.set_count(events=self._erasures.count_found(self._row.id))

    def _take_event(
        self, person: Person, fetched: Fetched, found: list[Found], left: dict[int, Record]
    ) -> None:
        try:
            stored = decode_stored(fetched.record.value)
        except (msgspec.MsgspecError, UnicodeDecodeError):
            return  # damaged: whose it was nobody can say, and the forwarder has told of it
        if stored.app != person.app or stored.erased_ms or not person.owns(stored.event):
            return
        origin = (stored.origin_partition, stored.origin_offset)
        found.append(Found(fetched.offset, *origin, stored.message_id))
        now_ms = self._tools.clock.now_ms()
        left[fetched.offset] = rest_of_stored(stored, fetched.record.stamp, now_ms)

    def _deliveries(self) -> None:
        offsets = {each.offset for each in self._found()}
        gone = self._tools.forget_deliveries(self._person(), offsets)
        self._row.count(pending=gone.pending, dead_letters=gone.dead_letters, answers=gone.answers)
        names = self._destination_names()
        sent = {names.get(uid, f"{uid} (removed)"): count for uid, count in gone.sent.items()}
        self._row.sent_to = msgspec.json.encode(sent).decode()

    def _destination_names(self) -> dict[int, str]:
        with reading(self._tools.home, "forwarder") as db:
            rows = [] if db is None else list(db.execute("SELECT uid, id FROM grp"))
        return {int(uid): str(name) for uid, name in rows}

    def _accepted(self) -> None:
        person, log = self._person(), self._tools.log
        hints = person.hints()
        origins = {(each.partition, each.origin) for each in self._found()}
        begins = log.begins(ACCEPTED)
        count = 0
        for number, end in self._accepted_ends().items():
            at = begins.get(number, end)
            while at < end:
                self._tools.check()
                some, at = log.search(ACCEPTED, number, range(at, end), hints, RECORDS_AT_ONCE)
                left = _rest_of_all(some, person, hints, origins)
                if left:
                    log.replace(ACCEPTED, number, left)
                    count += len(left)
            log.replace(ACCEPTED, number, {})  # what a kill left of it
        self._row.count(bodies=count)

    def _refused(self) -> None:
        person = self._person()
        refused = repeats = 0
        for part in _parts([each.message_id for each in self._found()]):
            counts = self._tools.forget_refused(person, part)
            refused, repeats = refused + counts[0], repeats + counts[1]
        self._row.count(refused=refused, repeats=repeats)

    def _rejects(self) -> None:
        self._row.count(rejects=erase_rejects(self._tools.home, self._person()))

    def _found(self) -> Iterator[Found]:
        after = -1
        while some := self._erasures.read_found(self._row.id, after, RECORDS_AT_ONCE):
            yield from some
            after = some[-1].offset

    def _wait(self, is_so: Callable[[], bool], what: str) -> None:
        clock = self._tools.clock
        deadline = clock.monotonic() + WAIT_SECONDS
        while not is_so():
            self._tools.check()
            if clock.monotonic() >= deadline:
                raise NotYet(f"waits for {what}; it goes on by itself")
            clock.pause(POLL_SECONDS)


def _is_past(positions: Mapping[int, int], wanted: Mapping[int, int]) -> bool:
    return all(positions.get(number, 0) >= end for number, end in wanted.items())


def _rest_of_all(
    some: Sequence[Fetched],
    person: Person,
    hints: Sequence[bytes],
    origins: Collection[tuple[int, int]],
) -> dict[int, Record]:
    left: dict[int, Record] = {}
    for fetched in some:
        try:
            accepted = decode_accepted(fetched.record.value)
        except (msgspec.MsgspecError, UnicodeDecodeError):
            continue  # the pipeline has refused it, and told of it
        is_origin = (fetched.partition, fetched.offset) in origins
        if accepted.app == person.app and (is_origin or _is_theirs(accepted, person, hints)):
            left[fetched.offset] = rest_of_accepted(accepted, fetched.record.stamp)
    return left


def _is_theirs(accepted: Accepted, person: Person, hints: Sequence[bytes]) -> bool:
    if isinstance(accepted, AcceptedEvent):
        return person.has_lane(accepted.user)
    return mentions(accepted.body, hints) or mentions(accepted.message.encode(), hints)


def _parts(texts: Sequence[str]) -> Iterator[Sequence[str]]:
    """Yield parts of a list; at least one, be it empty."""
    for start in range(0, max(1, len(texts)), RECORDS_AT_ONCE):
        yield texts[start : start + RECORDS_AT_ONCE]
