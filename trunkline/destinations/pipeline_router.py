"""`pipeline_router`: events into another app, of this Trunkline or another, by its tracking API.

Every field travels, the `messageId` with them, so that the other app tells a repeat from a new
event. What the other app says of an event by itself does not: `app`, `source`, `receivedAt`,
`historical`; nor `sentAt`, by which it would correct a time that was corrected here.

Each event carries `context.hops`, the apps that it left in this way. One that comes back to an app
it left before, or left eight apps, is filtered (`vendor: loop`), so no circle of apps runs for
ever.
"""

from __future__ import annotations

import base64
from collections import Counter
from collections.abc import Generator, Iterator, Sequence
from typing import Annotated, Any, ClassVar, cast
from urllib.parse import urlsplit

import msgspec
from msgspec import Meta

from trunkline.kit.destination import (
    REQUESTS_MAX,
    Attempt,
    Destination,
    Example,
    Mapped,
    NoAnswer,
    Request,
    Response,
    SecretText,
    Settings,
    delivery_id,
)
from trunkline.kit.http_out import check_header, check_url
from trunkline.kit.sample_events import PURCHASE, SIGN_UP
from trunkline.model.outcome import (
    Blocked,
    Delivered,
    Filtered,
    Outcome,
    Rejected,
    Retry,
    outcome_of_status,
)

HOPS_MAX = 8
BODY_BYTES_MAX = 450_000  # the tracking API takes 512 KiB; a large event may still join
LOOP = Filtered("vendor: loop")
_NOT_SENT = ("app", "source", "receivedAt", "historical", "sentAt", "writeKey")
_IDENTITY = ("userId", "anonymousId")

Verdict = Outcome | Filtered


class PipelineRouterSettings(Settings, frozen=True, kw_only=True):
    """The settings of a way into another app."""

    url: Annotated[
        str,
        Meta(
            min_length=1,
            max_length=4096,
            description="The ingest address of the other app's Trunkline, for example "
            "`https://in.example`. `/v1/batch` is added where it has no path.",
        ),
    ]
    write_key: Annotated[
        SecretText,
        Meta(description="A Server key of the other app: what signs in at its tracking API."),
    ]

    def __post_init__(self) -> None:
        check_url(self.url)
        try:
            check_header("Authorization", self.write_key)
        except ValueError as error:
            raise ValueError(
                "write_key holds what no key has; paste the secret of a Server key"
            ) from error


class PipelineRouter(Destination[PipelineRouterSettings]):
    """Events of one app into another."""

    kind = "pipeline_router"
    title = "Pipeline Router"
    settings_type = PipelineRouterSettings

    def build(self, events: Sequence[Mapped], attempt: Attempt) -> Request:
        """Return the request that carries these events as one batch."""
        seen: Counter[str] = Counter()
        bodies = [msgspec.json.encode(_routed(event, seen)) for event in events]
        key = delivery_id(attempt.destination, [event.message_id for event in events])
        login = base64.b64encode(f"{self.settings.write_key}:".encode()).decode()
        headers = (
            ("Content-Type", "application/json"),
            ("Idempotency-Key", key),
            ("Authorization", f"Basic {login}"),
        )
        url = self.settings.url
        if urlsplit(url).path in ("", "/"):
            url = url.rstrip("/") + "/v1/batch"
        return Request("POST", url, headers, b'{"batch":[' + b",".join(bodies) + b"]}")

    def exchange(
        self, events: Sequence[Mapped], attempt: Attempt
    ) -> Generator[Request, Response, Sequence[Verdict]]:
        """Send what goes in no circle, in as many requests as the API's limit asks for.

        Behind a request that was not taken nothing more is sent: order would be lost.
        """
        verdicts: list[Verdict | None] = [LOOP if is_loop(event) else None for event in events]
        going = [position for position, verdict in enumerate(verdicts) if verdict is None]
        stopped: Outcome | None = None
        for number, positions in enumerate(_parts(events, going)):
            if stopped is None and number == REQUESTS_MAX:
                stopped = Retry("waits for the next request: this one was full", is_next=True)
            part = [events[position] for position in positions]
            if stopped is None:
                told = yield from self._send(part, attempt)
                stopped = next((one for one in told if isinstance(one, Retry | Blocked)), None)
            else:
                told = [stopped] * len(part)
            for position, verdict in zip(positions, told, strict=True):
                verdicts[position] = verdict
        return [verdict for verdict in verdicts if verdict is not None]

    def _send(
        self, events: Sequence[Mapped], attempt: Attempt
    ) -> Generator[Request, Response, Sequence[Outcome]]:
        try:
            response = yield self.build(events, attempt)
        except NoAnswer as failure:
            return [failure.outcome] * len(events)
        outcome = outcome_of_status(response.status, response.after_seconds)
        outcomes: list[Outcome] = [outcome] * len(events)
        if isinstance(outcome, Delivered):
            for position, reason in _refused(response.body):
                if position < len(outcomes):
                    outcomes[position] = Rejected(reason)
        return outcomes

    examples: ClassVar[Sequence[Example]] = (
        Example(
            "One event into another app",
            settings={"url": "https://in.example", "write_key": "example-write-key"},
            events=(PURCHASE,),
            request=Request(
                "POST",
                "https://in.example/v1/batch",
                (
                    ("Content-Type", "application/json"),
                    ("Idempotency-Key", "1cf69ac0-d41e-505c-9e0c-c7fec4f460c9"),
                    ("Authorization", "Basic ZXhhbXBsZS13cml0ZS1rZXk6"),
                ),
                (
                    b'{"batch":[{"messageId":"7d0a2c1e-3f64-4b7e-9b1a-52f1c6d8e901",'
                    b'"type":"track","event":"Purchase Completed","userId":"u-42",'
                    b'"timestamp":"2026-11-20T10:15:30.000Z",'
                    b'"properties":{"revenue":29.9,"currency":"USD",'
                    b'"order_id":"A-1001"},"context":{"hops":["zcmwmxbkmuodelu"]}}]}'
                ),
            ),
        ),
        Example(
            "Two events, to a path of one's own",
            settings={"url": "https://edge.example/in/batch", "write_key": "example-write-key"},
            events=(PURCHASE, SIGN_UP),
            request=Request(
                "POST",
                "https://edge.example/in/batch",
                (
                    ("Content-Type", "application/json"),
                    ("Idempotency-Key", "0961fbf45c06c4a9b41f6d60976c861cf95ab142"),
                    ("Authorization", "Basic ZXhhbXBsZS13cml0ZS1rZXk6"),
                ),
                (
                    b'{"batch":[{"messageId":"7d0a2c1e-3f64-4b7e-9b1a-52f1c6d8e901",'
                    b'"type":"track","event":"Purchase Completed","userId":"u-42",'
                    b'"timestamp":"2026-11-20T10:15:30.000Z",'
                    b'"properties":{"revenue":29.9,"currency":"USD",'
                    b'"order_id":"A-1001"},"context":{"hops":["zcmwmxbkmuodelu"]}},'
                    b'{"messageId":"order-1002-signup","type":"identify","userId":"u-43",'
                    b'"timestamp":"2026-11-20T10:15:31.000Z","traits":{"plan":"gold"},'
                    b'"context":{"hops":["zcmwmxbkmuodelu"]}}]}'
                ),
            ),
        ),
        Example(
            "An event that left another app before",
            settings={"url": "https://in.example", "write_key": "example-write-key"},
            events=({**SIGN_UP, "context": {"hops": ["aaaaaaaaaaaaaaa"]}},),
            request=Request(
                "POST",
                "https://in.example/v1/batch",
                (
                    ("Content-Type", "application/json"),
                    ("Idempotency-Key", "dace8a05-4e0b-5068-94ee-adc54680a655"),
                    ("Authorization", "Basic ZXhhbXBsZS13cml0ZS1rZXk6"),
                ),
                (
                    b'{"batch":[{"messageId":"order-1002-signup","type":"identify",'
                    b'"userId":"u-43","timestamp":"2026-11-20T10:15:31.000Z",'
                    b'"traits":{"plan":"gold"},'
                    b'"context":{"hops":["aaaaaaaaaaaaaaa","zcmwmxbkmuodelu"]}}]}'
                ),
            ),
        ),
    )


