"""Profiles on a whole node: people are known within moments, and a kill changes nothing."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

from tests.support.whole_node import APP, WholeNode, workspace
from trunkline.catalog.current import load_snapshot
from trunkline.kit.clock import SystemClock
from trunkline.kit.settings import load_boot
from trunkline.model.record import EVENTS
from trunkline.node import open_log
from trunkline.profiles.engine import Profiles
from trunkline.reports.profiles import read_profile
from trunkline.state.home import Home

pytestmark = pytest.mark.slow
USERS = 40
ROUNDS = 6
BATCHES = 25


@pytest.fixture
def node(tmp_path: Path) -> Iterator[WholeNode]:
    node = WholeNode(tmp_path / "home")
    node.apply(workspace())
    node.node.start()
    yield node
    node.close()


def shown(home: Home, id_: str) -> Any:
    """Return a profile as JSON, without what depends on how often batches were written."""
    profile = read_profile(home, APP, id_)
    return None if profile is None else msgspec.json.decode(msgspec.json.encode(profile))


def events_of(start: int) -> list[dict[str, Any]]:
    """Return a batch in which people share browsers, sign in, and say what they are like."""
    made: list[dict[str, Any]] = []
    for number in range(start, start + 40):
        event: dict[str, Any] = {"type": "track", "event": "Viewed", "messageId": f"m-{number}"}
        event |= {"anonymousId": f"a-{number * 7 % 31}"}
        event |= {"userId": f"u-{number % USERS}"} if number % 3 else {}
        if number % 5 == 0:
            event |= {"type": "identify", "traits": {f"t{number % 4}": number}}
        made.append(event)
    return made


def test_a_person_is_known_to_the_command_line_within_moments(node: WholeNode) -> None:
    body = {"type": "identify", "userId": "jane", "anonymousId": "a", "traits": {"plan": "pro"}}
    assert node.post("/v1/identify", body).status == 200
    node.post("/v1/track", {"userId": "joe", "event": "Viewed"})
    node.until(lambda: shown(node.home, "joe") is not None, "joe is known")
    profile = node.say("profile", "show", APP, "a")
    assert (profile["id"], profile["traits"]) == ("userId:jane", {"plan": "pro"})
    merged = node.say("profile", "merge", APP, "jane", "joe", "--why", "a ticket", "--by", "me")
    assert len(node.say("profile", "show", APP, "joe")["identifiers"]) == 3
    # The engine notices what another process wrote: the next event is of the joined profile.
    node.post("/v1/track", {"userId": "joe", "event": "Bought"})
    node.until(
        lambda: shown(node.home, "jane")["latestEvents"][0]["event"] == "Bought", "it is shared"
    )
    node.say("profile", "unmerge", APP, str(merged["id"]))
    assert len(node.say("profile", "show", APP, "joe")["identifiers"]) == 1
    (line,) = node.say("profile", "list-merges", APP)
    assert (line["by"], line["why"]) == ("me", "a ticket") and line["undone"]["time"]
    assert "trunkline_profiles_events_total" in node.metrics()
    findings = {finding["about"]: finding for finding in node.say("doctor")}
    assert findings["profiles"]["verdict"] == "ok"


def test_killed_in_the_middle_the_store_is_equal_to_the_log(
    node: WholeNode, tmp_path: Path
) -> None:
    number = 0
    for turn in range(ROUNDS):
        for _ in range(BATCHES):
            assert node.batch(*events_of(number)).status == 200
            number += 40
        name = "worker" if turn % 2 else "background"
        killed = node.node.children()[name]
        os.kill(killed, signal.SIGKILL)
        node.until(
            lambda name=name, killed=killed: node.node.children().get(name, killed) != killed,
            f"the {name} is back",
        )
    last = f"u-{(number - 1) % USERS}"

    def has_all() -> bool:
        profile = shown(node.home, f"userId:{last}")
        return bool(profile) and profile["latestEvents"][0]["messageId"] == f"m-{number - 1}"

    node.until(has_all, "the last event is known")
    node.node.stop()
    again = Home(tmp_path / "again")
    again.prepare()
    clock = SystemClock()
    log = open_log(node.home, load_boot(node.home.settings_file, {}, {}), clock)
    snapshot = load_snapshot(node.home)
    engine = Profiles(log=log, snapshot=lambda: snapshot, home=again, clock=clock)
    while engine.step():
        pass
    engine.close()
    assert log.ends(EVENTS)[0] == number
    log.close()
    ids = [f"userId:u-{n}" for n in range(USERS)] + [f"anonymousId:a-{n}" for n in range(31)]
    assert [shown(node.home, each) for each in ids] == [shown(again, each) for each in ids]
