"""A whole node on loopback for one story: its home, its processes, its commands, its counts."""

from __future__ import annotations

import base64
import http.client
import json
import os
import subprocess
import sys
import urllib.request
import uuid
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from trunkline.catalog.apply import ApplyResult, apply_workspace
from trunkline.kit.clock import SystemClock
from trunkline.kit.settings import load_boot
from trunkline.model.record import ACCEPTED, EVENTS
from trunkline.node import destination_kinds, open_log
from trunkline.proof.nodes import RealNode
from trunkline.reports.ledger import Acceptance, DestinationLedger, Ledger, read_ledger
from trunkline.reports.state import reading
from trunkline.state.home import Home

APP = "pathpathpathpat"
KEY = "tls_path_0123456789abcdef0123456789abcdef"
DEV_KEY = "dev-key-of-the-path-0123456789"
SLUG = "taqsq"
PATIENCE_SECONDS = 40.0  # what happens at once on an idle machine, on a loaded one
COMMAND_SECONDS = 60.0
JSON = "application/json"


@dataclass(frozen=True)
class Reply:
    """An answer of the ingest port."""

    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)


def webhook(name: str, url: str, *, settings: dict[str, Any] | None = None, **more: Any) -> Any:
    """Return a webhook on loopback as a workspace file says it."""
    given = {"url": url, "allow_private_addresses": True, **(settings or {})}
    return {"id": name, "kind": "webhook", "settings": given, **more}


def workspace(*destinations: Any, **app: Any) -> str:
    """Return a workspace file with one app; JSON is YAML."""
    fields: dict[str, Any] = {
        "id": APP,
        "name": "Path",
        "platform": "server",
        "s2s": {"enabled": True, "dev_key": DEV_KEY},
        "keys": [{"name": "backend", "type": "server", "secret": KEY}],
        "events": [{"slug": SLUG, "name": "Purchase Completed"}],
        "destinations": list(destinations),
        **app,
    }
    return json.dumps({"organisation": "Path", "apps": [fields]})


def basic(key: str) -> str:
    """Return the Authorization header of a key."""
    return "Basic " + base64.b64encode(f"{key}:".encode()).decode()


