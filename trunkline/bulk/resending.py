"""Refused events sent again: judged by their own protocol, as if each had come once more.

What was wrong may have been mended here (an event was defined, unknown events are let in, a key got
another type), or is mended in what is sent (`Change`). The request that the event had come in is
built again from its note (`kit/posting.py`) and decoded against the catalog as it is now, under the
key that it came with. It keeps the time that it had: where its sender's clock counts, what it is
compared with is when it was refused.

What is good goes to a partition of ACCEPTED that belongs to this alone, as an import does, beside a
running node or without one. Each refused event is sent again once: after the append it is marked,
and a kill between the two leaves records that name the refused event, so the next start marks it.
An event without an id of its own gets one made of the refused one, so even a second copy would be a
duplicate.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable, Iterator, Mapping, Sequence
from hashlib import sha256
from typing import Any, Literal, cast

import msgspec
from msgspec import Struct

from trunkline.bulk.mending import Change, Unable, mend
from trunkline.kit.clock import Clock
from trunkline.kit.erasure import ERASED
from trunkline.kit.eventlog import EventLog, LogFailure, Record
from trunkline.kit.protocol import Decoded, Protocol, Request, Route
from trunkline.kit.times import format_ms
from trunkline.model.record import (
    ACCEPTED,
    AcceptedEvent,
    Posting,
    decode_accepted,
    encode_record,
    partition_key,
)
from trunkline.model.snapshot import App, Secret, Snapshot, digest
from trunkline.reports.refused import RefusedOrigin
from trunkline.state.resent import RefusedId, ResentBook

PARTITION = 1001  # imports have 1000, gateways the numbers below 64
RECORDS_MAX = 1_000  # of one append
_SCANNED_MAX = 4 * RECORDS_MAX
_TOLD_MAX = 3  # refused events of one request whose reasons are told
_REQUEST_ID = "resend"

_NOT_NOTED = (
    "how it came was not kept: it was only counted, too much stood beside it, or an older version "
    "refused it; its sender has to send it again"
)
_ERASED = "what it held was erased, with the person it was of"


class ResendStopped(Exception):
    """Nothing more can be sent again now; what was appended is marked. The message says why."""


class Judged(Struct, frozen=True):
    """What sending a refused event again comes to; `body` is what is sent.

    `ready`: it would be accepted. `refused`: it would be refused again. `unable`: it cannot be sent
    from here. `resent`: it was sent again before.
    """

    origin: RefusedOrigin
    outcome: Literal["ready", "refused", "unable", "resent"]
    sentence: str
    body: bytes = b""
    records: Sequence[AcceptedEvent] = ()


class ResendJudge:
    """Judges refused events of one app against the catalog as it is now."""

    def __init__(
        self, protocols: Mapping[str, Protocol], snapshot: Snapshot, app: App, change: Change
    ) -> None:
        self._protocols = protocols
        self._snapshot = snapshot
        self._app = app
        self._change = change
        self._secret = secrets.token_urlsafe(24)

    def judge(self, origin: RefusedOrigin, now_ms: int, *, is_again: bool = False) -> Judged:
        """Return what sending one again comes to. Nothing is stored."""
        refused = origin.refused
        if refused.resent_at and not is_again:
            at = refused.resent_at
            return Judged(origin, "resent", f"it was sent again {at}; --again does it once more")
        protocol = self._protocols.get(refused.protocol)
        if refused.message == ERASED:
            return Judged(origin, "unable", _ERASED)
        if origin.origin is None or protocol is None:
            return Judged(origin, "unable", _NOT_NOTED)
        if isinstance(origin.origin, AcceptedEvent):
            return self._judge_accepted(origin, origin.origin, protocol, now_ms)
        mended = mend(origin.body, origin.origin, self._change)
        if isinstance(mended, Unable):
            return Judged(origin, "unable", mended.sentence)
        route = find_route(protocol, origin.origin.path)
        admitted = self._admit(refused.protocol, refused.key, refused.address)
        if route is None or admitted is None:
            return Judged(origin, "unable", self._explain(route, origin.origin, refused.key))
        request = self._request(origin, origin.origin, route, mended.request, now_ms)
        decoded = protocol.decode(request, admitted)
        if not decoded.accepted:
            return Judged(origin, "refused", _tell(decoded), mended.event)
        twin = protocol.decode(request, admitted)  # what it gives other ids was given none
        key = self._change.key or refused.key
        records = _name_records(decoded.accepted, twin.accepted, origin, key)
        sentence = f"and of it was refused again: {_tell(decoded)}" if decoded.refused else ""
        return Judged(origin, "ready", sentence, mended.event, records)

    def _judge_accepted(
        self, origin: RefusedOrigin, record: AcceptedEvent, protocol: Protocol, now_ms: int
    ) -> Judged:
        """Judge what was accepted and could not be shaped: a later version may be able to."""
        if self._change.is_any:
            sentence = "it was accepted as it is, and is not changed: leave out --set and --edit"
            return Judged(origin, "unable", sentence)
        try:
            protocol.normalise(record, self._app)
        except Exception as error:  # a defect of ours, as it was then; it stays where it is
            return Judged(origin, "refused", f"{type(error).__name__}: {error}", record.body)
        again = msgspec.structs.replace(
            record,
            snapshot=self._snapshot.version,
            received_ms=now_ms,
            refused_ms=record.came_ms,
            request_id=_request_id(origin.known_by),
            notes=(*record.notes, _note(origin)),
        )
        return Judged(origin, "ready", "", record.body, (again,))

    def _admit(self, protocol: str, key: str, address: str) -> Snapshot | None:
        """Return a catalog in which our secret is the one of the key that it came with.

        The key keeps its type, its origins and the rest; None where the app has no such key.
        """
        opens = (Secret(digest(self._secret)),)
        app = self._app
        found = next((each for each in app.keys if each.name == (self._change.key or key)), None)
        if found is None and protocol != "s2s":
            return None
        # An address that its sender asked to hide was judged when it came.
        allowed = app.s2s.allowed_ips if address else ()
        admitted = msgspec.structs.replace(
            app,
            keys=() if found is None else (msgspec.structs.replace(found, secrets=opens),),
            s2s=msgspec.structs.replace(app.s2s, dev_keys=opens, allowed_ips=allowed),
        )
        known = self._snapshot
        return Snapshot(known.version, known.organisation, known.plan, (admitted,))

    def _explain(self, route: Route | None, posting: Posting, key: str) -> str:
        if route is None:
            return f"nothing takes events at {posting.path}; its sender has to use another path"
        names = ", ".join(each.name for each in self._app.keys) or "none"
        gone = self._change.key or key
        return f"the app has no key {gone!r}; name one of its keys with --key: {names}"

    def _request(
        self, origin: RefusedOrigin, posting: Posting, route: Route, body: bytes, now_ms: int
    ) -> Request:
        secret, app = self._secret, self._app.id
        presented = {
            "authorization": secret,
            "x-application-id": app,
            "x-api-key": secret,
            "x-write-key": secret,
        }
        return Request(
            route=route,
            path=posting.path,
            params=_match(route.path, posting.path) or {},
            query="",
            headers={**posting.headers, **presented},
            body=body,
            address=origin.refused.address,
            received_ms=now_ms,
            request_id=_request_id(origin.known_by),
        )


class Resender:
    """Appends what is sent again, and marks it. Has the partition while it is open."""

    def __init__(
        self, log: EventLog, book: ResentBook, clock: Clock, stamp: Callable[[], int]
    ) -> None:
        """Raises `ResendStopped` where another command sends events again."""
        self._log = log
        self._book = book
        self._clock = clock
        self._stamp = stamp
        try:
            self._appender = log.appender(ACCEPTED, PARTITION)
        except LogFailure as error:
            raise ResendStopped(
                f"the partition of events that are sent again cannot be opened ({error}); one "
                "command does this at a time: wait until the other is through"
            ) from error

    def mark_appended(self) -> Sequence[RefusedId]:
        """Mark what a killed command had appended and not marked; return which."""
        begin = max(self._book.position, self._log.begins(ACCEPTED).get(PARTITION, 0))
        end = min(self._log.ends(ACCEPTED).get(PARTITION, 0), begin + _SCANNED_MAX)
        found: dict[RefusedId, None] = {}
        for offset in range(begin, end):
            fetched = self._log.fetch(ACCEPTED, PARTITION, offset)
            record = decode_accepted(fetched.record.value) if fetched else None
            known_by = _known_by(record.request_id) if record else None
            if known_by is not None:
                found[known_by] = None
        if end > begin:
            self._book.save([*found], self._clock.now_ms(), end)
        return [*found]

    def send(self, judged: Sequence[Judged]) -> int:
        """Store what is ready, durably; return how many events. Raises `ResendStopped`."""
        count = 0
        for step in _steps([each for each in judged if each.outcome == "ready"]):
            records = [
                Record(partition_key(event.app, event.user), encode_record(event), self._stamp())
                for each in step
                for event in each.records
            ]
            try:
                offsets = self._appender.append(records)
            except LogFailure as error:
                raise ResendStopped(
                    f"the event log takes nothing ({error}); {count} events were sent again, and "
                    "the same command goes on with the others"
                ) from error
            marks = [each.origin.known_by for each in step]
            self._book.save(marks, self._clock.now_ms(), offsets[-1] + 1)
            count += len(records)
        return count

    def close(self) -> None:
        """Let go of the partition."""
        self._appender.close()


def find_route(protocol: Protocol, path: str) -> Route | None:
    """Return the route of a protocol that takes events at a path; a fixed one before a pattern."""
    posts = [route for route in protocol.routes if route.method == "POST"]
    posts.sort(key=lambda route: route.path.count("{"))
    return next((route for route in posts if _match(route.path, path) is not None), None)


def _match(pattern: str, path: str) -> Mapping[str, str] | None:
    expected, actual = (each.rstrip("/").split("/") for each in (pattern, path))
    if len(expected) != len(actual):
        return None
    params: dict[str, str] = {}
    for name, text in zip(expected, actual, strict=True):
        if name[:1] == "{" and text:
            params[name[1:-1]] = text
        elif name != text:
            return None
    return params


def _steps(ready: Sequence[Judged]) -> Iterator[Sequence[Judged]]:
    """Cut what is sent into appends; the events of one refused event stay together."""
    step: list[Judged] = []
    size = 0
    for each in ready:
        if step and size + len(each.records) > RECORDS_MAX:
            yield step
            step, size = [], 0
        step.append(each)
        size += len(each.records)
    if step:
        yield step


def _name_records(
    accepted: Sequence[AcceptedEvent],
    twins: Sequence[AcceptedEvent],
    origin: RefusedOrigin,
    key: str,
) -> Sequence[AcceptedEvent]:
    """Return the records with what they are known by: an id that was thrown is made anew."""
    named: list[AcceptedEvent] = []
    for index, (record, twin) in enumerate(zip(accepted, twins, strict=True)):
        own_id = record.message_id
        if own_id != twin.message_id:
            made_of = f"{record.app}\0{origin.refused.id}\0{origin.at_ms}\0{index}"
            own_id = f"resend-{sha256(made_of.encode()).hexdigest()[:40]}"
        named.append(
            msgspec.structs.replace(
                record,
                message_id=own_id,
                key=key,
                refused_ms=origin.at_ms,
                notes=(*record.notes, _note(origin)),
            )
        )
    return named


def _note(origin: RefusedOrigin) -> str:
    refused = origin.refused
    return (
        f"sent again from refused {refused.id}: it came {format_ms(origin.at_ms)} in request "
        f"{refused.request_id} and was refused with {refused.code}"
    )


def _tell(decoded: Decoded) -> str:
    told = [f"{each.code}: {each.message}" for each in decoded.refused[:_TOLD_MAX]]
    more = len(decoded.refused) - len(told)
    if not told:
        answer = cast("dict[str, Any]", msgspec.json.decode(decoded.answer.body))
        return f"the answer would be {decoded.answer.status}: {answer.get('message', '')}"
    return "; ".join(told) + (f"; and {more} more" if more else "")


def _request_id(known_by: RefusedId) -> str:
    return f"{_REQUEST_ID}:{known_by.id}:{known_by.refused_ms}"


def _known_by(request_id: str) -> RefusedId | None:
    """Return which refused event a record was sent again for, None for any other record."""
    kind, *numbers = request_id.split(":")
    if kind != _REQUEST_ID or len(numbers) != 2 or not all(each.isdigit() for each in numbers):
        return None
    return RefusedId(int(numbers[0]), int(numbers[1]))
