"""The vendor's own web SDK in a real Chromium, as published, under a strict policy.

What could not be sent waits in the page's memory alone: it goes along with what is said next, and
is lost with the page. That is the SDK's own way, and the guide says so.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from typing import Any
from urllib.parse import urlsplit

import pytest

from tests.support.browser_stage import SHELF, SHOP, BrowserStage, Visit, open_browser_stage
from tests.support.client_table import ROW
from tests.support.library_pages import version_of
from tests.support.saying_pages import WEBSDK, WEBSDK_HOSTS, saying_pages
from tests.support.shop_front import CALLER
from tests.support.whole_node import SLUG

pytestmark = [pytest.mark.clients, pytest.mark.slow, pytest.mark.timeout(300)]

STORIES = {  # the numbers of the events that arrive
    "calls": [10, 11], "unready": [20], "away": [30, 31], "gone": [41],
}  # fmt: skip
LOST = 40  # said in `gone`


@pytest.fixture(scope="module")
def stage_and_browser(
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[tuple[BrowserStage, str]]:
    folder = tmp_path_factory.mktemp("websdk")
    yield from open_browser_stage(folder, saying_pages, "drive_browser_websdk.js")


@pytest.fixture(scope="module")
def visits(stage_and_browser: tuple[BrowserStage, str]) -> dict[str, Visit]:
    stage, browser = stage_and_browser
    return stage.visit(browser, *STORIES)


@pytest.fixture(scope="module")
def said(
    stage_and_browser: tuple[BrowserStage, str], visits: dict[str, Visit]
) -> dict[int, list[dict[str, Any]]]:
    """What arrived of the numbered events, by number."""
    assert visits
    found: dict[int, list[dict[str, Any]]] = {}
    for event in stage_and_browser[0].receiver.shelf(SHELF).events.values():
        if event.get("properties", {}).get("page") == "websdk":
            found.setdefault(int(event["properties"]["n"]), []).append(event)
    return found


def parcels(visit: Visit) -> list[tuple[int, list[int]]]:
    """Return each request with events: its status, and the numbers of the events in it."""
    posts = [post for post in visit.posts if urlsplit(post["url"]).hostname == WEBSDK_HOSTS[0]]
    return [
        (post["status"], [int(message["attributes"]["n"])
                          for message in json.loads(post["body"])["messages"]
                          if message["type"] == "action"])
        for post in posts
    ]  # fmt: skip


@pytest.mark.parametrize("story", STORIES)
def test_every_event_that_its_page_could_send_arrives_once(
    stage_and_browser: tuple[BrowserStage, str],
    said: dict[int, list[dict[str, Any]]],
    story: str,
    record_property: Callable[[str, object], None],
) -> None:
    numbers = STORIES[story]
    came = [event for n in numbers for event in said[n]]
    given_up = int(story == "gone")
    said_there, arrived = str(len(numbers) + given_up), str(len(came))
    row = [WEBSDK, version_of(WEBSDK), said_there, str(given_up), arrived, arrived,
           f"Chromium; {story}"]  # fmt: skip
    record_property(ROW, row)
    assert [int(event["properties"]["n"]) for event in came] == numbers
    copies = stage_and_browser[0].receiver.shelf(SHELF).copies
    assert {copies[event["messageId"]] for event in came} == {1}
    for event in came:
        assert event["context"]["ip"] == CALLER
        assert "Chrome/" in event["context"]["userAgent"]
        assert event["source"] == {"protocol": "rest", "key": "page", "slug": SLUG}


def test_a_user_who_signs_in_is_the_user_of_what_is_said_then(
    stage_and_browser: tuple[BrowserStage, str], said: dict[int, list[dict[str, Any]]]
) -> None:
    [first], [second] = said[10], said[11]
    assert second["userId"] == "u-web" != first["userId"]
    events = stage_and_browser[0].receiver.shelf(SHELF).events.values()
    names = [
        each["traits"]["firstName"] for each in events if "firstName" in each.get("traits", {})
    ]
    assert names == ["مریم"]


def test_what_was_answered_503_is_sent_again_by_itself(visits: dict[str, Visit]) -> None:
    assert [one for one in parcels(visits["unready"]) if one[1]] == [(503, [20]), (200, [20])]


def test_what_found_no_node_goes_along_with_what_is_said_next(visits: dict[str, Visit]) -> None:
    assert [one for one in parcels(visits["away"]) if one[1]] == [(-1, [30]), (200, [30, 31])]


def test_what_found_no_node_is_lost_with_its_page(
    visits: dict[str, Visit], said: dict[int, list[dict[str, Any]]]
) -> None:
    """It was in the storage of the page, which the SDK empties as it starts."""
    visit = visits["gone"]
    assert [one for one in parcels(visit) if one[1]] == [(-1, [LOST]), (200, [41])]
    assert f'"n":"{LOST}"' not in visit.said["kept"]
    assert LOST not in said


def test_nothing_is_asked_of_anybody_else_and_no_cookie_is_kept(visits: dict[str, Visit]) -> None:
    for visit in visits.values():
        assert {urlsplit(each["url"]).hostname for each in visit.requests} == {SHOP, *WEBSDK_HOSTS}
        assert visit.cookies == []


def test_the_policy_of_the_page_has_nothing_to_complain_of(visits: dict[str, Visit]) -> None:
    assert visits["calls"].errors == []
