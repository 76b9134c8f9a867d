"""RudderStack's and Jitsu's own libraries in a real Chromium, as published, under a strict policy.

RudderStack's keeps what it could not send and sends it again, Jitsu's tells its user and forgets.
Neither may ask anything of anybody but the shop and its node.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any
from urllib.parse import urlsplit

import pytest

from tests.support.browser_stage import (
    EVENTS,
    OTHER,
    SHOP,
    BrowserStage,
    Visit,
    open_browser_stage,
)
from tests.support.client_table import ROW
from tests.support.library_pages import JITSU, RUDDER, library_pages, version_of
from tests.support.shop_front import CALLER
from tests.support.whole_node import APP

pytestmark = [pytest.mark.clients, pytest.mark.slow, pytest.mark.timeout(400)]

BEACONS = "rudder-beacons"
FOREIGN = ("rudder-foreign", "jitsu-foreign")
KEEPING = (  # all that is said in these is to arrive
    "rudder-twice", "rudder-twice-near", "rudder-batches", "rudder-gone", "rudder-away",
    "rudder-far-away", "jitsu-twice", "jitsu-twice-near", "jitsu-tag", "jitsu-gone",
)  # fmt: skip
STORIES = (*KEEPING, BEACONS, "jitsu-away", *FOREIGN)
TWICE = [story for story in STORIES if "twice" in story]
PACKAGES = {"rudder": RUDDER, "jitsu": JITSU}
LIBRARY_NAMES = {"rudder": "RudderLabs JavaScript SDK", "jitsu": "@jitsu/js"}
PROTOCOLS = {"rudder": "tracking", "jitsu": "jitsu"}
CART = {"items": 3, "text": "نیم\u200cفاصله", "nested": {"a": [1, {"b": 2}]}}


@pytest.fixture(scope="module")
def stage_and_browser(
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[tuple[BrowserStage, str]]:
    folder = tmp_path_factory.mktemp("libraries")
    yield from open_browser_stage(folder, library_pages, "drive_browser_libraries.js")


@pytest.fixture(scope="module")
def stage(stage_and_browser: tuple[BrowserStage, str]) -> BrowserStage:
    return stage_and_browser[0]


@pytest.fixture(scope="module")
def visits(stage_and_browser: tuple[BrowserStage, str]) -> dict[str, Visit]:
    stage, browser = stage_and_browser
    return stage.visit(browser, *STORIES)


def library_of(story: str) -> str:
    return story.partition("-")[0]


def sent_as(visit: Visit, event: str) -> list[dict[str, Any]]:
    """Return each sending of the events of this name."""
    return [each for each in visit.sent if each.get("event") == event]


@pytest.mark.parametrize("story", KEEPING)
def test_every_event_of_every_story_arrives_once(
    stage: BrowserStage,
    visits: dict[str, Visit],
    story: str,
    record_property: Callable[[str, object], None],
) -> None:
    visit = visits[story]
    said, came = str(len(visit.message_ids)), str(len(stage.delivered(visit)))
    package = PACKAGES[library_of(story)]
    row = [package, version_of(package), said, "0", came, came, f"Chromium; {story}"]
    record_property(ROW, row)
    assert visit.message_ids
    assert stage.copies(visit) == {1}


@pytest.mark.parametrize("story", [*KEEPING, BEACONS])
def test_every_event_has_the_address_and_the_browser_of_its_visitor(
    stage: BrowserStage, visits: dict[str, Visit], story: str
) -> None:
    library = library_of(story)
    is_seen = story != BEACONS
    events = stage.delivered(visits[story]) if is_seen else stage.said_on(f"/{BEACONS}.html")
    assert events
    for event in events:
        assert event["context"]["ip"] == CALLER
        assert "Chrome/" in event["context"]["userAgent"]
        assert event["context"]["page"]["url"].startswith(f"https://{SHOP}/{library}-")
        assert event["context"]["library"]["name"] == LIBRARY_NAMES[library]
        assert event["context"]["library"]["version"] == version_of(PACKAGES[library])
        assert event["source"] == {"protocol": PROTOCOLS[library], "key": "page"}
        assert event["anonymousId"]
        assert "writeKey" not in event


def test_nothing_is_asked_of_anybody_else(visits: dict[str, Visit]) -> None:
    hosts = {urlsplit(r["url"]).hostname for v in visits.values() for r in v.requests}
    assert hosts == {SHOP, EVENTS, OTHER}
    for story in ("rudder-twice-near", "rudder-away", "jitsu-twice-near", "jitsu-away"):
        assert {urlsplit(r["url"]).hostname for r in visits[story].requests} == {SHOP}


@pytest.mark.parametrize("story", [*TWICE, "rudder-batches", BEACONS, "jitsu-tag"])
def test_neither_the_policy_of_the_page_nor_the_library_has_anything_to_complain_of(
    visits: dict[str, Visit], story: str
) -> None:
    assert visits[story].errors == []


@pytest.mark.parametrize("story", [*TWICE, "rudder-batches", BEACONS, "jitsu-tag"])
def test_what_was_said_is_what_arrives(
    stage: BrowserStage, visits: dict[str, Visit], story: str
) -> None:
    is_seen = story != BEACONS
    events = stage.delivered(visits[story]) if is_seen else stage.said_on(f"/{BEACONS}.html")
    library, times = library_of(story), 2 if story in TWICE else 1
    named = [event for event in events if event.get("name") == "Start"]
    assert [event["type"] for event in named] == ["page"] * times
    carts = [event for event in events if event.get("event") == "Cart Viewed"]
    assert [event["properties"] for event in carts] == [CART] * times
    by_kind = {event["type"]: event for event in events}
    assert by_kind["identify"]["userId"] == carts[0]["userId"] == "u-web"
    assert by_kind["identify"]["traits"] == {"name": "مریم", "plan": "🚀"}
    assert (by_kind["group"]["groupId"], by_kind["group"]["traits"]) == ("g-1", {"seats": 12})
    assert len(events) == {
        "rudder-batches": 5, BEACONS: 6, "jitsu-tag": 5,
    }.get(story, 11 if library == "rudder" else 9)  # fmt: skip
    if library == "rudder":
        assert (by_kind["alias"]["userId"], by_kind["alias"]["previousId"]) == ("u-new", "u-web")
    else:
        assert "alias" not in by_kind  # this library has none


@pytest.mark.parametrize("story", TWICE)
def test_a_visitor_is_the_same_after_a_reload_and_another_one_after_a_reset(
    stage: BrowserStage, visits: dict[str, Visit], story: str
) -> None:
    visit = visits[story]
    assert visit.said["first"] == visit.said["again"] != visit.said["reset"]
    events = stage.delivered(visit)
    [last] = [event for event in events if event.get("event") == "Said By Another"]
    assert (last["anonymousId"], last.get("userId")) == (visit.said["reset"], None)
    ids = {event["anonymousId"] for event in events if event is not last}
    assert ids == {visit.said["first"]}


@pytest.mark.parametrize("story", TWICE)
def test_a_cookie_of_the_server_comes_where_the_library_lets_it(
    visits: dict[str, Visit], story: str
) -> None:
    """Neither library sends cookies to another host, so a browser keeps none of its answers."""
    visit = visits[story]
    cookies = {each["name"]: each["value"] for each in visit.cookies}
    expected = visit.said["reset"] if story.endswith("-near") else None
    assert cookies.get(f"trunkline_{APP}") == expected


@pytest.mark.parametrize("story", [story for story in STORIES if story.startswith("rudder")])
def test_rudderstack_s_asks_its_host_for_its_source_at_each_load(
    visits: dict[str, Visit], story: str
) -> None:
    loads = 2 if "twice" in story or story == "rudder-gone" else 1
    expected = 403 if story in FOREIGN else 200
    assert visits[story].statuses("/sourceConfig/?") == [expected] * loads


def test_rudderstack_s_sends_batches_where_it_is_told_so(visits: dict[str, Visit]) -> None:
    paths = [urlsplit(post["url"]).path for post in visits["rudder-batches"].posts]
    assert paths == ["/v1/batch"] * 2


def test_what_a_page_sends_as_it_goes_arrives_once(stage: BrowserStage) -> None:
    events = stage.said_on(f"/{BEACONS}.html")
    copies = stage.receiver.shelf("/all").copies
    assert "Said Last" in {event.get("event") for event in events}
    assert {copies[event["messageId"]] for event in events} == {1}


@pytest.mark.parametrize("story", ["rudder-away", "rudder-far-away"])
def test_what_rudderstack_s_could_not_send_it_sends_again(
    visits: dict[str, Visit], story: str
) -> None:
    """From another host a proxy's 503 is unreadable to the page: it has no CORS headers."""
    visit = visits[story]
    assert len({event["messageId"] for event in sent_as(visit, "Said While Away")}) == 2
    posts = [post for post in visit.posts if "Said While Away" in post["body"]]
    assert all(post["status"] in (503, -1) for post in posts[:2])
    again = [post for post in posts if "rsa-retry-attempt" in post["headers"]]
    assert len(again) == len(posts) - 2
    assert [post["status"] for post in again][-2:] == [200] * 2


