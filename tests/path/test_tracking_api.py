"""The tracking API of a whole node, over its wire: what no library sends, and every other form."""

from __future__ import annotations

import base64
import gzip
import json
from collections.abc import Iterator
from typing import Any
from urllib.parse import urlencode

import pytest

from tests.support.sdk_stage import CLIENT_KEY, ORIGIN, SHELF, UNKNOWN_KEY, SdkStage, open_sdk_stage
from tests.support.whole_node import KEY, basic

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]

FOREIGN = "https://elsewhere.example"
CUSTOM = "/v1/custom/event"
GIF = b"GIF89a"


@pytest.fixture(scope="module")
def stage(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SdkStage]:
    yield from open_sdk_stage(tmp_path_factory.mktemp("tracking"))


def until_arrived(stage: SdkStage, *message_ids: str) -> list[dict[str, Any]]:
    """Wait for these events and return them."""
    events = stage.receiver.shelf(SHELF).events
    came = stage.receiver.wait(lambda: all(one in events for one in message_ids), 60)
    assert came, stage.log()[-3000:]
    return [events[one] for one in message_ids]


def page_event(message_id: str, **more: Any) -> dict[str, Any]:
    return {"type": "page", "userId": "u-1", "messageId": message_id, **more}


def encode(value: Any) -> bytes:
    return json.dumps(value).encode()


def test_a_batch_that_asks_gets_207_and_a_result_for_each_event(stage: SdkStage) -> None:
    body = encode({"batch": [page_event("ms-1"), {"type": "page", "messageId": "ms-2"}]})
    own = {"Authorization": basic(KEY)}
    asked = stage.request("POST", "/v1/batch", body, {**own, "Prefer": "multi-status"})
    assert (asked.status, asked.headers["preference-applied"]) == (207, "multi-status")
    results = [(r["messageId"], r["status"], r.get("code")) for r in asked.json["results"]]
    assert results == [("ms-1", 200, None), ("ms-2", 400, "no_user_anon_id")]
    plain = stage.request("POST", "/v1/batch", body, own)
    assert (plain.status, "results" in plain.json) == (200, False)
    until_arrived(stage, "ms-1")


def test_a_beacon_of_plain_text_takes_its_key_from_query_or_body(stage: SdkStage) -> None:
    headers = {"Content-Type": "text/plain;charset=UTF-8", "Origin": ORIGIN}
    query = f"/beacon/v1/batch?writeKey={CLIENT_KEY}"
    one = stage.request("POST", query, encode({"batch": [page_event("beacon-1")]}), headers)
    inside = encode({"batch": [page_event("beacon-2")], "writeKey": CLIENT_KEY})
    two = stage.request("POST", "/v1/b", gzip.compress(inside), headers)
    three = stage.request(
        "POST", "/v1/p", encode(page_event("beacon-3", writeKey=CLIENT_KEY)), headers
    )
    assert [one.status, two.status, three.status] == [200, 200, 200]
    for event in until_arrived(stage, "beacon-1", "beacon-2", "beacon-3"):
        assert event["source"] == {"protocol": "tracking", "key": "page"}
        assert event["context"]["ip"] == "127.0.0.1"
    foreign = stage.request("POST", query, encode({"batch": []}), {**headers, "Origin": FOREIGN})
    assert (foreign.status, foreign.json["code"]) == (403, "origin_not_allowed")
    assert foreign.headers["access-control-allow-origin"] == FOREIGN  # the page may read why


def test_a_pixel_stores_its_event_and_is_an_image_whatever_happens(stage: SdkStage) -> None:
    said = {"userId": "u-1", "event": "Opened", "messageId": "px-1", "writeKey": CLIENT_KEY}
    coded = base64.urlsafe_b64encode(encode(said)).rstrip(b"=").decode()
    dotted = urlencode({**said, "messageId": "px-2", "properties.color": "red"})
    bad = urlencode({**said, "writeKey": UNKNOWN_KEY})
    for query in (f"data={coded}", dotted, bad, "data=%00"):
        reply = stage.request("GET", f"/v1/pixel/track?{query}")
        assert (reply.status, reply.body[:6]) == (200, GIF)
        assert reply.headers["content-type"] == "image/gif"
    looked = stage.request("HEAD", f"/v1/pixel/track?{dotted.replace('px-2', 'px-3')}")
    assert looked.status == 200
    found = until_arrived(stage, "px-1", "px-2")
    assert found[1]["properties"] == {"color": "red"}
    stage.until_settled("receiver")
    assert "px-3" not in stage.receiver.shelf(SHELF).events


