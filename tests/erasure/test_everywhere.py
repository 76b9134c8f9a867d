"""A person is erased from every file of a home, while others' events go on and processes die."""

from __future__ import annotations

import contextlib
import json
import os
import random
import signal
import urllib.parse
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support.told_receiver import ToldReceiver
from tests.support.whole_node import APP, JSON, KEY, WholeNode, webhook, workspace

pytestmark = pytest.mark.slow  # whole nodes
USER, BROWSER, PHONE = "jane-roe-4711", "anon-jane-77aa", "38400000-8cf0-11bd-b23e-10b96e40000d"
WORDS = ["janes-secret-trait", "janes-secret-property", "198.51.100.77", "jane.roe@example.com"]
MARKS = [text.encode() for text in (USER, BROWSER, PHONE, *WORDS)]
SETTINGS = """
[log]
segment_bytes = 1048576
segment_seconds = 4.0
[forwarder]
waiting_seconds = 0.5
"""
REST = {"X-Application-Id": APP, "X-API-Key": KEY}


class Gossip(ToldReceiver):
    """Repeats in its answers what it was told of Jane."""

    def say(self, path: str, body: bytes) -> bytes:
        return b"I know " + b", ".join(mark for mark in MARKS if mark in body)


class Stage(WholeNode):
    """A node with a destination that works, one that rejects, one that never answers well."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder, settings=SETTINGS)
        self.receiver = Gossip()
        names = ("good", "rejecting", "failing", "paused")
        self.shelves = {name: self.receiver.shelf(f"/{name}") for name in names}
        self.apply(workspace(*[
            webhook(name, f"{self.receiver.url}/{name}", settings={"batch_events_max": 3})
            for name in names
        ]))  # fmt: skip
        self.others = 0

    def janes(self, number: int) -> list[dict[str, Any]]:
        """Return events of Jane, of every kind of identifier."""
        more = {"properties": {"note": WORDS[1], "n": number}, "context": {"ip": WORDS[2]}}
        at = [f"jane-{number}-{kind}" for kind in "abcde"]
        device = {"ip": WORDS[2], "device": {"type": "ios", "advertisingId": PHONE.upper()}}
        return [
            {"type": "track", "event": "Seen", "anonymousId": BROWSER, "messageId": at[0], **more},
            {"type": "identify", "userId": USER, "anonymousId": BROWSER, "messageId": at[1],
             "traits": {"email": WORDS[3], "word": WORDS[0]}, **more},
            {"type": "track", "event": "Bought", "userId": USER, "messageId": at[2], **more},
            {"type": "track", "event": "On a phone", "userId": USER, "messageId": at[3],
             "context": device},
            {"type": "alias", "userId": f"{USER}-2", "previousId": USER, "messageId": at[4],
             **more},
        ]  # fmt: skip

    def somebody_elses(self) -> dict[str, Any]:
        """Return an event of somebody else, on the phone that Jane used once."""
        self.others += 1
        return {"type": "track", "event": "Other", "userId": f"u-{self.others % 7}",
                "messageId": f"other-{self.others}", "properties": {"n": self.others}}  # fmt: skip

    def send(self, count: int) -> None:
        """Send events of Jane and of others, mixed."""
        for number in range(count):
            reply = self.batch(*self.janes(number), *[self.somebody_elses() for _ in range(10)])
            assert reply.status == 200, reply

    def end(self) -> None:
        self.close()
        self.receiver.close()

    def marked_files(self) -> list[tuple[str, bytes]]:
        """Return the files of the home that hold a mark of Jane, and which; not what it printed."""
        found: list[tuple[str, bytes]] = []
        for path in sorted(self.home.folder.rglob("*")):
            try:
                held = path.read_bytes() if path.is_file() else b""
            except FileNotFoundError:
                continue
            found += [(str(path.relative_to(self.home.folder)), m) for m in MARKS if m in held]
        return [each for each in found if not each[0].endswith((".log", "node.out"))]


@pytest.fixture
def stage(tmp_path: Path) -> Iterator[Stage]:
    stage = Stage(tmp_path / "home")
    try:
        stage.node.start()
        yield stage
    finally:
        stage.end()


def order(stage: Stage, person: str = USER, query: str = "") -> str:
    path = f"/v1/users/{urllib.parse.quote(person, safe='')}{query}"
    reply = stage.request("DELETE", path, headers=REST)
    assert reply.status == 202, reply
    assert reply.json["status"] == "accepted"
    return reply.json["job"]


def told(stage: Stage, job: str) -> dict[str, Any]:
    reply = stage.request("GET", f"/v1/erasures/{job}", headers=REST)
    assert reply.status == 200, reply
    return reply.json


def is_janes(events: list[dict[str, Any]]) -> bool:
    return any(USER in json.dumps(event) or BROWSER in json.dumps(event) for event in events)


def story(stage: Stage) -> None:
    """Make sure that Jane is everywhere: delivered, waiting, dead, paused, refused, a repeat."""
    stage.receiver.judge("/rejecting", lambda events: 400 if is_janes(events) else 200)
    stage.receiver.answer("/failing", 503)
    assert stage.run("destination", "pause", "paused").returncode == 0
    stage.send(4)
    stage.batch(*stage.janes(0))  # repeats
    for wrong in ({"event": "", "userId": USER}, {"userId": USER, "properties": [WORDS[1]]}):
        assert stage.post("/v1/track", {"messageId": "bad", **wrong}).status == 400
    stage.until(stage.is_taken_up, "all is taken up")
    stage.until(lambda: stage.line("good").delivered >= 60, "good is done")
    stage.until(lambda: stage.line("rejecting").dead == {"rejected": 20}, "letters are there")
    stage.until(lambda: stage.line("failing").waiting > 3, "some wait")
    assert {mark for _, mark in stage.marked_files()} >= {MARKS[0], MARKS[1], *MARKS[3:]}


def until_done(stage: Stage, job: str) -> dict[str, Any]:
    stage.until(lambda: told(stage, job)["status"] == "done", f"{job} is done", 90)
    return told(stage, job)


def check(stage: Stage, answer: dict[str, Any]) -> None:
    """Nothing of Jane is left; everything of the others is where it belongs, and balances."""
    assert stage.marked_files() == [], (stage.marked_files(), answer, stage.log()[-2000:])
    assert answer["erased"]["events"] == 20, answer
    assert [(each["destination"], each["events"]) for each in answer["sentTo"]] == [("good", 20)]
    stage.until_settled("good", 60)
    others = {f"other-{number + 1}" for number in range(stage.others)}
    assert others <= stage.shelves["good"].events.keys()
    stage.ledger()
    rejecting = stage.line("rejecting")
    assert rejecting.dead == {"erased": 20}, rejecting
    stage.until(
        lambda: stage.line("paused").filtered == {"erased": 20}, "what was held is filtered"
    )
    assert stage.line("failing").filtered == {"erased": 20}
    for line in ("failing", "paused"):
        assert stage.line(line).pending == stage.others


def test_nothing_of_a_person_is_left_and_nothing_of_others_is_gone(stage: Stage) -> None:
    story(stage)
    job = order(stage)
    answer = until_done(stage, job)
    check(stage, answer)
    # Whoever comes back is new, and an event that comes once more is still known to have been here.
    stage.batch(*stage.janes(0))
    stage.track(USER, messageId="jane-is-back")
    stage.until_settled("good")
    assert {key for key, n in stage.shelves["good"].copies.items() if n > 1} == set()
    story_of = stage.say("trace", "jane-1-b")
    assert "Erased at" in story_of["note"] and story_of["event"] is None
    stage.until(lambda: latest_of(stage, USER) == ["jane-is-back"], "her profile is a new one")


def latest_of(stage: Stage, person: str) -> list[str]:
    """Return the messageIds that a person's profile shows; none before the profiles know them."""
    reply = stage.request("GET", f"/v1/users/{person}", headers=REST)
    return [each["messageId"] for each in reply.json.get("latestEvents", [])]


