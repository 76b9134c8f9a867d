"""A whole node with a key of each type, for one Node.js library that tells a story of its own.

The library runs in a process of its own and reports each request that it made: a *parcel* with its
body, and the status that it was answered. What came of the parcels is seen at the receiver.
"""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.support.client_libraries import NODE_FOLDER, Unavailable, find_program, install_node
from tests.support.told_receiver import ToldReceiver
from tests.support.whole_node import KEY, WholeNode, webhook, workspace

CLIENT_KEY = "tlc_page_0123456789abcdef0123456789abcdef"
UNKNOWN_KEY = "tls_nobody_0123456789abcdef0123456789abc"
ORIGIN = "https://shop.example"
STORY_SECONDS_MAX = 150.0
SHELF = "/all"

Event = dict[str, Any]


@dataclass(frozen=True)
class Told:
    """What the library did in one story: what it sent, what its user heard."""

    version: str
    parcels: list[dict[str, Any]]
    heard: list[str]

    @property
    def posts(self) -> list[dict[str, Any]]:
        """The requests that carry events."""
        return [parcel for parcel in self.parcels if parcel.get("method") != "GET"]

    def sent(self, parcels: list[dict[str, Any]] | None = None) -> list[Event]:
        """Return the events of these parcels, of all left out, in the order they left."""
        chosen = self.posts if parcels is None else parcels
        bodies = [_read(parcel["body"]) for parcel in chosen]
        return [event for body in bodies for event in body.get("batch", [body])]


class SdkStage(WholeNode):
    """A node, its receiver, and where drivers leave their reports."""

    def __init__(self, folder: Path, origins: tuple[str, ...] = (ORIGIN,)) -> None:
        super().__init__(folder / "home")
        self.folder = folder
        self.receiver = ToldReceiver()
        keys = [
            {"name": "backend", "type": "server", "secret": KEY},
            {"name": "page", "type": "client", "secret": CLIENT_KEY, "allowed_origins": [*origins]},
        ]
        self.apply(workspace(webhook("receiver", self.receiver.url + SHELF), keys=keys))

    def start(self, driver: str, story: str, key: str) -> subprocess.Popen[bytes]:
        """Start a driver. Skips where the library cannot be installed; under CI that fails."""
        try:
            install_node()
            node = find_program("node")
        except Unavailable as error:
            end = pytest.fail if os.environ.get("CI") == "true" else pytest.skip
            end(f"{driver} cannot be run here: {error}")
        environment = {
            **os.environ,
            "STORY": story,
            "STORY_HOST": self.node.url,
            "STORY_KEY": key,
            "STORY_REPORT": str(self._report_of(story)),
            "STORY_STOP": str(self.stop_file),
        }
        with (self.folder / f"{story}.said").open("wb") as said:
            command = [node, str(NODE_FOLDER / driver)]
            return subprocess.Popen(
                command, env=environment, stdin=subprocess.DEVNULL, stdout=said, stderr=said
            )

    def finish(self, process: subprocess.Popen[bytes], story: str) -> Told:
        """Wait until a driver ended well, and read its report."""
        try:
            code = process.wait(STORY_SECONDS_MAX)
        finally:
            process.kill()
        said = (self.folder / f"{story}.said").read_text("utf-8", "replace")
        assert code == 0, f"{story} ended with {code}: {said[-2000:]}"
        report = json.loads(self._report_of(story).read_text("utf-8"))
        return Told(report["version"], report["parcels"], report["errors"])

    def tell(self, driver: str, story: str, key: str) -> Told:
        """Let the library tell a story to its end, and wait until nothing is owed any more."""
        told = self.finish(self.start(driver, story, key), story)
        if any(parcel["status"] == 200 for parcel in told.posts):
            self.until_settled("receiver")
        return told

    @property
    def stop_file(self) -> Path:
        """What ends an endless story."""
        return self.folder / "stop"

    def arrived(self, sent: list[Event]) -> list[Event]:
        """Return what the destination got of these, in the order they were sent first."""
        events = self.receiver.shelf(SHELF).events
        return [events[key] for key in _ids_of(sent) if key in events]

    def copies(self, sent: list[Event]) -> set[int]:
        """Return how often the destination got each of those that it got at all."""
        copies = self.receiver.shelf(SHELF).copies
        return {copies[key] for key in _ids_of(sent) if key in copies}

    def close(self) -> None:
        """End the node and its receiver."""
        super().close()
        self.receiver.close()

    def _report_of(self, story: str) -> Path:
        return self.folder / f"{story}.json"


def open_sdk_stage(folder: Path) -> Iterator[SdkStage]:
    """Open a stage with its node running, and close it: the body of a fixture."""
    stage = SdkStage(folder)
    try:
        stage.node.start()
        yield stage
    finally:
        stage.close()


def table_line(package: str, stage: SdkStage, told: Told, notes: str) -> list[str]:
    """Return the line of the table that is printed at the end."""
    ids = _ids_of(told.sent())
    came = str(len(stage.arrived(told.sent())))
    given_up = str(len(told.heard))
    return [package, told.version, str(len(ids)), given_up, came, came, notes]


def _ids_of(sent: list[Event]) -> list[str]:
    return list(dict.fromkeys(str(event["messageId"]) for event in sent))


def _read(body: Any) -> dict[str, Any]:
    return json.loads(body) if isinstance(body, str) else body