def test_mixed_keys_of_a_batch_cost_only_their_own_events(stage: SdkStage) -> None:
    before = stage.acceptance().refused
    keys = [CLIENT_KEY, UNKNOWN_KEY, KEY, ""]
    events = [page_event(f"mix-{i}", writeKey=key) for i, key in enumerate(keys)]
    at_home = stage.request("POST", "/v1/b", encode({"batch": events}), {"Origin": ORIGIN})
    codes = [(one["index"], one["code"]) for one in at_home.json["rejected"]]
    assert codes == [(1, "unknown_key"), (2, "server_key_in_browser"), (3, "unknown_key")]
    until_arrived(stage, "mix-0")
    elsewhere = stage.request("POST", "/v1/b", encode({"batch": events}), {"Origin": FOREIGN})
    assert (elsewhere.status, elsewhere.json["code"]) == (403, "origin_not_allowed")
    from_back_end = stage.request("POST", "/v1/b", encode({"batch": events[1:]}), {})
    assert [one["index"] for one in from_back_end.json["rejected"]] == [0, 2]
    until_arrived(stage, "mix-2")

    def is_told() -> bool:
        refused = stage.acceptance().refused
        wanted = {"server_key_in_browser": 2, "origin_not_allowed": 1}
        return all(refused.get(c, 0) - before.get(c, 0) == n for c, n in wanted.items())

    stage.until(is_told, "the owners of known keys are told")


def test_a_custom_event_comes_through_in_its_three_forms(stage: SdkStage) -> None:
    body = {"order": {"id": 7}, "متن": "نیم‌فاصله 🎉"}
    names = {"writeKey": KEY, "eventName": "سفارش", "userID": "u-1"}
    header = json.dumps({**names, "eventID": "custom-2"})  # ASCII: escapes, as headers want it
    replies = [
        stage.request(
            "POST", CUSTOM, encode({**body, "_metarouter": {**names, "eventID": "custom-1"}})
        ),
        stage.request("POST", CUSTOM, encode(body), {"X-Event-Metadata": header}),
        stage.request(
            "POST", f"{CUSTOM}?{urlencode({**names, 'eventID': 'custom-3'})}", encode(body)
        ),
    ]
    assert [reply.status for reply in replies] == [200, 200, 200]
    for event in until_arrived(stage, "custom-1", "custom-2", "custom-3"):
        assert (event["type"], event["event"], event["userId"]) == ("track", "سفارش", "u-1")
        assert event["properties"] == body
        assert event["source"] == {"protocol": "custom_event", "key": "backend"}
        assert "context" not in event
    again = stage.request("POST", CUSTOM, encode(body), {"X-Event-Metadata": header})
    assert again.status == 200
    stage.until_settled("receiver")
    assert stage.receiver.shelf(SHELF).copies["custom-2"] == 1
    traced = stage.run("trace", "custom-1")
    assert "protocol=custom_event" in traced.stdout
    assert KEY not in traced.stdout


def test_a_custom_event_that_is_refused_is_found_by_its_owner(stage: SdkStage) -> None:
    reply = stage.request("POST", CUSTOM, b'{"id":7}', {"X-Write-Key": KEY, "Origin": ""})
    assert (reply.status, reply.json["code"]) == (403, "server_key_in_browser")
    reply = stage.request("POST", CUSTOM, b'{"id":7}', {"X-Write-Key": KEY})
    assert (reply.status, reply.json["code"]) == (400, "missing_event_name")
    stage.until(lambda: "missing_event_name" in stage.acceptance().refused, "it is told")
    rows = [row for row in stage.say("refused", "list") if row["protocol"] == "custom_event"]
    assert {row["code"] for row in rows} == {"missing_event_name", "server_key_in_browser"}


@pytest.mark.parametrize(
    "path", [CUSTOM, "/api/s/track", "/api/s/s2s/batch", "/beacon/v1/batch", "/sourceConfig"]
)
def test_a_page_may_read_every_answer_of_every_path(stage: SdkStage, path: str) -> None:
    asked = {
        "Origin": ORIGIN,
        "Access-Control-Request-Method": "POST",
        "Access-Control-Request-Headers": "x-write-key,x-ip-policy,x-event-metadata,anonymousid",
    }
    preflight = stage.request("OPTIONS", path, None, asked)
    allowed = preflight.headers["access-control-allow-headers"]
    assert preflight.status == 204
    assert {"x-write-key", "x-ip-policy", "x-event-metadata", "anonymousid"} <= set(
        allowed.split(", ")
    )
    for method in ("POST", "GET", "DELETE"):
        reply = stage.request(method, path, b"{" if method == "POST" else None, {"Origin": ORIGIN})
        assert reply.status in (400, 401, 405)
        assert reply.headers["access-control-allow-origin"] == ORIGIN
        assert {"success", "code", "message", "Error", "Message"} <= set(reply.json)


def test_metrics_tell_the_ways_apart(stage: SdkStage) -> None:
    headers = {"X-Write-Key": f"backend:{KEY}"}
    reply = stage.request("POST", "/api/s/s2s/page/", encode(page_event("jitsu-1")), headers)
    assert (reply.status, reply.json["ok"]) == (200, True)

    ways = ("tracking", "custom_event", "jitsu")

    def is_counted() -> bool:
        said = stage.metrics()
        name = "trunkline_gateway_accepted_events_total"
        return all(f'{name}{{protocol="{way}"}}' in said for way in ways)

    stage.until(is_counted, "each protocol has a count of its own")
