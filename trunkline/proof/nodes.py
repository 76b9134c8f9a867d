"""Starting and killing a real node, as an operator's shell would."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import urllib.error
import urllib.request
from pathlib import Path

from trunkline.kit.addresses import free_port
from trunkline.kit.clock import Clock, SystemClock

READY_SECONDS = 60.0
STOP_SECONDS = 15.0


class NodeError(Exception):
    """The node did not do what a node must; the message says what, with the end of its log."""


class RealNode:
    """A node in processes of its own, on loopback.

    It gets a process group of its own, so that `kill` can take all of it at once; without
    (`own_group=False`) it ends with the terminal it was started from.
    """

    def __init__(
        self,
        home: Path,
        *,
        workers: int = 1,
        clock: Clock | None = None,
        ports: tuple[int, int] | None = None,
        own_group: bool = True,
    ) -> None:
        self.home = home
        self.ingest_port, self.console_port = ports or (
            free_port("127.0.0.1"),
            free_port("127.0.0.1"),
        )
        self.url = f"http://127.0.0.1:{self.ingest_port}"
        self.console_url = f"http://127.0.0.1:{self.console_port}"
        self.log_file = home / "node.log"
        self._workers = workers
        self._own_group = own_group
        self._clock = clock or SystemClock()
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def pid(self) -> int:
        """The supervisor's process id."""
        if self._process is None:
            raise NodeError("the node does not run")
        return self._process.pid

    def start(self, *, wait: bool = True, environ: dict[str, str] | None = None) -> None:
        """Start it, and wait until it is ready to take events."""
        self.home.mkdir(parents=True, exist_ok=True)
        with self.log_file.open("ab") as log:
            self._process = subprocess.Popen(
                [
                    sys.executable, "-m", "trunkline", "serve", "--home", str(self.home),
                    "--listen", f"127.0.0.1:{self.ingest_port}",
                    "--console", f"127.0.0.1:{self.console_port}",
                    "--workers", str(self._workers),
                ],
                stdout=log, stderr=log, stdin=subprocess.DEVNULL, start_new_session=self._own_group,
                env={**os.environ, **(environ or {})},
            )  # fmt: skip
        if wait:
            self.wait_ready()

    def wait_ready(self, seconds: float = READY_SECONDS) -> None:
        """Wait until `/health/ready` says yes. Raises `NodeError`."""
        deadline = self._clock.monotonic() + seconds
        while not self.is_ready():
            if self._process is not None and self._process.poll() is not None:
                raise NodeError(f"the node ended with {self._process.returncode}: {self._tail()}")
            if self._clock.monotonic() > deadline:
                raise NodeError(f"the node was not ready within {seconds:.0f} s: {self._tail()}")
            self._clock.pause(0.02)

    def is_ready(self) -> bool:
        """Ask `/health/ready`."""
        try:
            with urllib.request.urlopen(f"{self.url}/health/ready", timeout=5) as response:
                return bool(response.status == 200)
        except (urllib.error.URLError, OSError):
            return False

    def kill(self) -> None:
        """SIGKILL the whole process group: supervisor, gateways, worker, console at once."""
        if self._process is None:
            return
        try:
            os.killpg(self._process.pid, signal.SIGKILL)
        except ProcessLookupError:
            pass
        self._process.wait()
        self._process = None

    def stop(self) -> int:
        """SIGTERM the supervisor and return its exit code. Raises `NodeError` when it hangs."""
        if self._process is None:
            return 0
        self._process.send_signal(signal.SIGTERM)
        try:
            code = self._process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired as error:
            self.kill()
            raise NodeError(f"the node did not stop within {STOP_SECONDS:.0f} s") from error
        self._process = None
        return code

    def children(self) -> dict[str, int]:
        """Return the process ids of the node's processes by name (Linux)."""
        found: dict[str, int] = {}
        for entry in Path("/proc").iterdir():
            if not entry.name.isdigit():
                continue
            try:
                name = (entry / "comm").read_text().strip()
                status = (entry / "stat").read_text().rpartition(")")[2].split()
            except OSError:
                continue
            if int(status[1]) == self.pid and name.startswith("tl-"):
                found[name.removeprefix("tl-")] = int(entry.name)
        return found

    def _tail(self) -> str:
        return self.log_file.read_text("utf-8", "replace")[-2000:]
