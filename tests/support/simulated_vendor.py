"""A simulator behind its real server, on a thread of its own, for as long as a test needs it."""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import Generator
from concurrent.futures import Future
from typing import Any

import msgspec

from trunkline.kit.clock import SystemClock
from trunkline.simulators.server import Seen, SimulatorServer
from trunkline.simulators.simulator import Ask, Simulator

PATIENCE_SECONDS = 60.0
NOW_MS = 1_795_170_000_000


class SimulatedVendor:
    """What a test asks of a running simulator. All of it may be read while no request is open."""

    def __init__(
        self, simulator: Simulator, *, script: str = "", moment_ms: int | None = NOW_MS
    ) -> None:
        self.seen: list[Seen] = []
        self._loop = asyncio.new_event_loop()
        self._server = SimulatorServer(
            simulator, SystemClock(), script=script, moment_ms=moment_ms, on_seen=self.seen.append
        )
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._thread.start()
        self.url = self._wait(self._server.start())

    @property
    def simulator(self) -> Simulator:
        """The vendor as it is now."""
        return self._server.simulator

    def begin(self, *, script: str = "", moment_ms: int = NOW_MS) -> None:
        """Forget everything; from now on this goes wrong, and this is the vendor's time."""

        async def begin() -> None:
            self._server.reset()
            self._server.set_script(script)
            self._server.moment_ms = moment_ms
            self.seen.clear()

        self._wait(begin())

    def let_fail(self, script: str) -> None:
        """Let this go wrong from now on; what came is kept."""

        async def let_fail() -> None:
            self._server.set_script(script)

        self._wait(let_fail())

    def go_on(self, moment_ms: int) -> None:
        """Let the vendor's time be this from now on."""

        async def go_on() -> None:
            self._server.moment_ms = moment_ms

        self._wait(go_on())

    def close(self) -> None:
        """Stop the server and its thread."""
        self._wait(self._server.close())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(PATIENCE_SECONDS)
        self._loop.close()

    def _wait(self, doing: Any) -> Any:
        future: Future[Any] = asyncio.run_coroutine_threadsafe(doing, self._loop)
        return future.result(PATIENCE_SECONDS)


@contextlib.contextmanager
def simulated(
    simulator: Simulator, *, script: str = "", moment_ms: int | None = NOW_MS
) -> Generator[SimulatedVendor]:
    """Run a simulator's server for a block. `moment_ms` None: it goes by the machine's clock."""
    vendor = SimulatedVendor(simulator, script=script, moment_ms=moment_ms)
    try:
        yield vendor
    finally:
        vendor.close()


def ask(
    path: str, body: Any = None, *, method: str = "POST", query: dict[str, list[str]] | None = None,
    now_ms: int = NOW_MS, **headers: str
) -> Ask:  # fmt: skip
    """Return a request as a simulator sees it; a body that is no bytes goes as JSON.

    Header names are written with `_` for `-`.
    """
    told = {name.lower().replace("_", "-"): value for name, value in headers.items()}
    if not isinstance(body, bytes):
        told.setdefault("content-type", "application/json")
        body = b"" if body is None else msgspec.json.encode(body)
    return Ask(method, path, query or {}, told, body, now_ms)
