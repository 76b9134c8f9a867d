"""What an answer means for single events: counts, limits of tries, events named by a key."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from trunkline.kit.destination import Response
from trunkline.kits.answers import Answers
from trunkline.kits.answers_spec import read_answers
from trunkline.kits.mentions import Mentions
from trunkline.kits.tries import TRIES_MAX, Tries
from trunkline.model.outcome import Delivered, Outcome, Rejected, Retry
from trunkline.playbook.nodes import Node
from trunkline.playbook.program import Problem

BATCH: list[dict[str, Any]] = [{"id": "a"}, {"id": "b"}, {"id": "c"}]


def told(tree: Any) -> list[str]:
    problems: list[Problem] = []
    read_answers(Node(tree, "answers", problems))
    return [*map(str, problems)]


def answers(tree: Any) -> Answers:
    problems: list[Problem] = []
    found = read_answers(Node(tree, "answers", problems))
    assert [*map(str, problems)] == []
    return found


def judged(found: Answers, body: Any, *, status: int = 200, tries: Tries | None = None,
           batch: list[dict[str, Any]] = BATCH) -> list[Outcome]:  # fmt: skip
    response = Response(status, {}, msgspec.json.encode(body))
    spend = (tries or Tries()).spender([one["id"] for one in batch])
    return found.judge(response, batch, 0, spend)


# Counts

COUNTED = {"success": [{"status": "2xx"}], "count": {"path": "got", "fewer": "retry"}}


@pytest.mark.parametrize("got", [3, 4, None, "3", True, 2.0])
def test_who_took_all_or_does_not_say_has_them(got: Any) -> None:
    assert judged(answers(COUNTED), {"got": got}) == [Delivered()] * 3


@pytest.mark.parametrize("got", [0, 2])
def test_fewer_than_were_sent_is_never_called_delivered(got: int) -> None:
    reason = f"HTTP 200, got is {got}, and 3 events were sent"
    assert judged(answers(COUNTED), {"got": got}) == [Retry(reason)] * 3


def test_what_the_answer_condemns_by_name_is_not_missed() -> None:
    tree = {**COUNTED, "events": {"path": "bad", "index": "at"}}
    bad = {"bad": [{"at": 1}]}
    outcomes = judged(answers(tree), {"got": 2, **bad})
    assert [type(one) for one in outcomes] == [Delivered, Rejected, Delivered]
    outcomes = judged(answers(tree), {"got": 1, **bad})
    assert [type(one) for one in outcomes] == [Retry, Rejected, Retry]


def test_an_unknown_outcome_is_judged_as_a_lost_answer_is() -> None:
    tree = {**COUNTED, "count": {"path": "got", "fewer": "unknown"}}
    assert [type(one) for one in judged(answers(tree), {"got": 1})] == [Retry] * 3
    given_up = answers({**tree, "unknown": "give_up"})
    reason = "outcome_unknown: HTTP 200, got is 1, and 3 events were sent"
    assert judged(given_up, {"got": 1}) == [Rejected(reason, is_sure=True)] * 3


def test_a_refusal_is_no_count() -> None:
    assert judged(answers(COUNTED), {"got": 0}, status=422) == [Rejected("HTTP 422")] * 3


# At most so many times


def test_an_event_is_sent_again_so_many_times_and_then_is_a_dead_letter_that_says_why() -> None:
    found = answers({"retry": [{"status": 500, "times": 2}]})
    tries = Tries()
    for _ in range(2):
        assert judged(found, None, status=500, tries=tries) == [Retry("HTTP 500")] * 3
    last = "HTTP 500; sent again 2 times, which is all that the kit allows"
    assert judged(found, None, status=500, tries=tries) == [Rejected(last, is_sure=True)] * 3
    assert judged(found, None, status=500, tries=tries) == [Retry("HTTP 500")] * 3, "replayed"
    assert judged(found, None, status=503, tries=tries) == [Retry("HTTP 503")] * 3, "no limit"


def test_each_event_and_each_rule_has_its_own_tries() -> None:
    found = answers({"retry": [{"status": 500, "times": 1}, {"status": 501, "times": 1}]})
    tries = Tries()
    assert judged(found, None, status=500, tries=tries, batch=BATCH[:1]) == [Retry("HTTP 500")]
    assert [type(one) for one in judged(found, None, status=500, tries=tries)] == [
        Rejected, Retry, Retry,
    ]  # fmt: skip
    assert judged(found, None, status=501, tries=tries) == [Retry("HTTP 501")] * 3


def test_a_count_and_an_entry_may_have_a_limit_as_well() -> None:
    tries = Tries()
    counted = answers({**COUNTED, "count": {"path": "got", "fewer": "retry", "times": 1}})
    assert [type(one) for one in judged(counted, {"got": 0}, tries=tries)] == [Retry] * 3
    assert [type(one) for one in judged(counted, {"got": 0}, tries=tries)] == [Rejected] * 3
    entries = {"path": "e", "retry": [{"path": "busy", "equals": True, "times": 1}]}
    listed = answers({"events": entries})
    body = {"e": [{"busy": True}, {"busy": False}, {"busy": True}]}
    for kind in (Retry, Rejected):
        outcomes = judged(listed, body, tries=tries)
        assert [type(one) for one in outcomes] == [kind, Delivered, kind]


def test_what_no_rule_knows_may_be_sent_once_more() -> None:
    found = answers(
        {
            "success": [{"path": "status", "equals": "ok"}],
            "rejected": [{"path": "reason", "contains": "invalid"}],
            "otherwise": {"status": "2xx", "times": 1},
            "reason": "reason",
        }
    )
    tries = Tries()
    assert judged(found, {"status": "ok"}, tries=tries) == [Delivered()] * 3
    invalid = judged(found, {"reason": "invalid n"}, tries=tries)
    assert invalid == [Rejected("HTTP 200: invalid n")] * 3
    assert judged(found, {"reason": "odd"}, tries=tries) == [Retry("HTTP 200: odd")] * 3
    assert [type(one) for one in judged(found, {"reason": "odd"}, tries=tries)] == [Rejected] * 3


def test_what_is_counted_is_bounded_and_the_oldest_begins_anew() -> None:
    found = answers({"retry": [{"status": 500, "times": 1}]})
    tries = Tries()
    first, *others = [[{"id": f"{number}"}] for number in range(TRIES_MAX + 1)]
    assert judged(found, None, status=500, tries=tries, batch=first) == [Retry("HTTP 500")]
    for other in others:
        judged(found, None, status=500, tries=tries, batch=other)
    assert judged(found, None, status=500, tries=tries, batch=first) == [Retry("HTTP 500")]


# Events named by a key


NAMED = {
    "rejected": [{"status": 202, "path": "errors.0"}],
    "events": {"path": "errors", "key": "who.id", "of": "id", "reason": "why"},
}


def test_an_entry_names_its_events_by_what_they_hold() -> None:
    body = {"errors": [{"who": {"id": "b"}, "why": "gone"}, {"who": {"id": "zz"}}, {"who": 7}]}
    outcomes = judged(answers(NAMED), body, status=202)
    assert outcomes[1] == Rejected('HTTP 202, why is "gone"', is_sure=True)
    assert [type(one) for one in outcomes] == [Retry, Rejected, Retry]


def test_one_name_may_be_of_several_events_and_one_event_may_have_several() -> None:
    batch: list[dict[str, Any]] = [{"id": ["x", "y"]}, {"id": "y"}, {"id": None}, {"id": 7}]
    found = answers(NAMED)
    response = Response(202, {}, msgspec.json.encode({"errors": [{"who": {"id": "y"}}]}))
    assert [type(one) for one in found.judge(response, batch, 0)] == [
        Rejected, Rejected, Retry, Retry,
    ]  # fmt: skip
    response = Response(202, {}, msgspec.json.encode({"errors": [{"who": {"id": 7}}]}))
    assert [type(one) for one in found.judge(response, batch, 0)][3] is Rejected


def test_where_no_name_is_known_the_bad_one_is_looked_for() -> None:
    outcomes = judged(answers(NAMED), {"errors": [{"who": {"id": "zz"}}]}, status=202)
    assert all(isinstance(one, Rejected) and not one.is_sure for one in outcomes)


# Mistakes


@pytest.mark.parametrize(
    ("tree", "problem"),
    [
        ({"count": {"path": "n"}}, "answers.count: fewer is missing"),
        ({"count": {"path": "n", "fewer": "drop"}}, "answers.count.fewer: is 'drop'; expected"),
        ({"retry": [{"status": 500, "times": 0}]}, "expected a whole number from 1 to 100"),
        ({"blocked": [{"status": 500, "times": 2}]}, "only what is sent again is counted"),
        ({"otherwise": {"status": "2xx"}}, "answers.otherwise: times is missing; say how often"),
        ({"events": {"path": "e", "key": "id"}}, "answers.events: `key` and `of` go together"),
        (
            {"events": {"path": "e", "key": "id", "of": "id", "index": "n"}},
            "answers.events.key: stands beside `index`; entries name their events in one way",
        ),
        ({"events": {"path": "e", "indexes": False}}, "says not which entries condemn"),
    ],
)  # fmt: skip
def test_mistakes_are_told_with_their_place(tree: Any, problem: str) -> None:
    assert len(told(tree)) == 1
    assert problem in told(tree)[0]


# Events that a refusal names in its sentences

SAID = {
    "success": [{"path": "code", "equals": 0}],
    "mentions": {"paths": ["message", "details.*.field"], "pattern": r"at ([0-9]+)"},
    "reason": "message",
}


def test_a_refusal_that_names_events_condemns_them_and_sends_the_others_again() -> None:
    body = {"code": 7, "message": "بد bad at 1", "details": [{"field": "at 2"}, {"field": 3}, 4]}
    outcomes = judged(answers(SAID), body)
    assert [type(one) for one in outcomes] == [Retry, Rejected, Rejected]
    assert outcomes[1] == Rejected("HTTP 200: بد bad at 1", is_sure=True)
    half = {"m": "\ud800 at 1"}
    assert [*Mentions(("m",), "at ([0-9]+)").positions(half, 3)] == [1]


@pytest.mark.parametrize(
    "message", ["no", "at 3", "at 99999999999999999999", "at ", 1, None, "at ۱"]
)
def test_where_none_of_these_is_named_the_bad_one_is_looked_for(message: Any) -> None:
    outcomes = judged(answers(SAID), {"code": 7, "message": message})
    assert all(isinstance(one, Rejected) and not one.is_sure for one in outcomes)


def test_what_names_events_and_refuses_nothing_condemns_nothing() -> None:
    assert judged(answers(SAID), {"code": 0, "message": "at 1"}) == [Delivered()] * 3
    assert [type(one) for one in judged(answers(SAID), {"message": "at 1"}, status=503)] == (
        [Retry] * 3
    )


@pytest.mark.parametrize(
    ("tree", "problem"),
    [
        ({"mentions": {"pattern": "([0-9])"}}, "answers.mentions: path is missing"),
        ({"mentions": {"path": "m", "pattern": "[0-9]"}}, "mentions.pattern: has 0 groups"),
        ({"mentions": {"path": "m", "pattern": "("}}, "answers.mentions.pattern: "),
        ({"mentions": {"path": "a..b", "pattern": "(1)"}}, "mentions.path: is 'a..b'"),
    ],
)
def test_mistakes_of_mentions_are_told(tree: Any, problem: str) -> None:
    assert [problem in one for one in told(tree)] == [True]
