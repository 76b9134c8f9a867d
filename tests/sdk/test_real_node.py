"""The library against a whole node: what is called comes out at the destination, once."""

from __future__ import annotations

import uuid
from pathlib import Path
from typing import Any

import pytest
from trunkline_sdk import Rejected, Trunkline, Who

from tests.support.python_sdk_stage import SdkStage
from tests.support.whole_node import APP, DEV_KEY, KEY, SLUG

pytestmark = pytest.mark.slow

PATIENCE = 60.0
DEVICE = "38400000-8cf0-11bd-b23e-10b96e40000d"


@pytest.mark.parametrize("is_durable", [False, True])
def test_every_api_reaches_the_destination(
    stage: SdkStage, tmp_path: Path, is_durable: bool
) -> None:
    told: list[Rejected] = []
    path = tmp_path / "q.db" if is_durable else None
    user = f"u-{uuid.uuid4()}"
    with Trunkline(KEY, stage.node.url, queue_path=path, on_rejected=told.extend) as client:
        ids = {
            client.track(user, "Order Completed", {"note": "سلام 🎉", "total": 53.7}),
            client.identify(user, {"plan": "gold"}),
            client.page(user, "Home"),
            client.screen(user, "Cart"),
            client.group(user, "g-1"),
            client.alias("anon-1", user),
            client.s2s(APP, DEV_KEY).event(
                SLUG, user_id=user, advertising_id=DEVICE, revenue=53.7, currency="IRR"
            ),
        }
        rest = client.rest(APP, KEY)
        rest.user(Who(user), {"firstName": "Maryam"})
        rest.revenue(Who(user), SLUG, 12.5, order_id="8812")
        rest.push_token(Who(user), "token-1")
        assert client.flush(PATIENCE) and not told
        stage.until_arrived(ids)
    stage.receiver.wait(lambda: len(of(stage, user)) == 10, PATIENCE)
    came = of(stage, user)
    assert sorted(e["type"] for e in came) == sorted(
        ["track"] * 3 + ["identify"] * 3 + ["page", "screen", "group", "alias"]
    )
    assert {"note": "سلام 🎉", "total": 53.7} in [e.get("properties") for e in came]
    paid = [e["properties"]["revenue"] for e in came if e["source"].get("slug") == SLUG]
    assert sorted(paid) == [12.5, 53.7]


def of(stage: SdkStage, user: str) -> list[dict[str, Any]]:
    return [e for e in list(stage.shelf.events.values()) if e.get("userId") == user]


def test_what_the_node_refuses_is_told_with_the_node_s_reason(stage: SdkStage) -> None:
    told: list[Rejected] = []
    with Trunkline(KEY, stage.node.url, on_rejected=told.extend) as client:
        client.track("u", "Seen", {"n": 10**400}, message_id="too-large-a-number")
        client.track("u", "Seen", message_id=(good := str(uuid.uuid4())))
        client.s2s(APP, DEV_KEY).event("nosuch", user_id="u", idfa=DEVICE, message_id="no-slug")
        client.rest(APP, KEY).message(Who("u"), "nosuch", {}, message_id="no-type")
        assert client.flush(PATIENCE)
    codes = {one.message_id: one.code for one in told}
    assert codes == {
        "too-large-a-number": "invalid_number",
        "no-slug": "EVENT_TYPE_DOES_NOT_EXIST",
        "no-type": "unknown_type",
    }
    stage.until_arrived({good})


def test_an_unknown_key_holds_the_events(stage: SdkStage, caplog: pytest.LogCaptureFixture) -> None:
    told: list[Rejected] = []
    client = Trunkline("tls_nobody_knows_this", stage.node.url, on_rejected=told.extend)
    client.track("u", "Seen")
    assert not client.flush(0.5) and not told and client.waiting() == 1
    client.close(0.0)
    assert [one.code for one in told] == ["not_sent"]
