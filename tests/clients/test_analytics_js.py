"""First-party Analytics.js in a real Chromium: real pages, a strict policy, a node behind a shop.

Each page loads its script from the shop's own domain and has none of its own. The browser notes
every request, so that none can go to anybody else.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from tests.support.analytics_js_assets import (
    ASSETS,
    ORIGIN,
    PACKAGE,
    origin_of,
    published_files,
    published_version,
)
from tests.support.browser_stage import (
    EVENTS,
    OTHER,
    SHOP,
    BrowserStage,
    Visit,
    open_browser_stage,
)
from tests.support.client_libraries import install_node
from tests.support.client_table import ROW
from tests.support.installing import Unavailable
from tests.support.shop_front import CALLER, PREFIX
from tests.support.whole_node import APP, KEY

pytestmark = [pytest.mark.clients, pytest.mark.slow, pytest.mark.timeout(400)]

STORIES = (
    "plain", "snippet", "prefixed", "alone", "subdomain", "restored", "private", "parts", "offline",
    "blocked", "unready", "quiet", "reloaded", "foreign",
)  # fmt: skip
LOSING = ("quiet", "foreign")  # what these say is meant to stay behind
SAID = ["page", "identify", "track", "group", "alias"]


@pytest.fixture(scope="module")
def stage_and_browser(
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[tuple[BrowserStage, str]]:
    yield from open_browser_stage(tmp_path_factory.mktemp("browser"))


@pytest.fixture(scope="module")
def stage(stage_and_browser: tuple[BrowserStage, str]) -> BrowserStage:
    return stage_and_browser[0]


@pytest.fixture(scope="module")
def visits(stage_and_browser: tuple[BrowserStage, str]) -> dict[str, Visit]:
    stage, browser = stage_and_browser
    return stage.visit(browser, *STORIES)


@pytest.fixture(scope="module", params=[name for name in STORIES if name not in LOSING])
def story(request: pytest.FixtureRequest) -> str:
    return request.param


@pytest.fixture(scope="module")
def visit(visits: dict[str, Visit], story: str) -> Visit:
    return visits[story]


def kinds(events: list[dict[str, object]]) -> list[object]:
    return [event["type"] for event in events]


def test_every_event_of_every_story_arrives_once(
    stage: BrowserStage,
    visits: dict[str, Visit],
    story: str,
    record_property: Callable[[str, object], None],
) -> None:
    visit = visits[story]
    said, came = len(visit.message_ids), len(stage.delivered(visit))
    row = [PACKAGE, published_version(), str(said), "0", str(came), str(came), f"Chromium; {story}"]
    record_property(ROW, row)
    assert visit.message_ids
    assert stage.copies(visit) == {1}


def test_every_event_has_the_address_and_the_browser_of_its_visitor(
    stage: BrowserStage, visit: Visit
) -> None:
    for event in stage.delivered(visit):
        assert event["context"]["ip"] == CALLER
        assert "Chrome/" in event["context"]["userAgent"]
        assert event["context"]["page"]["url"].startswith(f"https://{SHOP}/")
        assert event["context"]["library"]["name"] == "analytics.js"
        assert event["source"] == {"protocol": "tracking", "key": "page"}
        assert "writeKey" not in event


def test_nothing_is_asked_of_anybody_else(visits: dict[str, Visit]) -> None:
    hosts = {urlsplit(r["url"]).hostname for v in visits.values() for r in v.requests}
    assert hosts == {SHOP, EVENTS, OTHER}
    hosts = {urlsplit(r["url"]).hostname for r in visits["plain"].requests}
    assert hosts == {SHOP}


def test_the_policy_of_the_page_has_nothing_to_complain_of(visit: Visit) -> None:
    # That a request failed is what some stories are about; everything else would be a defect.
    assert [e for e in visit.errors if not e.startswith("Failed to load resource")] == []


@pytest.mark.parametrize("kind_of_page", ["plain", "snippet"])
def test_what_was_said_is_what_arrives(
    stage: BrowserStage, visits: dict[str, Visit], kind_of_page: str
) -> None:
    events = stage.delivered(visits[kind_of_page])
    own_page = ["page"] * (kind_of_page == "snippet")  # the snippet tells of the page too
    assert sorted(kinds(events), key=str) == sorted([*own_page, *SAID])
    by_kind = {event["type"]: event for event in events}
    assert by_kind["track"]["event"] == "Cart Viewed"
    assert by_kind["track"]["properties"] == {
        "items": 3, "text": "نیم\u200cفاصله", "nested": {"a": [1, {"b": 2}]},
    }  # fmt: skip
    assert by_kind["identify"]["userId"] == by_kind["track"]["userId"] == "u-web"
    assert by_kind["identify"]["traits"] == {"name": "مریم", "plan": "🚀"}
    assert (by_kind["group"]["groupId"], by_kind["group"]["traits"]) == ("g-1", {"seats": 12})
    assert (by_kind["alias"]["userId"], by_kind["alias"]["previousId"]) == ("u-web", "u-old")
    named = [event for event in events if event.get("name") == "Start"]
    assert kinds(named) == ["page"]
    assert len({event["anonymousId"] for event in events}) == 1


def test_events_go_to_where_the_script_came_from(visits: dict[str, Visit]) -> None:
    paths = {urlsplit(post["url"]).path for post in visits["prefixed"].posts}
    assert paths == {f"{PREFIX}/v1/{letter}" for letter in "pitga"}


def test_one_tag_without_any_other_script_tells_of_the_page_once_though_it_stands_twice(
    visits: dict[str, Visit],
) -> None:
    assert kinds(visits["alone"].sent) == ["page", "track"]


def test_the_server_s_cookie_has_the_id_of_the_script_and_stays_for_a_year(
    visits: dict[str, Visit],
) -> None:
    for name, host in (("plain", SHOP), ("subdomain", EVENTS)):
        visit = visits[name]
        cookie = visit.cookie(f"trunkline_{APP}")
        assert cookie["value"] == visit.sent[-1]["anonymousId"]
        assert cookie["value"] == visit.cookie("ajs_anonymous_id")["value"]
        assert (cookie["domain"], cookie["path"]) == (host, "/")
        assert (cookie["httpOnly"], cookie["secure"], cookie["sameSite"]) == (True, True, "Lax")
        own = visit.cookie("ajs_anonymous_id")
        assert abs(cookie["expires"] - own["expires"]) < 3600  # the library's is for a year too


def test_a_visitor_whose_browser_forgot_is_known_again(visits: dict[str, Visit]) -> None:
    for name in ("restored", "subdomain"):
        said = visits[name].said
        assert said["again"] == said["first"]
        ids = {event["anonymousId"] for event in visits[name].sent[:10]}
        assert ids == {said["first"]}


def test_who_is_reset_is_somebody_else_and_stays_it(visits: dict[str, Visit]) -> None:
    said = visits["subdomain"].said
    assert said["reset"] != said["first"]
    assert said["last"] == said["reset"]


def test_only_a_page_that_does_not_know_its_visitor_asks_the_server(
    visits: dict[str, Visit],
) -> None:
    assert visits["subdomain"].statuses("/visitor") == [200, 200]  # of three loads


def test_a_page_that_wants_nothing_kept_leaves_no_cookie(visits: dict[str, Visit]) -> None:
    visit = visits["private"]
    assert visit.cookies == []
    assert visit.statuses("/visitor") == []


def test_the_parts_of_the_library_come_from_the_same_place(
    stage: BrowserStage, visits: dict[str, Visit]
) -> None:
    visit = visits["parts"]
    assert visit.statuses("/analytics-next/bundles/queryString.") == [200]
    assert visit.statuses("/analytics-next/bundles/auto-track.") == [200]
    names = {event.get("event") for event in stage.delivered(visit)}
    assert names == {"Campaign Clicked", "Cart Viewed", "Clicked", None}


def test_what_is_said_offline_is_sent_when_the_page_is_back(visits: dict[str, Visit]) -> None:
    visit = visits["offline"]
    assert visit.said == {"before": 5}
    assert [event["properties"]["n"] for event in visit.sent[5:]] in ([1, 2], [2, 1])


def test_what_is_blocked_on_one_path_goes_by_the_other(visits: dict[str, Visit]) -> None:
    visit = visits["blocked"]
    assert visit.statuses("/v1/t") == [-1]  # the second event does not try it again
    assert visit.statuses("/s/e") == [200, 200]
    assert visit.statuses("/v1/p") == [200]
    assert not [r for r in visit.requests if "analytics" in r["url"]]


def test_what_a_node_that_is_not_ready_refuses_is_sent_again(visits: dict[str, Visit]) -> None:
    visit = visits["unready"]
    assert visit.statuses("/v1/p") == [503, 200]
    assert visit.statuses("/s/e") == []


def test_an_app_may_do_without_cookie_and_second_path(visits: dict[str, Visit]) -> None:
    visit = visits["quiet"]
    assert {each["name"] for each in visit.cookies} <= {
        "ajs_anonymous_id", "ajs_user_id", "ajs_group_id",
    }  # fmt: skip
    assert visit.statuses("/visitor") == []
    assert visit.statuses("/s/e") == []
    assert set(visit.statuses("/v1/t")) == {-1}


def test_a_page_that_goes_in_the_middle_sends_again_and_the_node_takes_it_once(
    stage: BrowserStage, visits: dict[str, Visit]
) -> None:
    visit = visits["reloaded"]
    before = [event["messageId"] for event in visit.sent if event.get("event") == "Said Before"]
    assert len(before) == 4
    assert len(set(before)) == 2
    assert stage.acceptance().duplicate >= 2


def test_a_page_of_an_origin_that_is_not_allowed_is_refused(
    stage: BrowserStage, visits: dict[str, Visit]
) -> None:
    visit = visits["foreign"]
    assert visit.statuses("/analytics.min.js") == [200]
    assert [post["status"] for post in visit.posts] == [403] * 5
    assert visit.statuses("/visitor") == [403]
    assert stage.copies(visit) == {0}
    assert not [each for each in visit.cookies if each["name"].startswith("trunkline_")]


def test_a_server_key_in_the_address_of_a_script_is_refused_and_reported(
    stage: BrowserStage,
) -> None:
    reply = stage.request("GET", f"/s/{KEY}.js", headers={"Origin": f"https://{SHOP}"})
    assert reply.status == 403
    assert b"rotate that key now" in reply.body
    stage.until(lambda: "leaked" in stage.run("key", "list").stdout, "the leak is shown")


def test_what_is_served_is_the_published_package() -> None:
    """After another version was pinned: `python -m tests.support.analytics_js_assets`."""
    try:
        install_node()
    except Unavailable as error:
        pytest.skip(str(error))
    published = published_files()
    kept = {path.name: path.read_bytes() for path in Path(ASSETS).iterdir()}
    assert json.loads(kept.pop(ORIGIN)) == origin_of(published)
    assert kept == published
