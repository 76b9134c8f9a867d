"""A node set up for a measurement: its workspace, what it still owes, what it costs.

What it owes is read from its files, as `trunkline destination list` does, but without counting:
the pipeline's position against the end of ACCEPTED, each destination's against the end of EVENTS.
"""

from __future__ import annotations

import base64
import os
import re
import shutil
import time
from collections.abc import Collection, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any

import apsw
import msgspec
from msgspec import Struct

from trunkline.catalog.apply import apply_workspace
from trunkline.catalog.current import load_snapshot
from trunkline.kit.bell import Ringer
from trunkline.kit.clock import SystemClock
from trunkline.kit.settings import Boot
from trunkline.model.record import ACCEPTED, EVENTS
from trunkline.node import destination_kinds, open_log
from trunkline.proof.nodes import RealNode
from trunkline.reports.state import read_groups, reading
from trunkline.state.home import Home
from trunkline.state.inbox import SetState, append_request
from trunkline.state.profiles import read_position, read_profiles

DEV_KEY = "bench-dev-key-0123456789abcdef"
POLL_SECONDS = 0.02
TICKS = os.sysconf("SC_CLK_TCK")


class To(Struct, frozen=True):
    """A webhook destination; `playbook` is what shapes its events, None for canonical ones."""

    id: str
    url: str
    batch: int = 100
    concurrency: int = 8
    playbook: dict[str, Any] | None = None


class App(Struct, frozen=True):
    """An app of the workspace; its id has 15 lower-case letters."""

    id: str
    destinations: Sequence[To]

    @property
    def secret(self) -> str:
        """Its server key."""
        return f"tls_{self.id}_0123456789abcdef"

    @property
    def authorization(self) -> str:
        """The header of its tracking calls."""
        return "Basic " + base64.b64encode(f"{self.secret}:".encode()).decode()

    @property
    def s2s(self) -> tuple[str, str, str]:
        """Kind, path and authorization for `load.lua`."""
        return ("s2s", f"/inappevent/{self.id}", f"{DEV_KEY}-{self.id}")

    @property
    def batches(self) -> tuple[str, str, str]:
        """The same for batches."""
        return ("batch", "/v1/batch", self.authorization)

    def as_yaml(self) -> str:
        """Return its part of a workspace file."""
        destinations = "".join(
            f"      - {{id: {to.id}, kind: webhook, settings: {{url: '{to.url}', "
            f"allow_private_addresses: true, batch_events_max: {to.batch}, "
            f"concurrency_max: {to.concurrency}}}{_shaped(to)}}}\n"
            for to in self.destinations
        )
        return (
            f"  - id: {self.id}\n    name: {self.id}\n    platform: android\n    currency: IRR\n"
            f"    s2s: {{enabled: true, dev_key: {DEV_KEY}-{self.id}}}\n"
            f"    keys: [{{name: backend, type: server, secret: {self.secret}}}]\n"
            "    events: [{slug: taqsq, name: Purchase Completed, revenue: true}]\n"
            + (f"    destinations:\n{destinations}" if destinations else "")
        )


def _shaped(to: To) -> str:
    return f", playbook: {msgspec.json.encode(to.playbook).decode()}" if to.playbook else ""


class NotDelivered(RuntimeError):
    """The node did not deliver in time what it had accepted; the message says where it stands."""


