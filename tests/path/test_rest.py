"""The REST API of a whole node: from a sender's request to what the receiver gets."""

from __future__ import annotations

import gzip
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support import hostile_bodies as hostile
from tests.support.told_receiver import ToldReceiver
from tests.support.whole_node import APP, KEY, Reply, WholeNode, webhook, workspace

CLIENT_KEY = "tlc_path_0123456789abcdef0123456789abcdef"
ORIGIN = "https://shop.example"
SHELF = "/all"


class Stage(WholeNode):
    """A node with a key of each type, and a receiver."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.receiver = ToldReceiver()
        keys = [
            {"name": "backend", "type": "server", "secret": KEY},
            {"name": "web", "type": "client", "secret": CLIENT_KEY, "allowed_origins": [ORIGIN]},
        ]
        events = [
            {"slug": "taqsq", "name": "Purchase Completed", "accept": "server"},
            {"slug": "aewqd", "name": "Product Viewed"},
        ]
        hook = webhook("receiver", f"{self.receiver.url}{SHELF}")
        self.apply(workspace(hook, keys=keys, events=events))
        self.now_ms = self.clock.now_ms()

    def say_messages(
        self, body: bytes, key: str = KEY, path: str = "/v1/messages", **headers: str
    ) -> Reply:
        """Post a body; a header's name has `_` for `-`."""
        own = {"X-Application-Id": APP, "X-API-Key": key}
        more = {name.replace("_", "-"): value for name, value in headers.items()}
        return self.request("POST", path, body, own | more)

    def message(self, given: str, kind: str = "action", **fields: Any) -> dict[str, Any]:
        """Return a message of now."""
        return {"type": kind, "id": given, "time": self.now_ms, **fields}

    def arrived(self, is_it: Any) -> list[dict[str, Any]]:
        """Return what came to the receiver, in its order."""
        return [e for e in self.receiver.shelf(SHELF).events.values() if is_it(e)]

    def until_arrived(self, user: str, count: int) -> list[dict[str, Any]]:
        """Wait for this many events of a user."""

        def found() -> list[dict[str, Any]]:
            return self.arrived(lambda event: event.get("userId") == user)

        assert self.receiver.wait(lambda: len(found()) >= count, 40), self.log()[-3000:]
        return found()


