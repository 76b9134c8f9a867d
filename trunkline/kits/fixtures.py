"""Running a kit's fixtures: events through its playbook, contract and connection, nothing sent.

Token requests are answered here and do not count; a token is `fixture-token`. A private key that
the fixture's params give no PEM text for is made up, so that no kit has to hold one.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cache
from typing import Any

import msgspec
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from msgspec import UNSET, Struct

from trunkline.kit.destination import (
    EXAMPLE_DESTINATION,
    REQUESTS_MAX,
    Attempt,
    Call,
    Mapped,
    Request,
    Response,
    delivery_id,
)
from trunkline.kit.shapers import encode_output, moment_of
from trunkline.kit.times import parse_time_ms
from trunkline.kits.answers import Answers
from trunkline.kits.connection import parse_connection
from trunkline.kits.exchange import Exchanges
from trunkline.kits.filled import fill_connection
from trunkline.kits.fixture_compare import compare_notes, compare_requests
from trunkline.kits.fixture_spec import KitFixture
from trunkline.kits.kit import Kit
from trunkline.kits.params import used_params
from trunkline.kits.request_spec import BATCH_MAX
from trunkline.model.event import lane_of
from trunkline.model.outcome import Filtered, Outcome, Rejected
from trunkline.playbook.compile import compile_playbook
from trunkline.playbook.names import event_name
from trunkline.playbook.program import PlaybookError, Program

TOKEN = "fixture-token"
NOW_MS = 1_795_170_000_000  # of a fixture whose events tell no time
AFTER_MS = 1000  # how long after its last event a fixture is sent, where it does not say


class FixtureResult(Struct, frozen=True):
    """What a fixture came to: passed where `problems` is empty; `requests` are those it made."""

    name: str
    problems: tuple[str, ...] = ()
    requests: tuple[Request, ...] = ()

    @property
    def has_passed(self) -> bool:
        """Say whether all was as the fixture has it."""
        return not self.problems


class Ran(Struct):
    """What the events of a fixture came to."""

    requests: list[Request]
    outcomes: Sequence[Outcome | Filtered]
    notes: list[str]
    filtered: list[str]


class CannotRun(Exception):
    """A fixture that cannot be run: a sentence."""


def run_fixtures(kit: Kit) -> list[FixtureResult]:
    """Run every fixture of a kit. Never raises for what a kit says."""
    return [run_fixture(kit, fixture) for fixture in kit.fixtures]


def run_fixture(kit: Kit, fixture: KitFixture) -> FixtureResult:
    """Run one fixture."""
    try:
        ran = _run(kit, fixture)
    except PlaybookError as error:
        return FixtureResult(fixture.name, tuple(map(str, error.problems)))
    except (CannotRun, ValueError) as error:
        return FixtureResult(fixture.name, (str(error),))
    problems = [
        *compare_requests(fixture.requests, ran.requests),
        *_compare_ends(fixture, ran),
        *compare_notes(fixture.notes, ran.notes),
    ]
    return FixtureResult(fixture.name, tuple(problems), tuple(ran.requests))


def fixture_params(kit: Kit, fixture: KitFixture) -> dict[str, str]:
    """Return the value of every param: the fixture's, else the default, else the example."""
    values = {
        one.name: one.example if one.default is None else one.default
        for one in kit.params
        if not (one.is_optional and one.default is None)
    }
    values.update(fixture.params)
    for name in _key_params(kit):
        if "-----END" not in values.get(name, ""):
            values[name] = _made_up_key()
    return values


def _key_params(kit: Kit) -> set[str]:
    """Return the params that hold a private key."""
    jwts = [spec.auth.oauth2.jwt for spec in kit.way.requests() if spec.auth.oauth2]
    keys = [jwt.key for jwt in jwts if jwt is not None and jwt.algorithm == "RS256"]
    return {name for key in keys for name in used_params(key)}


@cache
def _made_up_key() -> str:
    key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    form = serialization.PrivateFormat.PKCS8
    return key.private_bytes(
        serialization.Encoding.PEM, form, serialization.NoEncryption()
    ).decode()


def fixture_now(fixture: KitFixture) -> int:
    """Return the attempt's time, in Unix milliseconds."""
    if fixture.now_ms:
        return fixture.now_ms
    times = [parse_time_ms(event.get("timestamp")) for event in fixture.events]
    return max((one + AFTER_MS for one in times if one is not None), default=NOW_MS)


