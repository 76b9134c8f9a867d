"""Requests of a kit on their way: a batch packed, made into requests, signed in, judged.

A generator that yields requests and receives answers, as every destination is one. What the
contract forbids is judged first and never sent.
"""

from __future__ import annotations

from collections.abc import Generator, Mapping, Sequence
from typing import Any, NamedTuple

import msgspec

from trunkline.kit.destination import (
    REQUESTS_MAX,
    Attempt,
    Call,
    Mapped,
    NoAnswer,
    Request,
    Response,
)
from trunkline.kit.shaping import CodeSource
from trunkline.kits.answers import OUTCOME_UNKNOWN
from trunkline.kits.apart import Taken, keep_apart, set_apart
from trunkline.kits.auth import token_request
from trunkline.kits.draft import Draft, draft_of, finish, read_draft, sign, transform_values
from trunkline.kits.endpoint import EndpointNeeds
from trunkline.kits.filled import Filled, FilledRequest
from trunkline.kits.following import Following, Held, Receipt, waits_behind
from trunkline.kits.job import Job, key_of, keys_of
from trunkline.kits.parcel_outcomes import ParcelOutcomes
from trunkline.kits.parcels import Entry, Parcel, Room, pack
from trunkline.kits.paths import getter
from trunkline.kits.request import Headers, event_headers
from trunkline.kits.tokens import Tokens
from trunkline.kits.tries import Tries
from trunkline.model.outcome import Filtered, Outcome, Rejected, Retry
from trunkline.playbook.program import CodeError

_OAUTH2_REQUESTS = 4  # a token, the request, and both again after a 401

Steps = Generator[Request | Call, Any, list[Outcome]]
Judged = Mapped | Filtered | Rejected


class Group(NamedTuple):
    """What events must share to go in one request. `url` stands where the event decides it.

    `by` is what they have at the paths of `groupBy`, as JSON.
    """

    request: str
    headers: Headers
    url: str = ""
    by: bytes = b""