class Stage:
    """A running node; `with` starts it and removes it."""

    def __init__(self, folder: Path, apps: Sequence[App]) -> None:
        self._folder = folder
        self.home = Home(folder)
        self.home.prepare()
        self._clock = SystemClock()
        text = "organisation: Bench\nplan: {features: [s2s, rest, bulk, push]}\napps:\n"
        text += "".join(app.as_yaml() for app in apps)
        apply_workspace(self.home, text, destination_kinds(), os.environ, clock=self._clock)
        self.node = RealNode(folder, clock=self._clock)
        self._log = open_log(self.home, Boot(), self._clock)

    def __enter__(self) -> Stage:
        self.node.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._log.close()
        try:
            if kind is None:
                self.node.stop()
        finally:
            self.node.kill()
        if kind is None:
            shutil.rmtree(self._folder)

    @property
    def url(self) -> str:
        """Where events go in."""
        return self.node.url

    @property
    def stored(self) -> int:
        """How many events EVENTS has taken so far."""
        return self._log.ends(EVENTS).get(0, 0)

    def delivered(self, destination: str) -> int:
        """Return the position of a destination in EVENTS."""
        with reading(self.home, "forwarder") as db:
            groups = read_groups(db) if db is not None else []
            return next((g.position for g in groups if g.id == destination), 0)

    def wait(self, seconds_max: float, destinations: Collection[str] | None = None) -> float:
        """Wait until all that was accepted is delivered, and return when that was.

        `destinations` are those that count; None: all. Raises `NotDelivered`.
        """
        deadline = time.monotonic() + seconds_max
        while True:
            owes = self._owes(destinations)
            now = time.monotonic()
            if not owes:
                return now
            if now > deadline:
                raise NotDelivered(f"after {seconds_max:.0f} s {owes}")
            time.sleep(POLL_SECONDS)

    def rest(self, seconds_max: float) -> None:
        """Wait until the background has read all that is stored, too. Raises `NotDelivered`."""
        deadline = time.monotonic() + seconds_max
        while (read := self._profiled()) < self.stored:
            if time.monotonic() > deadline:
                raise NotDelivered(f"after {seconds_max:.0f} s the profiles are at {read}")
            time.sleep(POLL_SECONDS)

    def _profiled(self) -> int:
        with read_profiles(self.home) as store:
            return (read_position(store.db) if store else None) or 0

    def wait_stored(self, seconds_max: float) -> None:
        """Wait until the pipeline has taken all that was accepted."""
        self.wait(seconds_max, ())

    def _owes(self, destinations: Collection[str] | None) -> str:
        ends = self._log.ends(ACCEPTED)
        with reading(self.home, "pipeline") as db:
            taken = _positions(db)
        behind = sum(end - taken.get(number, 0) for number, end in ends.items())
        if behind:
            return f"{behind} events are not through the pipeline"
        end = self.stored
        with reading(self.home, "forwarder") as db:
            if db is None:
                return "the forwarder has no state yet"
            groups = read_groups(db)
            waiting = dict(db.execute("SELECT uid, count(*) FROM waiting GROUP BY uid"))
        late = [
            f"{group.id} at {group.position} of {end} ({waiting.get(group.uid, 0)} waiting)"
            for group in groups
            if (destinations is None or group.id in destinations)
            and (group.position < end or group.uid in waiting)
        ]
        return ", ".join(late[:5])

    def set_state(self, destination: str, state: str) -> None:
        """Have a destination `paused` or `running`."""
        snapshot = load_snapshot(self.home)
        found = (d for app in snapshot.apps for d in app.destinations if d.id == destination)
        uid = next(found).uid
        append_request(self.home.inbox_file, SetState(uid, state, self._clock.now_ms()))
        Ringer(self.home.inbox_bells).ring()

    def cpu_seconds(self) -> dict[str, float]:
        """Return what each process of the node has used so far."""
        found = {"supervisor": self.node.pid, **self.node.children()}
        return {name: _cpu_seconds(pid) for name, pid in found.items()}

    def memory_bytes(self) -> int:
        """Return what the whole node takes; pages that its processes share count once."""
        return sum(map(_memory_bytes, (self.node.pid, *self.node.children().values())))


def _positions(db: apsw.Connection | None) -> dict[int, int]:
    if db is None:
        return {}
    return dict(db.execute("SELECT partition, next FROM position WHERE topic=?", (ACCEPTED,)))


def _cpu_seconds(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / TICKS


def _memory_bytes(pid: int) -> int:
    found = re.search(r"^Pss:\s+(\d+) kB", Path(f"/proc/{pid}/smaps_rollup").read_text(), re.M)
    return int(found[1]) * 1024 if found else 0
