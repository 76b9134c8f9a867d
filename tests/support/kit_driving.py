"""Drives a destination's exchange the way the forwarder does, and writes down what it asked."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, NamedTuple

import msgspec

from trunkline.destinations.http_kit import HttpKit, HttpKitSettings
from trunkline.kit.destination import (
    REQUESTS_MAX,
    Attempt,
    Call,
    Mapped,
    NoAnswer,
    Request,
    Response,
)
from trunkline.kit.destination import delivery_id as key_of
from trunkline.model.outcome import Outcome
from trunkline.playbook.program import CodeError

NOW_MS = 1_795_170_000_000
Answer = Callable[[Request], Response]


class Driven(NamedTuple):
    """What an exchange asked, and what it came to."""

    requests: list[Request]
    calls: list[Call]
    outcomes: Sequence[Outcome]


def made_of(
    connection: dict[str, Any], params: dict[str, str] | None = None, **more: Any
) -> HttpKit:
    """Return the destination of a connection, its settings checked as the catalog's are."""
    values = {"kit": "acme", "connection": connection, "params": params or {}, **more}
    return HttpKit(msgspec.convert(values, HttpKitSettings))


def shaped(
    output: dict[str, Any] | None = None, *, id: str = "m-1", user: str = "u", type: str = "track",
    name: str = "Order Completed", **event: Any
) -> Mapped:  # fmt: skip
    """Return an event of which a playbook made `output`."""
    canonical = {"messageId": id, "type": type, "event": name, "userId": user, **event}
    body = msgspec.json.encode({"id": id} if output is None else output)
    return Mapped(id, "a" * 15, user, type, name, body, msgspec.json.encode(canonical))


def attempt_for(events: Sequence[Mapped], *, now_ms: int = NOW_MS, number: int = 1) -> Attempt:
    return Attempt(now_ms, number, "a/d", key_of("a/d", [event.message_id for event in events]))


def ok(request: Request) -> Response:
    return Response(200, {}, b"")


def by_json(body: Any, status: int = 200) -> Response:
    return Response(status, {}, msgspec.json.encode(body))


def drive(
    destination: HttpKit,
    events: Sequence[Mapped],
    answer: Answer = ok,
    run: Callable[[Call], Any] | None = None,
    *,
    now_ms: int = NOW_MS,
) -> Driven:
    """Run one exchange to its end. Fails where it asks more than an exchange may."""
    exchange = destination.exchange(events, attempt_for(events, now_ms=now_ms))
    requests: list[Request] = []
    calls: list[Call] = []
    step: Callable[[], Request | Call] = exchange.__next__
    while True:
        try:
            asked = step()
        except StopIteration as end:
            assert len(end.value) == len(events)
            return Driven(requests, calls, end.value)
        try:
            if isinstance(asked, Call):
                assert run is not None, f"a call of {asked.name} that the test does not expect"
                calls.append(asked)
                reply = run(asked)
            else:
                requests.append(asked)
                assert len(requests) <= REQUESTS_MAX
                reply = answer(asked)
        except (NoAnswer, CodeError) as error:
            step = partial(exchange.throw, error)
        else:
            step = partial(exchange.send, reply)
