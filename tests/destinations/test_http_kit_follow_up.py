"""A vendor that takes events first and judges them later: asked, not believed before it tells."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec
import pytest

from tests.support.kit_driving import NOW_MS, attempt_for, by_json, drive, made_of, shaped
from trunkline.destinations.http_kit import HttpKit
from trunkline.kit.destination import Mapped, NoAnswer, Request, Response
from trunkline.kits import following
from trunkline.model.outcome import Blocked, Delivered, Outcome, Rejected, Retry

URL = "https://acme.example/e"
MINUTE_MS = 60_000
LATER: dict[str, Any] = {
    "request": {"endpoint": "https://acme.example/s?id={{job.id}}", "method": "GET"},
    "after": "10m",
    "every": "5m",
    "giveUp": "1h",
    "answers": {
        "pending": [{"path": "state", "equals": "busy"}],
        "retry": [{"path": "state", "equals": "again"}],
        "rejected": [{"path": "state", "equals": "bad"}],
        "unverified": [{"path": "state", "equals": "some"}],
        "success": [{"path": "state", "equals": "good"}],
    },
}
SINGLE: dict[str, Any] = {
    **LATER,
    "answers": {
        "events": {
            "path": "parts", "key": "of", "of": "to",
            "pending": [{"path": "s", "equals": "busy"}],
            "rejected": [{"path": "s", "equals": "bad"}],
            "success": [{"path": "s", "equals": "good"}],
            "reason": "why",
        }
    },
}  # fmt: skip
WAITING = "the vendor has it, and has not told yet what became of it"


class Vendor:
    """What the vendor says: `state` to whoever asks, and what it was asked."""

    def __init__(self, state: Any = "busy") -> None:
        self.said: Any = {"state": state}
        self.sent: list[Any] = []
        self.asked: list[Request] = []

    def __call__(self, request: Request) -> Response:
        if request.method == "POST":
            self.sent.append(msgspec.json.decode(request.body))
            return by_json({"job": {"id": f"j/{len(self.sent)}"}})
        self.asked.append(request)
        if isinstance(self.said, int):
            return Response(self.said, {}, b"")
        return by_json(self.said)


def kit(follow_up: Any = LATER, settings: Any = None, **more: Any) -> HttpKit:
    default = {"endpoint": URL, "batchSize": 10, **more}
    return made_of({"default": default, "followUp": follow_up}, **(settings or {}))


def at(
    destination: HttpKit, vendor: Vendor, events: Sequence[Mapped], minutes: float = 0
) -> Sequence[Outcome]:
    return drive(destination, events, vendor, now_ms=NOW_MS + round(minutes * MINUTE_MS)).outcomes


def later(minutes: float) -> Retry:
    return Retry(WAITING, minutes * 60, was_taken=True)


def events_of(*ids: str) -> list[Mapped]:
    return [shaped({"id": one, "to": one}, id=one, user=f"u-{one}") for one in ids]


def test_what_was_taken_is_not_delivered_before_the_vendor_says_so_and_is_sent_once() -> None:
    destination, vendor, events = kit(), Vendor(), events_of("a", "b")
    assert at(destination, vendor, events) == [later(10)] * 2
    assert at(destination, vendor, events, 9.5) == [later(0.5)] * 2
    assert vendor.asked == [], "nobody asks before it is time"
    assert at(destination, vendor, events, 10) == [later(5)] * 2
    vendor.said = {"state": "good"}
    assert at(destination, vendor, events, 14) == [later(1)] * 2
    assert at(destination, vendor, events, 15) == [Delivered()] * 2
    assert len(vendor.sent) == 1
    assert [one.url for one in vendor.asked] == ["https://acme.example/s?id=j%2F1"] * 2
    assert [(one.method, one.body) for one in vendor.asked] == [("GET", b"")] * 2


@pytest.mark.parametrize(
    ("state", "outcome"),
    [
        ("bad", Rejected('HTTP 200, state is "bad"', is_sure=True)),
        ("some", Delivered(verified=False)),
        ("again", Retry('HTTP 200, state is "again"')),
        ("what is this", later(5)),
        (None, later(5)),
    ],
)
def test_each_word_of_the_vendor_means_what_the_kit_says(state: Any, outcome: Outcome) -> None:
    destination, vendor, events = kit(), Vendor(state), events_of("a", "b")
    at(destination, vendor, events)
    assert at(destination, vendor, events, 10) == [outcome] * 2
    at(destination, vendor, events, 11)
    is_open = isinstance(outcome, Retry) and outcome.was_taken
    assert len(vendor.sent) == (1 if is_open else 2), "what is over is sent anew when it comes"


@pytest.mark.parametrize(("status", "kind"), [(503, Retry), (404, Retry), (401, Blocked)])
def test_an_answer_that_is_none_loses_nothing(status: int, kind: type) -> None:
    destination, vendor, events = kit(), Vendor(), events_of("a")
    at(destination, vendor, events)
    vendor.said = status
    (outcome,) = at(destination, vendor, events, 10)
    assert isinstance(outcome, kind)
    vendor.said = {"state": "good"}
    assert at(destination, vendor, events, 15) == [Delivered()]
    assert len(vendor.sent) == 1


def test_while_the_vendor_refuses_each_attempt_asks_so_that_a_probe_finds_out() -> None:
    destination, vendor = kit(), Vendor()
    (first,), (second,) = events_of("a"), events_of("b")
    at(destination, vendor, [first])
    at(destination, vendor, [second], 5)
    vendor.said = 401
    refused = [Blocked("HTTP 401")]
    assert at(destination, vendor, [first], 10) == refused
    assert at(destination, vendor, [first], 10.01) == refused
    assert at(destination, vendor, [second], 10.02) == refused, "it is not its time"
    vendor.said = {"state": "busy"}
    assert at(destination, vendor, [second], 10.03) == [later(5)]
    assert len(vendor.asked) == 4


def test_events_of_nobody_wait_for_none_of_the_others() -> None:
    destination, vendor = kit(), Vendor()
    first, other = (shaped({"id": one}, id=one, user="") for one in "ab")
    at(destination, vendor, [first])
    assert at(destination, vendor, [first, other], 1) == [later(9), later(10)]


def test_where_there_is_no_answer_at_all_it_is_asked_again() -> None:
    destination, vendor, events = kit(), Vendor(), events_of("a")
    at(destination, vendor, events)

    def fail(request: Request) -> Response:
        assert request.method == "GET"
        raise NoAnswer(Retry("timeout"))

    both = [*events, *events_of("b")]
    put_off = Retry("timeout", 300, was_taken=True)
    outcomes = drive(destination, both, fail, now_ms=NOW_MS + 10 * MINUTE_MS).outcomes
    assert outcomes == [put_off, Retry("timeout")], "what was not sent is retried as ever"
    vendor.said = {"state": "good"}
    assert at(destination, vendor, events, 15) == [Delivered()]
    assert len(vendor.sent) == 1


def test_an_answer_that_tells_of_single_events_judges_each_by_itself() -> None:
    destination, vendor = kit(SINGLE), Vendor()
    events = events_of("a", "b", "c", "d")
    vendor.said = {
        "parts": [
            {"of": "a", "s": "good"},
            {"of": "b", "s": "bad", "why": "old"},
            {"of": "c", "s": "good"},
            {"of": "c", "s": "busy"},
        ]
    }
    at(destination, vendor, events)
    assert at(destination, vendor, events, 10) == [
        Delivered(), Rejected('HTTP 200, why is "old"', is_sure=True), later(5), later(5),
    ]  # fmt: skip
    vendor.said = {"parts": [{"of": "c", "s": "good"}, {"of": "d", "s": "good"}]}
    assert at(destination, vendor, events[2:], 15) == [Delivered()] * 2
    assert len(vendor.sent) == 1


def test_one_question_is_for_all_events_of_its_request_in_whatever_company_they_come() -> None:
    destination, vendor = kit(), Vendor("good")
    events = events_of("a", "b", "c")
    at(destination, vendor, events)
    others = events_of("x")
    assert at(destination, vendor, others, 1) == [later(10)]
    assert at(destination, vendor, [events[0], *others], 10) == [Delivered(), later(1)]
    assert at(destination, vendor, events[1:], 10) == [Delivered()] * 2
    assert (len(vendor.sent), len(vendor.asked)) == (2, 1)


def test_new_events_go_beside_those_that_wait_but_not_behind_their_own_user_s() -> None:
    destination, vendor = kit(), Vendor()
    (first,) = events_of("a")
    at(destination, vendor, [first])
    behind = shaped({"id": "a2"}, id="a2", user="u-a")
    (other,) = events_of("b")
    outcomes = at(destination, vendor, [first, behind, other], 1)
    assert outcomes[0] == later(9)
    assert isinstance(outcomes[1], Retry) and not outcomes[1].was_taken
    assert outcomes[2] == later(10)
    assert vendor.sent[1:] == [[{"id": "b", "to": "b"}]]


def test_what_was_made_of_one_event_is_asked_after_together_and_no_half_is_sent_twice() -> None:
    destination, vendor = kit(SINGLE), Vendor()
    halves = [shaped({"to": "a"}, id="m"), shaped({"to": "b"}, id="m")]
    vendor.said = {"parts": [{"of": "a", "s": "good"}, {"of": "b", "s": "busy"}]}
    at(destination, vendor, halves)
    assert at(destination, vendor, halves, 10) == [Delivered(), later(5)]
    assert at(destination, vendor, halves, 15) == [Delivered(), later(5)]
    vendor.said = {"parts": [{"of": "b", "s": "good"}]}
    assert at(destination, vendor, halves, 20) == [Delivered()] * 2
    assert len(vendor.sent) == 1
    assert destination.batching.is_whole


@pytest.mark.parametrize("choice", ["retry", "give_up"])
def test_a_word_that_never_comes_is_an_unknown_outcome(choice: str) -> None:
    destination, vendor = kit(settings={"unknown_outcome": choice}), Vendor()
    events = events_of("a")
    at(destination, vendor, events)
    at(destination, vendor, events, 59)
    (outcome,) = at(destination, vendor, events, 64)
    assert isinstance(outcome, Retry if choice == "retry" else Rejected)
    assert outcome.reason.startswith("outcome_unknown: ")
    at(destination, vendor, events, 65)
    assert len(vendor.sent) == 2


def test_after_a_restart_what_waited_is_sent_again() -> None:
    vendor, events = Vendor(), events_of("a")
    at(kit(), vendor, events)
    assert at(kit(), vendor, events, 10) == [later(10)]
    assert len(vendor.sent) == 2


def test_an_answer_without_what_asks_after_it_proves_nothing() -> None:
    outcomes = drive(kit(), events_of("a"), lambda request: by_json({})).outcomes
    assert outcomes == [Delivered(verified=False)]


def test_a_refusal_is_not_asked_after() -> None:
    outcomes = drive(kit(), events_of("a"), lambda request: by_json({}, 422)).outcomes
    assert outcomes == [Rejected("HTTP 422")]


def test_what_is_remembered_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(following, "EVENTS_MAX", 2)
    destination, vendor = kit(), Vendor("good")
    events = events_of("a", "b", "c")
    at(destination, vendor, events)
    assert at(destination, vendor, events[1:], 10) == [Delivered()] * 2
    assert at(destination, vendor, events[:1], 10) == [later(10)], "the oldest goes again"


def test_a_question_signs_in_as_the_events_do_and_leaves_requests_for_them() -> None:
    login = {"basicAuth": {"username": "u", "password": "p"}}
    destination, vendor = kit(**login, batchSize=1), Vendor("good")
    waiting = events_of(*"abcdefgh")
    assert at(destination, vendor, waiting) == [later(10)] * 8
    fresh = events_of(*"stuvwxyz")
    outcomes = at(destination, vendor, [*waiting, *fresh], 10)
    assert outcomes[:10] == [Delivered()] * 8 + [later(10)] * 2
    assert all(isinstance(one, Retry) and not one.was_taken for one in outcomes[10:])
    assert {dict(one.headers)["Authorization"] for one in vendor.asked} == {"Basic dTpw"}


def test_params_say_the_times_and_whether_anything_is_asked() -> None:
    names = [{"name": "AFTER", "defaultValue": "2m"}, {"name": "DRY", "isOptional": True}]
    tree = {**LATER, "after": "$$AFTER$$", "unless": "$$DRY$$"}

    def made(**params: str) -> HttpKit:
        connection = {"params": names, "default": {"endpoint": URL}, "followUp": tree}
        return made_of(connection, params)

    assert at(made(), Vendor(), events_of("a")) == [later(2)]
    assert at(made(AFTER="3m"), Vendor(), events_of("a")) == [later(3)]
    assert at(made(DRY="true"), Vendor(), events_of("a")) == [Delivered()]
    with pytest.raises(ValueError, match="AFTER must be a number with s, m, h or d"):
        made(AFTER="soon")
    with pytest.raises(ValueError, match="giveUp must not come before `after`"):
        made(AFTER="2h")


def test_the_first_request_of_an_attempt_can_be_shown() -> None:
    events = events_of("a")
    assert kit().build(events, attempt_for(events)).url == URL


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        ({"after": "soon"}, "followUp.after: is 'soon'; expected a number with s, m, h or d"),
        ({"every": None}, "followUp: every is missing"),
        ({"request": {"endpoint": URL}}, "followUp.request: must be a GET"),
        ({"answers": {"pending": [200]}}, "followUp.answers: success is missing"),
        ({"answers": {"success": [{"status": 200, "times": 2}]}}, "`giveUp` bounds how long"),
        ({"answers": {"events": {"path": "p", "index": "i"}}}, "events: success is missing"),
        ({"answers": {"success": [200], "maybe": [1]}}, "followUp.answers.maybe: is not known"),
    ],
)
def test_mistakes_are_told_with_their_place(change: Any, problem: str) -> None:
    with pytest.raises(ValueError, match=problem.replace("(", r"\(")):
        kit({**LATER, **change})
