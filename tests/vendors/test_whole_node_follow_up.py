"""A whole node and a vendor that judges later: killed in between, nothing is lost or believed."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.support.simulated_vendor import simulated
from tests.support.whole_node import WholeNode, workspace
from trunkline.simulators.google_ads import GoogleAds

EVENTS = 60
USERS = 20
STATUS = "/v1/requestStatus:retrieve"


def destination(url: str) -> dict[str, Any]:
    own = GoogleAds.credentials
    params = {
        "BASE_URL": url, "TOKEN_URL": f"{url}/token", "CLIENT_EMAIL": own["client_email"],
        "PRIVATE_KEY": own["private_key"], "CUSTOMER_ID": own["customer_id"],
        "CONVERSION_PURCHASE": own["conversion_action_id"],
        "STATUS_AFTER": "2s", "STATUS_EVERY": "1s", "STATUS_GIVE_UP": "1h",
    }  # fmt: skip
    settings: dict[str, Any] = {
        "kit": "google-ads", "allow_private_addresses": True, "batch_events_max": 10,
        "params": params,
    }  # fmt: skip
    return {"id": "ads", "kind": "http_kit", "settings": settings}


@pytest.mark.slow
def test_nothing_is_called_delivered_before_the_vendor_has_told(tmp_path: Path) -> None:
    node = WholeNode(tmp_path / "home")
    with simulated(GoogleAds(), moment_ms=None) as vendor:
        try:
            node.apply(workspace(destination(vendor.url)))
            node.node.start()
            sent = [
                node.track(
                    f"user-{number % USERS}",
                    properties={"order_id": f"A-{number}", "revenue": 9.5, "currency": "USD"},
                    context={"clickIds": {"gclid": f"Cj0{number}"}},
                )
                for number in range(EVENTS)
            ]
            node.until(lambda: len(vendor.simulator.taken) >= USERS, "the first ones are taken")
            node.node.kill()
            node.node.start()
            node.until_settled("ads", 120.0)
            line = node.line("ads")
            assert (line.delivered, line.dead, line.pending) == (EVENTS, {}, 0)
            taken = {one.id for one in vendor.simulator.taken}
            assert taken == {f"A-{number}" for number in range(EVENTS)}
            assert len(vendor.simulator.taken) == EVENTS, "what is sent again is told by its id"
            assert vendor.simulator.complaints == []
            told = node.say("trace", sent[-1])["destinations"]["ads"]
            assert told["outcome"] == "delivered"
            assert told["attempts"][0]["outcome"] == "retry"
            assert "has not told yet" in told["attempts"][0]["reason"]
        finally:
            node.close()
