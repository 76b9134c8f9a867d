"""The vendor's own web SDK, unmodified, against a node: every call arrives, once, as it was said.

Its hosts are fixed in its code and a page is where it runs, so `node/browser.js` stands around it:
host names lead to a TLS front of the node, and answers are held against CORS as a browser does.
"""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.support.client_libraries import NODE_FOLDER, Unavailable, find_program, install_node
from tests.support.client_table import ROW
from tests.support.tls_front import TlsFront
from tests.support.told_receiver import ToldReceiver
from tests.support.whole_node import APP, KEY, WholeNode, webhook, workspace

pytestmark = [pytest.mark.clients, pytest.mark.slow, pytest.mark.timeout(300)]

HOSTS = ("entry.metrix.ir", "gateway.metrix.ir")
CLIENT_KEY = "tlc_page_0123456789abcdef0123456789abcdef"
ORIGIN = "https://shop.example"
PACKAGE = "@metrixorg/websdk"
STORY_SECONDS_MAX = 120.0
STORED_AS = "METRIX_sdk_.._"


@dataclass(frozen=True)
class Told:
    """What the SDK did in one story: what it sent, what it keeps, what the front heard."""

    version: str
    parcels: list[dict[str, Any]]
    kept: dict[str, str]
    heard: list[tuple[str, str, str, int]]
    lost: int

    @property
    def messages(self) -> list[dict[str, Any]]:
        """Every message of every request, those sent again too, with `user` beside its fields."""
        return [
            {**message, "user": parcel["body"]["customUserId"]}
            for parcel in self.parcels
            for message in parcel["body"].get("messages", ())
        ]

    @property
    def sdk_id(self) -> str:
        """The id that the SDK gave its user."""
        return json.loads(self.kept[f"{STORED_AS}_sdkUserId"])


