"""The connection test of a kit: what it sends, and what the answer shows."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from tests.kits.test_fixtures import BOOK, EVENT
from tests.kits.test_kit_file import kit, problems_of
from trunkline.kit.destination import Call, NoAnswer, Request, Response
from trunkline.kits.kit import Kit, parse_kit
from trunkline.kits.test_request import ConnectionTest, TestVerdict, make_test
from trunkline.model.outcome import Retry

NOW_MS = 1_800_000_000_000
FIXTURE = {"name": "order", "events": [EVENT], "requests": []}
PARAMS = [{"name": "KEY"}, {"name": "CODE", "isOptional": True}]
GOOD = {"proves": "The key is right.", "event": "order", "params": {"CODE": "TEST"}}


def made(test: dict[str, Any] | None, answers: Any = None, **request: Any) -> Kit:
    default = {
        "endpoint": "https://acme.example/e",
        "headers": [{"key": "X-Key", "value": "$$KEY$$"}],
        "body": {"data": "$events", "code": "$$CODE$$"},
        **request,
    }
    connection = {"params": PARAMS, "default": default, "answers": answers or {}}
    rule = {"rule": "old", "olderThan": "7d", "then": "drop"}
    tree = kit(connection=connection, contract=[rule], playbook=BOOK, fixtures=[FIXTURE])
    return parse_kit({**tree, "test": test} if test else tree)


def drive(
    test: ConnectionTest, *answers: Response | Exception
) -> tuple[list[Request], TestVerdict]:
    steps = test.steps(NOW_MS)
    requests: list[Request] = []
    left = list(answers)
    try:
        asked = next(steps)
        while True:
            assert not isinstance(asked, Call)
            requests.append(asked)
            answer = left.pop(0)
            asked = steps.throw(answer) if isinstance(answer, Exception) else steps.send(answer)
    except StopIteration as end:
        return requests, end.value


def test_a_fixture_s_event_is_sent_as_of_now_with_the_test_s_params() -> None:
    test = make_test(made(GOOD), {"KEY": "k"})
    requests, verdict = drive(test, Response(200, {}, b"{}"))
    assert verdict == TestVerdict(True, "The key is right.")
    assert msgspec.json.decode(requests[0].body) == {
        "data": [{"name": "Order Completed", "value": 5}], "code": "TEST",
    }  # fmt: skip
    assert dict(requests[0].headers)["X-Key"] == "k"
    again, _ = drive(test, Response(200, {}, b"{}"))
    assert again[0].body == requests[0].body


def test_endpoint_body_and_answers_of_the_test_stand_over_the_request_s() -> None:
    own = {**GOOD, "endpoint": "https://acme.example/validate", "body": {"check": "$event"},
           "answers": {"success": [{"path": "valid", "equals": True}]}}  # fmt: skip
    test = make_test(made(own, {"reason": "message"}), {"KEY": "k"})
    requests, verdict = drive(test, Response(200, {}, b'{"valid":false}'))
    assert requests[0].url == "https://acme.example/validate"
    assert msgspec.json.decode(requests[0].body) == {
        "check": {"name": "Order Completed", "value": 5}
    }
    assert verdict == TestVerdict(False, "it failed: HTTP 200, valid is false")
    assert drive(test, Response(200, {}, b'{"valid":true}'))[1].ok


def test_a_request_of_its_own_signs_in_as_events_do() -> None:
    own = {
        "proves": "It lists.",
        "request": {"method": "GET", "endpoint": "https://acme.example/me"},
    }
    basic = {"username": "u", "password": "$$KEY$$"}
    requests, verdict = drive(
        make_test(made(own, basicAuth=basic), {"KEY": "k"}), Response(401, {}, b"")
    )
    request = requests[0]
    assert (request.method, request.url, request.body) == ("GET", "https://acme.example/me", b"")
    assert dict(request.headers)["Authorization"] == "Basic dTpr"
    assert verdict == TestVerdict(False, "it failed: HTTP 401")


def test_a_token_is_fetched_as_for_events() -> None:
    oauth2 = {"request": {"url": "https://acme.example/token"}}
    test = make_test(made(GOOD, oauth2Auth=oauth2), {"KEY": "k"})
    token = Response(200, {}, b'{"access_token":"t-1"}')
    requests, verdict = drive(test, token, Response(200, {}, b"{}"))
    assert [one.url[-6:] for one in requests] == ["/token", "mple/e"]
    assert dict(requests[1].headers)["Authorization"] == "Bearer t-1"
    assert verdict.ok
    _, refused = drive(
        make_test(made(GOOD, oauth2Auth=oauth2), {"KEY": "k"}), Response(400, {}, b"")
    )
    assert refused == TestVerdict(False, "it failed: the token request was answered HTTP 400")


def test_no_answer_and_no_proof_are_told() -> None:
    _, verdict = drive(make_test(made(GOOD), {"KEY": "k"}), NoAnswer(Retry("timeout"), "timeout"))
    assert verdict == TestVerdict(False, "there was no answer: timeout")
    unsure = make_test(made(GOOD, {"unverified": True}), {"KEY": "k"})
    _, verdict = drive(unsure, Response(204, {}, b""))
    assert verdict.ok and verdict.sentence.endswith("nothing is proved.")


def test_a_kit_without_a_test_says_so_and_sends_nothing() -> None:
    none = make_test(made({"none": "The vendor has no test mode."}), {})
    assert none.none == "The vendor has no test mode."
    assert drive(none) == ([], TestVerdict(False, "The vendor has no test mode."))
    assert "send a test event instead" in make_test(made(None), {}).none


def test_params_that_are_missing_are_told_before_anything_is_sent() -> None:
    with pytest.raises(ValueError, match="params: KEY must be given"):
        make_test(made(GOOD), {})


@pytest.mark.parametrize(
    ("test", "told"),
    [
        ({"proves": "x"}, "test: has 0 forms; expected one of `event`, `request` or `none`"),
        ({"proves": "x", "event": "odrer"}, "test.event: names no fixture of this kit; did"),
        ({"event": "order"}, "test: proves is missing; say what a good answer shows"),
        ({"none": "x", "params": {"KEY": "x"}}, "test.params: goes with `event` only"),
        ({**GOOD, "params": {"KYE": "x"}}, "test.params.KYE: names no param; did you mean `KEY`?"),
        ({"proves": "x", "request": {"endpont": "x"}}, "test.request.endpont: is not known here"),
        ({"proves": "x", "request": {"endpoint": "https://a.example/$$K$$"}},
         "test.request.endpoint: $$K$$ names no param"),
        ({**GOOD, "answers": {"succes": []}}, "test.answers.succes: is not known here; did"),
    ],
)  # fmt: skip
def test_mistakes_of_a_test_are_told_with_their_place(test: dict[str, Any], told: str) -> None:
    connection = {"params": PARAMS, "default": {"endpoint": "https://acme.example/e"}}
    problems = problems_of(kit(connection=connection, playbook=BOOK, fixtures=[FIXTURE], test=test))
    assert any(one.startswith(told) for one in problems), problems
