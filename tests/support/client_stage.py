"""A stage for client libraries: a real node with an app for each library, and a receiver behind.

All libraries perform at once, each in a process of its own, so that the node sees them together;
what came of each is then looked at apart.
"""

from __future__ import annotations

import json
import os
import subprocess
import urllib.request
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.support.client_libraries import LIBRARIES, Library, Unavailable
from tests.support.keeping_receiver import KeepingReceiver, Shelf
from trunkline.catalog.apply import apply_workspace
from trunkline.kit.clock import SystemClock
from trunkline.kit.settings import load_boot
from trunkline.node import destination_kinds, open_log
from trunkline.proof.nodes import RealNode
from trunkline.reports.ledger import Acceptance, DestinationLedger, read_ledger
from trunkline.state.home import Home

KEY = "wk_clients_{app}_0123456789abcdef"
WRONG_KEY = "wk_nobody_0123456789abcdef0123456789"
DRIVER_SECONDS_MAX = 240.0
DELIVERY_SECONDS_MAX = 90.0
LEDGER_SECONDS_MAX = 20.0
APP = """
  - id: {app}
    name: {name}
    platform: server
    keys: [{{name: sender, type: server, secret: {key}}}]
    destinations:
      - id: receiver
        kind: webhook
        settings: {{url: "{url}/{app}", allow_private_addresses: true}}
"""


@dataclass
class Performance:
    """What one library did: its own report, and what came of it at the receiver."""

    library: Library
    version: str
    calls: dict[str, dict[str, Any]]  # messageId → what a destination must see of the call
    failed: set[str]  # messageIds that the library told its user it had given up
    errors: list[dict[str, Any]]
    requests: int
    shelf: Shelf

    @property
    def owed(self) -> dict[str, dict[str, Any]]:
        """The calls whose events must arrive."""
        return {key: call for key, call in self.calls.items() if key not in self.failed}

    @property
    def missing(self) -> list[dict[str, Any]]:
        """The calls whose events must have arrived and have not."""
        return [call for key, call in self.owed.items() if key not in self.shelf.events]


Performances = dict[str, Performance]


@dataclass
class Driver:
    """A library's process, and where it will leave its report."""

    library: Library
    process: subprocess.Popen[bytes]
    folder: Path

    @property
    def is_telling(self) -> bool:
        """Whether it still runs."""
        return self.process.poll() is None

    def end(self) -> None:
        """End it now, if it still runs."""
        self.process.kill()
        self.process.wait()

    def finish(self, shelf: Shelf, seconds: float) -> Performance:
        """Wait until it ended well, and read its report."""
        try:
            code = self.process.wait(seconds)
        finally:
            self.end()
        said = (self.folder / "said").read_text("utf-8", "replace")
        assert code == 0, f"{self.library.name} ended with {code}: {said[-2000:]}"
        report = json.loads((self.folder / "report.json").read_text("utf-8"))
        calls = {call["messageId"]: call for call in report["calls"]}
        return Performance(
            self.library, report["version"], calls, set(report["failed"]), report["errors"],
            report["requests"], shelf,
        )  # fmt: skip


