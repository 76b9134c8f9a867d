"""`POST /push` on a whole node: the FCM kit delivers to devices, a webhook hears of everyone."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support.simulated_vendor import SimulatedVendor, simulated
from tests.support.told_receiver import ToldReceiver
from tests.support.whole_node import APP, KEY, Reply, WholeNode, webhook, workspace
from trunkline.simulators.fcm import FcmSimulator

CREDENTIALS = FcmSimulator.credentials


class Stage(WholeNode):
    """A node with FCM and a webhook."""

    def __init__(self, folder: Path, vendor: SimulatedVendor) -> None:
        super().__init__(folder / "home")
        self.vendor = vendor
        self.receiver = ToldReceiver()
        params = {
            "BASE_URL": vendor.url,
            "TOKEN_URL": f"{vendor.url}/token",
            "PROJECT_ID": CREDENTIALS["project_id"],
            "CLIENT_EMAIL": CREDENTIALS["client_email"],
            "PRIVATE_KEY": CREDENTIALS["private_key"],
        }
        settings = {"kit": "fcm", "allow_private_addresses": True, "params": params}
        fcm = {"id": "fcm", "kind": "http_kit", "settings": settings}
        hook = webhook("hook", f"{self.receiver.url}/hook", filter={"events": ["Push Requested"]})
        self.apply(workspace(fcm, hook))
        self.node.start()

    def push(self, *recipients: Any, channel: str = "APP_PUSH", id_: str = "push-1") -> Reply:
        """Push a message, as a back end does."""
        message = {"title": "Order paid", "body": "سپاس", "url": "https://shop.example/orders"}
        value = {"recipients": [*recipients], "channel": channel, "message": message}
        headers = {"X-Application-Id": APP, "X-API-Key": KEY, "Idempotency-Key": id_}
        return self.request("POST", "/push", json.dumps(value).encode(), headers)

    def fates(self, destination: str) -> tuple[int, int, int]:
        """Return how many were delivered, given up, and filtered."""
        line = self.line(destination)
        return line.delivered, sum(line.dead.values()), sum(line.filtered.values())


@pytest.fixture
def stage(tmp_path: Path) -> Iterator[Stage]:
    with simulated(FcmSimulator(), moment_ms=None) as vendor:
        made = Stage(tmp_path, vendor)
        yield made
        made.close()
        made.receiver.close()


def test_a_push_reaches_devices_and_the_webhook_and_is_explained(stage: Stage) -> None:
    device = {"customUserId": "u-7", "token": "device-token-7"}
    gone = {"customUserId": "u-8", "token": "unregistered-8"}
    reply = stage.push(device, gone, "u-9", "")
    assert (reply.status, reply.json["accepted"]) == (200, 3)
    assert [each["index"] for each in reply.json["rejected"]] == [3]
    assert stage.push(device, gone, "u-9", "").json["accepted"] == 3  # its answer was lost, say
    assert stage.push("u-7", channel="SMS", id_="push-2").status == 200
    assert stage.push(device, id_="push-3", channel="WEB_PUSH").status == 200

    stage.until(lambda: stage.acceptance().duplicate == 3, "the repeated push is known")
    stage.until(lambda: stage.line("hook").delivered == 5, "the webhook heard of all")
    stage.until(lambda: stage.fates("fcm") == (2, 1, 2), f"fates of fcm: {stage.fates('fcm')}")
    sent = [one.value for one in stage.vendor.simulator.taken]
    assert [each["token"] for each in sent] == ["device-token-7"] * 2
    assert sent[0]["notification"] == {"title": "Order paid", "body": "سپاس"}
    assert stage.vendor.simulator.complaints == []

    shelf = stage.receiver.shelf("/hook")
    assert (len(shelf.events), shelf.extra_copies) == (5, 0)
    told = sorted((e["userId"], e["properties"]["channel"]) for e in shelf.events.values())
    assert told == [
        ("u-7", "APP_PUSH"), ("u-7", "SMS"), ("u-7", "WEB_PUSH"), ("u-8", "APP_PUSH"),
        ("u-9", "APP_PUSH"),
    ]  # fmt: skip


def test_a_push_without_a_token_goes_to_the_newest_device_of_the_profile(stage: Stage) -> None:
    def register(user: str, token: str, at: str) -> None:
        message = {"type": "pushToken", "id": f"t-{token}", "time": at, "token": token}
        value = {"customUserId": user, "messages": [message]}
        headers = {"X-Application-Id": APP, "X-API-Key": KEY}
        reply = stage.request("POST", "/v1/messages", json.dumps(value).encode(), headers)
        assert reply.json["accepted"] == 1, reply

    def token_of(user: str) -> str:
        headers = {"X-Application-Id": APP, "X-API-Key": KEY}
        reply = stage.request("GET", f"/v1/users/{user}", None, headers)
        return reply.json["traits"]["pushToken"]["token"] if reply.status == 200 else ""

    register("u-5", "new-phone", "2026-11-20T10:00:00Z")
    register("u-5", "old-phone", "2026-11-01T10:00:00Z")
    register("u-6", "her-phone", "2026-11-20T10:00:00Z")
    stage.until(lambda: token_of("u-5") == "new-phone", "the profile knows the device")
    stage.until(lambda: token_of("u-6") == "her-phone", "and the other one's")
    assert stage.push("u-5", "u-6", "u-nobody", id_="push-9").json["accepted"] == 3
    stage.until(lambda: stage.fates("fcm")[0] == 2, f"fates of fcm: {stage.fates('fcm')}")
    sent = [one.value["token"] for one in stage.vendor.simulator.taken]
    assert sorted(sent) == ["her-phone", "new-phone"]

    stage.until(lambda: len(stage.receiver.shelf("/hook").events) == 3, "the webhook heard of all")
    events = stage.receiver.shelf("/hook").events.values()
    found = {event["userId"]: event.get("context", {}).get("device") for event in events}
    assert found["u-5"] == {"token": "new-phone", "type": "android"}
    assert found["u-nobody"] is None
    told = {event["userId"]: stage.say("trace", event["messageId"]) for event in events}
    assert "the device token is the newest of the user's profile" in json.dumps(told["u-5"])
    assert "the user's profile knows none" in json.dumps(told["u-nobody"])
