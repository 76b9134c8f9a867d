"""A shop on the web: pages under a strict policy, a node behind them, a real Chromium in front."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.support.browser import find_browser
from tests.support.client_libraries import NODE_FOLDER, Unavailable, find_program, install_node
from tests.support.installing import run
from tests.support.shop_front import PREFIX, Page, ShopFront
from tests.support.told_receiver import ToldReceiver
from tests.support.whole_node import KEY, WholeNode, webhook, workspace

CLIENT_KEY = "tlc_page_0123456789abcdef0123456789abcdef"
QUIET_KEY = "tlc_quiet_0123456789abcdef0123456789abcde"
SHOP, EVENTS, OTHER = "www.shop.example", "events.shop.example", "www.other.example"
SETTINGS = '[gateway]\ntrusted_proxies = ["127.0.0.1"]\n'
SHELF = "/all"
STORIES_SECONDS_MAX = 240.0

SCRIPT = f"/analytics.js/v1/{CLIENT_KEY}/analytics.min.js"
CALLS = """
analytics.alias('u-web', 'u-old')  // before `identify`: the library writes the known user over it
analytics.page('Docs', 'Start', { n: 1 })
analytics.identify('u-web', { name: 'مریم', plan: '🚀' })
analytics.track('Cart Viewed', { items: 3, text: 'نیم\\u200cفاصله', nested: { a: [1, { b: 2 }] } })
analytics.group('g-1', { seats: 12 })
"""
QUIET_APP = {
    "id": "quietquietquiet",
    "name": "Quiet",
    "analytics_js": {"cookie": False, "second_path": False},
    "keys": [{"name": "page", "type": "client", "secret": QUIET_KEY}],
}
OPTIONS = """
window.analytics = []
window.analytics._loadOptions = { disableClientPersistence: true }
"""


def policy(*hosts: str) -> str:
    """Return a policy that lets a page load scripts from here, and send there, and no more."""
    where = " ".join(["'self'", *(f"https://{host}" for host in hosts)])
    return f"default-src 'none'; script-src {where}; connect-src {where}; img-src data:"


def page(*scripts: str, given: str = "", hosts: tuple[str, ...] = ()) -> Page:
    """Return a page that loads these scripts and has none of its own."""
    tags = "".join(f'<script src="{script}"{given}></script>' for script in scripts)
    text = f'<!doctype html><html><head><link rel="icon" href="data:,">{tags}</head>'
    return Page(text + '<body><button id="buy">Buy</button></body></html>', policy(*hosts))


def snippet() -> str:
    """Return the usual snippet, as its package writes it."""
    render = (
        "const { min } = require('@segment/snippet');"
        "console.log(min({ apiKey: process.argv[1], host: process.argv[2], page: true }))"
    )
    return run([find_program("node"), "-e", render, CLIENT_KEY, SHOP], NODE_FOLDER)


def shop_pages() -> dict[str, Page]:
    """Return what the shop serves, by path."""
    return {
        "/calls.js": Page(CALLS),
        "/snippet.js": Page(snippet()),
        "/one.js": Page("analytics.track('Said In Private')"),
        "/options.js": Page(OPTIONS),
        "/plain.html": page(SCRIPT, "/calls.js"),
        "/snippet.html": page("/snippet.js", "/calls.js"),
        "/alone.html": page(SCRIPT, SCRIPT, given=" data-initial-pageview"),
        "/prefixed.html": page(PREFIX + SCRIPT, "/calls.js"),
        "/quiet.html": page(f"/s/{QUIET_KEY}.js", "/calls.js"),
        "/short.html": page(f"/s/{CLIENT_KEY}.js", "/calls.js"),
        "/private.html": page("/options.js", SCRIPT, "/one.js"),
        "/subdomain.html": page(f"https://{EVENTS}{SCRIPT}", "/calls.js", hosts=(EVENTS,)),
    }  # fmt: skip


@dataclass(frozen=True)
class Visit:
    """What a browser did and saw in one story."""

    said: dict[str, Any]
    cookies: list[dict[str, Any]]
    errors: list[str]
    requests: list[dict[str, Any]]

    @property
    def posts(self) -> list[dict[str, Any]]:
        """The requests that carry events."""
        return [each for each in self.requests if each["method"] == "POST"]

    @property
    def sent(self) -> list[dict[str, Any]]:
        """The events, each as often as it was sent."""
        bodies = [json.loads(each["body"]) for each in self.posts]
        return [event for body in bodies for event in body.get("batch", [body])]

    @property
    def message_ids(self) -> list[str]:
        """The ids of the events, each once, in the order they were sent first."""
        return list(dict.fromkeys(event["messageId"] for event in self.sent))

    def statuses(self, path: str) -> list[int]:
        """Return the answers to the requests whose address holds this text."""
        return [each["status"] for each in self.requests if path in each["url"]]

    def cookie(self, name: str) -> dict[str, Any]:
        """Return a cookie that the browser holds at the end."""
        return next(each for each in self.cookies if each["name"] == name)


class BrowserStage(WholeNode):
    """A node behind the shop's web server with its `pages`, its receiver, and who visits."""

    def __init__(self, folder: Path, pages: dict[str, Page], driver: str) -> None:
        super().__init__(folder / "home", settings=SETTINGS)
        self.folder = folder
        self.driver = driver
        self.receiver = ToldReceiver()
        origins = [f"https://{SHOP}"]
        keys = [
            {"name": "backend", "type": "server", "secret": KEY},
            {"name": "page", "type": "client", "secret": CLIENT_KEY, "allowed_origins": origins},
        ]
        configured = json.loads(
            workspace(webhook("receiver", self.receiver.url + SHELF), keys=keys)
        )
        configured["apps"].append(QUIET_APP)
        self.apply(json.dumps(configured))
        self.node.start()
        hosts = (SHOP, EVENTS, OTHER)
        self.front = ShopFront(folder, self.node.ingest_port, hosts, pages)

    def visit(self, browser: str, *stories: str) -> dict[str, Visit]:
        """Let the browser tell these stories; return what it did, once all of it was delivered."""
        report = self.folder / "report.json"
        environment = {
            **os.environ,
            "BROWSER": browser,
            "STORIES": " ".join(stories),
            "STORY_PORT": str(self.front.port),
            "STORY_REPORT": str(report),
            "STORY_HOLD": str(self.front.hold_file),
            "STORY_AWAY": str(self.front.away_file),
        }
        done = subprocess.run(
            [find_program("node"), str(NODE_FOLDER / self.driver)],
            env=environment,
            capture_output=True,
            text=True,
            timeout=STORIES_SECONDS_MAX,
        )
        assert done.returncode == 0, done.stderr[-3000:]
        told = json.loads(report.read_text("utf-8"))["stories"]
        failed = {name: story["failed"] for name, story in told.items() if "failed" in story}
        assert not failed, failed
        self.until_settled("receiver")
        return {name: Visit(**story) for name, story in told.items()}

    def delivered(self, visit: Visit) -> list[dict[str, Any]]:
        """Return what the destination got of a story's events."""
        events = self.receiver.shelf(SHELF).events
        return [events[each] for each in visit.message_ids if each in events]

    def copies(self, visit: Visit) -> set[int]:
        """Return how often the destination got each event of a story."""
        copies = self.receiver.shelf(SHELF).copies
        return {copies.get(each, 0) for each in visit.message_ids}

    def said_on(self, path: str) -> list[dict[str, Any]]:
        """Return what the destination got of the events of one page of the shop."""
        events = self.receiver.shelf(SHELF).events.values()
        return [each for each in events if each["context"]["page"]["path"] == path]

    def close(self) -> None:
        """End everything."""
        front = getattr(self, "front", None)
        if front is not None:
            front.close()
        super().close()
        self.receiver.close()


def browser_with_libraries() -> str:
    """Install the libraries and return the path of a browser, or end the test: by a failure in CI.

    Elsewhere by a skip.
    """
    try:
        install_node()
        return find_browser()
    except Unavailable as error:
        end = pytest.fail if os.environ.get("CI") == "true" else pytest.skip
        end(f"no browser can be run here: {error}")


def open_browser_stage(
    folder: Path,
    pages: Callable[[], dict[str, Page]] = shop_pages,
    driver: str = "drive_browser.js",
) -> Iterator[tuple[BrowserStage, str]]:
    """Open a stage and find a browser: the body of a fixture. Under CI both must be there.

    `pages` are made once the libraries are installed. `driver` is a file of `tests/clients/node`.
    """
    browser = browser_with_libraries()
    stage = BrowserStage(folder, pages(), driver)
    try:
        yield stage, browser
    finally:
        stage.close()
