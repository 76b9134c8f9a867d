"""A whole node and a vendor with bad days: what was accepted is there once, and explained."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from tests.support.simulated_vendor import simulated
from tests.support.whole_node import WholeNode, workspace
from trunkline.kit.times import format_ms
from trunkline.simulators.meta import Meta

EVENTS = 200
BAD_DAYS = "throttled:1*2,reset,good*3,cut,unavailable*2,throttled_in_400,every:6=throttled_bare"


def destination(url: str) -> dict[str, Any]:
    params = {"BASE_URL": url, "DATASET_ID": Meta.credentials["dataset_id"]}
    return {
        "id": "meta",
        "kind": "http_kit",
        "settings": {
            "kit": "meta",
            "allow_private_addresses": True,
            "batch_events_max": 10,
            "params": {**params, "ACCESS_TOKEN": Meta.credentials["access_token"]},
        },
    }


@pytest.mark.slow
def test_every_event_is_taken_once_on_the_worst_of_days(tmp_path: Path) -> None:
    node = WholeNode(tmp_path / "home")
    with simulated(Meta(), script=BAD_DAYS, moment_ms=None) as vendor:
        try:
            node.apply(workspace(destination(vendor.url)))
            node.node.start()
            ahead = format_ms(node.clock.now_ms() + 600_000)
            sent = [
                node.track(
                    f"user-{number % 20}",
                    properties={"order_id": f"A-{number}", "revenue": 9.5, "currency": "USD"},
                    traits={"email": f"user-{number % 20}@example.com"},
                    **({"timestamp": ahead} if number == 0 else {}),
                )
                for number in range(EVENTS)
            ]
            node.until_settled("meta", 90.0)
            line = node.line("meta")
            assert (line.delivered, line.dead, line.pending) == (EVENTS, {}, 0)
            came = Counter(one.value["event_id"] for one in vendor.simulator.taken)
            assert came == Counter(sent)
            assert vendor.simulator.complaints == []
            assert vendor.simulator.duplicates > 0  # of the answers that were lost
            days = {seen.fault for seen in vendor.seen}
            assert days >= {"throttled", "reset", "cut", "unavailable", "throttled_in_400", ""}
            check_told(node, sent[0])
        finally:
            node.close()


def check_told(node: WholeNode, message_id: str) -> None:
    """The trace shows what was sent, without the secret, and what was changed of the event."""
    told = node.say("trace", message_id)["destinations"]["meta"]
    assert told["outcome"] == "delivered"
    assert told["attempts"][-1]["outcome"] == "delivered"
    assert f'"event_id":"{message_id}"' in told["request"]["body"]
    assert Meta.credentials["access_token"] not in str(told)
    assert "hashed: user_data.em (sha256)" in told["changes"]
    assert any(change.startswith("in_the_future: event_time") for change in told["changes"])
