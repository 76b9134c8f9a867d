"""Rows judged by the protocols themselves, as if each had come in a request of its own.

A line may have the shape of any API: an event of the tracking API (and so Trunkline's own canonical
form, and what Segment and RudderStack export), a body of the REST API (it has `messages`), or one
of S2S (it has `eventSlug`). Each goes through its protocol's own checks, under a key that exists
in this process alone. What differs from a request: an event without an id gets one that is made of
app, line and content, so that a second run gives it the same; history must have a time of its own.

A row of a users' import is a person (`users.py`), and goes the way of a `user` message of REST.
"""

from __future__ import annotations

import random
import secrets
from collections.abc import Mapping, Sequence
from hashlib import sha256
from typing import Any

import msgspec
from msgspec import Raw, Struct

from trunkline.bulk.mapping import ColumnMap, event_of
from trunkline.bulk.rows import Fault, Row
from trunkline.bulk.users import read_person, user_request
from trunkline.kit.batch_body import Unreadable, read_event
from trunkline.kit.protocol import Decoded, Protocol, Request, Route
from trunkline.kit.tracking_intake import Speaker, take_single
from trunkline.model.record import AcceptedEvent
from trunkline.model.snapshot import S2S, App, Key, Secret, Snapshot, digest

KEY = "import"  # the name of the key that imported events name
PROTOCOLS = ("rest", "s2s", "tracking")
_TEXT_MAX = 4096  # characters of a row that its reject repeats
_BODY_MAX = 1_048_576

_encode = msgspec.json.Encoder().encode


class Reject(Struct, frozen=True):
    """Why a row, or one message of it, was not taken; `row` is what stood there."""

    line: int
    code: str
    message: str
    row: str


class Verdict(Struct, frozen=True):
    """What a row came to: mostly one event; a body of the REST API may hold many."""

    accepted: Sequence[AcceptedEvent] = ()
    rejected: Sequence[Reject] = ()


class _Peek(Struct, rename="camel"):
    """What decides how a line is taken. A field that is not there is empty."""

    type: Raw = Raw()
    messages: Raw = Raw()
    event_slug: Raw = Raw()
    message_id: Raw = Raw()
    timestamp: Raw = Raw()
    original_timestamp: Raw = Raw()
    event_time: Raw = Raw()

    @property
    def protocol(self) -> str:
        """The protocol whose shape it is. With a `type` it is the tracking API's."""
        if self.type:
            return "tracking"
        return "rest" if self.messages else "s2s" if self.event_slug else "tracking"


class _Rejected(Struct):
    index: int = 0
    code: str = ""
    message: str = ""


class _Told(Struct):
    """The fields of an answer that say what was wrong, in the words of all three protocols."""

    code: str = ""
    message: str = ""
    description: str = ""
    rejected: list[_Rejected] = []


_peek = msgspec.json.Decoder(_Peek).decode
_read_answer = msgspec.json.Decoder(_Told).decode


