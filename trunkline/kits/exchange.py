"""Requests of a kit on their way: a batch packed, made into requests, signed in, judged.

A generator that yields requests and receives answers, as every destination is one. What the
contract forbids is judged first and never sent.
"""

from __future__ import annotations

from collections.abc import Generator, Mapping, Sequence
from typing import Any, NamedTuple

from trunkline.kit.destination import (
    REQUESTS_MAX,
    Attempt,
    Call,
    Mapped,
    NoAnswer,
    Request,
    Response,
    delivery_id,
)
from trunkline.kit.shaping import CodeSource
from trunkline.kits.auth import token_request
from trunkline.kits.draft import Draft, draft_of, finish, read_draft, sign, transform_values
from trunkline.kits.endpoint import EndpointNeeds
from trunkline.kits.filled import Filled, FilledRequest
from trunkline.kits.parcel_outcomes import ParcelOutcomes
from trunkline.kits.parcels import Entry, Parcel, Room, pack
from trunkline.kits.request import Headers, event_headers
from trunkline.kits.tokens import Tokens
from trunkline.model.outcome import Filtered, Outcome, Rejected
from trunkline.playbook.program import CodeError

_OAUTH2_REQUESTS = 4  # a token, the request, and both again after a 401

Steps = Generator[Request | Call, Any, list[Outcome]]
Judged = Mapped | Filtered | Rejected


class Group(NamedTuple):
    """What events must share to go in one request. `url` stands where the event decides it."""

    request: str
    headers: Headers
    url: str = ""


