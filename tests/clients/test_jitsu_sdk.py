"""@jitsu/js, unmodified, against a node: in a back end, in a page, and while the node is killed.

It sends each call by itself, waits for the answer, and never sends again: what it told its user had
failed may be missing, everything else must have arrived, once.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator

import pytest

from tests.support.client_libraries import NODE_FOLDER
from tests.support.client_table import ROW
from tests.support.sdk_stage import (
    CLIENT_KEY,
    UNKNOWN_KEY,
    SdkStage,
    Told,
    open_sdk_stage,
    table_line,
)
from tests.support.whole_node import KEY

pytestmark = [pytest.mark.clients, pytest.mark.slow, pytest.mark.timeout(400)]

PACKAGE = "@jitsu/js"
DRIVER = "drive_jitsu.js"
TEXT = 'نیم\u200cفاصله، 👩🏽\u200d💻 \u2028 "\\'
EVENTS_BETWEEN = 30


@pytest.fixture(scope="module")
def stage(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SdkStage]:
    yield from open_sdk_stage(tmp_path_factory.mktemp("jitsu"))


@pytest.fixture(scope="module")
def server(stage: SdkStage) -> Told:
    return stage.tell(DRIVER, "server", f"backend:{KEY}")


@pytest.fixture(scope="module")
def page(stage: SdkStage) -> Told:
    return stage.tell(DRIVER, "page", f"page:{CLIENT_KEY}")


def test_every_call_of_a_back_end_arrives_once_as_it_was_said(
    stage: SdkStage, server: Told, record_property: Callable[[str, object], None]
) -> None:
    assert not server.heard
    events = stage.arrived(server.sent())
    record_property(ROW, table_line(PACKAGE, stage, server, "Node.js, s2s"))
    assert stage.copies(server.sent()) == {1}
    assert [(e["type"], e.get("event")) for e in events] == [
        ("track", "Cart Viewed"), ("identify", None), ("page", None), ("group", None),
        ("track", "خرید انجام شد 🎉"), ("track", "Context"), ("track", "Long"),
    ]  # fmt: skip
    assert [e.get("userId") for e in events] == [None, *["u-1"] * 6]
    assert events[1]["traits"] == {"name": "مریم", "plan": "🚀", "age": 42}
    assert (events[3]["groupId"], events[3]["traits"]) == ("g-1", {"name": "Acme", "seats": 12})
    assert events[4]["properties"] == {
        "text": TEXT, "nested": {"a": [{"b": [None, {"c": [1, [2, [3]]]}]}]}, "none": None,
        "empty": "", "tiny": 5e-324, "large": 1e25,
    }  # fmt: skip
    assert events[5]["context"]["ip"] == "203.0.113.9"
    assert len(events[6]["properties"]["text"]) == 15_800


def test_its_paths_its_masked_key_and_its_answer_are_as_the_contract_says(server: Told) -> None:
    paths = {parcel["url"].split("/api/s/")[1] for parcel in server.posts}
    assert paths == {"s2s/track", "s2s/identify", "s2s/page", "s2s/group"}
    assert {parcel["headers"]["X-Write-Key"] for parcel in server.posts} == {f"backend:{KEY}"}
    assert {event["writeKey"] for event in server.sent()} == {"backend:***"}
    answers = [parcel["answer"] for parcel in server.posts]
    assert answers == [{"success": True, "ok": True, "receivedEvents": 1, "okEvents": 1}] * 7


def test_a_page_gets_its_address_cut_and_its_consent_through(stage: SdkStage, page: Told) -> None:
    assert not page.heard
    events = stage.arrived(page.sent())
    assert (len(events), stage.copies(page.sent())) == (7, {1})
    assert {event["source"]["key"] for event in events} == {"page"}
    assert {event["source"]["protocol"] for event in events} == {"jitsu"}
    for event in events:
        assert event["anonymousId"]
        assert "Chrome/120" in event["context"]["userAgent"]
        assert event["context"]["consent"] == {"categoryPreferences": {"ads": False}}
        assert event["context"]["page"]["title"] == "فروشگاه"
    said = [event["context"].get("ip") for event in page.sent()]
    assert said.count(None) == 5  # from the call that names one on, the library repeats it
    assert [e["context"]["ip"] for e in events] == [one or "127.0.0.0" for one in said]


def test_no_write_key_came_to_the_destination(stage: SdkStage, server: Told, page: Told) -> None:
    text = json.dumps(stage.arrived([*server.sent(), *page.sent()]))
    assert KEY not in text
    assert CLIENT_KEY not in text
    assert "writeKey" not in text


@pytest.mark.parametrize(
    ("story", "key", "status"),
    [("unknown", UNKNOWN_KEY, 401), ("other", f"page:{UNKNOWN_KEY}", 401), ("page", KEY, 403)],
)
def test_a_key_that_may_not_be_used_is_told_to_the_user(
    stage: SdkStage, page: Told, story: str, key: str, status: int
) -> None:
    assert page  # its report is written anew below
    written = key if ":" in key else f"id:{key}"
    told = stage.tell(DRIVER, story, written)
    assert {parcel["status"] for parcel in told.posts} == {status}
    assert len(told.heard) == len(told.posts) == 7
    assert all(f"error: {status}" in said for said in told.heard)
    assert not stage.arrived(told.sent())


def test_what_was_answered_yes_while_the_node_was_killed_arrives(stage: SdkStage) -> None:
    process = stage.start(DRIVER, "endless", f"backend:{KEY}")
    try:
        for _ in range(2):
            wait_for_more(stage)
            stage.node.kill()
            stage.node.start()
        wait_for_more(stage)
        stage.stop_file.touch()
        told = stage.finish(process, "endless")
    finally:
        process.kill()
    stage.until_settled("receiver")
    yes = told.sent([parcel for parcel in told.posts if parcel["status"] == 200])
    assert len(stage.arrived(yes)) == len(yes) >= 3 * EVENTS_BETWEEN
    assert len(told.heard) == len(told.posts) - len(yes)
    # A call whose answer was lost may be stored: at most one for each kill.
    assert len(stage.arrived(told.sent())) - len(yes) <= 2
    assert stage.acceptance().balanced


def wait_for_more(stage: SdkStage) -> None:
    """Wait until more events of the library came in."""
    shelf = stage.receiver.shelf("/all")
    goal = len(shelf.events) + EVENTS_BETWEEN
    assert stage.receiver.wait(lambda: len(shelf.events) >= goal, 60), stage.log()[-2000:]


def test_the_version_that_ran_is_the_one_that_is_pinned(server: Told) -> None:
    lock = json.loads((NODE_FOLDER / "package-lock.json").read_text("utf-8"))
    assert server.version == lock["packages"][f"node_modules/{PACKAGE}"]["version"] == "1.11.0"