class WholeNode:
    """A node and everything a story asks of it. `settings` is the text of its trunkline.toml."""

    def __init__(self, folder: Path, *, settings: str = "", workers: int = 1) -> None:
        self.clock = SystemClock()
        self.home = Home(folder)
        self.home.prepare()
        self.home.settings_file.write_text(settings, "utf-8")
        self.node = RealNode(folder, workers=workers, clock=self.clock)

    # What a person does

    def apply(self, text: str, *, prune: bool = False) -> ApplyResult:
        """Apply a workspace, as `trunkline apply` does."""
        return apply_workspace(
            self.home, text, destination_kinds(), os.environ, clock=self.clock, prune=prune
        )

    def run(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Run the command line on this home, in a process of its own."""
        command = [sys.executable, "-m", "trunkline", *arguments, "--home", str(self.home.folder)]
        return subprocess.run(
            command, capture_output=True, text=True, timeout=COMMAND_SECONDS, check=False
        )

    def say(self, *arguments: str) -> Any:
        """Run a command with --json and return what it printed; it must not fail."""
        done = self.run(*arguments, "--json")
        assert done.returncode == 0, (arguments, done.returncode, done.stdout, done.stderr)
        return json.loads(done.stdout)

    # What a sender does

    def request(
        self,
        method: str,
        path: str,
        body: bytes | None = None,
        headers: dict[str, str] | None = None,
        seconds: float = 30.0,
    ) -> Reply:
        """Make one request of the ingest port, on a connection of its own."""
        connection = http.client.HTTPConnection("127.0.0.1", self.node.ingest_port, timeout=seconds)
        try:
            connection.request(method, path, body, headers or {})
            answer = connection.getresponse()
            found = {name.lower(): value for name, value in answer.getheaders()}
            return Reply(answer.status, found, answer.read())
        finally:
            connection.close()

    def post(self, path: str, value: Any, key: str = KEY) -> Reply:
        """Post JSON under a key."""
        headers = {"Authorization": basic(key), "Content-Type": JSON}
        return self.request("POST", path, json.dumps(value).encode(), headers)

    def track(self, user: str = "u-1", event: str = "Order Completed", **fields: Any) -> str:
        """Send an event that must be accepted, and return its messageId."""
        message_id = fields.pop("messageId", None) or str(uuid.uuid4())
        value = {"messageId": message_id, "event": event, "userId": user, **fields}
        reply = self.post("/v1/track", value)
        assert reply.status == 200, reply
        return message_id

    def batch(self, *events: dict[str, Any]) -> Reply:
        """Send events as a batch."""
        return self.post("/v1/batch", {"batch": list(events)})

    # What is true

    def ledger(self) -> Ledger:
        """Return the ledger. It balances at every moment, so this is checked here."""
        log = open_log(self.home, load_boot(self.home.settings_file, {}, {}), self.clock)
        try:
            ledger = read_ledger(self.home, log)
        finally:
            log.close()
        assert ledger.balanced, ledger
        return ledger

    def line(self, destination: str) -> DestinationLedger:
        """Return the ledger of a destination; an empty one before the forwarder has seen it."""
        found = [line for line in self.ledger().destinations if line.destination == destination]
        empty = DestinationLedger(APP, destination, 0, 0, 0, {}, {}, 0, 0, True)
        return found[-1] if found else empty

    def acceptance(self) -> Acceptance:
        """Return what was received of the app."""
        found = self.ledger().apps
        return found[0] if found else Acceptance(APP, 0, {}, 0, 0, True)

    def until(
        self, is_true: Callable[[], Any], what: str, seconds: float = PATIENCE_SECONDS
    ) -> float:
        """Wait until something is true; return the seconds it took."""
        begin = self.clock.monotonic()
        while not is_true():
            took = self.clock.monotonic() - begin
            assert took < seconds, f"not within {seconds:.0f} s: {what}\n{self.log()[-3000:]}"
            self.clock.pause(0.02)
        return self.clock.monotonic() - begin

    def until_settled(self, destination: str, seconds: float = PATIENCE_SECONDS) -> None:
        """Wait until a destination, which the forwarder has seen, owes nothing of what came."""

        def is_settled() -> bool:
            return self.is_taken_up() and any(
                line.destination == destination and line.pending == 0
                for line in self.ledger().destinations
            )

        self.until(is_settled, f"{destination} is settled", seconds)

    def is_taken_up(self) -> bool:
        """Say whether all of ACCEPTED is in EVENTS, and all of EVENTS was offered to everyone.

        Each is read after what feeds it: an event may move on between two looks, and the other
        way round it would be seen at neither place.
        """
        log = open_log(self.home, load_boot(self.home.settings_file, {}, {}), self.clock)
        try:
            accepted = log.ends(ACCEPTED)
            done = self._positions()
            stored = log.ends(EVENTS)
        finally:
            log.close()
        return all(
            done.get((ACCEPTED, p), 0) >= end for p, end in accepted.items()
        ) and self.ledger().offset >= max([0, *stored.values()])

    def _positions(self) -> dict[tuple[str, int], int]:
        with reading(self.home, "pipeline") as db:
            rows = (
                []
                if db is None
                else list(db.execute("SELECT topic, partition, next FROM position"))
            )
        return {(topic, partition): position for topic, partition, position in rows}

    def state(self, destination: str) -> dict[str, Any]:
        """Return what `destination list` says of one."""
        rows = self.say("destination", "list")
        return next(row for row in rows if row["id"] == destination)

    def log(self) -> str:
        """Return what the node has logged."""
        return self.node.log_file.read_text("utf-8", "replace")

    def metrics(self) -> str:
        """Return what Prometheus would scrape."""
        with urllib.request.urlopen(f"{self.node.console_url}/metrics", timeout=10) as answer:
            return answer.read().decode()

    def memory_peak_mb(self, process: str) -> float:
        """Return the most memory that a process of the node ever held, in megabytes."""
        status = Path(f"/proc/{self.node.children()[process]}/status").read_text()
        kib = next(line.split()[1] for line in status.splitlines() if line.startswith("VmHWM"))
        return int(kib) / 1024

    def close(self) -> None:
        """End the node, whatever state it is in."""
        self.node.kill()