class Stage(WholeNode):
    """A node with a key of each type, behind a front that has the SDK's host names."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder / "home")
        self.folder = folder
        self.receiver = ToldReceiver()
        keys = [
            {"name": "backend", "type": "server", "secret": KEY},
            {"name": "page", "type": "client", "secret": CLIENT_KEY, "allowed_origins": [ORIGIN]},
        ]
        events = [
            {"slug": "taqsq", "name": "Cart Opened"},
            {"slug": "aewqd", "name": "Product Viewed"},
        ]
        hook = webhook("receiver", f"{self.receiver.url}/all")
        self.apply(workspace(hook, keys=keys, events=events))

    def tell(self, story: str, key: str) -> Told:
        """Let the SDK tell a story. Skips where it cannot be installed; under CI that fails."""
        try:
            install_node()
            node = find_program("node")
        except Unavailable as error:
            end = pytest.fail if os.environ.get("CI") == "true" else pytest.skip
            end(f"{PACKAGE} cannot be tested here: {error}")
        place = self.folder / story
        place.mkdir()
        front = TlsFront(place, self.node.ingest_port, HOSTS, b'"page":"lost"')
        environment = {
            **os.environ,
            "NODE_EXTRA_CA_CERTS": str(front.certificate_file),
            "STORY": story,
            "STORY_APP": APP,
            "STORY_KEY": key,
            "STORY_PORT": str(front.port),
            "STORY_REPORT": str(place / "report.json"),
        }
        try:
            done = subprocess.run(
                [node, str(NODE_FOLDER / "drive_websdk.js")], env=environment, cwd=place,
                capture_output=True, text=True, timeout=STORY_SECONDS_MAX, check=False,
            )  # fmt: skip
        finally:
            front.close()
        assert done.returncode == 0, done.stdout[-1000:] + done.stderr[-2000:]
        report = json.loads((place / "report.json").read_text("utf-8"))
        return Told(report["version"], report["parcels"], report["kept"], front.heard, front.lost)

    def events(self) -> list[dict[str, Any]]:
        """Return what the destination got, in its order."""
        return list(self.receiver.shelf("/all").events.values())


@pytest.fixture(scope="module")
def stage(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    stage = Stage(tmp_path_factory.mktemp("websdk"))
    try:
        stage.node.start()
        yield stage
    finally:
        stage.close()
        stage.receiver.close()


@pytest.fixture(scope="module")
def told(stage: Stage) -> Told:
    told = stage.tell("calls", CLIENT_KEY)
    stage.until_settled("receiver")
    return told


def pages_of(events: list[dict[str, Any]]) -> list[tuple[str, str]]:
    return [
        (event["userId"], event["properties"]["page"])
        for event in events
        if event.get("event") == "Product Viewed"
    ]


def test_every_call_arrives_once_under_its_user_in_order(
    stage: Stage, told: Told, record_property: Callable[[str, object], None]
) -> None:
    events = stage.events()
    assert pages_of(events) == [
        (told.sdk_id, "start"), ("u-web", "محصول"), ("u-web", "lost"), ("u-web", "after"),
        (told.sdk_id, "signed out"),
    ]  # fmt: skip
    [cart] = [event for event in events if event.get("event") == "Cart Opened"]
    assert (cart["userId"], cart["properties"]) == ("u-web", {"total": "12"})
    assert set(stage.receiver.shelf("/all").copies.values()) == {1}
    calls = len({json.dumps(message, sort_keys=True) for message in told.messages})
    assert len(events) == calls == 11
    row = [PACKAGE, told.version, str(calls), "0", str(len(events)), str(len(events)),
           "a page; an answer lost"]  # fmt: skip
    record_property(ROW, row)


def test_no_profile_update_is_lost_although_all_have_one_id(stage: Stage, told: Told) -> None:
    profiles = [message for message in told.messages if message["type"] == "user"]
    assert len({(message["id"], message["time"]) for message in profiles}) == 1
    first = {
        "firstName": "Maryam", "lastName": "Ahmadi", "phoneNumber": "09121122333",
        "hashedPhoneNumber": "ab12", "email": "m@a.example", "hashedEmail": "cd34",
        "country": "IR", "region": "Tehran", "locality": "Vanak", "gender": "female",
        "birthday": 733908600000, "customId": "c-1", "role": "owner",
    }  # fmt: skip
    cities = [{"city": city} for city in ("Tehran", "Shiraz", "Tabriz")]
    came = [event["traits"] for event in stage.events() if event.get("traits")]
    assert came == [first, *({**first, **city} for city in cities)]


def test_what_was_sent_again_after_a_lost_answer_is_a_duplicate(stage: Stage, told: Told) -> None:
    sent = [message["attributes"]["page"] for message in told.messages
            if message.get("name") == "aewqd"]  # fmt: skip
    assert (told.lost, sent.count("lost")) == (1, 2)
    acceptance = stage.acceptance()
    assert (acceptance.duplicate, acceptance.refused) == (1, {})
    assert acceptance.received == len(told.messages)


def test_the_subscription_and_the_device_come_along(stage: Stage, told: Told) -> None:
    [push] = [event for event in stage.events() if "push" in event["context"]]
    assert push["userId"] == told.sdk_id
    assert push["context"]["push"]["subscription"]["endpoint"] == "https://push.example/1"
    for event in stage.events():
        context = event["context"]
        assert context["device"]["screen"] == {"height": 720, "width": 1280}
        assert context["browser"]["browserName"] == "Chrome"
        assert context["library"] == {"name": "metrix", "version": "1.3.0"}
        assert context["ip"] == "127.0.0.1"
        assert "Chrome/120" in context["userAgent"]


def test_the_sdk_is_told_its_users_id_and_asks_no_more(told: Told) -> None:
    asked = [one for one in told.heard if one[0] == HOSTS[1]]
    assert asked == [(HOSTS[1], "OPTIONS", "/identity", 204), (HOSTS[1], "POST", "/identity", 200)]
    assert json.loads(told.kept[f"{STORED_AS}_metrixUserId"]) == told.sdk_id


def test_the_version_that_ran_is_the_one_that_is_pinned(told: Told) -> None:
    lock = json.loads((NODE_FOLDER / "package-lock.json").read_text("utf-8"))
    assert told.version == lock["packages"][f"node_modules/{PACKAGE}"]["version"] == "1.3.0"


def test_a_server_key_in_a_page_stores_nothing_and_its_owner_is_told(
    stage: Stage, told: Told
) -> None:
    before = len(stage.events())
    leaked = stage.tell("few", KEY)
    statuses = {one[3] for one in leaked.heard if one[:2] == (HOSTS[0], "POST")}
    assert statuses == {403}
    stage.until(
        lambda: stage.acceptance().refused.keys() == {"server_key_in_browser"}, "it is told"
    )
    assert len(stage.events()) == before
