"""A vendor's contract on a real node: what it drops, condemns and changes shows in every report."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support.judged_vendor import KIT, NAME, TOKEN, destination
from tests.support.vendor_server import VendorServer
from tests.support.whole_node import PATIENCE_SECONDS, WholeNode, workspace
from trunkline.catalog.kits import save_kits
from trunkline.kit.yaml_text import read_yaml
from trunkline.kits.kit import parse_kit

pytestmark = pytest.mark.slow
OLD = "2024-01-01T00:00:00Z"
PATH = "/v2/54321"


@pytest.fixture
def vendor() -> Iterator[VendorServer]:
    server = VendorServer()
    yield server
    server.close()


@pytest.fixture
def node(tmp_path: Path, vendor: VendorServer) -> Iterator[WholeNode]:
    node = WholeNode(tmp_path / "home")
    save_kits(node.home, [parse_kit(read_yaml(KIT))])
    node.apply(workspace(destination(vendor.url)))
    node.node.start()
    yield node
    node.close()


def traced(node: WholeNode, message_id: str) -> dict[str, Any]:
    return node.say("trace", message_id)["destinations"][NAME]


def test_what_a_contract_does_to_events_is_told(node: WholeNode, vendor: VendorServer) -> None:
    email = {"traits": {"email": " Jane@Example.com"}}
    cut = node.track(event="A name that is too long", context=email)
    node.track(event="Bought", timestamp=OLD, historical=True)
    nobody = node.post(
        "/v1/track", {"messageId": "nobody", "event": "Bought", "anonymousId": "someone"}
    )
    assert nobody.status == 200
    old = node.track(event="Bought", timestamp=OLD)
    node.until_settled(NAME)
    assert vendor.wait(lambda: len(vendor.at(PATH)) >= 1, PATIENCE_SECONDS)

    line = node.line(NAME)
    assert line.delivered == 1
    assert line.filtered["vendor: older_than_a_week"] >= 1
    assert sum(line.dead.values()) == 1

    story = traced(node, cut)
    assert story["outcome"] == "delivered"
    assert any(change.startswith("long_name: ") for change in story["changes"])
    assert "hashed: user.em (sha256)" in story["changes"]
    assert "A name that " in story["request"]["body"]
    assert TOKEN not in str(story)
    text = node.run("trace", cut).stdout
    assert "hashed: user.em (sha256)" in text
    assert "long_name: " in text

    dropped = traced(node, old)
    assert (dropped["outcome"], dropped["reason"]) == ("filtered", "vendor: older_than_a_week")
    assert "attempts" not in dropped, "nothing was sent"

    dead = traced(node, "nobody")
    assert dead["outcome"] == "dead"
    assert "needs_user: An event needs a user." in dead["reason"]

    counts = node.say("ledger", "--by", "event")
    (bought,) = [each for each in counts if each["event"] == "Bought"]
    assert bought["reasons"]["filtered: vendor: older_than_a_week"] >= 1
    assert (bought["delivered"], bought["not_delivered"]) == (0, 1)