@pytest.fixture(scope="module")
def stage(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    stage = Stage(tmp_path_factory.mktemp("rest") / "home")
    try:
        stage.node.start()
        yield stage
    finally:
        stage.close()
        stage.receiver.close()


def body_of(user: str, *messages: Any, **beside: Any) -> bytes:
    return json.dumps({"customUserId": user, "messages": messages, **beside}).encode()


def is_cors_answered(reply: Reply, origin: str = ORIGIN) -> bool:
    return reply.headers.get("access-control-allow-origin") == origin


def test_every_type_of_message_arrives_in_order_and_a_bad_one_costs_itself(stage: Stage) -> None:
    sent = [
        stage.message("m-1", "systemEvent", name="App Installed"),
        stage.message("m-2", "user", firstName="مریم", lastName=None),
        {"type": "action", "id": "m-3"},
        stage.message("m-4", name="aewqd", attributes={"sku": "s-1"}),
        stage.message("m-5", customName="cart_opened"),
        stage.message("m-6", "revenue", name="taqsq", revenue=53.7, orderId="o-1"),
        stage.message("m-7", "businessEvent", name="taqsq"),
        stage.message("m-8", "pushToken", token="fcm-1"),
        stage.message("m-9", "pushSubscription", subscription={"endpoint": "https://p.example/"}),
    ]
    reply = stage.say_messages(body_of("order", *sent), path="/")
    assert (reply.status, reply.json["accepted"]) == (200, 8)
    assert [(r["index"], r["code"]) for r in reply.json["rejected"]] == [(2, "missing_field")]
    events = stage.until_arrived("order", 8)
    assert [event.get("event", event["type"]) for event in events] == [
        "App Installed", "identify", "Product Viewed", "cart_opened", "Purchase Completed",
        "Purchase Completed", "identify", "identify",
    ]  # fmt: skip
    assert events[1]["traits"] == {"firstName": "مریم", "lastName": None}
    assert events[4]["properties"] == {"revenue": 53.7, "currency": "IRR", "order_id": "o-1"}
    assert events[2]["source"] == {"protocol": "rest", "key": "backend", "slug": "aewqd"}


def test_what_is_sent_again_is_stored_once_and_no_profile_is_lost_to_a_repeated_id(
    stage: Stage,
) -> None:
    cities = ["Tehran", "Shiraz", "Tabriz"]
    sent = [stage.message("page-load", "user", city=city) for city in cities]
    for count in (1, 2, 3, 3):
        assert stage.say_messages(body_of("again", *sent[:count])).status == 200
    stage.until_arrived("again", 3)
    stage.until_settled("receiver")
    events = stage.until_arrived("again", 3)
    assert [event["traits"]["city"] for event in events] == cities
    copies = stage.receiver.shelf(SHELF).copies
    assert [copies[event["messageId"]] for event in events] == [1, 1, 1]


def test_the_trace_says_what_id_the_sender_gave(stage: Stage) -> None:
    assert stage.say_messages(body_of("traced", stage.message("given-7", name="aewqd"))).json
    [event] = stage.until_arrived("traced", 1)
    story = stage.say("trace", event["messageId"])
    assert "given-7" in json.dumps(story)


def test_a_browser_may_use_a_client_key_from_start_to_end(stage: Stage) -> None:
    asked = "content-type, mtx-sdk-version, x-api-key, x-application-id"
    preflight = stage.request(
        "OPTIONS", "/", None,
        {"Origin": ORIGIN, "Access-Control-Request-Method": "POST",
         "Access-Control-Request-Headers": asked},
    )  # fmt: skip
    assert preflight.status == 204 and is_cors_answered(preflight)
    allowed = preflight.headers["access-control-allow-headers"].split(", ")
    assert set(asked.split(", ")) <= set(allowed)
    assert "POST" in preflight.headers["access-control-allow-methods"]
    browser = {"Origin": ORIGIN, "Sec_Fetch_Site": "cross-site", "User_Agent": "Mozilla/5.0"}
    message = stage.message("b-1", name="aewqd")
    reply = stage.say_messages(body_of("browser", message), CLIENT_KEY, "/", **browser)
    assert reply.status == 200 and is_cors_answered(reply)
    [event] = stage.until_arrived("browser", 1)
    assert event["context"] == {"ip": "127.0.0.1", "userAgent": "Mozilla/5.0"}


def test_cors_stands_on_every_error_and_every_error_is_kept_with_its_key(stage: Stage) -> None:
    good = body_of("errors", stage.message("e-1", name="aewqd"))
    asked = [
        (stage.say_messages(b"{", CLIENT_KEY, Origin=ORIGIN), 400, "malformed_json"),
        (stage.say_messages(b'{"messages":[]}', CLIENT_KEY, Origin=ORIGIN), 400, "no_user_id"),
        (stage.say_messages(good, KEY, Origin=ORIGIN), 403, "server_key_in_browser"),
        (stage.say_messages(good, "wrong", Origin=ORIGIN), 403, "unknown_key"),
        (
            stage.say_messages(b" " * 600_000, CLIENT_KEY, Origin=ORIGIN),
            413,
            "payload_too_large",
        ),
    ]
    for reply, status, code in asked:
        assert (reply.status, reply.json["code"]) == (status, code)
        assert is_cors_answered(reply) and reply.headers["x-request-id"]
    elsewhere = stage.say_messages(good, CLIENT_KEY, Origin="https://evil.example")
    assert (elsewhere.status, elsewhere.json["code"]) == (403, "origin_not_allowed")
    assert is_cors_answered(elsewhere, "https://evil.example")
    wrong_method = stage.request("GET", "/v1/messages", None, {"Origin": ORIGIN})
    assert wrong_method.status == 405 and is_cors_answered(wrong_method)
    expected = {"malformed_json", "no_user_id", "server_key_in_browser", "origin_not_allowed"}
    stage.until(
        lambda: expected <= stage.acceptance().refused.keys(), "the refusals are in the ledger"
    )


@pytest.mark.parametrize("kind", [None, "text/plain", "application/x-www-form-urlencoded"])
@pytest.mark.parametrize("path", ["/", "/v1/messages", "/v1/messages/"])
def test_a_body_may_be_packed_and_of_any_content_type(
    stage: Stage, kind: str | None, path: str
) -> None:
    user = f"packed {kind} {path}"
    body = gzip.compress(body_of(user, stage.message(user, name="aewqd")))
    more = {"Content_Type": kind} if kind else {}
    reply = stage.say_messages(body, path=path, Content_Encoding="gzip", **more)
    assert reply.json == {"status": "success", "accepted": 1, "rejected": []}
    stage.until_arrived(user, 1)


def test_an_identity_is_answered_without_a_key_and_stores_nothing(stage: Stage) -> None:
    before = stage.acceptance().received
    reply = stage.request("POST", "/identity", b'{"sdkId":"s-1"}', {"Origin": ORIGIN})
    assert (reply.status, reply.json) == (200, {"metrixUserId": "s-1"})
    assert is_cors_answered(reply)
    stage.until_settled("receiver")
    assert stage.acceptance().received == before


def test_an_id_of_strange_bytes_is_never_taken_for_another(stage: Stage) -> None:
    """U+FFFD may stand in a real id: bytes that are no UTF-8 must not find it."""
    sent = stage.say_messages(body_of("odd-\ufffd", stage.message("odd-1", name="aewqd")))
    assert sent.json["accepted"] == 1
    own = {"X-Application-Id": APP, "X-API-Key": KEY}
    for path in ("/v1/users/odd-%EF%BF%BD", "/v1/users?id=odd-%EF%BF%BD"):
        stage.until(lambda: stage.request("GET", path, b"", own).status == 200, path)  # noqa: B023
    for path in ("/v1/users/odd-%FF", "/v1/users?id=odd-%FF", "/v1/users/odd-%ED%A0%BD"):
        for method in ("GET", "DELETE"):
            reply = stage.request(method, path, b"", own)
            assert (reply.status, "no UTF-8" in reply.json["message"]) == (400, True), path
    assert stage.request("GET", "/v1/users/odd-%EF%BF%BD", b"", own).status == 200


def test_the_ledger_counts_each_message(stage: Stage) -> None:
    stage.until_settled("receiver")
    before = stage.acceptance()
    messages = [stage.message(f"l-{n}", name="aewqd") for n in range(10)]
    stage.say_messages(body_of("ledger", *messages, *messages[:2], {"type": "nothing"}))
    stage.until(lambda: stage.acceptance().received == before.received + 13, "13 are received")
    stage.until_settled("receiver")
    after = stage.acceptance()
    assert after.accepted - before.accepted == 10
    assert after.duplicate - before.duplicate == 2
    assert after.refused["unknown_type"] == 1


def test_a_strange_message_costs_its_neighbours_nothing(stage: Stage) -> None:
    taken = 0
    for number, (what, raw) in enumerate(hostile.VALUES.items()):
        user = f"strange {number}"
        good = [json.dumps(stage.message(f"g-{n}", name="aewqd")).encode() for n in range(2)]
        strange = good[0].replace(b'"name": "aewqd"', b'"name": "aewqd", "attributes": {"a": %b}')
        messages = b",".join([good[0], strange.replace(b"%b", raw), good[1]])
        head = json.dumps({"customUserId": user}).encode()[:-1]
        reply = stage.say_messages(head + b', "messages": [' + messages + b"]}")
        if reply.status == 200:
            taken += 1
            assert reply.json["accepted"] == 3 - len(reply.json["rejected"]) >= 2, what
            stage.until_arrived(user, reply.json["accepted"])
        else:
            assert (reply.status, reply.json["code"]) == (400, "malformed_json"), (what, reply.body)
    assert taken > len(hostile.VALUES) / 2


def test_every_strange_body_gets_an_answer(stage: Stage) -> None:
    for path in ("/", "/v1/messages", "/identity"):
        for what, body in hostile.BODIES.items():
            reply = stage.say_messages(body, path=path)
            assert reply.status in (200, 400, 413), (path, what, reply.body[:200])
            assert isinstance(reply.json, dict)
    assert "request_broke" not in stage.log()


def test_what_a_message_names_is_defined_the_first_time_it_is_seen(stage: Stage) -> None:
    named = {"customName": "basket_emptied"}
    assert stage.say_messages(body_of("named", stage.message("n-0", **named))).status == 200
    [first] = stage.until_arrived("named", 1)
    assert (first["event"], "slug" in first["source"]) == ("basket_emptied", False)
    count = 1

    def has_slug() -> bool:
        nonlocal count
        sent = stage.message(f"n-{count}", **named)
        assert stage.say_messages(body_of("named", sent)).status == 200
        count += 1
        return "slug" in stage.until_arrived("named", count)[-1]["source"]

    stage.until(has_slug, "the event is defined")
    slug = stage.until_arrived("named", count)[-1]["source"]["slug"]
    by_slug = stage.message("n-slug", name=slug)
    assert stage.say_messages(body_of("by slug", by_slug)).json["accepted"] == 1
    assert stage.until_arrived("by slug", 1)[0]["event"] == "basket_emptied"
