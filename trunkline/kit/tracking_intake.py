"""One request of the tracking API on its way in: its key, its events judged, its answer.

Several protocols speak this API with other paths and other words around the same events, so what
they share lies here: `take_single` and `take_batch` are whole requests, `Intake` the steps of one.
An event that fails costs the others nothing, and exactly 200 with a JSON body is said for whatever
was stored: some libraries resend for ever on anything else.
"""

from __future__ import annotations

import http
import random
import uuid
from collections.abc import Callable, Sequence

import msgspec
from msgspec import Struct

from trunkline.kit.batch_body import Unreadable, hide_write_key, read_batch, read_event
from trunkline.kit.ip_policy import hide_address
from trunkline.kit.posting import PostedAs
from trunkline.kit.protocol import Answer, Decoded, Failure, Normalised, Request
from trunkline.kit.redact import redact
from trunkline.kit.tracking_checks import (
    EVENT_BYTES_MAX,
    EVENTS_MAX,
    MESSAGE_ID_MAX,
    Checked,
    Problem,
    check_event,
    check_plan,
    notes_of,
    problem,
    read_id,
)
from trunkline.kit.tracking_shape import shape_event
from trunkline.kit.visitor_cookie import read_visitor, set_visitor
from trunkline.kit.write_keys import Grant, Keyring
from trunkline.model import refusal
from trunkline.model.event import JsonObject, lane_of
from trunkline.model.record import AcceptedEvent, AcceptedRefusal
from trunkline.model.snapshot import App, Snapshot

WIRE_BYTES_MAX = 512 * 1024
INFLATED_BYTES_MAX = 4 * 1024 * 1024
SHIFT_HOURS_MAX_WITHOUT_APP = 24.0
USER_AGENT_MAX = 512  # characters

_STATUSES = frozenset(http.HTTPStatus)
_SHOWN_MAX = 100  # refused events of one request whose bodies are kept; the rest are counted only
_SHOWN_BYTES_MAX = 8192  # of a refused body that is larger than any event

_ABSENT = (None, "")

_encode = msgspec.json.Encoder().encode
GOOD = Answer(200, b'{"success":true}')
_APPLIED = (("Preference-Applied", "multi-status"),)


class Rejected(Struct, rename="camel"):
    """What the answer to a batch says of an event that was refused."""

    index: int
    message_id: str
    code: str
    message: str


class Result(Struct, rename="camel", omit_defaults=True):
    """What a multi-status answer says of one event: `status` is 200, or a single call's error."""

    index: int
    message_id: str
    status: int
    code: str = ""
    message: str = ""


# What a protocol says beside `success` in a yes: made of how many were accepted, and the refused.
SayMore = Callable[[int, Sequence[Rejected]], JsonObject]


class Speaker(Struct, frozen=True):
    """Who takes a request: the protocol's name, where its message ids come from, its own words."""

    name: str
    dice: random.Random
    say_more: SayMore | None = None


def shape_record(record: AcceptedEvent, app: App | None) -> Normalised:
    """Shape a stored event into a canonical one. `app` is None once it was removed."""
    hours = SHIFT_HOURS_MAX_WITHOUT_APP if app is None else app.clock_shift_hours_max
    return shape_event(record, hours)


def take_single(request: Request, snapshot: Snapshot, speaker: Speaker, path_type: str) -> Decoded:
    """Take a request whose body is one event. `path_type` is its type, "" where it says so."""
    intake = Intake(request, snapshot, speaker)
    intake.open()
    intake.take(0, request.body, path_type)
    return intake.close_single()


