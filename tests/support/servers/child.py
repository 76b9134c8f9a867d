"""A server as a child process: on one free port, in one folder, killed by its id and begun again.

A server's file says how it is prepared, what starts it, and what it answers when it is ready.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
import tempfile
import time
from abc import ABC, abstractmethod
from collections.abc import Iterator
from pathlib import Path
from typing import Self

from tests.support.certificates import self_signed
from trunkline.kit.addresses import free_port

READY_SECONDS_MAX = 90.0  # a busy machine; each is there within 15 s on an idle one


class Child(ABC):
    """One real server on loopback."""

    def __init__(self) -> None:
        # Not pytest's folder: that is closed to the user whom a server may have to run as.
        self.folder = Path(tempfile.mkdtemp(prefix="trunkline-server-"))
        self.port = free_port("127.0.0.1")
        self._processes: list[subprocess.Popen[bytes]] = []

    @abstractmethod
    def prepare(self) -> None:
        """Write what the server needs to begin, once."""

    @abstractmethod
    def spawn(self) -> None:
        """Start the process with `launch`."""

    @abstractmethod
    def is_ready(self) -> bool:
        """Say whether it answers. May raise what its client raises."""

    def launch(self, command: list[str], environment: dict[str, str] | None = None) -> None:
        """Start one of the server's processes; the one of the server itself last."""
        with (self.folder / "output.txt").open("ab") as output:
            self._processes.append(
                subprocess.Popen(
                    command,
                    cwd=self.folder,
                    env=environment,
                    stdin=subprocess.DEVNULL,
                    stdout=output,
                    stderr=subprocess.STDOUT,
                    user=self.user,
                )
            )

    def make_certificate(self) -> Path:
        """Make a certificate of `localhost`; return the file that a client trusts.

        The server's own file is `localhost.pem`, with the key.
        """
        _, pem = self_signed(self.folder, "localhost")
        self.authorities.write_bytes(pem)
        return self.authorities

    @property
    def authorities(self) -> Path:
        """The file of the authority that signed the server's certificate."""
        return self.folder / "ca.pem"

    @property
    def user(self) -> str | int | None:
        """Whom it runs as; None: who runs the tests."""
        return None

    def start(self) -> None:
        """Start it, at the same port and on the same data each time; wait until it answers."""
        self.spawn()
        deadline = time.monotonic() + READY_SECONDS_MAX
        while not self._answers():
            ended = self._processes[-1].poll()
            if ended is not None or time.monotonic() > deadline:
                self.kill()
                raise AssertionError(f"{type(self).__name__} did not start:\n{self.output()}")
            time.sleep(0.1)

    def kill(self) -> None:
        """Kill it, as a power loss would, and wait for its end."""
        for process in reversed(self._processes):
            process.kill()
            process.wait()
        self._processes.clear()

    def signal(self, number: int) -> None:
        """Send the server's process a signal, say to stop it in its tracks."""
        os.kill(self._processes[-1].pid, number)

    def output(self) -> str:
        """Return the end of what it printed."""
        with contextlib.suppress(FileNotFoundError):
            return (self.folder / "output.txt").read_text("utf-8", "replace")[-3000:]
        return ""

    @classmethod
    @contextlib.contextmanager
    def running(cls) -> Iterator[Self]:
        """Run one for a block of tests, and leave nothing behind."""
        server = cls()
        try:
            server.prepare()
            server.start()
            yield server
        finally:
            server.kill()
            shutil.rmtree(server.folder, ignore_errors=True)

    def _answers(self) -> bool:
        # Whatever a client raises while nobody listens: it is not ready.
        with contextlib.suppress(Exception):
            return self.is_ready()
        return False
