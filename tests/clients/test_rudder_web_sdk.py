"""@rudderstack/analytics-js, unmodified, against a node: it asks for its source, then sends.

The package with everything bundled runs under Node with a page around it (`node/browser.js`,
`node/document.js`), which keeps CORS as a browser does. Its three ways out are one call a request,
batches, and beacons when the page goes away.
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

PACKAGE = "@rudderstack/analytics-js"
DRIVER = "drive_rudder_web.js"
WAYS = {
    "calls": ["page", "identify", "track", "group", "alias", "track"],
    "lost": ["page", "identify", "track", "group", "alias", "track"],
    "batches": ["batch", "batch"],
    "beacons": ["beacon"],
}


@pytest.fixture(scope="module")
def stage(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SdkStage]:
    yield from open_sdk_stage(tmp_path_factory.mktemp("rudder"))


@pytest.fixture(scope="module", params=WAYS)
def way(request: pytest.FixtureRequest) -> str:
    return request.param


@pytest.fixture(scope="module")
def told(stage: SdkStage, way: str) -> Told:
    return stage.tell(DRIVER, way, CLIENT_KEY)


def test_every_call_arrives_once_as_it_was_said(
    stage: SdkStage, told: Told, way: str, record_property: Callable[[str, object], None]
) -> None:
    events = sorted(stage.arrived(told.sent()), key=lambda event: event["originalTimestamp"])
    record_property(ROW, table_line(PACKAGE, stage, told, f"a page; {way}"))
    assert stage.copies(told.sent()) == {1}
    kinds = [(event["type"], event.get("event")) for event in events]
    assert sorted(kinds, key=str) == sorted(
        [
            ("page", None), ("identify", None), ("track", "Cart Viewed"), ("group", None),
            ("alias", None), ("track", "Order Completed"),
        ],
        key=str,
    )  # fmt: skip
    by_kind = dict(zip(kinds, events, strict=True))
    cart = by_kind["track", "Cart Viewed"]
    assert cart["properties"] == {
        "items": 3, "text": "نیم\u200cفاصله", "nested": {"a": [1, {"b": 2}]},
    }  # fmt: skip
    assert cart["userId"] == "u-web"
    assert cart["traits"] == {"name": "مریم", "plan": "🚀"}
    assert (by_kind["page", None]["category"], by_kind["page", None]["name"]) == ("Docs", "Start")
    assert by_kind["group", None]["traits"] == {"seats": 12}
    alias = by_kind["alias", None]
    assert (alias["userId"], alias["previousId"]) == ("u-new", "u-web")
    assert len({event["anonymousId"] for event in events}) == 1
    for event in events:
        assert event["source"] == {"protocol": "tracking", "key": "page"}
        assert event["context"]["ip"] == "127.0.0.1"
        assert event["context"]["library"]["version"] == told.version
        assert "writeKey" not in event


def test_it_asks_for_its_source_first_and_sends_by_the_way_it_was_told(
    told: Told, way: str
) -> None:
    source, *posts = told.parcels
    assert source["method"] == "GET"
    assert "/sourceConfig/?" in source["url"]
    assert f"writeKey={CLIENT_KEY}" in source["url"]
    paths = [parcel["url"].partition("://")[2].partition("/")[2] for parcel in posts]
    first = [path for path, parcel in zip(paths, posts, strict=True) if parcel["status"] == 200]
    if way == "beacons":
        assert first == [f"beacon/v1/batch?writeKey={CLIENT_KEY}"]
        assert posts[0]["headers"] == {"content-type": "text/plain"}
    else:
        assert sorted(first) == sorted(f"v1/{each}" for each in WAYS[way])


def test_an_answer_that_is_lost_costs_a_retry_and_no_second_event(
    stage: SdkStage, told: Told, way: str
) -> None:
    again = [parcel for parcel in told.posts if "Rsa-Retry-Attempt" in parcel["headers"]]
    lost = [parcel for parcel in told.posts if parcel["status"] == -1]
    assert len(again) == len(lost) == (1 if way == "lost" else 0)
    if way == "lost":
        assert again[0]["body"] != lost[0]["body"]  # its sentAt is new
        ids = {event["messageId"] for event in told.sent([*again, *lost])}
        assert len(ids) == 1
        assert stage.acceptance().duplicate == 1


@pytest.mark.parametrize(("key", "status"), [(UNKNOWN_KEY, 401), (KEY, 403)])
def test_a_key_that_may_not_be_used_ends_it_before_anything_is_sent(
    stage: SdkStage, key: str, status: int
) -> None:
    told = stage.tell(DRIVER, "refused", key)
    assert [(parcel["method"], parcel["status"]) for parcel in told.parcels] == [("GET", status)]
    assert told.heard


def test_the_version_that_ran_is_the_one_that_is_pinned(told: Told) -> None:
    lock = json.loads((NODE_FOLDER / "package-lock.json").read_text("utf-8"))
    assert told.version == lock["packages"][f"node_modules/{PACKAGE}"]["version"] == "3.34.1"
