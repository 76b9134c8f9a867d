"""The life of keys on a whole node: rotated, revoked, changed, used, leaked, limited."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support.whole_node import APP, DEV_KEY, SLUG, Reply, WholeNode, basic, workspace
from trunkline.kit.times import parse_time_ms

SERVER = "tls_keys_0123456789abcdef0123456789abcdef"
CLIENT = "tlc_keys_0123456789abcdef0123456789abcdef"
LIMITED = "tlc_slow_0123456789abcdef0123456789abcdef"
ORIGIN = "https://shop.example"
PROXY = """
[gateway]
trusted_proxies = ["127.0.0.1"]
"""
# A change of the catalog is in force within two seconds, on a machine that has them to give; the
# test waits longer, and says how long it took.
CHANGE_SECONDS = 40.0
MINUTE_MS = 60_000


class Stage(WholeNode):
    """A node of two gateways with keys of each type."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder, settings=PROXY, workers=2)
        per_ip = {"events_per_second_max": 0.001, "burst": 2}
        keys = [
            {"name": "backend", "type": "server", "secret": SERVER},
            {"name": "page", "type": "server", "secret": SERVER + "p"},
            {"name": "web", "type": "client", "secret": CLIENT, "allowed_origins": [ORIGIN]},
            {"name": "slow", "type": "client", "secret": LIMITED, "rate_per_ip": per_ip},
        ]
        self.apply(workspace(keys=keys))

    def send(self, key: str, **headers: str) -> Reply:
        """Send one event under a key over the tracking API."""
        more = {name.replace("_", "-"): value for name, value in headers.items()}
        body = json.dumps({"userId": "u-1", "event": "Seen"}).encode()
        return self.request("POST", "/v1/track", body, {"Authorization": basic(key)} | more)

    def message(self, key: str, **headers: str) -> Reply:
        """Send one event under a key over the REST API."""
        more = {name.replace("_", "-"): value for name, value in headers.items()}
        item = {"type": "action", "customName": "Seen", "id": "m", "time": self.clock.now_ms()}
        body = json.dumps({"customUserId": "u-1", "messages": [item]}).encode()
        own = {"X-Application-Id": APP, "X-API-Key": key}
        return self.request("POST", "/v1/messages", body, own | more)

    def key_line(self, name: str, state: str = "active") -> dict[str, Any]:
        """Return what `key list` says of a key."""
        lines = self.say("key", "list")
        [found] = [line for line in lines if (line["name"], line["state"]) == (name, state)]
        return found

    def until_refused(self, ask: Callable[[], Reply]) -> float:
        """Ask until every gateway says no: ten times in a row. Return the seconds it took."""
        row = 0

        def is_refused() -> bool:
            nonlocal row
            row = row + 1 if ask().status in (401, 403) else 0
            return row >= 10

        return self.until(is_refused, "the key is refused", CHANGE_SECONDS)


@pytest.fixture(scope="module")
def stage(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    stage = Stage(tmp_path_factory.mktemp("keys") / "home")
    try:
        stage.node.start()
        yield stage
    finally:
        stage.close()


def test_a_revoked_key_is_refused_by_a_running_node(stage: Stage) -> None:
    issued = stage.say("key", "new", APP, "short", "--type", "server")
    stage.until(lambda: stage.send(issued["secret"]).status == 200, "the new key opens")
    revoked = stage.say("key", "revoke", APP, "short")
    took = stage.until_refused(lambda: stage.send(issued["secret"]))
    print(f"refused {took:.2f} s after the command ended, which said {revoked['live']}")
    assert stage.message(issued["secret"]).status == 403


def test_a_rotated_key_opens_with_both_secrets_until_its_overlap_ends(stage: Stage) -> None:
    first = stage.say("key", "new", APP, "rotating", "--type", "server")["secret"]
    second = stage.say("key", "rotate", APP, "rotating", "--overlap", "24h")["secret"]
    stage.until(lambda: stage.send(second).status == 200, "the new secret opens")
    assert stage.send(first).status == stage.message(first).status == 200
    states = [x["state"] for x in stage.say("key", "list") if x["name"] == "rotating"]
    assert states == ["active", "overlap"]
    third = stage.say("key", "rotate", APP, "rotating", "--overlap-hours", "0.003")["secret"]
    stage.until_refused(lambda: stage.send(first))
    stage.until_refused(lambda: stage.send(second))  # 11 s, without another change
    assert stage.send(third).status == 200
    states = [x["state"] for x in stage.say("key", "list") if x["name"] == "rotating"]
    assert states == ["active"]


def test_a_server_key_that_stands_in_a_page_becomes_a_client_key(stage: Stage) -> None:
    key = SERVER + "p"
    assert stage.send(key, Origin=ORIGIN).status == 403
    stage.say("key", "change", APP, "page", "--type", "client")
    stage.until(lambda: stage.send(key, Origin=ORIGIN).status == 200, "it is a client key")
    assert stage.key_line("page")["type"] == "client"


def test_the_last_use_of_a_key_is_shown_and_survives_a_restart(stage: Stage) -> None:
    begin = stage.clock.now_ms() // MINUTE_MS * MINUTE_MS
    event = {"eventSlug": SLUG, "metrixUserId": "u-1", "idfa": "0" * 36}
    headers = {"Authorization": DEV_KEY}
    sent = stage.request("POST", f"/inappevent/{APP}", json.dumps(event).encode(), headers)
    assert sent.status == 200, sent
    assert stage.send(CLIENT, Origin=ORIGIN).status == 200
    stage.until(lambda: bool(stage.key_line("web")["last_used"]), "the key is shown as used")
    stage.until(lambda: bool(stage.key_line("dev key")["last_used"]), "the dev key too")
    before = stage.key_line("web")["last_used"]
    assert (parse_time_ms(before) or 0) >= begin
    stage.node.stop()
    assert stage.key_line("web")["last_used"] >= before
    stage.node.start()
    assert stage.key_line("web")["last_used"] >= before


def test_a_leaked_server_key_is_told_by_the_list_and_by_doctor(stage: Stage) -> None:
    for _ in range(3):
        assert stage.send(SERVER, Origin="https://evil.example").status == 403

    def are_counted() -> bool:
        leak = stage.key_line("backend")["leak"]
        return leak is not None and leak["count"] == 3

    stage.until(are_counted, "all three are counted")
    assert stage.key_line("backend")["leak"]["origin"] == "https://evil.example"
    assert stage.send(SERVER).status == 200  # a page cannot take the key away from its back end
    told = "seen in a browser request from https://evil.example 3 times"
    findings = [x["text"] for x in stage.say("doctor") if x["about"] == "keys"]
    assert any(told in text and "key rotate Path backend" in text for text in findings), findings
    listed = stage.run("refused", "list").stdout
    assert "server_key_in_browser" in listed


@pytest.mark.parametrize("way", ["send", "message"])
def test_an_address_gets_429_and_another_is_served(stage: Stage, way: str) -> None:
    ask = getattr(stage, way)
    addresses = ("203.0.113.1", "203.0.113.2") if way == "send" else ("203.0.113.3", "203.0.113.4")

    for address in addresses:
        # Each of the two gateways lets two through: of five, one at least is too many.
        replies: list[Reply] = [ask(LIMITED, X_Forwarded_For=address) for _ in range(5)]
        assert replies[0].status == 200
        refused = [reply for reply in replies if reply.status != 200]
        assert {reply.status for reply in refused} == {429}
        assert refused[0].json["code"] == "rate_limited"
        assert int(refused[0].headers["retry-after"]) >= 1
