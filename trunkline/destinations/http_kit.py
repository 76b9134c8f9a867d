"""`http_kit`: what a playbook made of events, to a vendor as its kit describes the request.

A kit is a vendor's metadata, connection and playbook, brought in with `trunkline kits import`. The
settings name it and give its `params`, whose values stand wherever the kit says `$$NAME$$`. The
playbook shapes events first; the connection then makes requests of them:

- A request of its own for named events (`eventSpecific`); names ignore case and spacing.
- JSON: the event, or an array where the kit sends batches. A form: the event's keys as fields.
  GET: its keys as query parameters. `null` leaves a field out, an object goes as its JSON.
- Headers are texts of the kit, or values of the event (`fromEventKey`, from the event as it was
  accepted); events whose headers differ go in requests of their own.
- The kit's transform (Lua) gets `request` and `batch` and returns the request. It runs in the jail.
  It may change path and query, and not the host.
- Signed in by basic, OAuth 1.0a, or OAuth 2, whose token is fetched when it is needed, kept until
  it runs out, and fetched again once when a request is answered 401.

One batch makes at most ten requests. What does not fit, and what follows a request of the same user
that is to be repeated, is retried: order for each user holds. Answers mean what their status means,
unless the kit has rules of its own.
"""

from __future__ import annotations

from collections.abc import Generator, Mapping, Sequence
from typing import Annotated, Any, ClassVar, NamedTuple

import msgspec
from msgspec import Meta

from trunkline.kit.destination import (
    REQUESTS_MAX,
    Attempt,
    Call,
    Destination,
    Example,
    Mapped,
    NoAnswer,
    Request,
    Response,
    Settings,
    delivery_id,
)
from trunkline.kit.sample_events import PURCHASE, SIGN_UP
from trunkline.kit.shaping import CodeSource
from trunkline.kits.auth import token_request
from trunkline.kits.connection import parse_connection
from trunkline.kits.draft import (
    Draft,
    draft_of,
    finish,
    read_draft,
    sign,
    transform_values,
)
from trunkline.kits.filled import FilledRequest, fill_connection
from trunkline.kits.parcel_outcomes import ParcelOutcomes
from trunkline.kits.parcels import Entry, Parcel, Room, pack
from trunkline.kits.request import Headers, event_headers
from trunkline.kits.tokens import Tokens
from trunkline.model.outcome import Outcome, Rejected
from trunkline.playbook.program import CodeError

_OAUTH2_REQUESTS = 4  # a token, the request, and both again after a 401

Steps = Generator[Request | Call, Any, list[Outcome]]


class Group(NamedTuple):
    """What events must share to go in one request."""

    request: str
    headers: Headers


class HttpKitSettings(Settings, frozen=True, kw_only=True):
    """The settings of a vendor that a kit describes."""

    kit: Annotated[
        str,
        Meta(
            min_length=1,
            max_length=80,
            description="The kit's name, as `trunkline kits list` tells it.",
        ),
    ]
    connection: Annotated[
        dict[str, Any],
        Meta(
            description="The kit's connection. Trunkline fills it in from the kit that was "
            "imported; leave it out."
        ),
    ] = {}
    batch_events_max: Annotated[
        int,
        Meta(
            ge=1,
            le=1000,
            description="How many events may be taken at a time. A request carries no more than "
            "the kit says, whatever stands here. Left out: as many as the kit's `batchSize`.",
        ),
    ] = 0

    def __post_init__(self) -> None:
        connection = parse_connection(self.connection) if self.connection else None
        if self.batch_events_max == 0:
            default = connection.default if connection is not None else None
            size = 1 if default is None else default.batch_max
            msgspec.structs.force_setattr(self, "batch_events_max", size)