class Exchanges:
    """The exchanges of one destination. `events_max` is what its settings let into a request.

    `gives_up_unknown`: an event whose answer was lost becomes a dead letter instead of going again.
    """

    def __init__(self, filled: Filled, events_max: int, *, gives_up_unknown: bool) -> None:
        self._filled = filled
        self._requests = filled.requests()
        self._events_max = events_max
        self._gives_up = gives_up_unknown
        self._tokens = Tokens()
        has_endpoints = any(one.endpoint is not None for one in self._requests.values())
        self._is_judging = filled.contract is not None or has_endpoints

    def code(self) -> Mapping[str, CodeSource]:
        """Return the transforms of the kit's requests, by the names of the requests."""
        return {
            name: CodeSource(
                one.spec.transform.lang,
                one.spec.transform.body,
                ("request", "batch"),
                f"connection.{name}.transform",
            )
            for name, one in self._requests.items()
            if one.spec.transform is not None
        }

    def notes(self, events: Sequence[Mapped], attempt: Attempt) -> list[list[str]]:
        """Return for each event what the contract changed of it, a line each."""
        contract = self._filled.contract
        if contract is None:
            return [[] for _ in events]
        return [contract.notes(event, attempt.now_ms) for event in events]

    def build(self, events: Sequence[Mapped], attempt: Attempt) -> Request:
        """Return the first request, before a transform and without a token.

        Raises `ValueError` where the events make none.
        """
        if self._is_judging:
            judged = self._judge(events, attempt)
            events = [one for one in judged if isinstance(one, Mapped)]
            if not events:
                told = next(one.reason for one in judged if not isinstance(one, Mapped))
                raise ValueError(f"no event may be sent: {told}")
        parcel = self._pack(events)[0]
        made = self._requests[parcel.key.request]
        batch = [events[p].value for p in parcel.positions]
        draft = draft_of(made, parcel.key.headers, batch, parcel.key.url)
        request = finish(draft, made, _key(events, parcel, attempt))
        return sign(request, made, draft, attempt, "(token)")

    def exchange(
        self, events: Sequence[Mapped], attempt: Attempt
    ) -> Generator[Request | Call, Any, Sequence[Outcome | Filtered]]:
        """Send what may be sent. One outcome for each event, in order."""
        return (
            self._exchange_judged(events, attempt)
            if self._is_judging
            else self._exchange(events, attempt)
        )

    def _judge(self, events: Sequence[Mapped], attempt: Attempt) -> list[Judged]:
        """Ask the contract, and whether the event has what the endpoint names."""
        contract = self._filled.contract
        if contract is None:
            judged: list[Judged] = [self._judge_endpoint(event) for event in events]
        else:
            kept = [contract.judge(event, attempt.now_ms) for event in events]
            judged = [self._judge_endpoint(one) if isinstance(one, Mapped) else one for one in kept]
        return _whole_events(events, judged)

    def _judge_endpoint(self, event: Mapped) -> Judged:
        endpoint = self._filled.request_for(event.type, event.name).endpoint
        if endpoint is None:
            return event
        try:
            endpoint.url_for(event.event)
        except EndpointNeeds as error:
            return Rejected(str(error), is_sure=True, was_sent=False)
        return event

    def _exchange_judged(
        self, events: Sequence[Mapped], attempt: Attempt
    ) -> Generator[Request | Call, Any, Sequence[Outcome | Filtered]]:
        judged = self._judge(events, attempt)
        sent = [one for one in judged if isinstance(one, Mapped)]
        if not sent:
            return [one for one in judged if not isinstance(one, Mapped)]
        if len(sent) < len(events):
            # The key is of what goes, so that it is the same when the same events go again.
            key = _key_of(sent, [*range(len(sent))], attempt)
            attempt = Attempt(attempt.now_ms, attempt.number, attempt.destination, key)
        found = iter((yield from self._exchange(sent, attempt)))
        return [next(found) if isinstance(one, Mapped) else one for one in judged]

    def _exchange(self, events: Sequence[Mapped], attempt: Attempt) -> Steps:
        """Send what fits into ten requests, in order for each user; the rest is retried.

        Where one of several fails without an answer, what the others delivered stays delivered.
        """
        parcels = self._pack(events)
        outcomes = ParcelOutcomes([event.user for event in events])
        left = REQUESTS_MAX
        for parcel in parcels:
            made = self._requests[parcel.key.request]
            left -= _OAUTH2_REQUESTS if made.spec.auth.oauth2 else 1
            if left < 0 or outcomes.is_ended:
                break
            if outcomes.hold_back(parcel):
                try:
                    found = yield from self._send(made, events, parcel, attempt)
                except (NoAnswer, CodeError) as failure:
                    found = self._failed(failure, parcel, outcomes, is_only=len(parcels) == 1)
                outcomes.write(parcel, found)
        return outcomes.close(parcels)

    def _failed(
        self,
        failure: NoAnswer | CodeError,
        parcel: Parcel[Group],
        outcomes: ParcelOutcomes,
        *,
        is_only: bool,
    ) -> list[Outcome]:
        """Return what a parcel came to that was not answered, or not made."""
        count = len(parcel.positions)
        if isinstance(failure, NoAnswer) and self._gives_up and failure.was_sent:
            reason = f"outcome_unknown: {failure}; sent, and not again, for the vendor may have it"
            return [Rejected(reason[:300], is_sure=True)] * count
        if is_only:
            raise failure
        if isinstance(failure, CodeError):
            return [Rejected(f"connection.transform: {failure}"[:300])] * count
        outcomes.end(failure.outcome)
        return [failure.outcome] * count

    def _pack(self, events: Sequence[Mapped]) -> list[Parcel[Group]]:
        return pack([self._entry(event) for event in events], self._room, REQUESTS_MAX)[0]

    def _entry(self, event: Mapped) -> Entry[Group]:
        made = self._filled.request_for(event.type, event.name)
        headers: Headers = ()
        if any(header.event_key for header in made.spec.headers):
            headers = event_headers(made.spec.headers, event.event)
        url = "" if made.endpoint is None else made.endpoint.url_for(event.event)
        return Entry(Group(made.spec.name, headers, url), event.user, len(event.body))

    def _room(self, group: Group) -> Room:
        spec = self._requests[group.request].spec
        return Room(min(spec.batch_max, self._events_max), spec.bytes_max)

    def _send(
        self,
        made: FilledRequest,
        events: Sequence[Mapped],
        parcel: Parcel[Group],
        attempt: Attempt,
    ) -> Steps:
        """Make one request and judge its answer: one outcome for each event of the parcel."""
        batch = [events[position].value for position in parcel.positions]
        try:
            draft = draft_of(made, parcel.key.headers, batch, parcel.key.url)
            if made.spec.transform is not None:
                told = yield Call(made.spec.name, transform_values(draft, batch))
                draft = read_draft(told, made)
            request = finish(draft, made, _key(events, parcel, attempt))
        except ValueError as error:
            return [Rejected(str(error)[:300])] * len(batch)
        answer = yield from self._ask(made, request, draft, attempt)
        if not isinstance(answer, Response):
            return [answer] * len(batch)
        return self._filled.answers.judge(answer, len(batch), attempt.now_ms)

    def _ask(
        self, made: FilledRequest, request: Request, draft: Draft, attempt: Attempt
    ) -> Generator[Request, Response, Response | Outcome]:
        """Sign in and ask; after a 401 once more, with a new token."""
        auth = made.spec.auth.oauth2
        if auth is None:
            return (yield sign(request, made, draft, attempt, ""))
        token = yield from self._token(made, attempt)
        if not isinstance(token, str):
            return token
        answer = yield sign(request, made, draft, attempt, token)
        if answer.status != 401:
            return answer
        self._tokens.forget(auth, token)
        token = yield from self._token(made, attempt)
        if not isinstance(token, str):
            return token
        return (yield sign(request, made, draft, attempt, token))

    def _token(
        self, made: FilledRequest, attempt: Attempt
    ) -> Generator[Request, Response, str | Outcome]:
        """Return a token that holds, asking for one where there is none."""
        auth = made.spec.auth.oauth2
        assert auth is not None
        if token := self._tokens.find(auth, attempt.now_ms):
            return token
        asked = token_request(auth, attempt.now_ms, self._tokens.next_id(attempt.delivery_id))
        try:
            told = yield asked
        except NoAnswer as failure:
            failure.was_sent = False  # of the events nothing was
            raise
        return self._tokens.take(auth, told.status, told.after_seconds, told.body, attempt.now_ms)


def _key(events: Sequence[Mapped], parcel: Parcel[Group], attempt: Attempt) -> str:
    """Return the idempotency key of a request: that of the attempt where it carries all."""
    if len(parcel.positions) == len(events):
        return attempt.delivery_id
    return _key_of(events, parcel.positions, attempt)


def _key_of(events: Sequence[Mapped], positions: Sequence[int], attempt: Attempt) -> str:
    ids = [event.message_id for event in events]
    if len(set(ids)) == len(ids):
        return delivery_id(attempt.destination, [ids[p] for p in positions])
    # Several of these were made of one event: its id alone would be the key of each.
    parts = [attempt.delivery_id, *map(str, positions)]
    return delivery_id(attempt.destination, parts)


def _whole_events(events: Sequence[Mapped], judged: list[Judged]) -> list[Judged]:
    """Reject all that was made of an event of which a part is rejected.

    Half of it would be sent, and sent once more when its dead letter is replayed.
    """
    faults = {
        event.message_id: one
        for event, one in zip(events, judged, strict=True)
        if isinstance(one, Rejected)
    }
    if not faults:
        return judged
    return [faults.get(event.message_id, one) for event, one in zip(events, judged, strict=True)]
