"""`http_api`: canonical events to an HTTP API that wants JSON, a form or query parameters.

- `json`: as `webhook` does: an array of canonical events, or one object with `batch_events_max` 1.
- `form`: one event a request, as `application/x-www-form-urlencoded` pairs in the body.
- `query`: one event a request, as pairs in the query, behind those the URL has; no body. The
  signature then covers the event's pairs, as they stand in the URL.

Pairs are the event flattened: names joined by dots, positions of a list by number
(`properties.items.0.sku=A-1`). Texts go as they are, numbers as JSON writes them, true and false
as words; null, an empty object and an empty list are an empty value. An event whose URL would be
longer than 8,000 bytes is rejected by itself, for no server would take it.
"""

from __future__ import annotations

from collections.abc import Generator, Iterator, Sequence
from typing import Annotated, Any, ClassVar, Literal, cast
from urllib.parse import quote, urlencode

import msgspec
from msgspec import Meta

from trunkline.kit.destination import Attempt, Destination, Example, Mapped, Request, Response
from trunkline.kit.http_out import HttpSettings, http_request, json_body
from trunkline.kit.sample_events import PURCHASE, SIGN_UP
from trunkline.model.outcome import Outcome, Rejected

URL_BYTES_MAX = 8000  # RFC 9110 4.1 asks that at least as much be supported


class HttpApiSettings(HttpSettings, frozen=True, kw_only=True):
    """The settings of an HTTP API."""

    method: Annotated[
        Literal["GET", "POST", "PUT", "PATCH"],
        Meta(description="The method of the request; GET only with the encoding `query`."),
    ] = "POST"
    encoding: Annotated[
        Literal["json", "form", "query"],
        Meta(
            description="How events are written: `json` in the body, `form` fields in the body, or "
            "`query` parameters in the URL. With form and query a request carries one event, "
            "whatever `batch_events_max` says."
        ),
    ] = "json"

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.method == "GET" and self.encoding != "query":
            raise ValueError(
                f"method GET carries no body, and encoding {self.encoding} needs one; "
                "set encoding: query, or method: POST"
            )
        if self.encoding != "json" and self.batch_events_max != 1:
            # Lowered rather than refused: the default of all kinds is more, and would be wrong.
            msgspec.structs.force_setattr(self, "batch_events_max", 1)


