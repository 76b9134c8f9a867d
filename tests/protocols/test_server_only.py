"""Events that the app marks *server only*: from a Client key refused, by every protocol."""

from __future__ import annotations

from base64 import urlsafe_b64encode
from typing import Any

import msgspec
import pytest

from tests.support.rest import body_of, headers_of, message
from tests.support.tracking_apps import SNAPSHOT, basic, make_request
from trunkline.kit.protocol import Decoded
from trunkline.model.snapshot import S2S, Secret, digest
from trunkline.node import protocol_shelf

SERVER, CLIENT = "wk_backend", "wk_phone"
PAID = {"userId": "u-1", "event": "purchase-completed"}  # as another than its owner writes it
SEEN = {"userId": "u-1", "event": "Seen"}


def json(value: object) -> bytes:
    return msgspec.json.encode(value)


def ways(key: str, event: dict[str, Any]) -> dict[str, Decoded]:
    """Send an event under a key in every way that there is; return what came of each."""
    key_header = {"authorization": basic(f"{key}:")}
    beside = {"writeKey": key, "eventName": event["event"], "userID": "u-1"}
    data = urlsafe_b64encode(json({**event, "writeKey": key})).decode()
    pixel = {"method": "GET", "query": f"data={data}"}
    sent: dict[str, tuple[str, str, bytes, dict[str, Any]]] = {
        "track": ("tracking", "/v1/track", json(event), {"headers": key_header}),
        "key in the body": ("tracking", "/v1/t", json({**event, "writeKey": key}), {"headers": {}}),
        "batch": (
            "tracking", "/v1/batch", json({"batch": [{"type": "track", **event}]}),
            {"headers": key_header},
        ),
        "pixel": ("tracking", "/v1/pixel/track", b"", {"headers": {}, **pixel}),
        "jitsu": ("jitsu", "/api/s/track", json(event), {"headers": {"x-write-key": f"x:{key}"}}),
        "jitsu, as a back end": (
            "jitsu", "/api/s/s2s/track", json(event), {"headers": {"x-write-key": f"x:{key}"}},
        ),
        "custom event": ("custom_event", "/v1/custom/event", json({"_metarouter": beside}),
            {"headers": {}}),
        **{
            f"REST {kind}": (
                "rest", "/v1/messages",
                body_of(message(kind, name=None, customName=event["event"])),
                {"headers": headers_of(key)},
            )
            for kind in ("action", "revenue")
        },
    }  # fmt: skip
    decoded: dict[str, Decoded] = {}
    for way, (name, path, body, more) in sent.items():
        protocol = protocol_shelf()[name]
        decoded[way] = protocol.decode(make_request(protocol, path, body, **more), SNAPSHOT)
    return decoded


def codes(decoded: dict[str, Decoded]) -> dict[str, list[str]]:
    return {way: [refusal.code for refusal in each.refused] for way, each in decoded.items()}


def test_from_a_client_key_it_is_refused_and_kept_for_the_owner_in_every_way() -> None:
    sent = ways(CLIENT, PAID)
    assert codes(sent) == {way: ["server_only_event"] for way in sent}
    assert not [way for way, each in sent.items() if each.accepted]
    assert {refusal.key for each in sent.values() for refusal in each.refused} == {"phone"}


@pytest.mark.parametrize(("key", "event"), [(SERVER, PAID), (CLIENT, SEEN)])
def test_from_a_server_key_and_any_other_event_it_is_taken_in_every_way(
    key: str, event: dict[str, Any]
) -> None:
    sent = ways(key, event)
    assert codes(sent) == {way: [] for way in sent}
    assert {way: len(each.accepted) for way, each in sent.items()} == dict.fromkeys(sent, 1)


def test_a_system_event_is_no_way_around_it() -> None:
    protocol = protocol_shelf()["rest"]
    for name in ("prchs", "Purchase Completed"):
        body = body_of(message("systemEvent", name=name))
        asked = make_request(protocol, "/v1/messages", body, headers=headers_of(CLIENT))
        decoded = protocol.decode(asked, SNAPSHOT)
        assert not decoded.accepted
        assert [refusal.code for refusal in decoded.refused] == ["server_only_event"]


@pytest.mark.parametrize(("key", "status"), [("dev_shop", 200), (CLIENT, 403), (SERVER, 403)])
def test_over_s2s_it_is_taken_with_the_dev_key_which_no_other_key_is(key: str, status: int) -> None:
    protocol = protocol_shelf()["s2s"]
    s2s = S2S(enabled=True, dev_keys=(Secret(digest("dev_shop")),))
    apps = tuple(msgspec.structs.replace(app, s2s=s2s) for app in SNAPSHOT.apps)
    snapshot = msgspec.structs.replace(SNAPSHOT, apps=apps)
    event = {
        "eventSlug": "prchs",
        "metrixUserId": "u-1",
        "idfa": "0" * 36,
        "values": {"_revenue": 5},
    }
    asked = make_request(protocol, "/inappevent/shop", json(event), headers={"authorization": key})
    decoded = protocol.decode(asked, snapshot)
    assert decoded.answer.status == status, decoded.answer.body
    assert len(decoded.accepted) == (status == 200)
