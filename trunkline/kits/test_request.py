"""The connection test of a kit: requests that prove a destination's settings and pollute nothing.

A generator as an exchange is one, so that signing in is tested as it is done; it ends in a verdict.
The event of a test is a fixture's, with the present time and an id of its own.
"""

from __future__ import annotations

from collections.abc import Generator, Mapping
from typing import Any

import msgspec
from msgspec import Struct

from trunkline.kit.destination import (
    EXAMPLE_DESTINATION,
    Attempt,
    Call,
    Mapped,
    NoAnswer,
    Request,
    delivery_id,
)
from trunkline.kit.times import format_ms
from trunkline.kits.connection import (
    CONDITIONAL,
    DEFAULT,
    FOLLOW_UP,
    Connection,
    parse_connection,
)
from trunkline.kits.exchange import Exchanges
from trunkline.kits.filled import fill_connection
from trunkline.kits.fixtures import CannotRun, shape_events
from trunkline.kits.kit import Kit
from trunkline.kits.test_spec import ConnectionTestSpec, answers_of, request_of
from trunkline.model.outcome import Delivered, Filtered, Outcome
from trunkline.playbook.compile import compile_playbook
from trunkline.playbook.names import event_key, event_name
from trunkline.playbook.program import CodeError, PlaybookError

NO_TEST = "this kit has no connection test; send a test event instead"
_TIMES = ("timestamp", "sentAt", "originalTimestamp", "receivedAt")

Tree = dict[str, Any]


class TestVerdict(Struct, frozen=True):
    """What a connection test showed, in a sentence."""

    __test__ = False  # its name is no test of ours
    ok: bool
    sentence: str


class ConnectionTest(Struct, frozen=True):
    """A test to be run. `none` says why there is none to run; else it is empty."""

    proves: str = ""
    none: str = ""
    exchanges: Exchanges | None = None
    events: tuple[Tree, ...] = ()
    kit: Kit | None = None
    params: Mapping[str, str] = {}

    def steps(self, now_ms: int) -> Generator[Request | Call, Any, TestVerdict]:
        """Yield requests, receive responses, return the verdict.

        `NoAnswer` is raised where the request was yielded, as an exchange is driven.
        """
        if self.exchanges is None:
            return TestVerdict(False, self.none)
        try:
            events = self._shape(now_ms)
            key = delivery_id(EXAMPLE_DESTINATION, [event.message_id for event in events])
            attempt = Attempt(now_ms, 1, EXAMPLE_DESTINATION, key)
            outcomes = yield from self.exchanges.exchange(events, attempt)
        except (CannotRun, CodeError, ValueError) as error:
            return TestVerdict(False, f"no request can be made: {error}")
        except NoAnswer as failure:
            return TestVerdict(False, f"there was no answer: {failure}")
        return self._judge(outcomes[0])

    def _shape(self, now_ms: int) -> list[Mapped]:
        """Return what is sent of the test's event, made anew. Raises `CannotRun`."""
        if self.kit is None or not self.events:
            return [Mapped("connection-test", "", "", "track", "", b"{}", b"{}")]
        program = compile_playbook(self.kit.book, self.params)
        mapped, filtered = shape_events(program, [_renew(self.events[0], now_ms)], now_ms)
        if not mapped:
            raise CannotRun(f"the playbook filters the test's event ({filtered[0]})")
        return mapped[:1]

    def _judge(self, outcome: Outcome | Filtered) -> TestVerdict:
        if not isinstance(outcome, Delivered):
            return TestVerdict(False, f"it failed: {outcome.reason}")
        doubt = "" if outcome.verified else " The vendor answers so to anything: nothing is proved."
        return TestVerdict(True, self.proves + doubt)


def make_test(kit: Kit, params: Mapping[str, str]) -> ConnectionTest:
    """Return the connection test of a kit for the params that a destination gives.

    Raises `ValueError` with a sentence, which shows no param's value, where they cannot be used.
    """
    spec = kit.test
    if spec is None or spec.none:
        return ConnectionTest(none=NO_TEST if spec is None else spec.none)
    if kit.cannot_send or kit.settings_connection is None:
        raise ValueError(f"the kit cannot send yet: {kit.cannot_send}")
    tree = kit.settings_connection
    given = {**params, **spec.params}
    try:
        if spec.request is not None:
            return ConnectionTest(spec.proves, exchanges=_own_request(spec, tree, given))
        event = next(one.events[0] for one in kit.fixtures if one.name == spec.event)
        connection = parse_connection(_with_changes(spec, tree, event))
        values = {**_defaults(kit), **given}
        return ConnectionTest(spec.proves, "", _exchanges(connection, given), (event,), kit, values)
    except PlaybookError as error:
        raise ValueError(f"the connection test cannot be used: {error}") from error


def _defaults(kit: Kit) -> dict[str, str]:
    known = [one for one in kit.params if one.default is not None or one.is_optional]
    return {one.name: one.default or "" for one in known}


def _exchanges(connection: Connection, given: Mapping[str, str]) -> Exchanges:
    return Exchanges(fill_connection(connection, given), 1, gives_up_unknown=False)


def _own_request(spec: ConnectionTestSpec, tree: Tree, given: Mapping[str, str]) -> Exchanges:
    """Return what sends the test's own request, which no event and no contract decide."""
    own = {
        "params": tree.get("params"),
        DEFAULT: request_of(spec, tree[DEFAULT]),
        "answers": answers_of(spec, tree),
    }
    return _exchanges(parse_connection(own), given)


def _with_changes(spec: ConnectionTestSpec, tree: Tree, event: Tree) -> Tree:
    """Return the connection with the test's endpoint, body and answers in its event's request."""
    changed: Tree = msgspec.json.decode(msgspec.json.encode(tree))
    name = event_key(event_name(event))
    variants: Tree = changed.get("eventSpecific") or {}
    request = next((r for key, r in variants.items() if event_key(key) == name), changed[DEFAULT])
    told = {"endpoint": spec.endpoint or None, "body": spec.body}
    request.update({key: value for key, value in told.items() if value is not None})
    if any(told.values()):
        changed.pop(CONDITIONAL, None)  # the test's own endpoint is that of its event, by its name
    changed.pop(FOLLOW_UP, None)  # a test is judged by its first answer
    return {**changed, "answers": answers_of(spec, tree)}


def _renew(event: Tree, now_ms: int) -> Tree:
    """Return an event as of now: a vendor takes no old ones, and none twice."""
    times = {name: format_ms(now_ms) for name in _TIMES if name in event}
    return {**event, **times, "messageId": f"{event['messageId']}-test-{now_ms}"}