class HttpApi(Destination[HttpApiSettings]):
    """Canonical events to an API: JSON, a form, or query parameters."""

    kind = "http_api"
    title = "HTTP API"
    settings_type = HttpApiSettings

    def build(self, events: Sequence[Mapped], attempt: Attempt) -> Request:
        """Return the request that carries these events; one event with form and query.

        `ValueError` where the encoding carries one event and there are more.
        """
        settings = self.settings
        if settings.encoding == "json":
            body = json_body(events, settings.batch_events_max)
            return self._request(attempt, "application/json", body)
        if len(events) != 1:
            raise ValueError(f"encoding {settings.encoding} carries 1 event, not {len(events)}")
        pairs = urlencode(list(flatten(events[0].value)), quote_via=quote)
        if settings.encoding == "form":
            return self._request(attempt, "application/x-www-form-urlencoded", pairs.encode())
        joint = "&" if "?" in settings.url else "?"
        return http_request(
            settings,
            attempt,
            method=settings.method,
            url=f"{settings.url}{joint}{pairs}",
            signed=pairs.encode(),
        )

    def exchange(
        self, events: Sequence[Mapped], attempt: Attempt
    ) -> Generator[Request, Response, Sequence[Outcome]]:
        """Send what can be sent: an event that makes too long a URL is rejected unsent."""
        request = self.build(events, attempt)
        if self.settings.encoding == "query" and len(request.url) > URL_BYTES_MAX:
            reason = f"as a URL the event has {len(request.url)} bytes; at most {URL_BYTES_MAX} go"
            return [Rejected(reason)] * len(events)
        response = yield request
        return [self.judge(response)] * len(events)

    def _request(self, attempt: Attempt, content_type: str, body: bytes) -> Request:
        settings = self.settings
        return http_request(
            settings,
            attempt,
            method=settings.method,
            url=settings.url,
            content_type=content_type,
            body=body,
        )

    examples: ClassVar[Sequence[Example]] = (
        Example(
            "JSON, one event a request",
            settings={"url": "https://api.example/v1/events", "batch_events_max": 1},
            events=(SIGN_UP,),
            request=Request(
                "POST",
                "https://api.example/v1/events",
                (
                    ("Content-Type", "application/json"),
                    ("Idempotency-Key", "dace8a05-4e0b-5068-94ee-adc54680a655"),
                    ("X-Trunkline-Delivery", "dace8a05-4e0b-5068-94ee-adc54680a655"),
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
            "A form, signed",
            settings={
                "url": "https://api.example/collect",
                "encoding": "form",
                "secret": "example-signing-secret",
            },
            events=(PURCHASE,),
            request=Request(
                "POST",
                "https://api.example/collect",
                (
                    ("Content-Type", "application/x-www-form-urlencoded"),
                    ("Idempotency-Key", "1cf69ac0-d41e-505c-9e0c-c7fec4f460c9"),
                    ("X-Trunkline-Delivery", "1cf69ac0-d41e-505c-9e0c-c7fec4f460c9"),
                    (
                        "X-Trunkline-Signature",
                        (
                            "t=1795170000,"
                            "v1=8b90690ebe45a3e796ea0d3e674447c9555d46b7fd03e62e3a71c3c80bd9b604"
                        ),
                    ),
                ),
                (
                    b"messageId=7d0a2c1e-3f64-4b7e-9b1a-52f1c6d8e901&type=track&"
                    b"event=Purchase%20Completed&userId=u-42&"
                    b"timestamp=2026-11-20T10%3A15%3A30.000Z&"
                    b"receivedAt=2026-11-20T10%3A15%3A30.120Z&properties.revenue=29.9&"
                    b"properties.currency=USD&properties.order_id=A-1001&"
                    b"app=zcmwmxbkmuodelu&source.protocol=s2s&source.key=backend&"
                    b"source.slug=taqsq"
                ),
            ),
        ),
        Example(
            "Query parameters",
            settings={
                "url": "https://api.example/pixel?site=7",
                "method": "GET",
                "encoding": "query",
            },
            events=(SIGN_UP,),
            request=Request(
                "GET",
                (
                    "https://api.example/pixel?site=7&messageId=order-1002-signup&"
                    "type=identify&userId=u-43&timestamp=2026-11-20T10%3A15%3A31.000Z&"
                    "receivedAt=2026-11-20T10%3A15%3A31.045Z&traits.plan=gold&"
                    "app=zcmwmxbkmuodelu&source.protocol=tracking&source.key=backend"
                ),
                (
                    ("Idempotency-Key", "dace8a05-4e0b-5068-94ee-adc54680a655"),
                    ("X-Trunkline-Delivery", "dace8a05-4e0b-5068-94ee-adc54680a655"),
                ),
                b"",
            ),
        ),
    )


def flatten(value: dict[str, Any]) -> Iterator[tuple[str, str]]:
    """Yield the leaves of a JSON object in order: name joined by dots, value as text."""
    # A stack and no recursion: how deep an event nests is its sender's choice.
    stack: list[tuple[str, Any]] = [("", value)]
    while stack:
        name, node = stack.pop()
        children = _children(node)
        if children:
            prefix = f"{name}." if name else ""
            stack.extend((f"{prefix}{key}", child) for key, child in reversed(children))
        elif name:
            yield name, _text_of(node)


def _children(node: Any) -> list[tuple[str, Any]]:
    if isinstance(node, dict):
        return list(cast("dict[str, Any]", node).items())
    if isinstance(node, list):
        return [(str(i), child) for i, child in enumerate(cast("list[Any]", node))]
    return []


def _text_of(leaf: Any) -> str:
    if isinstance(leaf, str):
        return leaf
    if leaf is None or isinstance(leaf, dict | list):
        return ""
    return msgspec.json.encode(leaf).decode()
