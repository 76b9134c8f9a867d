"""`webhook`: canonical events to a URL of yours, as JSON, signed.

The body is a JSON array of canonical events, also where only one waits; with `batch_events_max` 1
it is that one event. A 2xx means that you have all of them. Delivery is at least once, so an event
may come again: deduplicate by `messageId`. `Idempotency-Key` helps where the same batch is tried
again, but what is in a batch may change between tries.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, ClassVar, Literal

from msgspec import Meta

from trunkline.kit.destination import Attempt, Destination, Example, Mapped, Request
from trunkline.kit.http_out import HttpSettings, http_request, json_body
from trunkline.kit.sample_events import PURCHASE, SIGN_UP


class WebhookSettings(HttpSettings, frozen=True, kw_only=True):
    """The settings of a webhook."""

    method: Annotated[
        Literal["POST", "PUT", "PATCH"], Meta(description="The method of the request.")
    ] = "POST"


class Webhook(Destination[WebhookSettings]):
    """Canonical events to a URL."""

    kind = "webhook"
    title = "Webhook"
    settings_type = WebhookSettings

    def build(self, events: Sequence[Mapped], attempt: Attempt) -> Request:
        """Return the request that carries these events, put together from their bytes."""
        settings = self.settings
        return http_request(
            settings,
            attempt,
            method=settings.method,
            url=settings.url,
            content_type="application/json",
            body=json_body(events, settings.batch_events_max),
        )

    examples: ClassVar[Sequence[Example]] = (
        Example(
            "One event, in an array",
            settings={"url": "https://ops.example/hook"},
            events=(PURCHASE,),
            request=Request(
                "POST",
                "https://ops.example/hook",
                (
                    ("Content-Type", "application/json"),
                    ("Idempotency-Key", "1cf69ac0-d41e-505c-9e0c-c7fec4f460c9"),
                    ("X-Trunkline-Delivery", "1cf69ac0-d41e-505c-9e0c-c7fec4f460c9"),
                ),
                (
                    b'[{"messageId":"7d0a2c1e-3f64-4b7e-9b1a-52f1c6d8e901",'
                    b'"type":"track","event":"Purchase Completed","userId":"u-42",'
                    b'"timestamp":"2026-11-20T10:15:30.000Z",'
                    b'"receivedAt":"2026-11-20T10:15:30.120Z",'
                    b'"properties":{"revenue":29.9,"currency":"USD",'
                    b'"order_id":"A-1001"},"app":"zcmwmxbkmuodelu",'
                    b'"source":{"protocol":"s2s","key":"backend","slug":"taqsq"}}]'
                ),
            ),
        ),
        Example(
            "Two events, signed",
            settings={"url": "https://ops.example/hook", "secret": "example-signing-secret"},
            events=(PURCHASE, SIGN_UP),
            request=Request(
                "POST",
                "https://ops.example/hook",
                (
                    ("Content-Type", "application/json"),
                    ("Idempotency-Key", "0961fbf45c06c4a9b41f6d60976c861cf95ab142"),
                    ("X-Trunkline-Delivery", "0961fbf45c06c4a9b41f6d60976c861cf95ab142"),
                    (
                        "X-Trunkline-Signature",
                        (
                            "t=1795170000,"
                            "v1=27cf0ab8fcb12f758e56195cbae9cdb3a8e5a50c815efea9b2a4419860143567"
                        ),
                    ),
                ),
                (
                    b'[{"messageId":"7d0a2c1e-3f64-4b7e-9b1a-52f1c6d8e901",'
                    b'"type":"track","event":"Purchase Completed","userId":"u-42",'
                    b'"timestamp":"2026-11-20T10:15:30.000Z",'
                    b'"receivedAt":"2026-11-20T10:15:30.120Z",'
                    b'"properties":{"revenue":29.9,"currency":"USD",'
                    b'"order_id":"A-1001"},"app":"zcmwmxbkmuodelu",'
                    b'"source":{"protocol":"s2s","key":"backend","slug":"taqsq"}},'
                    b'{"messageId":"order-1002-signup","type":"identify",'
                    b'"userId":"u-43","timestamp":"2026-11-20T10:15:31.000Z",'
                    b'"receivedAt":"2026-11-20T10:15:31.045Z","traits":{"plan":"gold"},'
                    b'"app":"zcmwmxbkmuodelu","source":{"protocol":"tracking",'
                    b'"key":"backend"}}]'
                ),
            ),
        ),
        Example(
            "One event a request, with a method and a header of your own",
            settings={
                "url": "https://ops.example/events?from=trunkline",
                "method": "PUT",
                "batch_events_max": 1,
                "headers": {"Authorization": "Bearer example-token"},
            },
            events=(SIGN_UP,),
            request=Request(
                "PUT",
                "https://ops.example/events?from=trunkline",
                (
                    ("Content-Type", "application/json"),
                    ("Idempotency-Key", "dace8a05-4e0b-5068-94ee-adc54680a655"),
                    ("X-Trunkline-Delivery", "dace8a05-4e0b-5068-94ee-adc54680a655"),
                    ("Authorization", "Bearer example-token"),
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
    )