def take_batch(request: Request, snapshot: Snapshot, speaker: Speaker) -> Decoded:
    """Take a request whose body is a batch."""
    intake = Intake(request, snapshot, speaker)
    batch = read_batch(request.body)
    if isinstance(batch, Problem):
        intake.open()
        return intake.refuse_request(batch, 1)
    intake.open(batch.write_key)
    count = len(batch.events)
    if count > EVENTS_MAX:
        too_many = problem(refusal.TRACKING_TOO_MANY, count=str(count), limit=str(EVENTS_MAX))
        return intake.refuse_request(too_many, count)
    if intake.blocked is not None:
        return intake.refuse_request(intake.blocked, count)
    intake.envelope, intake.notes = batch.envelope, batch.notes
    intake.posted = PostedAs(request, within="batch", beside=batch.envelope)
    # Measured for events of 658 bytes, best of many on two shared cores: 6.7 µs an event in a
    # batch of 100, of which the bare decode takes 1.7 and the guard of the depth 0.6; a single
    # call takes 9.5 µs in all.
    for index, raw in enumerate(batch.events):
        intake.take(index, bytes(raw), "")
    return intake.close_batch()


class Intake:
    """One request's events on their way in: what was taken, what was refused, and the answer."""

    def __init__(self, request: Request, snapshot: Snapshot, speaker: Speaker) -> None:
        self.envelope = b""
        self.notes: tuple[str, ...] = ()
        self.posted = PostedAs(request)
        self._request = request
        self._snapshot = snapshot
        self._speaker = speaker
        self._keys = Keyring(request, snapshot)
        self._grant: Grant | None = None
        self._has_own_key = False
        self._accepted: list[AcceptedEvent] = []
        self._refused: list[AcceptedRefusal] = []
        self._problems: list[tuple[str, Problem]] = []  # message id and problem, each refused event
        self._indexes: list[int] = []  # where in the batch each of them stood
        self._visitor: tuple[Grant, str] | None = None  # whose key was used, and the anonymous id
        self._address = hide_address(request.address, request.headers.get("x-ip-policy", ""))
        self._user_agent = request.headers.get("user-agent", "")[:USER_AGENT_MAX]

    def open(self, *write_keys: str) -> None:
        """Find the key of the whole request: in its headers, or the first of these that is known.

        What is left for each event is its own `writeKey`, and the query's.
        """
        self._grant = self._keys.find_in_headers() or self._keys.find_written(*write_keys)
        self._has_own_key = self._keys.has_seen_key

    def take(self, index: int, data: bytes, path_type: str) -> None:
        """Judge one event and keep it, as accepted or as refused."""
        item = read_event(data)
        if isinstance(item, Unreadable):
            grant = self._grant or self._find_own_key(item.event)
            self._refuse(index, item.problem, grant, data[:EVENT_BYTES_MAX], item.event)
            return
        event, body = item
        if "writeKey" in event:
            body = hide_write_key(event, body)
        self.judge(index, event, body, path_type)

    def judge(
        self,
        index: int,
        event: JsonObject,
        body: bytes,
        path_type: str,
        fault: Problem | None = None,
    ) -> None:
        """Judge an event that was read. `body` is what is kept of it, without its write key.

        `fault` is what its protocol found wrong with it already; a key's problem goes before it.
        """
        grant = self._grant or self._find_own_key(event)
        if grant is None:
            self._refuse(index, self._find_key_problem(event), None, body, event)
            return
        if grant.key.type == "client" and event.get("anonymousId") in _ABSENT:
            body = self._recognise(event, body, grant)
        checked = grant.problem or fault or _judge(event, path_type, grant)
        if isinstance(checked, Problem):
            self._refuse(index, checked, grant, body, event)
        else:
            self._accept(checked, grant, event, body)

    def close_single(self) -> Decoded:
        """Answer a request that holds one event."""
        answer = error_answer(self._problems[0][1]) if self._problems else self._say_yes()
        return self._end(answer, self._refused)

    def close_batch(self) -> Decoded:
        """Answer a batch: 200, unless it has no key that may be used here."""
        if self._accepted or self._has_usable_key():
            return self._end(self._answer_batch(), self._refused)
        found = self._keys.first_problem or _explain_key(self._keys.has_seen_key)
        return self._end(error_answer(found), self._refused)

    def refuse_request(self, found: Problem, events: int) -> Decoded:
        """Refuse all of a request; its owner sees it once, counted as its events."""
        grant = self._grant or self._keys.find_in_query()
        if grant is None:
            return Decoded(error_answer(found))
        body = self._request.body
        data = body if len(body) <= EVENT_BYTES_MAX else body[:_SHOWN_BYTES_MAX]
        return self._end(error_answer(found), (self._tell(found, grant, data, "", events),))

    @property
    def has_seen_key(self) -> bool:
        """Whether something that may be a key stood where `open` looked."""
        return self._has_own_key

    @property
    def blocked(self) -> Problem | None:
        """Why the key of the whole request may not be used from here."""
        return None if self._grant is None else self._grant.problem

    def _recognise(self, event: JsonObject, body: bytes, grant: Grant) -> bytes:
        """Give an event without an anonymous id the one of the visitor's cookie, if there is one.

        Returns the bytes to keep of it.
        """
        visitor = read_visitor(self._request.headers, grant.app, grant.key)
        if not visitor:
            return body
        is_new = bool(event) and "anonymousId" not in event and body[:1] == b"{"
        event["anonymousId"] = visitor
        if is_new:  # written in front, so that every other byte stays as it was sent
            return b'{"anonymousId":' + _encode(visitor) + b"," + body[1:]
        return _encode({name: value for name, value in event.items() if name != "writeKey"})

    def _end(self, answer: Answer, refused: Sequence[AcceptedRefusal]) -> Decoded:
        if self._visitor is not None:
            grant, visitor = self._visitor
            cookie = set_visitor(self._request.headers, grant.app, grant.key, visitor)
            answer = msgspec.structs.replace(answer, headers=(*answer.headers, *cookie))
        return Decoded(answer, self._accepted, refused, self._keys.used, self._keys.leaked)

    def _has_usable_key(self) -> bool:
        self._keys.find_in_query()  # an empty batch has not looked there
        return self._keys.has_usable

    def _find_own_key(self, event: JsonObject) -> Grant | None:
        own = event.get("writeKey")
        found = self._keys.find_written(own) if isinstance(own, str) else None
        return found or self._keys.find_in_query()

    def _accept(self, checked: Checked, grant: Grant, event: JsonObject, body: bytes) -> None:
        request, app = self._request, grant.app
        notes = self.notes
        if grant.key.type == "client" and checked.anonymous_id:
            self._visitor = (grant, checked.anonymous_id)
        if app.unknown_events == "flag" and checked.type == "track":
            notes += notes_of(event, app)
        self._accepted.append(
            AcceptedEvent(
                app.id,
                checked.message_id or self._throw_id(),
                lane_of(checked.user_id, checked.anonymous_id),
                self._speaker.name,
                checked.type,
                grant.key.name,
                grant.key.type == "client",
                self._snapshot.version,
                request.received_ms,
                self._address,
                self._user_agent,
                request.request_id,
                self.envelope,
                body,
                notes,
            )
        )

    def _throw_id(self) -> str:
        return str(uuid.UUID(int=self._speaker.dice.getrandbits(128), version=4))

    def _refuse(
        self, index: int, found: Problem, grant: Grant | None, data: bytes, event: JsonObject
    ) -> None:
        message_id = _peek_message_id(event)
        self._indexes.append(index)
        self._problems.append((message_id, found))
        if grant is not None:
            shown = data if len(self._refused) < _SHOWN_MAX else b""
            self._refused.append(self._tell(found, grant, shown, message_id, 1, index))

    def _tell(
        self,
        found: Problem,
        grant: Grant,
        data: bytes,
        message_id: str,
        count: int,
        index: int = -1,
    ) -> AcceptedRefusal:
        shown = redact(data) if data else b""
        return AcceptedRefusal(
            app=grant.app.id,
            protocol=self._speaker.name,
            key=grant.key.name,
            snapshot=self._snapshot.version,
            received_ms=self._request.received_ms,
            address=self._address,
            request_id=self._request.request_id,
            code=found.code,
            message=found.message,
            message_id=message_id,
            body=shown,
            count=count,
            origin=self.posted.note(data, shown, index) if data else None,
        )

    def _find_key_problem(self, event: JsonObject) -> Problem:
        has_key = self._has_own_key or "writeKey" in event or "writeKey" in self._request.query
        return _explain_key(has_key)

    def _answer_batch(self) -> Answer:
        # Only on request: some libraries resend a batch for ever on anything but exactly 200.
        if wants_multi_status(self._request.headers.get("prefer", "")):
            results = self._list_results()
            body = _encode(self._say(results=results))
            return Answer(207, body, headers=_APPLIED)
        return Answer(200, _encode(self._say())) if self._problems else self._say_yes()

    def _say_yes(self) -> Answer:
        return GOOD if self._speaker.say_more is None else Answer(200, _encode(self._say()))

    def _say(self, **fields: object) -> JsonObject:
        rejected = [
            Rejected(index, message_id, found.code, found.message)
            for index, (message_id, found) in zip(self._indexes, self._problems, strict=True)
        ]
        say_more = self._speaker.say_more
        return {
            "success": True,
            **({"rejected": rejected} if rejected else {}),
            **(say_more(len(self._accepted), rejected) if say_more else {}),
            **fields,
        }

    def _list_results(self) -> list[Result]:
        """Return one result for each event, in the order of the batch."""
        refused = dict(zip(self._indexes, self._problems, strict=True))
        taken = iter(self._accepted)
        results: list[Result] = []
        for index in range(len(refused) + len(self._accepted)):
            if index not in refused:
                results.append(Result(index, next(taken).message_id, 200))
                continue
            message_id, found = refused[index]
            results.append(Result(index, message_id, found.status, found.code, found.message))
        return results


