"""A stage for pages whose node is killed: it kills at the two worst moments of a request.

The node has read it and stored nothing yet, or has stored it and no answer arrives.
"""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import apsw

from tests.support.breaking_front import BreakingFront
from tests.support.browser_stage import CLIENT_KEY, SETTINGS, SHELF, browser_with_libraries
from tests.support.client_libraries import NODE_FOLDER, find_program
from tests.support.saying_pages import HOSTS, PAGES, SayingPage, saying_pages
from tests.support.told_receiver import ToldReceiver
from tests.support.whole_node import KEY, WholeNode, webhook, workspace

DRIVER = "drive_saying_pages.js"
PATIENCE_SECONDS = 90.0
END_SECONDS_MAX = 180.0  # of what the libraries wait for before they try again
EVENTS_BETWEEN = 20


@dataclass(frozen=True)
class SaidOnPage:
    """What one page did: how many events it said, numbered from 0, and which it saw taken."""

    said: int
    taken: set[int]
    heard: list[str]


class KilledPages(WholeNode):
    """A node behind a breaking front, its receiver, and pages that go on saying events."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder / "home", settings=SETTINGS)
        self.folder = folder
        self.receiver = ToldReceiver()
        origins = [f"https://{each.host}" for each in PAGES]
        keys = [
            {"name": "backend", "type": "server", "secret": KEY},
            {"name": "page", "type": "client", "secret": CLIENT_KEY, "allowed_origins": origins},
        ]
        self.apply(workspace(webhook("receiver", self.receiver.url + SHELF), keys=keys))
        self.node.start()
        self.front = BreakingFront(folder, self.node.ingest_port, HOSTS, saying_pages())
        self._browser: subprocess.Popen[bytes] | None = None

    @property
    def stop_file(self) -> Path:
        """What ends the saying."""
        return self.folder / "stop"

    # What a browser does

    def open_pages(self, browser: str) -> None:
        """Open all pages, which begin to say events."""
        environment = {
            **os.environ,
            "BROWSER": browser,
            "STORIES": " ".join(each.name for each in PAGES),
            "STORY_PORT": str(self.front.port),
            "STORY_REPORT": str(self._report),
            "STORY_STOP": str(self.stop_file),
        }
        with self._heard.open("wb") as heard:
            self._browser = subprocess.Popen(
                [find_program("node"), str(NODE_FOLDER / DRIVER)],
                env=environment, stdin=subprocess.DEVNULL, stdout=heard, stderr=heard,
            )  # fmt: skip

    def end_saying(self) -> dict[str, SaidOnPage]:
        """Let all pages say no more; return what they did, once all of it was delivered."""
        self.stop_file.touch()
        assert self._browser is not None
        code = self._browser.wait(END_SECONDS_MAX)
        assert code == 0, self._heard.read_text("utf-8", "replace")[-3000:]
        told = json.loads(self._report.read_text("utf-8"))["stories"]
        failed = {name: story["failed"] for name, story in told.items() if "failed" in story}
        assert not failed, failed
        self.until_settled("receiver")
        return {
            name: SaidOnPage(story["said"]["said"], set(story["said"]["taken"]),
                             story["said"]["heard"])
            for name, story in told.items()
        }  # fmt: skip

    # What is done to the node

    def kill_with_requests_read(self) -> None:
        """Kill the node while each page has a request there that is read and not stored."""
        with self._held_log():
            self._until_each(self.front.asked)
            self.request("GET", "/health/live")  # who answers this has read what came before
            self.node.kill()

    def kill_with_answers_lost(self) -> None:
        """Kill the node while each page waits for the answer to a request that is stored."""
        self.front.keep_answers()
        self._until_each(self.front.kept)
        self.node.kill()
        self.front.lose_answers()
        self._until(lambda: not any(dict(self.front.kept).values()), lambda: dict(self.front.kept))

    # What came of it

    def until_more(self) -> None:
        """Wait until more events of each page came in."""
        goals = {each: len(self._numbers(each)) + EVENTS_BETWEEN for each in PAGES}
        self._until(
            lambda: all(len(self._numbers(each)) >= goal for each, goal in goals.items()),
            lambda: {each.name: len(self._numbers(each)) for each in PAGES},
        )

    def came(self, page: SayingPage) -> list[int]:
        """Return the numbers of a page's events, each as often as there is an event of it."""
        return sorted(self._numbers(page))

    def most_copies(self) -> int:
        """Return how often the event came that was delivered again most."""
        return max(self.receiver.shelf(SHELF).copies.values())

    def close(self) -> None:
        """End everything."""
        if getattr(self, "_browser", None) is not None:
            assert self._browser is not None
            self._browser.kill()
            self._browser.wait()
        front = getattr(self, "front", None)
        if front is not None:
            front.close()
        super().close()
        self.receiver.close()

    @property
    def _report(self) -> Path:
        return self.folder / "report.json"

    @property
    def _heard(self) -> Path:
        return self.folder / "browser.heard"

    @contextmanager
    def _held_log(self) -> Iterator[None]:
        """Hold the gateway's log, so that nothing can be stored in it."""
        folder = self.home.folder / "log" / "accepted" / "0"
        newest = max(folder.glob("*.db"))
        db = apsw.Connection(str(newest), flags=apsw.SQLITE_OPEN_READWRITE)
        try:
            # The last to close a log would tidy it: what the kill leaves is to stay as it is.
            db.config(apsw.SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 1)
            db.set_busy_timeout(5000)
            db.execute("BEGIN IMMEDIATE")
            yield
        finally:
            db.close()

    def _numbers(self, page: SayingPage) -> list[int]:
        events = list(self.receiver.shelf(SHELF).events.values())
        found: list[dict[str, Any]] = [each.get("properties") or {} for each in events]
        return [int(each["n"]) for each in found if each.get("page") == page.name]

    def _until_each(self, counts: dict[str, int]) -> None:
        hosts = [each.sends_to for each in PAGES]
        self._until(lambda: all(counts.get(host) for host in hosts), lambda: dict(counts))

    def _until(self, is_true: Callable[[], bool], told: Callable[[], object]) -> None:
        end = self.clock.monotonic() + PATIENCE_SECONDS
        while not is_true():
            assert self._browser is not None
            assert self._browser.poll() is None, self._heard.read_text("utf-8", "replace")[-3000:]
            assert self.clock.monotonic() < end, (told(), self.log()[-2000:])
            self.clock.pause(0.02)


def open_killed_pages(folder: Path) -> Iterator[tuple[KilledPages, str]]:
    """Open a stage and find a browser: the body of a fixture. Under CI both must be there."""
    browser = browser_with_libraries()
    stage = KilledPages(folder)
    try:
        yield stage, browser
    finally:
        stage.close()
