"""Playbooks on a whole node: deployed under load, run in the jail, mended, and replayed."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support.keeping_receiver import KeepingReceiver
from tests.support.steady_load import SteadyLoad, disorder_of
from tests.support.whole_node import APP, PATIENCE_SECONDS, WholeNode, webhook, workspace
from trunkline.kit.settings import load_boot
from trunkline.node import open_log
from trunkline.reports.pending import scan_events
from trunkline.reports.state import reading
from trunkline.state.forwarder import unpack_offsets

DEPLOYS = 8
KEPT = [
    {"inputKey": "messageId", "outputKey": "messageId"},
    {"inputKey": "properties", "outputKey": "properties"},
]
LUA = """
if input.event == "Bad" then
  error("no price")
end
return {messageId = input.messageId, price = input.properties.price, by = "%s"}
"""
OPTIMISTIC = LUA.replace('input.event == "Bad"', "false") % "fixed"


def marked(mark: str, **sections: Any) -> dict[str, Any]:
    """A playbook whose output says which one it was, first and last."""
    enrichments = [{"outputKey": key, "staticString": mark} for key in ("first", "last")]
    return {"default": {"enrichments": enrichments, "mappings": KEPT}, **sections}


def lua(body: str) -> dict[str, Any]:
    return {"default": {"expressions": [{"lang": "lua", "name": "all", "body": body}]}}


class Stage(WholeNode):
    """A node with one webhook, and playbooks that are deployed by command."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder, workers=2)
        self.receiver = KeepingReceiver()
        self.shelf = self.receiver.shelf("/all")
        self.apply(workspace(webhook("receiver", f"{self.receiver.url}/all")))

    def deploy(self, playbook: dict[str, Any], *options: str) -> Any:
        """Deploy a playbook as a person does."""
        file = self.home.folder.parent / "playbook.json"
        file.write_text(json.dumps(playbook))
        return self.say("playbook", "deploy", "--destination", "receiver", str(file), *options)

    def arrives(self, *message_ids: str) -> None:
        """Wait until events are at the receiver."""
        arrived = self.receiver.wait(
            lambda: set(message_ids) <= self.shelf.events.keys(), PATIENCE_SECONDS
        )
        assert arrived, self.log()[-3000:]

    def revisions(self) -> dict[str, int]:
        """Return the revision of the attempt that carried each event, by its messageId."""
        log = open_log(self.home, load_boot(self.home.settings_file, {}, {}), self.clock)
        try:
            ids = {offset: stored.message_id for offset, stored in scan_events(log, 0, 1 << 40)}
        finally:
            log.close()
        with reading(self.home, "forwarder") as db:
            assert db is not None
            rows = list(db.execute("SELECT offsets, revision FROM fate WHERE kind='attempt'"))
        return {ids[o]: revision for packed, revision in rows for o in unpack_offsets(packed)}


@pytest.fixture
def stage(tmp_path: Path) -> Iterator[Stage]:
    stage = Stage(tmp_path / "home")
    try:
        stage.node.start()
        yield stage
    finally:
        stage.close()
        stage.receiver.close()


@pytest.mark.slow
def test_revisions_swapped_under_load_lose_double_and_mix_nothing(stage: Stage) -> None:
    with SteadyLoad(stage.node.ingest_port, lanes=4) as load:
        numbers = [stage.deploy(marked(f"r{n + 1}"))["revision"] for n in range(DEPLOYS)]
        back = [stage.say("playbook", "rollback", "--destination", "receiver") for _ in range(3)]
        last = stage.track()
    stage.arrives(last, *load.acknowledged)
    stage.until_settled("receiver")
    assert numbers == list(range(1, DEPLOYS + 1))
    assert [each["revision"] for each in back] == [DEPLOYS - 1, DEPLOYS - 2, DEPLOYS - 3]
    assert stage.shelf.events[last]["first"] == f"r{DEPLOYS - 3}", "in force when it returned"
    assert load.refused == []
    assert stage.shelf.extra_copies == 0
    assert disorder_of(stage.shelf) == []
    line = stage.line("receiver")
    assert (line.delivered, line.dead, line.filtered) == (line.accepted, {}, {})
    assert line.accepted == len(stage.shelf.events) == len(load.acknowledged) + 1
    told = stage.revisions()
    for message_id, made in stage.shelf.events.items():
        assert made.get("first") == made.get("last"), "half of one revision, half of another"
        assert made.get("first", "r0") == f"r{told[message_id]}", message_id
    assert len(set(told.values())) >= DEPLOYS // 2