class Exchanges:
    """The exchanges of one destination. `events_max` is what its settings let into a request.

    `gives_up_unknown`: an event whose answer was lost becomes a dead letter instead of going again.
    """

    def __init__(self, filled: Filled, events_max: int, *, gives_up_unknown: bool) -> None:
        self._filled = filled
        self._requests = filled.requests()
        self._events_max = events_max
        self._gives_up = gives_up_unknown
        self._answers = msgspec.structs.replace(filled.answers, gives_up_unknown=gives_up_unknown)
        self._tokens = Tokens()
        self._tries = Tries()
        self._taken = Taken()
        self._following: Following | None = None
        if filled.follow_up is not None and filled.status is not None:
            self._following = Following(filled.follow_up, filled.status, gives_up_unknown)
        self._groups = {
            name: tuple(map(getter, one.spec.group_by)) for name, one in self._requests.items()
        }
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
        batch = _values(made, events, parcel)
        draft = draft_of(made, parcel.key.headers, batch, parcel.key.url)
        request = finish(draft, made, _key(events, parcel, attempt))
        return sign(request, made, draft, attempt, "(token)")

    def exchange(
        self, events: Sequence[Mapped], attempt: Attempt
    ) -> Generator[Request | Call, Any, Sequence[Outcome | Filtered]]:
        """Send what may be sent. One outcome for each event, in order."""
        job = Job(events, keys_of(events), attempt, REQUESTS_MAX)
        if self._following is None:
            return self._deliver(job)
        return self._follow(self._following, job)

    def _deliver(self, job: Job) -> Generator[Request | Call, Any, Sequence[Outcome | Filtered]]:
        return self._exchange_judged(job) if self._is_judging else self._exchange(job)

    def _follow(
        self, following: Following, job: Job
    ) -> Generator[Request | Call, Any, Sequence[Outcome | Filtered]]:
        """Ask after what the vendor has, and send what it has not."""
        held = following.find(job)
        now_ms, left = job.attempt.now_ms, job.left
        for receipt in dict.fromkeys(one.receipt for one in held if one is not None):
            if not following.is_due(receipt, now_ms):
                continue
            left -= _cost(following.status)
            if left < 0:
                break
            failure = yield from self._ask_after(following, receipt, job.attempt)
            if failure is not None:
                return [following.put_off(one, failure) for one in held]
        known = _known(following, job, held)
        fresh = [position for position, one in enumerate(known) if one is None]
        found: Sequence[Outcome | Filtered] = []
        if fresh:
            part = job.part(fresh)._replace(left=left, is_alone=len(fresh) == len(known))
            found = yield from self._deliver(part)
        rest = iter(found)
        outcomes = [next(rest) if one is None else one for one in known]
        following.forget(job, outcomes)
        return outcomes

    def _ask_after(
        self, following: Following, receipt: Receipt, attempt: Attempt
    ) -> Generator[Request, Response, Outcome | None]:
        """Ask what became of the events of a receipt; return why there is no answer to that."""
        following.begin(receipt, attempt.now_ms)
        draft = Draft(receipt.url, following.status.headers, None)
        request = finish(draft, following.status, attempt.delivery_id)
        try:
            answer = yield from self._ask(following.status, request, draft, attempt)
        except NoAnswer as failure:
            answer = failure.outcome
        return following.learn(receipt, answer, attempt.now_ms)

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
        endpoint = self._filled.request_for(event).endpoint
        if endpoint is None:
            return event
        try:
            endpoint.url_for(event.event)
        except EndpointNeeds as error:
            return Rejected(str(error), is_sure=True, was_sent=False)
        return event

    def _exchange_judged(
        self, job: Job
    ) -> Generator[Request | Call, Any, Sequence[Outcome | Filtered]]:
        judged = self._judge(job.events, job.attempt)
        places = [p for p, one in enumerate(judged) if isinstance(one, Mapped)]
        if not places:
            return [one for one in judged if not isinstance(one, Mapped)]
        sent = [one for one in judged if isinstance(one, Mapped)]
        found = iter((yield from self._exchange(job.part(places)._replace(events=sent))))
        return [next(found) if isinstance(one, Mapped) else one for one in judged]

    def _exchange(self, job: Job) -> Steps:
        """Send what fits into ten requests, in order for each user; the rest is retried.

        Where one of several fails without an answer, what the others delivered stays delivered.
        """
        parcels = self._pack(job.events)
        outcomes = ParcelOutcomes([event.user for event in job.events])
        left = job.left
        for parcel in parcels:
            made = self._requests[parcel.key.request]
            left -= _cost(made)
            if left < 0 or outcomes.is_ended:
                break
            if outcomes.hold_back(parcel):
                try:
                    found = yield from self._send(made, job, parcel)
                except (NoAnswer, CodeError) as failure:
                    is_only = job.is_alone and len(parcels) == 1
                    found = self._failed(failure, parcel, outcomes, is_only=is_only)
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
            reason = (
                f"{OUTCOME_UNKNOWN}: {failure}; sent, and not again, for the vendor may have it"
            )
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
        made = self._filled.request_for(event)
        headers: Headers = ()
        if any(header.event_key for header in made.spec.headers):
            headers = event_headers(made.spec.headers, event.event)
        url = "" if made.endpoint is None else made.endpoint.url_for(event.event)
        by = b""
        if gets := self._groups[made.spec.name]:
            by = msgspec.json.encode([get(event.value) for get in gets], order="sorted")
        group = Group(made.spec.name, headers, url, by)
        return Entry(group, event.user, len(event.body), event.message_id)

    def _room(self, group: Group) -> Room:
        spec = self._requests[group.request].spec
        return Room(min(spec.batch_max, self._events_max), spec.bytes_max)

    def _send(self, made: FilledRequest, job: Job, parcel: Parcel[Group]) -> Steps:
        """Make one request and judge its answer: one outcome for each event of the parcel."""
        events, attempt = job.events, job.attempt
        batch = self._apart(made, job, parcel)
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
        keys = [job.keys[position] for position in parcel.positions]
        outcomes = self._answers.judge(answer, batch, attempt.now_ms, self._tries.spender(keys))
        if self._following is not None:
            self._following.take(keys, batch, answer, outcomes, attempt.now_ms)
        return outcomes

    def _apart(self, made: FilledRequest, job: Job, parcel: Parcel[Group]) -> list[dict[str, Any]]:
        """Return what a request carries, its numbers apart from those of earlier ones too."""
        apart = made.spec.apart
        if apart is None or not apart.by:
            return _values(made, job.events, parcel)
        values = [job.events[position].value for position in parcel.positions]
        keys = [job.keys[position] for position in parcel.positions]
        return keep_apart(values, keys, apart, self._taken)

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


def _values(
    made: FilledRequest, events: Sequence[Mapped], parcel: Parcel[Group]
) -> list[dict[str, Any]]:
    """Return what a request carries, its numbers apart."""
    values = [events[position].value for position in parcel.positions]
    return values if made.spec.apart is None else set_apart(values, made.spec.apart.key)


def _key(events: Sequence[Mapped], parcel: Parcel[Group], attempt: Attempt) -> str:
    """Return the idempotency key of a request: that of the attempt where it carries all."""
    if len(parcel.positions) == len(events):
        return attempt.delivery_id
    return key_of(events, parcel.positions, attempt)


def _cost(made: FilledRequest) -> int:
    """Return how many requests one may become, those for a token with it."""
    return _OAUTH2_REQUESTS if made.spec.auth.oauth2 else 1


def _known(following: Following, job: Job, held: Sequence[Held | None]) -> list[Outcome | None]:
    """Return what is known of each event; None for those that are to be sent.

    What follows an event of its user that is not judged yet waits: it may have to be sent again.
    """
    waiting: set[str] = set()
    found: list[Outcome | None] = []
    for event, one in zip(job.events, held, strict=True):
        outcome = None if one is None else following.outcome(one, job.attempt.now_ms)
        if one is None and event.user in waiting:
            outcome = waits_behind()
        if isinstance(outcome, Retry) and event.user:  # events of nobody have no order
            waiting.add(event.user)
        found.append(outcome)
    return found


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
