"""`http_kit`: what a playbook made of events, to a vendor as its kit describes the request.

A kit is a vendor's metadata, connection and playbook, brought in with `trunkline kits import`. The
settings name it and give its `params`, whose values stand wherever the kit says `$$NAME$$`. The
playbook shapes events first; the connection then makes requests of them:

- A request of its own for named events (`eventSpecific`), whose names ignore case and spacing; or
  for what the playbook made something of (`conditional`), as for people whom nobody knows yet.
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
unless the kit has rules of its own. What the vendor's contract forbids is not sent.
"""

from __future__ import annotations

from collections.abc import Generator, Mapping, Sequence
from typing import Annotated, Any, ClassVar, Literal

import msgspec
from msgspec import Meta

from trunkline.kit.destination import (
    BATCH_BYTES_MAX,
    Attempt,
    Batching,
    Call,
    Destination,
    Example,
    Mapped,
    Request,
    Settings,
)
from trunkline.kit.sample_events import PURCHASE, SIGN_UP
from trunkline.kit.shaping import CodeSource
from trunkline.kits.connection import Connection, parse_connection
from trunkline.kits.exchange import Exchanges
from trunkline.kits.filled import fill_connection
from trunkline.kits.request_spec import BATCH_MAX
from trunkline.model.outcome import Filtered, Outcome


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
            le=BATCH_MAX,
            description="How many events may be taken at a time. A request carries no more than "
            "the kit says, whatever stands here. Left out: as many as the kit's `batchSize`.",
        ),
    ] = 0
    unknown_outcome: Annotated[
        Literal["", "retry", "give_up"],
        Meta(
            description="What becomes of events whose request was sent and whose answer was lost, "
            "and of those that a vendor took and never judged: "
            "`retry` sends them again, which a vendor that does not deduplicate counts twice; "
            "`give_up` makes dead letters of them. Left out: as the kit says."
        ),
    ] = ""

    def __post_init__(self) -> None:
        connection = parse_connection(self.connection) if self.connection else Connection()
        default = connection.default
        if self.batch_events_max == 0:
            size = 1 if default is None else default.batch_max
            msgspec.structs.force_setattr(self, "batch_events_max", size)
        if default is not None and self.requests_per_second_max is None:
            rate = default.requests_per_second
            msgspec.structs.force_setattr(self, "requests_per_second_max", rate)


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
        filled = fill_connection(parse_connection(settings.connection), settings.params)
        gives_up = filled.answers.gives_up_unknown
        if settings.unknown_outcome:
            gives_up = settings.unknown_outcome == "give_up"
        requests = [one.spec for one in filled.requests().values()]
        self.batching = Batching(
            max([BATCH_BYTES_MAX, *(one.bytes_max for one in requests)]),
            1 if any(one.group_by for one in requests) else 0,
            filled.follow_up is not None,
            any(one.by_device for one in requests),
        )
        self._exchanges = Exchanges(filled, settings.batch_events_max, gives_up_unknown=gives_up)

    def code(self) -> Mapping[str, CodeSource]:
        """Return the transforms of the kit's requests, by the names of the requests."""
        return self._exchanges.code()

    def build(self, events: Sequence[Mapped], attempt: Attempt) -> Request:
        """Return the first request that these events make.

        It is as it stands before the kit's transform, and without a token of OAuth 2. Raises
        `ValueError` where the events make none.
        """
        return self._exchanges.build(events, attempt)

    def exchange(
        self, events: Sequence[Mapped], attempt: Attempt
    ) -> Generator[Request | Call, Any, Sequence[Outcome | Filtered]]:
        """Send what the contract allows and ten requests hold; the rest is retried.

        Order for each user holds. Where nothing may be sent it ends without a request.
        """
        return self._exchanges.exchange(events, attempt)

    def notes(self, events: Sequence[Mapped], attempt: Attempt) -> list[list[str]]:
        """Return for each event what the contract changes of it at that time, a line each."""
        return self._exchanges.notes(events, attempt)

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