def test_what_jitsu_s_could_not_send_it_tells_and_forgets(
    stage: BrowserStage, visits: dict[str, Visit]
) -> None:
    visit = visits["jitsu-away"]
    lost = {event["messageId"] for event in sent_as(visit, "Said While Away")}
    assert len(sent_as(visit, "Said While Away")) == len(visit.said["heard"]) == len(lost) == 2
    assert all("503" in said for said in visit.said["heard"])
    came = [event["messageId"] for event in stage.delivered(visit)]
    assert sorted(came) == sorted(set(visit.message_ids) - lost)


def test_a_page_that_goes_in_the_middle_is_counted_once(
    stage: BrowserStage, visits: dict[str, Visit]
) -> None:
    for library, times in (("rudder", 2), ("jitsu", 1)):
        visit = visits[f"{library}-gone"]
        before = [event["messageId"] for event in sent_as(visit, "Said Before")]
        assert (len(before), len(set(before))) == (2 * times, 2)
    again = [post for post in visits["rudder-gone"].posts if "rsa-recovered" in post["headers"]]
    assert len(again) >= 2
    assert stage.acceptance().duplicate >= 2


def test_a_page_of_an_origin_that_is_not_allowed_is_refused(
    stage: BrowserStage, visits: dict[str, Visit]
) -> None:
    rudder, jitsu = (visits[story] for story in FOREIGN)
    assert rudder.posts == []
    assert any("403" in said for said in rudder.errors)
    assert [post["status"] for post in jitsu.posts] == [403] * 4
    assert all("origin_not_allowed" in said for said in jitsu.said["heard"])
    assert stage.copies(jitsu) == {0}
    cookies = [each["name"] for each in (*rudder.cookies, *jitsu.cookies)]
    assert not [name for name in cookies if name.startswith("trunkline_")]