class RowJudge:
    """Judges the rows of one import. Not for several threads."""

    def __init__(
        self,
        protocols: Mapping[str, Protocol],
        snapshot: Snapshot,
        app: App,
        *,
        name: str,
        is_historical: bool,
        columns: ColumnMap | None = None,
        people_of: str | None = None,
    ) -> None:
        """`name` is the import's; `columns` says how rows of columns become events.

        With `people_of` the rows are users, and it is what their file is known by.
        """
        self._protocols = protocols
        self._name = name
        self._is_historical = is_historical
        self._columns = columns
        self._people_of = people_of
        self._app = app
        self._secret = secrets.token_urlsafe(24)
        self._snapshot = _admit(snapshot, app, self._secret)
        self._speaker = Speaker("tracking", random.SystemRandom())
        self._headers = {
            "tracking": {"x-write-key": self._secret},
            "rest": {"x-application-id": app.id, "x-api-key": self._secret},
            "s2s": {"authorization": self._secret},
        }
        self._routes = {name: Route("POST", "/", _BODY_MAX, _BODY_MAX) for name in PROTOCOLS}

    def judge(self, row: Row, received_ms: int) -> Verdict:
        """Return what a row comes to. Pure but for the ids that nobody keeps."""
        content = row.content
        if isinstance(content, Fault):
            return _refuse(row.number, content.code, content.message, content.text)
        if self._people_of is not None:
            return self._judge_person(row.number, content, self._people_of, received_ms)
        try:
            line, original = self._line_of(content)
        except UnicodeEncodeError:
            text = str(content)
            return _refuse(row.number, "invalid_text", "not UTF-8; save the file as UTF-8", text)
        found = _look(line)
        if isinstance(found, Unreadable):
            problem = found.problem
            return _refuse(row.number, problem.code, problem.message, _shown(original))
        peek, line = found
        if self._is_historical and not _has_time(peek):
            return _refuse(row.number, "no_time", _NO_TIME, _shown(original))
        own_id = "" if _is_there(peek.message_id) else self._derive_id(row.number, original)
        decoded = self._decode_as(peek.protocol, line, own_id, row.number, received_ms)
        # REST makes its ids of the content by itself.
        is_named = bool(own_id) and peek.protocol != "rest"
        return self._conclude(decoded, row.number, original, own_id, is_named=is_named)

    def _judge_person(
        self, number: int, content: bytes | Mapping[str, Any], file: str, received_ms: int
    ) -> Verdict:
        """Judge a user: the message of REST that a back end would have sent of them."""
        person = read_person(content, self._columns)
        if isinstance(person, Fault):
            return _refuse(number, person.code, person.message, person.text)
        # Without a time of its own a row says how things were when its file was made: the same row
        # in a later export says it again, and must not be taken for the first one's duplicate.
        made_of = (person.original,) if person.has_time else (file.encode(), person.original)
        own_id = self._derive_id(number, b"\0".join(made_of))
        body = user_request(person, own_id, received_ms)
        decoded = self._decode_as("rest", body, "", number, received_ms)
        return self._conclude(decoded, number, person.original, own_id, is_named=True)

    def _line_of(self, content: bytes | Mapping[str, Any]) -> tuple[bytes, bytes]:
        """Return the line to judge, and the row's own bytes that its id is made of."""
        if isinstance(content, bytes):
            return content, content
        assert self._columns is not None
        return _encode(event_of(content, self._columns)), _encode(content)

    def _derive_id(self, number: int, original: bytes) -> str:
        made_of = b"\0".join((self._app.id.encode(), str(number).encode(), original))
        return f"import-{sha256(made_of).hexdigest()[:40]}"

    def _decode_as(
        self, protocol: str, line: bytes, own_id: str, number: int, received_ms: int
    ) -> Decoded:
        headers = self._headers[protocol]
        if protocol == "s2s" and own_id:
            headers = {**headers, "idempotency-key": own_id}
        request = Request(
            route=self._routes[protocol],
            path="/",
            params={"appId": self._app.id},
            query="",
            headers=headers,
            body=line,
            address="",
            received_ms=received_ms,
            request_id=request_id(self._name, number),
        )
        if protocol == "tracking":
            return take_single(request, self._snapshot, self._speaker, "")
        return self._protocols[protocol].decode(request, self._snapshot)

    def _conclude(
        self, decoded: Decoded, number: int, original: bytes, own_id: str, *, is_named: bool
    ) -> Verdict:
        accepted = [
            msgspec.structs.replace(
                record,
                key=KEY,
                historical=self._is_historical,
                message_id=own_id if is_named else record.message_id,
            )
            for record in decoded.accepted
        ]
        if accepted and not decoded.refused:
            return Verdict(accepted)
        return Verdict(accepted, _explain(decoded, number, original))


_NO_TIME = (
    "a historical event needs its own time (timestamp, eventTime); give it one, or import it with "
    "--live, which takes the time of the import"
)


def request_id(name: str, number: int) -> str:
    """Return what an imported event's trace says it came with: its import and line."""
    return f"{name}:{number}"


def number_of(request_id_: str, name: str) -> int | None:
    """Return the line of a record that this import appended, else None."""
    prefix, _, number = request_id_.rpartition(":")
    return int(number) if prefix == name and number.isdigit() else None


def _admit(snapshot: Snapshot, app: App, secret: str) -> Snapshot:
    """Return a catalog in which this import's key opens the app, and nothing else opens anything.

    The addresses that callers must come from are about callers over the network.
    """
    opens = (Secret(digest(secret)),)
    admitted = msgspec.structs.replace(
        app, keys=(Key(KEY, "server", opens),), s2s=S2S(enabled=True, dev_keys=opens)
    )
    return Snapshot(snapshot.version, snapshot.organisation, snapshot.plan, (admitted,))


def _look(line: bytes) -> tuple[_Peek, bytes] | Unreadable:
    """Look at a line; one that the fast decoder cannot take is cleaned first, as in a request."""
    try:
        return _peek(line), line
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        found = read_event(line)
        return found if isinstance(found, Unreadable) else (_peek(found[1]), found[1])


def _is_there(value: Raw) -> bool:
    return bytes(value) not in (b"", b"null", b'""')


def _has_time(peek: _Peek) -> bool:
    times = (peek.timestamp, peek.original_timestamp, peek.event_time)
    return peek.protocol == "rest" or any(_is_there(time) for time in times)


def _explain(decoded: Decoded, number: int, original: bytes) -> list[Reject]:
    told = _read_answer(decoded.answer.body)
    shown = _shown(original)
    if told.rejected:
        return [
            Reject(number, each.code, f"message {each.index}: {each.message}", shown)
            for each in told.rejected
        ]
    # S2S has the kind of error where the others have the sentence.
    code, message = told.code or told.message, told.description or told.message
    return [Reject(number, code, message, shown)]


def _refuse(number: int, code: str, message: str, row: str) -> Verdict:
    text = row.encode("utf-8", "replace").decode()
    return Verdict((), (Reject(number, code, message, text[:_TEXT_MAX]),))


def _shown(original: bytes) -> str:
    return original[:_TEXT_MAX].decode("utf-8", "replace")
