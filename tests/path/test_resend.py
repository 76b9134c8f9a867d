"""Refused events sent again on whole nodes: beside a running one, without one, after a kill."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support.told_receiver import ToldReceiver
from tests.support.whole_node import (
    APP,
    COMMAND_SECONDS,
    DEV_KEY,
    KEY,
    WholeNode,
    webhook,
    workspace,
)

PLANNED = {"slug": "taqsq", "name": "Purchase Completed"}
MISSED = {"slug": "signd", "name": "Signed Up"}
CODE = "blocked_by_tracking_plan"

# Kills itself for good between an append and its mark.
DYING = """
import os, signal, sys
from trunkline.state.resent import ResentBook
ResentBook.save = lambda *_: os.kill(os.getpid(), signal.SIGKILL)
from trunkline.__main__ import main
sys.exit(main(sys.argv[1:]))
"""


class Stage(WholeNode):
    """A node whose tracking plan misses an event that is sent."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder / "home")
        self.receiver = ToldReceiver()
        self.plan(PLANNED)
        self.node.start()

    def plan(self, *events: Any) -> None:
        """Let in these events, and no others."""
        hook = webhook("hook", f"{self.receiver.url}/hook")
        self.apply(workspace(hook, events=[*events], unknown_events="block"))

    def refused(self) -> list[Any]:
        """Return what `refused list` says, oldest first."""
        return self.say("refused", "list")[::-1]

    def until_refused(self, count: int) -> list[Any]:
        """Wait until so many are in the view."""
        self.until(lambda: len(self.refused()) >= count, f"{count} refused")
        return self.refused()

    def resend(self, *arguments: str, code: int = 0) -> Any:
        """Run `refused resend` and return what it printed."""
        done = self.run("refused", "resend", APP, *arguments, "--json")
        assert done.returncode == code, (done.stdout, done.stderr)
        return json.loads(done.stdout)

    def delivered(self) -> dict[str, Any]:
        """Return the events that came, by their messageId; each came once."""
        self.until_settled("hook")
        shelf = self.receiver.shelf("/hook")
        assert shelf.extra_copies == 0
        return {event["messageId"]: event for event in shelf.events.values()}


@pytest.fixture
def stage(tmp_path: Path) -> Iterator[Stage]:
    made = Stage(tmp_path)
    yield made
    made.close()
    made.receiver.close()


def send_all(stage: Stage) -> None:
    """Send what the plan misses, over four ways in; what it has goes through beside it."""
    context = {"app": {"version": "7"}}
    signed = {"type": "track", "event": "Signed Up", "userId": "u-1", "messageId": "m-batch"}
    good = {"type": "track", "event": "Purchase Completed", "userId": "u-1", "messageId": "m-0"}
    reply = stage.post("/v1/batch", {"batch": [signed, good], "context": context})
    assert [each["index"] for each in reply.json["rejected"]] == [0]
    assert stage.post("/v1/track", {"event": "Signed Up", "userId": "u-2"}).status == 400
    rest = {"X-Application-Id": APP, "X-API-Key": KEY}
    message = {"type": "action", "id": "r-1", "time": 1_732_250_000_000, "customName": "Signed Up"}
    body = json.dumps({"customUserId": "u-3", "messages": [message]}).encode()
    assert stage.request("POST", "/v1/messages", body, rest).json["accepted"] == 0
    event = {"metrixUserId": "u-4", "eventSlug": "signd", "advertisingId": "a-1"}
    body = json.dumps(event).encode()
    path = f"/inappevent/{APP}"
    assert stage.request("POST", path, body, {"Authorization": DEV_KEY}).status == 404


def test_what_the_tracking_plan_kept_out_is_sent_again_once_it_lets_it_in(stage: Stage) -> None:
    send_all(stage)
    refused = stage.until_refused(4)
    assert {each["code"] for each in refused} == {CODE, "EVENT_TYPE_DOES_NOT_EXIST"}
    places = {(each["protocol"], each["index"]) for each in refused}
    assert places == {("tracking", 0), ("tracking", None), ("rest", 0), ("s2s", None)}
    early = stage.resend(code=3)
    assert {each["outcome"] for each in early["refused"]} == {"refused"}

    stage.plan(PLANNED, MISSED)
    look = stage.resend()
    assert look["sent"] is None
    assert [each["outcome"] for each in look["refused"]] == ["ready"] * 4
    assert [*stage.delivered()] == ["m-0"]

    assert stage.resend("--code", CODE, "--since", "1h", "--yes")["sent"] == 3
    assert stage.resend("--yes")["sent"] == 1  # the one of the S2S API, and no other once more
    stage.until(lambda: len(stage.delivered()) == 5, "all of them came")
    events = stage.delivered()
    by_user = {event["userId"]: event for id_, event in events.items() if id_ != "m-0"}
    assert {event["event"] for event in by_user.values()} == {"Signed Up"}
    assert by_user["u-1"]["context"]["app"] == {"version": "7"}  # what stood beside the batch
    assert by_user["u-3"]["timestamp"] == "2024-11-22T04:33:20.000Z"
    for row in refused:
        came = [e for e in by_user.values() if e["timestamp"] == row["at"]]
        assert came or row["protocol"] == "rest"  # no time came with it: it is when it was refused

    story = stage.say("trace", "m-batch")
    stages = (story[0] if isinstance(story, list) else story)["stages"]
    note = next(each["notes"][-1] for each in stages if each["stage"] == "checked")
    assert note.startswith(f"sent again from refused {refused[0]['id']}: it came ")

    assert stage.resend()["refused"] == []
    (told,) = stage.resend("--id", str(refused[0]["id"]), "--yes", code=3)["refused"]
    assert told["outcome"] == "resent"
    assert all(each["resentAt"] for each in stage.refused())
    assert stage.resend("--id", str(refused[0]["id"]), "--again", "--yes")["sent"] == 1
    stage.until(lambda: stage.acceptance().duplicate == 1, "a second copy is a duplicate")
    assert len(stage.delivered()) == 5


def test_without_a_node_and_after_a_kill_each_is_sent_once(stage: Stage) -> None:
    send_all(stage)
    stage.until_refused(4)
    stage.plan(PLANNED, MISSED)
    stage.node.stop()
    command = ["refused", "resend", APP, "--yes", "--home", str(stage.home.folder)]
    done = subprocess.run(
        [sys.executable, "-c", DYING, *command],
        capture_output=True, check=False, timeout=COMMAND_SECONDS,
    )  # fmt: skip
    assert done.returncode == -signal.SIGKILL, done.stderr
    assert not any(each["resentAt"] for each in stage.refused())  # appended, and not marked
    assert stage.resend("--yes")["sent"] == 0
    assert all(each["resentAt"] for each in stage.refused())
    stage.node.start()
    stage.until(lambda: len(stage.delivered()) == 5, "all of them came")
    stage.until_settled("hook")
    assert stage.acceptance().duplicate == 0
