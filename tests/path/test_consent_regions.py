"""A person of a region that needs a consent, through a node: what arrives, and what is told."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.support.told_receiver import ToldReceiver
from tests.support.whole_node import PATIENCE_SECONDS, WholeNode, webhook, workspace

JANE: dict[str, Any] = {
    "traits": {"email": "jane@example.com"},
    "properties": {"gclid": "Cj0KCQ", "total": 29.9},
}
BERLIN = {"location": {"country": "Germany"}, "ip": "203.0.113.7"}
AGREED = {**BERLIN, "consent": {"categoryPreferences": {"ads": True}}}


@pytest.mark.slow
def test_who_said_nothing_stays_unknown_and_who_agreed_does_not(tmp_path: Path) -> None:
    node, receiver = WholeNode(tmp_path / "home"), ToldReceiver()

    def made(name: str, **more: Any) -> Any:
        one = {"batch_events_max": 1}
        return webhook(name, f"{receiver.url}/{name}", settings=one, **more)

    try:
        everywhere = {"needed_in": ["EEA", "GB"]}
        drops = {**everywhere, "without": "drop"}
        node.apply(
            workspace(
                made("ads", consent=["ads"]),
                made("own", consent_regions={"needed_in": []}),
                made("strict", consent_regions=drops),
                consent_regions=everywhere,
            )
        )
        node.node.start()
        silent = node.track("of-berlin", context=BERLIN, **JANE)
        agreed = node.track("of-berlin", context=AGREED, **JANE)
        for path, ids in (("ads", {silent, agreed}), ("own", {silent}), ("strict", {agreed})):
            shelf = receiver.shelf(f"/{path}")
            came = receiver.wait(lambda s=shelf, i=ids: i <= s.events.keys(), PATIENCE_SECONDS)
            assert came, (path, node.log()[-3000:])
            node.until_settled(path)
        assert node.line("strict").filtered == {"consent: region": 1}
        assert node.line("ads").filtered == {}
        _look_at_what_arrived(receiver, silent, agreed)
        _look_at_the_trace(node, silent, agreed)
    finally:
        node.close()
        receiver.close()


def _look_at_what_arrived(receiver: ToldReceiver, silent: str, agreed: str) -> None:
    seen = receiver.shelf("/ads").events
    assert seen[silent]["properties"] == {"total": 29.9}
    assert seen[silent]["context"] == {"location": {"country": "Germany"}}
    assert seen[silent].keys().isdisjoint({"userId", "traits"})
    for event in (seen[agreed], receiver.shelf("/own").events[silent]):
        assert (event["userId"], event["traits"]) == ("of-berlin", JANE["traits"])
        assert event["properties"] == JANE["properties"]


def _look_at_the_trace(node: WholeNode, silent: str, agreed: str) -> None:
    told = node.say("trace", silent)["destinations"]
    assert (told["strict"]["outcome"], told["strict"]["reason"]) == ("filtered", "consent: region")
    changes = told["ads"]["changes"]
    assert changes[0].startswith("consent: needed where the event comes from, and not given")
    assert {"withheld: userId was taken out", "withheld: properties.gclid was taken out"} <= {
        *changes
    }
    for word in ("jane@example.com", "Cj0KCQ", "203.0.113.7", "of-berlin"):
        assert word not in told["ads"]["request"]["body"] and word not in str(changes)
    assert "changes" not in node.say("trace", agreed)["destinations"]["ads"]