class FixtureKit:
    """A kit with a fixture's params, ready to be run over events. Raises `CannotRun` and more.

    `PlaybookError` where the playbook does not compile, `ValueError` for params that do not fit.
    """

    def __init__(self, kit: Kit, fixture: KitFixture) -> None:
        if kit.cannot_send or kit.connection is None:
            raise CannotRun(f"the kit cannot send: {kit.cannot_send}")
        values = fixture_params(kit, fixture)
        empty = {one.name: "" for one in kit.params if one.is_optional}
        self._program = compile_playbook(kit.book, {**empty, **values})
        filled = fill_connection(parse_connection(kit.settings_connection), values)
        filled = msgspec.structs.replace(filled, answers=Answers(), follow_up=None)
        self._exchanges = Exchanges(filled, BATCH_MAX, gives_up_unknown=False)
        if self._exchanges.code():
            raise CannotRun("the connection has a transform, which is code; fixtures run none")
        auths = [spec.auth.oauth2 for spec in kit.way.requests() if spec.auth.oauth2]
        self._token = msgspec.json.encode({auth.token_key: TOKEN for auth in auths})

    def run(self, events: Sequence[Mapping[str, Any]], now_ms: int) -> Ran:
        """Shape events, make their requests and answer each 200. Raises `CannotRun`."""
        mapped, filtered = shape_events(self._program, events, now_ms)
        if not mapped:
            return Ran([], [], [], filtered)
        attempt = attempt_at(mapped, now_ms)
        requests, outcomes = _drive(self._exchanges, mapped, attempt, self._token)
        return Ran(requests, outcomes, [], filtered)

    def notes(self, events: Sequence[Mapping[str, Any]], now_ms: int) -> list[str]:
        """Return what the contract notes about events. Raises `CannotRun`."""
        mapped, _ = shape_events(self._program, events, now_ms)
        notes = self._exchanges.notes(mapped, attempt_at(mapped, now_ms))
        return [note for of_one in notes for note in of_one]


def _run(kit: Kit, fixture: KitFixture) -> Ran:
    ready, now_ms = FixtureKit(kit, fixture), fixture_now(fixture)
    ran = ready.run(fixture.events, now_ms)
    ran.notes = ready.notes(fixture.events, now_ms)
    return ran


def shape_events(
    program: Program, events: Sequence[Mapping[str, Any]], now_ms: int
) -> tuple[list[Mapped], list[str]]:
    """Return what a playbook makes of events, and the filters that dropped some.

    Raises `CannotRun` where one cannot be shaped.
    """
    made: list[Mapped] = []
    filtered: list[str] = []
    for event in events:
        moment = moment_of(EXAMPLE_DESTINATION, event["messageId"], now_ms)
        shaped = program.shape(dict(event), moment)
        if shaped.failure is not None:
            raise CannotRun(f"{event['messageId']}: {shaped.failure.sentence}")
        if not shaped.outputs:
            filtered.append(shaped.filtered)
        made += [_mapped(event, output) for output in shaped.outputs]
    return made, filtered


def _mapped(event: Mapping[str, Any], output: dict[str, Any]) -> Mapped:
    body = encode_output(output)
    if isinstance(body, str):
        raise CannotRun(f"{event['messageId']}: {body}")
    return Mapped(
        event["messageId"],
        str(event.get("app", "")),
        lane_of(event.get("userId", UNSET), event.get("anonymousId", UNSET)),
        event["type"],
        event_name({**event, "type": "track"}) if event["type"] == "track" else "",
        body,
        msgspec.json.encode(event),
    )


def attempt_at(events: Sequence[Mapped], now_ms: int) -> Attempt:
    """Return the first attempt to send events."""
    ids = [event.message_id for event in events]
    return Attempt(now_ms, 1, EXAMPLE_DESTINATION, delivery_id(EXAMPLE_DESTINATION, ids))


def _drive(
    exchanges: Exchanges, events: Sequence[Mapped], attempt: Attempt, token_answer: bytes
) -> tuple[list[Request], Sequence[Outcome | Filtered]]:
    """Run an exchange to its end, answering 200."""
    steps = exchanges.exchange(events, attempt)
    requests: list[Request] = []
    try:
        asked = next(steps)
        for _ in range(2 * REQUESTS_MAX):
            if isinstance(asked, Call):
                raise CannotRun("the connection calls code; fixtures run none")
            if not asked.hides_answer:
                requests.append(asked)
            asked = steps.send(Response(200, {}, token_answer if asked.hides_answer else b"{}"))
    except StopIteration as end:
        return requests, end.value
    raise CannotRun(f"the exchange asks more than {2 * REQUESTS_MAX} times")


def _compare_ends(fixture: KitFixture, ran: Ran) -> list[str]:
    """Compare why events were not sent."""
    dropped = [one.reason for one in ran.outcomes if isinstance(one, Filtered)]
    rejected = [one.reason for one in ran.outcomes if isinstance(one, Rejected)]
    problems: list[str] = []
    if fixture.dropped and f"vendor: {fixture.dropped}" not in dropped:
        problems.append(f"no event was dropped by {fixture.dropped}")
    if fixture.rejected and not any(r.startswith(f"{fixture.rejected}:") for r in rejected):
        problems.append(f"no event was rejected by {fixture.rejected}")
    if fixture.is_filtered and not ran.filtered:
        problems.append("no event was filtered by the playbook")
    if dropped and not fixture.dropped:
        problems.append(f"an event was dropped: {dropped[0]}")
    if rejected and not fixture.rejected:
        problems.append(f"an event was rejected: {rejected[0]}")
    if ran.filtered and not fixture.is_filtered:
        problems.append(f"an event was filtered: {ran.filtered[0]}")
    return problems