class HttpKit(Destination[HttpKitSettings]):
    """Shaped events to a vendor, as its kit describes the request."""

    kind = "http_kit"
    title = "HTTP by a kit"
    settings_type = HttpKitSettings

    def __init__(self, settings: HttpKitSettings) -> None:
        super().__init__(settings)
        if not settings.connection:
            raise ValueError(
                f"kit {settings.kit!r} has no connection here; import it with "
                "`trunkline kits import` and apply the workspace file again"
            )
        self._filled = fill_connection(parse_connection(settings.connection), settings.params)
        self._requests = self._filled.requests()
        self._tokens = Tokens()

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

    def build(self, events: Sequence[Mapped], attempt: Attempt) -> Request:
        """Return the first request that these events make.

        It is as it stands before the kit's transform, and without a token of OAuth 2. Raises
        `ValueError` where the events make none.
        """
        parcel = self._pack(events)[0]
        made = self._requests[parcel.key.request]
        draft = draft_of(made, parcel.key.headers, [events[p].value for p in parcel.positions])
        request = finish(draft, made, self._key(events, parcel, attempt))
        return sign(request, made, draft, attempt, "(token)")

    def exchange(
        self, events: Sequence[Mapped], attempt: Attempt
    ) -> Generator[Request | Call, Any, Sequence[Outcome]]:
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
                    if len(parcels) == 1:
                        raise
                    found = _failed(failure, outcomes) * len(parcel.positions)
                outcomes.write(parcel, found)
        return outcomes.close(parcels)

    def _pack(self, events: Sequence[Mapped]) -> list[Parcel[Group]]:
        return pack([self._entry(event) for event in events], self._room, REQUESTS_MAX)[0]

    def _entry(self, event: Mapped) -> Entry[Group]:
        made = self._filled.request_for(event.type, event.name)
        headers: Headers = ()
        if any(header.event_key for header in made.spec.headers):
            headers = event_headers(made.spec.headers, event.event)
        return Entry(Group(made.spec.name, headers), event.user, len(event.body))

    def _room(self, group: Group) -> Room:
        spec = self._requests[group.request].spec
        return Room(min(spec.batch_max, self.settings.batch_events_max), spec.bytes_max)

    def _key(self, events: Sequence[Mapped], parcel: Parcel[Group], attempt: Attempt) -> str:
        """Return the idempotency key of a request: that of the attempt where it carries all."""
        if len(parcel.positions) == len(events):
            return attempt.delivery_id
        ids = [event.message_id for event in events]
        if len(set(ids)) == len(ids):
            return delivery_id(attempt.destination, [ids[p] for p in parcel.positions])
        # Several of these were made of one event: its id alone would be the key of each.
        parts = [attempt.delivery_id, *map(str, parcel.positions)]
        return delivery_id(attempt.destination, parts)

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
            draft = draft_of(made, parcel.key.headers, batch)
            if made.spec.transform is not None:
                told = yield Call(made.spec.name, transform_values(draft, batch))
                draft = read_draft(told, made)
            request = finish(draft, made, self._key(events, parcel, attempt))
        except ValueError as error:
            return [Rejected(str(error)[:300])] * len(batch)
        answer = yield from self._ask(made, request, draft, attempt)
        if not isinstance(answer, Response):
            return [answer] * len(batch)
        judge = self._filled.answers.judge
        return judge(answer.status, answer.after_seconds, answer.body, len(batch))

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
        told = yield token_request(auth, attempt.now_ms, self._tokens.next_id(attempt.delivery_id))
        return self._tokens.take(auth, told.status, told.after_seconds, told.body, attempt.now_ms)

    examples: ClassVar[Sequence[Example]] = (
        Example(
            "JSON, one event a request",
            settings={
                "kit": "acme-ads",
                "connection": {
                    "params": [{"name": "VERSION", "defaultValue": "v2"}],
                    "default": {
                        "endpoint": "https://ads.example/$$VERSION$$/events",
                        "method": "POST",
                        "headers": [{"key": "X-Source", "value": "server"}],
                    },
                },
            },
            events=(SIGN_UP,),
            request=Request(
                "POST",
                "https://ads.example/v2/events",
                (
                    ("Content-Type", "application/json"),
                    ("Idempotency-Key", "dace8a05-4e0b-5068-94ee-adc54680a655"),
                    ("X-Trunkline-Delivery", "dace8a05-4e0b-5068-94ee-adc54680a655"),
                    ("X-Source", "server"),
                ),
                (
                    b'{"messageId":"order-1002-signup","type":"identify",'
                    b'"userId":"u-43","timestamp":"2026-11-20T10:15:31.000Z",'
                    b'"receivedAt":"2026-11-20T10:15:31.045Z","traits":{"plan":"gold"},'
                    b'"app":"zcmwmxbkmuodelu","source":{"protocol":"tracking",'
                    b'"key":"backend"}}'
                ),
            ),
        ),
        Example(
            "A pixel: query parameters, and a header that the event decides",
            settings={
                "kit": "acme-pixel",
                "params": {"PIXEL_ID": "p-77"},
                "connection": {
                    "params": [{"name": "PIXEL_ID", "exampleValue": "p-1"}],
                    "default": {
                        "endpoint": "https://pixel.example/t?id=$$PIXEL_ID$$",
                        "method": "GET",
                        "headers": [{"key": "X-Order", "fromEventKey": "properties.order_id"}],
                    },
                },
            },
            events=(PURCHASE,),
            request=Request(
                "GET",
                (
                    "https://pixel.example/t?id=p-77&messageId=7d0a2c1e-3f64-4b7e-9b1a-52f1c6d8e901"
                    "&type=track&event=Purchase+Completed&userId=u-42"
                    "&timestamp=2026-11-20T10%3A15%3A30.000Z"
                    "&receivedAt=2026-11-20T10%3A15%3A30.120Z"
                    "&properties=%7B%22revenue%22%3A29.9%2C%22currency%22%3A%22USD%22%2C"
                    "%22order_id%22%3A%22A-1001%22%7D&app=zcmwmxbkmuodelu"
                    "&source=%7B%22protocol%22%3A%22s2s%22%2C%22key%22%3A%22backend%22%2C"
                    "%22slug%22%3A%22taqsq%22%7D"
                ),
                (
                    ("Idempotency-Key", "1cf69ac0-d41e-505c-9e0c-c7fec4f460c9"),
                    ("X-Trunkline-Delivery", "1cf69ac0-d41e-505c-9e0c-c7fec4f460c9"),
                    ("X-Order", "A-1001"),
                ),
                b"",
            ),
        ),
        Example(
            "A batch, signed in, with a request of its own for one event",
            settings={
                "kit": "acme-crm",
                "params": {"PASSWORD": "example-password"},
                "connection": {
                    "params": [{"name": "PASSWORD", "isSensitive": True}],
                    "default": {
                        "endpoint": "https://crm.example/track",
                        "batchSize": 50,
                        "basicAuth": {"username": "trunkline", "password": "$$PASSWORD$$"},
                    },
                    "eventSpecific": {"identify": {"endpoint": "https://crm.example/people"}},
                },
            },
            events=(PURCHASE,),
            request=Request(
                "POST",
                "https://crm.example/track",
                (
                    ("Content-Type", "application/json"),
                    ("Idempotency-Key", "1cf69ac0-d41e-505c-9e0c-c7fec4f460c9"),
                    ("X-Trunkline-Delivery", "1cf69ac0-d41e-505c-9e0c-c7fec4f460c9"),
                    ("Authorization", "Basic dHJ1bmtsaW5lOmV4YW1wbGUtcGFzc3dvcmQ="),
                ),
                (
                    b'[{"messageId":"7d0a2c1e-3f64-4b7e-9b1a-52f1c6d8e901","type":"track",'
                    b'"event":"Purchase Completed","userId":"u-42",'
                    b'"timestamp":"2026-11-20T10:15:30.000Z",'
                    b'"receivedAt":"2026-11-20T10:15:30.120Z",'
                    b'"properties":{"revenue":29.9,"currency":"USD","order_id":"A-1001"},'
                    b'"app":"zcmwmxbkmuodelu","source":{"protocol":"s2s","key":"backend",'
                    b'"slug":"taqsq"}}]'
                ),
            ),
        ),
    )


def _failed(failure: NoAnswer | CodeError, outcomes: ParcelOutcomes) -> list[Outcome]:
    """Return what a parcel came to that was not answered, or not made."""
    if isinstance(failure, CodeError):
        return [Rejected(f"connection.transform: {failure}"[:300])]
    outcomes.end(failure.outcome)
    return [failure.outcome]