@dataclass
class Stage:
    """The node, the receiver, and what every library that could be installed did."""

    folder: Path
    receiver: KeepingReceiver
    clock: SystemClock = field(default_factory=SystemClock)
    unavailable: dict[str, str] = field(default_factory=dict[str, str])

    def __post_init__(self) -> None:
        self.home = Home(self.folder / "home")
        self.home.prepare()
        apps = [
            APP.format(
                app=lib.app, name=lib.name, key=KEY.format(app=lib.app), url=self.receiver.url
            )
            for lib in LIBRARIES
        ]
        text = "organisation: Clients\napps:" + "".join(apps)
        apply_workspace(self.home, text, destination_kinds(), os.environ, clock=self.clock)
        self.node = RealNode(self.home.folder, clock=self.clock)

    def perform(
        self, story: str, *, key: str = KEY, libraries: Sequence[Library] = LIBRARIES
    ) -> Performances:
        """Let libraries tell a story, all at once, and return what came of it."""
        return self.finish(self.start(story, key=key, libraries=libraries))

    def start(
        self,
        story: str,
        *,
        key: str = KEY,
        host: str = "",
        retries: int = 0,
        libraries: Sequence[Library] = LIBRARIES,
    ) -> list[Driver]:
        """Start libraries on a story. What cannot be installed here stands aside.

        `host` is where they send, left out: the node. `retries` is for those that have few.
        """
        drivers: list[Driver] = []
        for library in libraries:
            try:
                command = library.command()
            except Unavailable as error:
                self.unavailable[library.name] = str(error)
                continue
            asked = {
                "STORY": story,
                "STORY_HOST": host or self.node.url,
                "STORY_KEY": key.format(app=library.app),
                "STORY_RETRIES": str(retries),
                "STORY_STOP": str(self.stop_file),
            }
            drivers.append(start_driver(library, command, asked, self.folder / story))
        return drivers

    def finish(self, drivers: list[Driver]) -> Performances:
        """Wait until all have told their story, and until what they are owed has arrived."""
        performances: Performances = {}
        deadline = self.clock.monotonic() + DRIVER_SECONDS_MAX
        try:
            for driver in drivers:
                left = max(0.1, deadline - self.clock.monotonic())
                shelf = self.shelf_of(driver.library)
                performances[driver.library.name] = driver.finish(shelf, left)
        finally:
            for driver in drivers:
                driver.end()
        everyone = performances.values()
        self.receiver.wait(lambda: not any(one.missing for one in everyone), DELIVERY_SECONDS_MAX)
        return performances

    def shelf_of(self, library: Library) -> Shelf:
        """Return what the destination of a library's app got."""
        return self.receiver.shelf(f"/{library.app}")

    @property
    def stop_file(self) -> Path:
        """What ends an endless story."""
        return self.folder / "stop"

    def ledger(self, app: str) -> tuple[Acceptance, DestinationLedger]:
        """Return an app's ledger, once nothing is pending in it."""
        deadline = self.clock.monotonic() + LEDGER_SECONDS_MAX
        while True:
            found = self._read_ledger(app)
            is_settled = found is not None and found[0].balanced and not found[1].pending
            if found is not None and (is_settled or self.clock.monotonic() > deadline):
                return found
            assert self.clock.monotonic() < deadline, f"no ledger of {app}"
            self.clock.pause(0.2)

    def count_requests(self, status: str) -> int:
        """Return how many requests the node answered with a class of status, say `4xx`."""
        with urllib.request.urlopen(f"{self.node.console_url}/metrics", timeout=10) as answer:
            lines = answer.read().decode().splitlines()
        counted = [
            float(line.rpartition(" ")[2])
            for line in lines
            if line.startswith("trunkline_gateway_requests_total{") and f'"{status}"' in line
        ]
        return int(sum(counted))

    def close(self) -> None:
        """End the node and the receiver."""
        self.node.kill()
        self.receiver.close()

    def _read_ledger(self, app: str) -> tuple[Acceptance, DestinationLedger] | None:
        log = open_log(self.home, load_boot(self.home.settings_file, {}, {}), self.clock)
        try:
            ledger = read_ledger(self.home, log, app)
        finally:
            log.close()
        return (ledger.apps[0], ledger.destinations[0]) if ledger.apps else None


def start_driver(
    library: Library, command: list[str], asked: dict[str, str], place: Path
) -> Driver:
    """Start a library's process, in a folder of its own."""
    folder = place / library.name
    folder.mkdir(parents=True)
    environment = {
        **os.environ,
        **library.environment(),
        **asked,
        "STORY_REPORT": str(folder / "report.json"),
        "NO_PROXY": "127.0.0.1",
        "no_proxy": "127.0.0.1",
    }
    with (folder / "said").open("wb") as said:
        process = subprocess.Popen(
            command, env=environment, cwd=folder, stdin=subprocess.DEVNULL, stdout=said, stderr=said
        )
    return Driver(library, process, folder)


def open_stage(folder: Path, *, fail_every: int = 0) -> Iterator[Stage]:
    """Open a stage with its node running, and close it: the body of a fixture."""
    stage = Stage(folder, KeepingReceiver(fail_every))
    try:
        stage.node.start()
        yield stage
    finally:
        stage.close()