def _explain_key(has_key: bool) -> Problem:
    return problem(refusal.TRACKING_KEY if has_key else refusal.TRACKING_NO_KEY)


def _judge(event: JsonObject, path_type: str, grant: Grant) -> Checked | Problem:
    checked = check_event(event, path_type)
    if isinstance(checked, Checked) and checked.type == "track":
        return check_plan(event, grant.app, grant.key) or checked
    return checked


def _peek_message_id(event: JsonObject) -> str:
    return (read_id(event.get("messageId")) or "")[:MESSAGE_ID_MAX]


def error_answer(found: Problem) -> Answer:
    """Say why a request was refused, with every field that some client parses."""
    return Answer(found.status, _error_body(found.status, found.code, found.message, found.hint))


def failure_answer(failure: Failure) -> Answer:
    """Say a failure of the gateway, with every field that some client parses."""
    seconds = failure.retry_after_seconds
    headers = () if seconds is None else (("Retry-After", str(int(seconds))),)
    body = _error_body(failure.status, failure.code, failure.sentence, "")
    return Answer(failure.status, body, headers=headers)


def wants_multi_status(prefer: str) -> bool:
    """Say whether a `Prefer` header asks for a result for each event of a batch."""
    asked = (each.partition(";")[0].strip().lower() for each in prefer.split(","))
    return "multi-status" in asked


def _error_body(status: int, code: str, message: str, details: str) -> bytes:
    """Write the fields of every shape that some client reads: one without `code` resends."""
    return _encode(
        {
            "success": False,
            "code": code,
            "message": message,
            "error": {"code": code, "message": message},
            "Error": _phrase(status),
            "Message": message,
            "Details": details,
        }
    )


def _phrase(status: int) -> str:
    return http.HTTPStatus(status).phrase if status in _STATUSES else "Error"