@pytest.mark.parametrize("seed", range(3))
def test_kills_in_the_middle_cost_time_only(stage: Stage, seed: int) -> None:
    dice = random.Random(seed)
    story(stage)
    job = order(stage)
    for _ in range(6):
        stage.clock.pause(dice.uniform(0.0, 0.6))
        kill(stage, dice.choice(["worker", "background", "gateway-0", "node", "politely"]))
        stage.until(lambda: answers(stage), "the node answers")
        stage.batch(*[stage.somebody_elses() for _ in range(20)])
    check(stage, until_done(stage, job))


def kill(stage: Stage, name: str) -> None:
    """SIGKILL a process of the node, or all of them, or stop it; then it is started again."""
    if name in ("node", "politely"):
        if name == "node":
            stage.node.kill()
        else:
            assert stage.node.stop() == 0
        stage.node.start()
        return
    found: list[int] = []
    stage.until(lambda: found or found.extend(pid_of(stage, name)), f"{name} is there")
    with contextlib.suppress(ProcessLookupError):
        os.kill(found[0], signal.SIGKILL)


def pid_of(stage: Stage, name: str) -> list[int]:
    return [pid for each, pid in stage.node.children().items() if each == name]


def answers(stage: Stage) -> bool:
    try:
        return stage.request("GET", "/health/ready", seconds=5).status == 200
    except OSError:
        return False


def test_a_story_is_found_by_the_id_that_its_sender_gave(stage: Stage) -> None:
    """The REST API makes messageIds of its own; both ids find the event, over HTTP and by hand."""
    message = {"type": "action", "id": "my-own/1", "time": 1795169730000, "customName": "bought-it"}
    body = json.dumps({"customUserId": "u-9", "messages": [message]}).encode()
    reply = stage.request("POST", "/v1/messages", body, {**REST, "Content-Type": JSON})
    assert reply.json["accepted"] == 1
    stage.until_settled("good")
    told_by_hand = stage.say("trace", "my-own/1")
    reply = stage.request("GET", f"/v1/events?id={urllib.parse.quote('my-own/1', safe='')}",
                          headers=REST)  # fmt: skip
    assert reply.status == 200
    assert reply.json["messageId"] == told_by_hand["messageId"] != "my-own/1"
    assert reply.json["destinations"]["good"]["outcome"] == "delivered"
    assert reply.json["destinations"]["good"]["request"]["method"] == "POST"
    by_id = stage.request("GET", f"/v1/events/{told_by_hand['messageId']}", headers=REST)
    assert by_id.json == reply.json
    gone = stage.request("GET", "/v1/events/nobody%20knows", headers=REST)
    assert (gone.status, gone.json["code"]) == (404, "event_not_found")
    assert '"nobody knows"' in gone.json["message"]


def test_who_is_erased_and_suppressed_is_sent_nowhere_when_they_come_back(stage: Stage) -> None:
    stage.batch(*stage.janes(0))
    stage.until_settled("good")
    answer = until_done(stage, order(stage, BROWSER, "?suppress=true"))
    assert answer["suppress"] and answer["erased"]["events"] == 5  # one of her ids names them all
    stage.track(USER, messageId="jane-is-back")
    stage.until_settled("good")
    assert stage.line("good").filtered == {"suppressed": 1}
    assert "jane-is-back" not in stage.shelves["good"].events
