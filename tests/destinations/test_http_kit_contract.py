"""What a kit's connection says beyond a request: contract, envelope, endpoints, lost answers."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from tests.support.kit_driving import NOW_MS, attempt_for, by_json, drive, made_of, ok, shaped
from trunkline.destinations.http_kit import HttpKit, HttpKitSettings
from trunkline.kit.destination import NoAnswer, Request, Response, delivery_id
from trunkline.model.outcome import Blocked, Delivered, Filtered, Outcome, Rejected, Retry

URL = "https://acme.example/e"
TOP = ("params", "eventSpecific", "answers", "contract")
NAMED = {"rule": "needs_id", "unless": {"inputPathExists": {"inputPath": "id"}}, "then": "reject",
         "say": "An id is needed."}  # fmt: skip
NO_SPAM = {"rule": "spam", "when": {"stringEqual": {"inputPath": "id", "value": "spam"}},
           "then": "drop"}  # fmt: skip
FORBIDDEN = Rejected("needs_id: An id is needed.", is_sure=True, was_sent=False)


def kit(given: dict[str, str] | None = None, settings: Any = None, **said: Any) -> HttpKit:
    more = {key: said.pop(key) for key in TOP if key in said}
    return made_of({"default": {"endpoint": URL, **said}, **more}, given, **(settings or {}))


def bodies(requests: list[Request]) -> list[Any]:
    return [msgspec.json.decode(one.body) for one in requests]


# The contract


def test_what_the_contract_forbids_is_not_sent_and_the_rest_goes_in_order() -> None:
    events = [
        shaped({"id": "a"}, id="m-1"),
        shaped({}, id="m-2"),
        shaped({"id": "spam"}, id="m-3"),
        shaped({"id": "b"}, id="m-4"),
    ]
    driven = drive(kit(contract=[NAMED, NO_SPAM], batchSize=10), events)
    assert bodies(driven.requests) == [[{"id": "a"}, {"id": "b"}]]
    assert driven.outcomes == [Delivered(), FORBIDDEN, Filtered("vendor: spam"), Delivered()]
    key = dict(driven.requests[0].headers)["Idempotency-Key"]
    assert key == delivery_id("a/d", ["m-1", "m-4"]), "the key is of what goes"


def test_an_exchange_of_which_nothing_may_go_ends_without_a_request() -> None:
    destination = kit(contract=[NAMED, NO_SPAM])
    events = [shaped({}), shaped({"id": "spam"}, id="m-2")]
    driven = drive(destination, events)
    assert driven.requests == []
    assert driven.outcomes == [FORBIDDEN, Filtered("vendor: spam")]
    with pytest.raises(ValueError, match="no event may be sent: needs_id: An id is needed"):
        destination.build(events, attempt_for(events))


def test_an_event_of_which_one_part_is_forbidden_is_not_half_sent() -> None:
    events = [
        shaped({"id": "a"}, id="m-1"),
        shaped({}, id="m-1"),
        shaped({"id": "spam"}, id="m-2"),
        shaped({"id": "b"}, id="m-2"),
    ]
    driven = drive(kit(contract=[NAMED, NO_SPAM], batchSize=10), events)
    assert bodies(driven.requests) == [[{"id": "b"}]]
    # What is dropped is no fault: the other part of that event goes.
    assert driven.outcomes == [FORBIDDEN, FORBIDDEN, Filtered("vendor: spam"), Delivered()]


def test_what_is_mended_is_what_goes_and_its_notes_are_told() -> None:
    rule = {"rule": "long", "key": "id", "charactersMax": 3, "then": "cut"}
    destination = kit(contract=[rule])
    events = [shaped({"id": "abcdef"}), shaped({"id": "x"}, id="m-2")]
    assert bodies(drive(destination, events).requests) == [{"id": "abc"}, {"id": "x"}]
    attempt = attempt_for(events)
    assert destination.notes(events, attempt) == [["long: id was cut to 3 characters"], []]
    assert msgspec.json.decode(destination.build(events, attempt).body) == {"id": "abc"}
    assert kit().notes(events, attempt) == [[], []]


# Envelope and endpoint


def test_the_envelope_goes_around_what_was_made() -> None:
    body = {"data": "$events", "test": "$$CODE$$"}
    named = [{"name": "CODE", "isOptional": True}]
    events = [shaped({"a": 1}), shaped({"a": 2}, id="m-2")]
    plain = drive(kit(params=named, body=body, batchSize=9), events)
    assert bodies(plain.requests) == [{"data": [{"a": 1}, {"a": 2}]}]
    coded = drive(kit({"CODE": "t"}, params=named, body=body, batchSize=9), events)
    assert bodies(coded.requests) == [{"data": [{"a": 1}, {"a": 2}], "test": "t"}]


def test_an_envelope_of_a_form_gives_its_fields() -> None:
    body = {"event": "$event", "token": "$$T$$"}
    destination = kit({"T": "x"}, params=[{"name": "T"}], body=body, encoding="form")
    assert drive(destination, [shaped({"a": 1})]).requests[0].body == (
        b"event=%7B%22a%22%3A1%7D&token=x"
    )


def test_an_endpoint_names_values_of_the_event_and_nothing_breaks_out_of_its_place() -> None:
    destination = kit(endpoint="https://acme.example/u/{{userId}}/e?n={{properties.n}}")
    users = ["a/../b", "x?y#z", "é &%", "{{userId}}"]
    events = [
        shaped({"id": n}, id=f"m-{n}", user=user, properties={"n": 1.5})
        for n, user in enumerate(users)
    ]
    driven = drive(destination, events)
    assert [one.url for one in driven.requests] == [
        "https://acme.example/u/a%2F..%2Fb/e?n=1.5",
        "https://acme.example/u/x%3Fy%23z/e?n=1.5",
        "https://acme.example/u/%C3%A9%20%26%25/e?n=1.5",
        "https://acme.example/u/%7B%7BuserId%7D%7D/e?n=1.5",
    ]
    assert driven.outcomes == [Delivered()] * 4


@pytest.mark.parametrize("value", [None, "", ".", "..", [1], {"a": 1}, "x" * 1001])
def test_an_event_without_a_value_for_the_endpoint_is_rejected_unsent(value: Any) -> None:
    destination = kit(endpoint="https://acme.example/u/{{properties.id}}")
    driven = drive(destination, [shaped(properties={"id": value})])
    assert driven.requests == []
    assert isinstance(driven.outcomes[0], Rejected) and not driven.outcomes[0].was_sent
    assert driven.outcomes[0].reason.startswith("endpoint_needs_properties.id: ")


def test_events_whose_urls_differ_go_in_requests_of_their_own() -> None:
    destination = kit(endpoint="https://acme.example/{{event}}", batchSize=10)
    events = [shaped(id=f"m-{n}", name="AB"[n % 2], user=f"u-{n}") for n in range(4)]
    driven = drive(destination, events)
    assert [one.url[-1] for one in driven.requests] == ["A", "B"]
    assert [len(body) for body in bodies(driven.requests)] == [2, 2]


def test_no_value_of_an_event_decides_the_host() -> None:
    for endpoint in ("https://{{userId}}/e", "https://{{userId}}.acme.example/e"):
        with pytest.raises(ValueError, match="would decide the host"):
            kit(endpoint=endpoint)
    with pytest.raises(ValueError, match=r"opens \{\{ and does not close"):
        kit(endpoint="https://acme.example/{{userId")


# Settings from the kit


def test_the_kit_s_rate_is_the_default_of_the_setting() -> None:
    connection = {"default": {"endpoint": URL, "requestsPerSecond": 2.5}}
    made = msgspec.convert({"kit": "a", "connection": connection}, HttpKitSettings)
    assert made.requests_per_second_max == 2.5
    told = {"kit": "a", "connection": connection, "requests_per_second_max": 7}
    assert msgspec.convert(told, HttpKitSettings).requests_per_second_max == 7
    plain = {"kit": "a", "connection": {"default": {"endpoint": URL}}}
    assert msgspec.convert(plain, HttpKitSettings).requests_per_second_max is None
    with pytest.raises(ValueError, match=r"expected a number from 0\.01 to 10000"):
        kit(requestsPerSecond=0)


# Answers


def answered(rules: dict[str, Any], answer: Response, count: int = 1) -> list[Outcome]:
    events = [shaped(id=f"m-{n}", user=f"u-{n}") for n in range(count)]
    return [*drive(kit(batchSize=100, answers=rules), events, lambda _: answer).outcomes]


def test_a_success_that_proves_nothing_is_unverified() -> None:
    rules = {"unverified": True}
    assert answered(rules, by_json({})) == [Delivered(verified=False)]
    assert answered(rules, by_json({}, 503)) == [Retry("HTTP 503")]
    told = {"unverified": True, "success": [{"path": "ok", "equals": True}]}
    assert answered(told, by_json({"ok": True})) == [Delivered(verified=False)]


def test_the_vendor_s_own_words_are_the_reason() -> None:
    rules = {"reason": "error.message", "blocked": [{"path": "error.code", "equals": 190}]}
    body = {"error": {"code": 190, "message": "Invalid token"}}
    assert answered(rules, by_json(body, 400)) == [Blocked("HTTP 400: Invalid token")]
    body = {"error": {"code": 1, "message": {"a": 1}}}
    assert answered(rules, by_json(body, 400)) == [Rejected('HTTP 400: {"a":1}')]
    assert answered(rules, by_json({}, 400)) == [Rejected("HTTP 400")]
    assert len(answered({"reason": "m"}, by_json({"m": "x" * 900}, 400))[0].reason) == 300  # pyright: ignore[reportAttributeAccessIssue, reportUnknownArgumentType, reportUnknownMemberType]


@pytest.mark.parametrize(
    ("unit", "value", "seconds"),
    [
        ("seconds", "12", 12.0),
        ("epoch_seconds", str(NOW_MS // 1000 + 30), 30.0),
        ("epoch_seconds", "5", 3.0),
        ("seconds", "soon", 3.0),
        ("seconds", "", 3.0),
        ("seconds", "nan", 3.0),
        ("seconds", "99999999", 86_400.0),
    ],
)
def test_a_vendor_says_in_its_own_header_when_it_takes_events_again(
    unit: str, value: str, seconds: float
) -> None:
    rules = {"after": {"header": "X-RateLimit-Reset", "is": unit}}
    answer = Response(429, {"x-ratelimit-reset": value}, b"", 3.0)
    assert answered(rules, answer) == [Retry("HTTP 429", seconds)]


def sure(reason: str) -> Rejected:
    return Rejected(reason, is_sure=True)


def test_entries_of_an_answer_may_ask_for_their_event_again() -> None:
    rules = {"events": {"path": "r", "index": "i", "retry": [{"path": "s", "equals": 429}]}}
    body = {"r": [{"i": 0, "s": 429}, {"i": 2, "s": 400}]}
    assert answered(rules, by_json(body), 3) == [Retry("HTTP 200"), Delivered(), sure("HTTP 200")]


def test_a_rejected_batch_that_names_events_is_sent_again_without_them() -> None:
    rules = {"reason": "error", "events": {"path": "bad", "index": "i", "reason": "why"}}
    body = {"error": "2 bad", "bad": [{"i": 1, "why": "old"}]}
    again = Retry("HTTP 400: 2 bad; sent again without the events that were named")
    assert answered(rules, by_json(body, 400), 3) == [again, sure('HTTP 400, why is "old"'), again]
    unnamed = answered(rules, by_json({"error": "bad"}, 400), 3)
    assert unnamed == [Rejected("HTTP 400: bad")] * 3, "split as a whole"
    assert answered(rules, by_json(body, 503), 2) == [Retry("HTTP 503: 2 bad")] * 2


def test_an_answer_may_list_positions_by_the_field_at_fault() -> None:
    rules = {"events": {"paths": ["missing", "invalid", "silenced"], "indexes": True}}
    body = {"missing": {"time": [0, 2]}, "invalid": {"a": {"b": [4]}}, "silenced": [9, "x", True]}
    again = Retry("HTTP 400; sent again without the events that were named")
    assert answered(rules, by_json(body, 400), 5) == [
        sure("HTTP 400, missing.time"), again, sure("HTTP 400, missing.time"), again,
        sure("HTTP 400, invalid.a.b"),
    ]  # fmt: skip


@pytest.mark.parametrize("body", [None, [], 7, {"bad": 7}, {"bad": [None, 7, {"i": -1}]}])
def test_an_answer_that_names_nobody_condemns_nobody(body: Any) -> None:
    rules = {"events": {"path": "bad", "index": "i"}}
    assert answered(rules, by_json(body), 2) == [Delivered()] * 2


def test_mistakes_of_answers_are_told() -> None:
    rules = {"events": {"index": "i", "indexes": True}, "unknown": "forget",
             "after": {"header": "X", "is": "minutes"}}  # fmt: skip
    with pytest.raises(ValueError) as caught:
        kit(answers=rules)
    for told in (
        "events: path is missing", "events.index: stands beside `indexes`",
        "unknown: is 'forget'; expected `retry` or `give_up`",
        "after.is: is 'minutes'; expected `seconds` or `epoch_seconds`",
    ):  # fmt: skip
        assert f"connection.answers.{told}" in str(caught.value)


# Lost answers


def lost(was_sent: bool) -> Any:
    def answer(_: Request) -> Response:
        raise NoAnswer(Retry("timeout"), "timeout", was_sent=was_sent)

    return answer


@pytest.mark.parametrize(
    ("said", "setting", "gives_up"),
    [(None, "", False), ("give_up", "", True), ("give_up", "retry", False),
     ("retry", "give_up", True)],
)  # fmt: skip
def test_a_lost_answer_is_retried_or_given_up_as_the_kit_says_or_the_operator(
    said: str | None, setting: str, gives_up: bool
) -> None:
    answers = {"unknown": said} if said else {}
    destination = kit(answers=answers, settings={"unknown_outcome": setting}, batchSize=5)
    events = [shaped(), shaped(id="m-2")]
    if not gives_up:
        with pytest.raises(NoAnswer):
            drive(destination, events, lost(True))
        return
    outcomes = drive(destination, events, lost(True)).outcomes
    assert all(isinstance(one, Rejected) and one.is_sure and one.was_sent for one in outcomes)
    assert str(outcomes[0]).count("outcome_unknown: timeout")
    with pytest.raises(NoAnswer):
        drive(destination, events, lost(False))  # it never left: nothing is doubtful


def test_what_was_given_up_is_not_split_and_what_follows_goes_on() -> None:
    destination = kit(answers={"unknown": "give_up"}, settings={"batch_events_max": 9})
    events = [shaped(id=f"m-{n}", user="same") for n in range(3)]

    def answer(request: Request) -> Response:
        if b"m-1" in request.body:
            raise NoAnswer(Retry("timeout"), "timeout")
        return ok(request)

    outcomes = drive(destination, events, answer).outcomes
    assert [type(one) for one in outcomes] == [Delivered, Rejected, Delivered]


def test_a_token_that_never_came_leaves_nothing_in_doubt() -> None:
    oauth2 = {"request": {"url": "https://acme.example/token"}}
    destination = kit(answers={"unknown": "give_up"}, oauth2Auth=oauth2)
    with pytest.raises(NoAnswer) as caught:
        drive(destination, [shaped()], lost(True))
    assert not caught.value.was_sent