@pytest.mark.slow
def test_a_failure_is_found_mended_previewed_and_replayed(stage: Stage) -> None:
    stage.deploy(lua(LUA % "first"))
    good = stage.track(event="Good", properties={"price": 5})
    bad = stage.track(event="Bad", properties={"price": 7})
    stage.arrives(good)
    assert stage.shelf.events[good] == {"messageId": good, "price": 5, "by": "first"}
    stage.until(lambda: stage.say("dead-letters", "list"), "the bad one is a dead letter")
    (letter,) = stage.say("dead-letters", "show", bad)
    assert (letter["revision"], letter["failure"]["line"]) == (1, 3)
    assert "no price" in letter["detail"]
    assert "Bad" in letter["failure"]["input"]
    assert stage.say("dead-letters", "show", str(letter["id"])) == [letter]
    traced = stage.say("trace", bad)["destinations"]["receiver"]
    assert (traced["outcome"], traced["failure"]["line"]) == ("dead", 3)

    (still,) = stage.say("dead-letters", "replay", "--preview")
    assert "no price" in still["now"]["failure"]
    stage.deploy(lua(OPTIMISTIC), "--note", "prices are optional")
    (found,) = stage.say("dead-letters", "replay", "--dry-run")
    assert found["now"]["payload"] == [{"messageId": bad, "price": 7, "by": "fixed"}]
    assert (found["then"]["revision"], found["now"]["revision"]) == (1, 2)
    assert bad not in stage.shelf.events, "nothing was sent"
    side_by_side = stage.run("dead-letters", "replay", "--preview").stdout
    assert "cannot be shaped" in side_by_side and '"by": "fixed"' in side_by_side

    assert stage.say("dead-letters", "replay")["replayed"] == 1
    stage.arrives(bad)
    assert stage.shelf.events[bad] == found["now"]["payload"][0]
    stage.until_settled("receiver")
    traced = stage.say("trace", bad)["destinations"]["receiver"]
    assert traced["outcome"] == "delivered"
    assert traced["attempts"][-1]["revision"] == 2
    assert traced["attempts"][-1]["deliveryId"] == found["deliveryId"]
    assert json.loads(traced["request"]["body"]) == [stage.shelf.events[bad]]


@pytest.mark.slow
def test_what_each_event_name_came_to_is_counted_and_agrees_with_the_ledger(stage: Stage) -> None:
    drops = {"filters": [{"byEventNames": {"action": "deny", "events": ["Internal Note"]}}]}
    stage.deploy(marked("r1", **{"global": drops}))
    ids = [stage.track(event="Order Completed", user=f"u{n}") for n in range(5)]
    dropped = [stage.track(event="internal_note", user=f"u{n}") for n in range(3)]
    stage.arrives(*ids)
    stage.until_settled("receiver")
    lines = {line["event"]: line for line in stage.say("ledger", "--by", "event", "--app", APP)}
    assert lines["Order Completed"]["delivered"] == 5
    assert lines["Order Completed"]["delivery_rate"] == 1.0
    assert lines["internal_note"]["playbook_filter"] == 3
    line = stage.line("receiver")
    assert (line.delivered, line.filtered) == (5, {"playbook": 3})
    told = stage.say("trace", dropped[0])["destinations"]["receiver"]
    assert (told["outcome"], told["reason"]) == ("filtered", "playbook: global.filters[0]")
    assert told["revision"] == 1
    assert "attempts" not in told


@pytest.mark.slow
def test_a_shadow_sends_nothing_and_is_counted(stage: Stage) -> None:
    stage.deploy(marked("r1"))
    file = stage.home.folder.parent / "shadow.json"
    file.write_text(json.dumps(marked("r2")))
    stage.say("playbook", "shadow", "--destination", "receiver", str(file))
    ids = [stage.track(user=f"u{n}") for n in range(5)]
    stage.arrives(*ids)
    stage.until_settled("receiver")
    assert {made["first"] for made in stage.shelf.events.values()} == {"r1"}

    def counted() -> int:
        with reading(stage.home, "forwarder") as db:
            assert db is not None
            rows = db.execute("SELECT SUM(count) FROM shadow WHERE kind='different'")
            return int(rows.fetchone()[0] or 0)

    stage.until(lambda: counted() == 5, "the shadow has seen them")


@pytest.mark.slow
def test_what_a_dry_run_shows_is_what_the_receiver_then_gets(stage: Stage) -> None:
    stage.deploy(marked("r1"))
    ids = [stage.track(user=f"u{n}", properties={"n": n}) for n in range(3)]
    stage.arrives(*ids)
    stage.until_settled("receiver")
    shown = stage.say("playbook", "test", "--destination", "receiver", "--last", "3")
    assert [each["messageId"] for each in shown] == ids
    for each in shown:
        assert each["outputs"] == [stage.shelf.events[each["messageId"]]]
        assert json.loads(each["requests"][0]["request"]["body"]) == each["outputs"]
    file = stage.home.folder.parent / "next.json"
    file.write_text(json.dumps(marked("r2")))
    command = ("playbook", "test", str(file), "--destination", "receiver", "--message-id", ids[0])
    (trial,) = stage.say(*command)
    assert trial["outputs"][0]["first"] == "r2"
    assert {"path": "default.enrichments[0]", "output_key": "first", "value": "r2"} in trial[
        "steps"
    ]
    assert len(stage.shelf.events) == 3, "a dry run sends nothing"

    told = stage.say("playbook", "diff", "--destination", "receiver", "--to", str(file))
    assert (told["events"], told["counts"]["different"]) == (3, 3)
    assert told["paths"] == {"first": 3, "last": 3}
    stage.deploy(marked("r2"))
    later = stage.track(properties={"n": 3})
    stage.arrives(later)
    assert stage.shelf.events[later]["first"] == "r2"
    assert stage.say("playbook", "rollback", "--destination", "receiver")["revision"] == 1
    last = stage.track(properties={"n": 4})
    stage.arrives(last)
    assert stage.shelf.events[last]["first"] == "r1"
    told = stage.say("playbook", "diff", "--destination", "receiver", "--from", "1", "--to", "2")
    assert told["counts"]["different"] == told["events"] == 5
    assert stage.say("playbook", "shadow", "--destination", "receiver")["revisions"] == []