def is_loop(event: Mapped) -> bool:
    """Say whether an event left its app before, or as many apps as it may."""
    hops = _hops_of(event)
    return event.app in hops or len(hops) >= HOPS_MAX


def _hops_of(event: Mapped) -> list[str]:
    # From the event as it came in, so that no playbook can lose them.
    context = event.event.get("context")
    hops = cast("dict[str, Any]", context).get("hops") if isinstance(context, dict) else None
    return [str(hop) for hop in cast("list[Any]", hops)] if isinstance(hops, list) else []


def _routed(event: Mapped, seen: Counter[str]) -> dict[str, Any]:
    """Return what is sent of an event. `seen` counts the ids that this request has.

    Where a playbook made several events of one, each needs an id of its own: the second one would
    count as a repeat.
    """
    routed = {name: value for name, value in event.value.items() if name not in _NOT_SENT}
    routed.setdefault("messageId", event.message_id)
    routed.setdefault("type", event.type)
    if not any(routed.get(name) for name in _IDENTITY):
        routed |= {name: event.event[name] for name in _IDENTITY if event.event.get(name)}
    message_id = str(routed["messageId"])
    seen[message_id] += 1
    if seen[message_id] > 1:
        routed["messageId"] = f"{message_id}.{seen[message_id]}"
    context: Any = routed.get("context")
    kept = cast("dict[str, Any]", context) if isinstance(context, dict) else {}
    routed["context"] = {**kept, "hops": [*_hops_of(event), event.app]}
    return routed


def _parts(events: Sequence[Mapped], going: Sequence[int]) -> Iterator[list[int]]:
    """Yield positions that go in one request, in order; an event larger than one goes alone."""
    part: list[int] = []
    size = 0
    for position in going:
        more = len(events[position].body) + 100  # what the hops and the comma add
        if part and size + more > BODY_BYTES_MAX:
            yield part
            part, size = [], 0
        part.append(position)
        size += more
    if part:
        yield part


def _refused(body: bytes) -> Iterator[tuple[int, str]]:
    """Yield the positions of events that an answer of 200 names as refused, each with why."""
    try:
        told = msgspec.json.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return
    entries = cast("dict[str, Any]", told).get("rejected") if isinstance(told, dict) else None
    for entry in cast("list[Any]", entries) if isinstance(entries, list) else ():
        fields = cast("dict[str, Any]", entry) if isinstance(entry, dict) else {}
        position = fields.get("index")
        if isinstance(position, int) and position >= 0:
            yield position, f"{fields.get('code', 'refused')}: {fields.get('message', '')}"[:500]
