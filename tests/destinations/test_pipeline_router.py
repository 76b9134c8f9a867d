"""The way into another app: what travels, what answers mean, and that no circle runs for ever."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import msgspec
import pytest

from tests.support.whole_node import WholeNode, basic
from trunkline.destinations.pipeline_router import (
    BODY_BYTES_MAX,
    HOPS_MAX,
    PipelineRouter,
    PipelineRouterSettings,
)
from trunkline.kit.destination import Attempt, Mapped, NoAnswer, Request, Response, map_event
from trunkline.kit.sample_events import PURCHASE
from trunkline.model.outcome import Blocked, Delivered, Filtered, Rejected, Retry

ATTEMPT = Attempt(1_795_170_000_000, 1, "zcmwmxbkmuodelu/onward", "d-1")
OK = Response(200, {}, b'{"success":true}')


def router(**settings: Any) -> PipelineRouter:
    given = {"url": "https://in.example", "write_key": "k", **settings}
    return PipelineRouter(msgspec.convert(given, PipelineRouterSettings))


def event(message_id: str, **fields: Any) -> Mapped:
    return map_event({**PURCHASE, "messageId": message_id, **fields})


def run(
    events: Sequence[Mapped], *answers: Response | NoAnswer
) -> tuple[list[Request], Sequence[Any]]:
    """Drive an exchange with these answers; return what was sent and what came of it."""
    exchange = router().exchange(events, ATTEMPT)
    sent: list[Request] = []
    waiting = list(answers)
    try:
        asked = next(exchange)
        while True:
            sent.append(asked)
            answer = waiting.pop(0)
            asked = (
                exchange.throw(answer) if isinstance(answer, NoAnswer) else exchange.send(answer)
            )
    except StopIteration as end:
        return sent, end.value


def batch_of(request: Request) -> list[dict[str, Any]]:
    return json.loads(request.body)["batch"]


def test_all_that_an_event_says_travels_and_what_the_other_app_says_does_not() -> None:
    context = {"ip": "203.0.113.7", "consent": {"categoryPreferences": {"ads": True}}}
    told: dict[str, Any] = {
        "anonymousId": "a-1",
        "originalTimestamp": "2026-11-20T10:15:29.000Z",
        "sentAt": "2026-11-20T10:15:31.000Z",
        "integrations": {"All": False},
        "context": context,
        "custom": [1, {"deep": None}],
        "historical": True,
    }
    (request,), outcomes = run([event("m-1", **told)], OK)
    (routed,) = batch_of(request)
    whole = {**PURCHASE, **told, "messageId": "m-1"}
    expected = {
        name: value
        for name, value in whole.items()
        if name not in ("app", "source", "receivedAt", "historical", "sentAt")
    }
    assert routed.pop("context") == {**context, "hops": [PURCHASE["app"]]}
    del expected["context"]
    assert routed == expected
    assert list(outcomes) == [Delivered()]


def test_an_event_that_was_here_before_or_left_eight_apps_is_filtered() -> None:
    here = event("m-1", context={"hops": ["b" * 15, PURCHASE["app"]]})
    far = event("m-2", context={"hops": [f"app-{n}" for n in range(HOPS_MAX)]})
    near = event("m-3", context={"hops": [f"app-{n}" for n in range(HOPS_MAX - 1)]})
    odd = event("m-4", context={"hops": "not a list"})
    (request,), outcomes = run([here, far, near, odd], OK)
    assert [routed["messageId"] for routed in batch_of(request)] == ["m-3", "m-4"]
    loop = Filtered("vendor: loop")
    assert list(outcomes) == [loop, loop, Delivered(), Delivered()]
    assert run([here, far]) == ([], [loop, loop])


def test_events_that_the_other_app_refuses_are_rejected_with_its_words() -> None:
    refused = [{"index": 1, "messageId": "m-2", "code": "plan", "message": "not in the plan"}]
    body = json.dumps({"success": True, "rejected": [*refused, {"index": 9}, {"index": -1}, 7]})
    _, outcomes = run([event("m-1"), event("m-2")], Response(200, {}, body.encode()))
    assert list(outcomes) == [Delivered(), Rejected("plan: not in the plan")]


def test_several_events_made_of_one_get_an_id_each() -> None:
    made = [
        Mapped("m-1", PURCHASE["app"], "u-42", "track", "x", body, json.dumps(PURCHASE).encode())
        for body in (b'{"event":"A"}', b'{"event":"B","type":"track","userId":"u-9"}')
    ]
    (request,), _ = run(made, OK)
    first, second = batch_of(request)
    assert (first["messageId"], second["messageId"]) == ("m-1", "m-1.2")
    assert (first["userId"], first["type"], second["userId"]) == ("u-42", "track", "u-9")


def test_what_one_request_cannot_hold_goes_in_several_and_stops_where_one_is_not_taken() -> None:
    big = [event(f"m-{n}", properties={"x": "x" * (BODY_BYTES_MAX // 3)}) for n in range(5)]
    sent, outcomes = run(big, OK, NoAnswer(Retry("the connection broke")), OK)
    assert [len(batch_of(request)) for request in sent] == [2, 2]
    assert all(len(request.body) < 512 * 1024 for request in sent)
    assert len({dict(request.headers)["Idempotency-Key"] for request in sent}) == 2
    assert list(outcomes) == [Delivered()] * 2 + [Retry("the connection broke")] * 3
    _, outcomes = run(big, OK, Response(401, {}, b""))
    assert list(outcomes) == [Delivered()] * 2 + [Blocked("HTTP 401")] * 3
    sent, outcomes = run(big, OK, Response(400, {}, b""), OK)
    assert (len(sent), outcomes[2], outcomes[4]) == (3, Rejected("HTTP 400"), Delivered())


def test_more_than_ten_requests_are_left_for_the_next_attempt() -> None:
    big = [event(f"m-{n}", properties={"x": "x" * BODY_BYTES_MAX}) for n in range(12)]
    sent, outcomes = run(big, *[OK] * 12)
    assert len(sent) == 10
    assert [type(outcome) for outcome in outcomes] == [Delivered] * 10 + [Retry] * 2


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"url": "ftp://in.example"}, "must start with http"),
        ({"url": "https://user:secret@in.example"}, "user name or password"),
        ({"write_key": "sec\nret"}, "write_key holds what no key has"),
    ],
)
def test_settings_that_cannot_work_are_refused_in_words(
    settings: dict[str, str], words: str
) -> None:
    with pytest.raises(msgspec.ValidationError, match=words) as caught:
        router(**settings)
    assert "sec\nret" not in str(caught.value)


APP_A, APP_B = "a" * 15, "b" * 15
KEY_A, KEY_B = "tls_router_a_0123456789abcdef01234567", "tls_router_b_0123456789abcdef01234567"
# Gives "Paid again" a new id on its way back, so that only the hops can stop it.
AS_NEW = {
    "global": {"mappings": [{"inputKey": "input", "outputKey": ""}]},
    "eventSpecific": {
        "paid_again": {
            "mappings": [
                {
                    "inputKey": "messageId",
                    "outputKey": "messageId",
                    "transforms": [{"toHash": "sha256"}],
                }
            ]
        }
    },
}


def two_apps(node: WholeNode) -> str:
    """Return a workspace whose apps send all they get to each other, A also to a file."""

    def app(app_id: str, key: str, *destinations: Any) -> dict[str, Any]:
        keys = [{"name": "backend", "type": "server", "secret": key}]
        return {"id": app_id, "name": app_id, "keys": keys, "destinations": list(destinations)}

    def way(name: str, key: str, **more: Any) -> dict[str, Any]:
        url = f"http://127.0.0.1:{node.node.ingest_port}"
        settings = {"url": url, "write_key": key, "allow_private_addresses": True}
        return {"id": name, "kind": "pipeline_router", "settings": settings, **more}

    back = way("to-a", KEY_A, playbook=AS_NEW)
    kept = {"id": "kept", "kind": "file", "settings": {"path": str(node.home.folder / "b.ndjson")}}
    apps = [app(APP_A, KEY_A, way("to-b", KEY_B)), app(APP_B, KEY_B, back, kept)]
    return json.dumps({"organisation": "Router", "apps": apps})


@pytest.mark.slow
def test_a_circle_of_two_apps_ends_by_the_id_and_where_that_is_new_by_the_hops(
    tmp_path: Path,
) -> None:
    node = WholeNode(tmp_path / "home")
    try:
        node.apply(json.dumps({"organisation": "Router", "apps": []}))
        node.node.start()
        node.apply(two_apps(node))
        sent = {"messageId": "m-1", "event": "Paid", "userId": "u-1", "custom": {"x": 1},
                "timestamp": "2026-11-20T10:15:30.000Z", "anonymousId": "a-1"}  # fmt: skip
        node.until(lambda: node.post("/v1/track", sent, KEY_A).status == 200, "the key is known")
        node.until(lambda: delivered(node, "to-a") == 1, "the event went round")
        kept = node.home.folder / "b.ndjson"
        node.until(lambda: kept.exists() and kept.read_text().strip(), "B has it")
        arrived = json.loads(kept.read_text().splitlines()[0])
        assert {name: arrived[name] for name in sent} == sent
        assert (arrived["app"], arrived["context"]["hops"]) == (APP_B, [APP_A])
        node.until(lambda: node.is_taken_up(), "what came back is judged")
        assert delivered(node, "to-b") == 1  # A knows the id: nothing goes round again

        second = {**sent, "messageId": "m-2", "event": "Paid again"}
        assert node.post("/v1/track", second, KEY_A).status == 200
        node.until(lambda: filtered(node, "to-b") == 1, "the hops end the circle")
        assert delivered(node, "to-b") == 2
        assert node.ledger().balanced
    finally:
        node.close()


def delivered(node: WholeNode, name: str) -> int:
    return node.line(name).delivered


def filtered(node: WholeNode, name: str) -> int:
    return node.line(name).filtered.get("vendor: loop", 0)


def test_the_basic_login_is_what_the_tracking_api_reads() -> None:
    (request,), _ = run([event("m-1")], OK)
    assert dict(request.headers)["Authorization"] == basic("k")
