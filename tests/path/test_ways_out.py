"""Every way out of the path, made to happen: each has its ledger row, and the ledger balances.

`WholeNode.ledger` holds both equations against every reading, so each look at it in here is a
check: with events held at the receiver, in waiting lanes, parked, and when all has drained.
"""

from __future__ import annotations

import json
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support.told_receiver import ToldReceiver
from tests.support.whole_node import (
    APP,
    DEV_KEY,
    KEY,
    PATIENCE_SECONDS,
    SLUG,
    WholeNode,
    webhook,
    workspace,
)

# Events that are retried leave the log for their lanes after a second, not a minute.
SETTINGS = "[forwarder]\nwaiting_seconds = 1.0\n"
ONE = {"batch_events_max": 1}
JANE = "8c87b489ce35cf2e2f39f80e282cb2e804932a56a213983eeeb428407d43b52d"
NO_TIME = {"retry_hours_max": 0.0003}  # a second
ALL_REASONS = {
    "disabled", "filter: types", "filter: events", "filter: except", "integrations", "consent",
    "consent: region", "suppressed",
}  # fmt: skip


class Stage(WholeNode):
    """A node whose destinations each know one way out, and a receiver with a path for each."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder, settings=SETTINGS)
        self.receiver = ToldReceiver()
        self.destinations = {d["id"]: d for d in self._make_destinations()}
        self.configure()

    def begin(self) -> None:
        """Start, and wait until a first event went all the way."""
        self.node.start()
        self.track(messageId="the-first")
        self.until_settled("plain")

    def _make_destinations(self) -> Iterator[Any]:
        def made(name: str, settings: dict[str, Any] | None = None, **more: Any) -> Any:
            return webhook(name, f"{self.receiver.url}/{name}", settings=settings, **more)

        yield made("plain")
        yield made("disabled", enabled=False)
        yield made("types", filter={"types": ["identify"]})
        yield made("events", filter={"events": ["Only This"]})
        yield made("except", filter={"except": ["Not This"]})
        yield made("consent", consent=["ads"])
        drops = {"needed_in": ["EEA"], "unknown": "not_needed", "without": "drop"}
        yield made("region", consent_regions=drops)
        denied = ["context.ip", "properties.*_token"]
        yield made("guarded", deny_fields=denied, hash_fields="default", settings=ONE)
        yield made("strict", ONE)
        yield made("hasty", NO_TIME)
        yield made("parking", ONE)
        yield made("lanes", ONE)
        yield made("again")

    def configure(self) -> None:
        """Apply the destinations as they are now, and remove those that are gone."""
        self.apply(workspace(*self.destinations.values()), prune=True)

    def has(self, path: str, *message_ids: str) -> None:
        """Wait until events are at a path of the receiver."""
        shelf = self.receiver.shelf(path)
        arrived = self.receiver.wait(
            lambda: set(message_ids) <= shelf.events.keys(), PATIENCE_SECONDS
        )
        assert arrived, (path, self.log()[-3000:])

    def trace_of(self, message_id: str, destination: str) -> Any:
        """Return what `trace --json` says of an event at one destination."""
        story = self.say("trace", message_id)
        assert story["messageId"] == message_id
        return story["destinations"][destination]


@pytest.fixture(scope="module")
def stage(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    stage = Stage(tmp_path_factory.mktemp("ways-out") / "home")
    try:
        stage.begin()
        yield stage
    finally:
        stage.close()
        stage.receiver.close()


@pytest.fixture(autouse=True)
def everything_balances(stage: Stage) -> Iterator[None]:
    """Before and after each way: what was accepted is accounted for at every destination."""
    yield
    stage.until(stage.is_taken_up, "everything is taken up")
    ledger = stage.ledger()
    accepted = ledger.apps[0].accepted
    for line in ledger.destinations:
        known = (
            line.delivered + sum(line.filtered.values()) + sum(line.dead.values()) + line.pending
        )
        assert known == line.accepted + line.replayed
        if line.destination != "again":
            assert line.accepted == accepted


@pytest.mark.slow
def test_delivered_with_events_held_and_after_the_drain(stage: Stage) -> None:
    stage.receiver.hold("/plain")
    ids = [stage.track(f"held-{number}") for number in range(30)]
    stage.until(lambda: stage.line("plain").pending == 30, "30 are pending")
    assert stage.say("ledger")["balanced"] is True
    row = stage.state("plain")
    assert (row["kind"], row["state"], row["lag"]) == ("webhook", "running", 30)
    assert stage.trace_of(ids[-1], "plain")["outcome"] == "pending"
    stage.receiver.release("/plain")
    stage.has("/plain", *ids)
    stage.until_settled("plain")
    told = stage.trace_of(ids[0], "plain")
    assert (told["outcome"], told["kind"]) == ("delivered", "webhook")
    assert told["attempts"][-1]["status"] == 200
    assert ids[0] in told["request"]["body"]
    assert told["request"]["url"] == f"{stage.receiver.url}/plain"


def test_a_story_has_its_stages_in_their_order(stage: Stage) -> None:
    message_id = stage.track("story", properties={"n": 1})
    stage.has("/plain", message_id)
    stage.until_settled("plain")
    story = stage.say("trace", message_id)
    assert [one["stage"] for one in story["stages"]] == ["received", "checked", "stored"]
    facts = story["stages"][0]["facts"]
    assert (facts["protocol"], facts["key"], facts["address"]) == (
        "tracking",
        "backend",
        "127.0.0.1",
    )
    assert KEY not in json.dumps(story)
    assert set(story["destinations"]) == set(stage.destinations)
    done = stage.run("trace", "never-sent", "--json")
    assert done.returncode == 1
    assert "never-sent" in done.stderr


@pytest.mark.parametrize(
    ("destination", "reason", "event"),
    [
        ("disabled", "disabled", {}),
        ("types", "filter: types", {}),
        ("events", "filter: events", {"event": "Another"}),
        ("except", "filter: except", {"event": "not this"}),
        ("plain", "integrations", {"integrations": {"All": False}}),
        ("plain", "integrations", {"integrations": {"PLAIN": False}}),
        ("consent", "consent", {"context": {"consent": {"optOut": {"ads": True}}}}),
        ("region", "consent: region", {"context": {"location": {"country": "Germany"}}}),
    ],
)
def test_filtered_for_each_reason(
    stage: Stage, destination: str, reason: str, event: dict[str, Any]
) -> None:
    before = stage.line(destination).filtered.get(reason, 0)
    message_id = stage.track("filtered", **event)
    stage.until(
        lambda: stage.line(destination).filtered.get(reason, 0) == before + 1, f"filtered: {reason}"
    )
    told = stage.trace_of(message_id, destination)
    assert (told["outcome"], told["reason"]) == ("filtered", reason)
    assert message_id not in stage.receiver.shelf(f"/{destination}").events


def test_a_suppressed_person_is_filtered_everywhere_until_freed(stage: Stage) -> None:
    done = stage.say("suppress", "add", APP, "forgotten", "--email", "forgotten@example.com")
    assert (done["changed"], done["live"]["waiting"]) == (2, 0)
    before = {name: stage.line(name).filtered.get("suppressed", 0) for name in stage.destinations}
    by_id = stage.track("forgotten")
    by_address = stage.track("somebody", traits={"email": "Forgotten@Example.com"})
    other = stage.track("remembered")
    stage.has("/plain", other)
    stage.until_settled("plain")
    for name, count in before.items():
        stage.until(
            lambda name=name, count=count: (
                stage.line(name).filtered.get("suppressed", 0) == count + 2
            ),
            f"{name} is told",
        )
    for message_id in (by_id, by_address):
        assert message_id not in stage.receiver.shelf("/plain").events
        told = stage.trace_of(message_id, "plain")
        assert (told["outcome"], told["reason"]) == ("filtered", "suppressed")
    assert stage.say("trace", by_id)["stages"][-1]["stage"] == "stored"
    assert stage.say("suppress", "remove", APP, "forgotten")["changed"] == 1
    stage.has("/plain", stage.track("forgotten"))


def test_a_destination_sees_and_a_trace_shows_what_it_may(stage: Stage) -> None:
    message_id = stage.track(
        "guarded",
        context={"ip": "203.0.113.7", "traits": {"email": "Jane@Example.com"}},
        properties={"push_token": "t", "n": 1},
    )
    stage.has("/guarded", message_id)
    stage.has("/plain", message_id)
    stage.until_settled("guarded")
    seen: Any = json.loads(stage.trace_of(message_id, "guarded")["request"]["body"])
    assert "ip" not in seen["context"] and seen["properties"] == {"n": 1}
    assert seen["context"]["traits"] == {"email": JANE}
    assert "Jane@Example.com" in stage.trace_of(message_id, "plain")["request"]["body"]


def test_the_reasons_of_filtering_are_the_ones_that_were_told(stage: Stage) -> None:
    found = {reason for line in stage.ledger().destinations for reason in line.filtered}
    assert found <= ALL_REASONS


def test_rejected_becomes_a_dead_letter_and_the_neighbours_go_on(stage: Stage) -> None:
    bad = str(uuid.uuid4())
    stage.receiver.judge("/strict", lambda sent: 422 if sent[0]["messageId"] == bad else 200)
    before = stage.line("strict").dead.get("rejected", 0)
    first = stage.track("strict-user")
    stage.track("strict-user", messageId=bad)
    last = stage.track("strict-user")
    stage.has("/strict", first, last)
    stage.until_settled("strict")
    assert stage.line("strict").dead == {"rejected": before + 1}
    letters = stage.say("dead-letters", "list", "--destination", "strict", "--message-id", bad)
    assert [letter["messageId"] for letter in letters] == [bad]
    letter = letters[0]
    assert (letter["destination"], letter["reason"], letter["attempts"]) == (
        "strict",
        "rejected",
        1,
    )
    assert letter["detail"] == "HTTP 422"
    told = stage.trace_of(bad, "strict")
    assert (told["outcome"], told["attempts"][0]["status"]) == ("dead", 422)


@pytest.mark.slow
def test_a_dead_letter_that_is_replayed_is_delivered_under_its_first_key(stage: Stage) -> None:
    bad = str(uuid.uuid4())
    stage.receiver.judge("/strict", lambda sent: 422 if sent[0]["messageId"] == bad else 200)
    stage.track("strict-user", messageId=bad)
    stage.until(lambda: _letters(stage, "strict", bad), "the dead letter")
    first_key = stage.trace_of(bad, "strict")["attempts"][0]["deliveryId"]
    shown = stage.say("dead-letters", "replay", "--message-id", bad, "--dry-run")
    assert [one["event"]["messageId"] for one in shown] == [bad]
    assert _letters(stage, "strict", bad)
    stage.receiver.answer("/strict", 200)
    before = stage.line("strict")
    done = stage.say("dead-letters", "replay", "--message-id", bad)
    assert (done["replayed"], done["done"]) == (1, True)
    stage.has("/strict", bad)
    stage.until_settled("strict")
    line = stage.line("strict")
    assert (line.replayed, line.dead) == (before.replayed + 1, before.dead)
    assert line.delivered == before.delivered + 1
    told = stage.trace_of(bad, "strict")
    assert (told["outcome"], told["attempts"][-1]["deliveryId"]) == ("delivered", first_key)


@pytest.mark.slow
def test_a_dead_letter_that_is_dropped_stays_counted(stage: Stage) -> None:
    bad = str(uuid.uuid4())
    stage.receiver.judge("/strict", lambda sent: 422 if sent[0]["messageId"] == bad else 200)
    stage.track("strict-user", messageId=bad)
    stage.until(lambda: _letters(stage, "strict", bad), "the dead letter")
    before = stage.line("strict")
    assert stage.say("dead-letters", "drop", "--message-id", bad)["dropped"] == 1
    assert not _letters(stage, "strict", bad)
    line = stage.line("strict")
    assert line.dead.get("dropped", 0) == before.dead.get("dropped", 0) + 1
    assert sum(line.dead.values()) == sum(before.dead.values())
    assert stage.trace_of(bad, "strict")["outcome"] == "dead"
    stage.receiver.answer("/strict", 200)


@pytest.mark.slow
def test_expired_when_its_time_is_over(stage: Stage) -> None:
    stage.receiver.answer("/hasty", 503)
    message_id = stage.track("hasty-user")
    stage.until(lambda: stage.line("hasty").dead.get("expired", 0) == 1, "it expired")
    letter = stage.say("dead-letters", "list", "--reason", "expired")[0]
    assert (letter["messageId"], letter["destination"]) == (message_id, "hasty")
    assert letter["attempts"] >= 2
    stage.receiver.answer("/hasty", 200)
    after = stage.track("hasty-user")
    stage.has("/hasty", after)


def test_a_duplicate_is_answered_yes_stored_once_and_told(stage: Stage) -> None:
    before = stage.acceptance()
    message_id = stage.track("twin")
    stage.has("/plain", message_id)
    for _ in range(3):
        stage.track("twin", messageId=message_id)
    # Also under another key and protocol, and twice in one batch.
    stage.batch(*[{"type": "track", "event": "E", "userId": "twin", "messageId": message_id}] * 2)
    s2s = {"metrixUserId": "twin", "idfa": "i", "eventSlug": SLUG, "messageId": message_id}
    reply = stage.request(
        "POST", f"/inappevent/{APP}", json.dumps(s2s).encode(), {"Authorization": DEV_KEY}
    )
    assert reply.status == 200
    stage.until(lambda: stage.acceptance().duplicate == before.duplicate + 6, "6 twins")
    assert stage.acceptance().accepted == before.accepted + 1
    stage.until_settled("plain")
    assert stage.receiver.shelf("/plain").copies[message_id] == 1
    stages = [one["stage"] for one in stage.say("trace", message_id)["stages"]]
    assert stages.count("duplicate") == 6


def test_refused_events_are_listed_with_their_codes_and_counted(stage: Stage) -> None:
    before = stage.acceptance()
    cases: list[tuple[str, Any]] = [
        ("no_user_anon_id", {"event": "E"}),
        ("missing_event_name", {"userId": "u"}),
        ("invalid_timestamp", {"event": "E", "userId": "u", "timestamp": "yesterday"}),
        ("too_large", {"event": "E", "userId": "u", "properties": {"a": "x" * 40_000}}),
    ]
    for code, value in cases:
        reply = stage.post("/v1/track", value)
        assert (reply.status, reply.json["code"]) == (413 if code == "too_large" else 400, code)
    stage.batch({"type": "nonsense", "userId": "u"}, {"type": "track", "event": "E", "userId": "u"})
    expected = {code for code, _ in cases} | {"unknown_type"}

    def counted() -> bool:
        return stage.acceptance().received == before.received + len(cases) + 2

    stage.until(counted, "all are counted")
    refused = stage.acceptance().refused
    for code in expected:
        assert refused[code] == before.refused.get(code, 0) + 1, code
    rows = stage.say("refused", "list", "--app", APP)
    assert expected <= {row["code"] for row in rows}
    shown = stage.say("refused", "show", str(rows[-1]["id"]))
    assert (shown["app"], shown["key"], shown["protocol"]) == (APP, "backend", "tracking")


def test_without_a_known_key_nothing_is_counted_to_an_app(stage: Stage) -> None:
    before = stage.acceptance()
    reply = stage.post("/v1/track", {"event": "E", "userId": "u"}, key="tls_nobody_0123456789")
    assert (reply.status, reply.json["code"]) == (401, "unknown_key")
    stage.track()
    stage.until(lambda: stage.acceptance().accepted > before.accepted, "the next is counted")
    assert stage.acceptance().received == before.received + 1


@pytest.mark.slow
def test_parked_keeps_everything_and_drains_when_it_is_mended(stage: Stage) -> None:
    stage.receiver.answer("/parking", 401)
    ids = [stage.track(f"parked-{number % 5}") for number in range(40)]
    stage.until(lambda: stage.state("parking")["state"] == "parked", "it is parked")
    row = stage.state("parking")
    assert (row["reason"], row["lag"]) == ("HTTP 401", 40)
    assert row["since"]
    assert stage.line("parking").pending == 40
    assert stage.line("parking").dead == {}
    told = stage.trace_of(ids[-1], "parking")
    assert told["outcome"] == "pending"
    assert "parked since" in told["reason"]
    stage.receiver.answer("/parking", 200)
    assert stage.say("destination", "probe", "parking")["done"] is True
    stage.has("/parking", *ids)
    stage.until_settled("parking")
    assert stage.state("parking")["state"] == "running"


@pytest.mark.slow
def test_parked_drains_by_itself_after_a_good_apply(stage: Stage) -> None:
    stage.receiver.answer("/parking", 403)
    ids = [stage.track("apply-user") for _ in range(5)]
    stage.until(lambda: stage.line("parking").pending == 5, "they are held")
    stage.until(lambda: stage.state("parking")["state"] == "parked", "it is parked")
    mended = stage.destinations["parking"]
    mended["settings"] = {**mended["settings"], "url": f"{stage.receiver.url}/mended"}
    stage.configure()
    stage.has("/mended", *ids)
    order = [e for e in stage.receiver.shelf("/mended").events if e in ids]
    assert order == ids


@pytest.mark.slow
def test_paused_holds_and_resumed_sends(stage: Stage) -> None:
    assert stage.say("destination", "pause", f"{APP}/plain")["done"] is True
    message_id = stage.track("paused")
    stage.until(lambda: stage.line("plain").pending == 1, "it is held")
    assert stage.state("plain")["state"] == "paused"
    assert message_id not in stage.receiver.shelf("/plain").events
    assert stage.say("destination", "resume", "plain")["done"] is True
    stage.has("/plain", message_id)


@pytest.mark.slow
def test_what_is_retried_waits_in_its_users_lane_and_nobody_else_notices(stage: Stage) -> None:
    stage.receiver.judge("/lanes", lambda sent: 503 if sent[0]["userId"] == "unlucky" else 200)
    slow = [stage.track("unlucky") for _ in range(5)]
    stage.until(lambda: stage.line("lanes").waiting >= 1, "the first waits in its lane")
    quick = [stage.track(f"lucky-{number}") for number in range(10)]
    stage.has("/lanes", *quick)
    stage.until(lambda: stage.line("lanes").waiting == 5, "all of its user wait there")
    stage.until(lambda: stage.line("lanes").pending == 5, "and nobody else does")
    assert stage.line("lanes").dead == {}
    row = stage.state("lanes")
    assert (row["state"], row["lag"], row["waiting"]) == ("running", 5, 5)
    told = stage.trace_of(slow[0], "lanes")
    assert (told["outcome"], told["attempts"][0]["status"]) == ("waiting", 503)
    assert told["nextAttempt"]
    stage.receiver.answer("/lanes", 200)
    stage.has("/lanes", *slow)
    assert [e for e in stage.receiver.shelf("/lanes").events if e in slow] == slow
    stage.until_settled("lanes")
    assert stage.line("lanes").waiting == 0


@pytest.mark.slow
def test_a_span_of_time_is_delivered_again(stage: Stage) -> None:
    shelf = stage.receiver.shelf("/again")
    ids = [stage.track("again-user") for _ in range(10)]
    stage.has("/again", *ids)
    stage.until_settled("again")
    before, copies = stage.line("again"), shelf.copies.total()
    counted = stage.say("replay", "--destination", "again", "--from", "1h", "--dry-run")
    assert counted["started"] is False
    assert stage.line("again").replayed == before.replayed
    done = stage.say("replay", "--destination", "again", "--from", "1h")
    assert (done["events"], done["started"]) == (counted["events"], True)

    def is_replayed() -> bool:
        line = stage.line("again")
        return line.replayed > before.replayed and not line.pending

    stage.until(is_replayed, "it is delivered again")
    line = stage.line("again")
    assert shelf.copies.total() - copies == line.replayed - before.replayed
    # All that passes its filter, and no more: `integrations` still keeps some out, and so does the
    # suppressed address; of the two who were suppressed one was freed.
    freed = before.filtered.get("suppressed", 0) // 2
    kept_out = sum(before.filtered.values()) - freed
    assert line.replayed - before.replayed == before.accepted - kept_out
    assert all(shelf.copies[one] == 2 for one in ids)


@pytest.mark.slow
def test_a_removed_destination_ends_and_the_same_id_later_is_a_new_one(stage: Stage) -> None:
    held = stage.destinations.pop("again")
    stage.receiver.hold("/again")
    stage.track("before-removal")
    stage.configure()
    assert all(row["id"] != "again" for row in stage.say("destination", "list"))
    unseen = stage.track("while-removed")
    stage.has("/plain", unseen)
    stage.receiver.release("/again")
    stage.destinations["again"] = held
    stage.configure()
    seen = stage.track("after-return")
    stage.has("/again", seen)
    stage.until_settled("again")
    line = stage.line("again")
    assert (line.accepted, line.delivered, line.replayed, line.pending) == (1, 1, 0, 0)
    assert unseen not in stage.receiver.shelf("/again").events
    told = stage.trace_of(unseen, "again")
    assert told["outcome"] == "filtered"
    assert "before the destination was created" in told["reason"]


def test_the_ledger_command_has_the_shape_that_scripts_read(stage: Stage) -> None:
    told = stage.say("ledger", "--app", APP)
    assert told["balanced"] is True
    app = told["apps"][0]
    refused, duplicate = sum(app["refused"].values()), app["duplicate"]
    assert app["received"] == refused + duplicate + app["accepted"]
    lines = {line["destination"]: line for line in told["destinations"]}
    assert set(lines) == set(stage.destinations)
    for line in lines.values():
        gone = line["delivered"] + sum(line["filtered"].values()) + sum(line["dead"].values())
        assert line["accepted"] + line["replayed"] == gone + line["pending"]
    rows = stage.say("destination", "list")
    assert all({"id", "kind", "state", "lag"} <= row.keys() for row in rows)
    letters = stage.say("dead-letters", "list")
    assert all({"messageId", "destination", "reason", "attempts"} <= one.keys() for one in letters)


def _letters(stage: Stage, destination: str, message_id: str) -> list[Any]:
    told = stage.say("dead-letters", "list", "--destination", destination)
    return [letter for letter in told if letter["messageId"] == message_id]
