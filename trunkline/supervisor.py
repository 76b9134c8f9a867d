"""The processes of a node: one supervisor, its children, and how they live and die together.

The supervisor holds the home's lock, starts gateways, worker and console in its own process group,
starts again what dies, and on SIGTERM or Ctrl-C stops them in the order in which events flow: first
the gateways, so that nothing is accepted that cannot move on. A child dies with its supervisor (the
kernel sees to it on Linux), and the lock is inherited, so a home is free only when all are gone.
"""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import sys
from types import FrameType

from trunkline.kit.clock import Clock
from trunkline.kit.settings import Boot
from trunkline.state.home import Home, HomeLock
from trunkline.telemetry import node as telemetry
from trunkline.telemetry.metrics import FOLDER_VARIABLE

STOP_SECONDS = 9.0  # a node stops cleanly within 10 s; past this its children are killed
RESTART_SECONDS_MAX = 5.0
HEALTHY_SECONDS = 10.0  # a child that lived this long is started again at once

Command = tuple[str, ...]


class Child:
    """One process of the node, started again when it dies."""

    def __init__(self, name: str, command: Command) -> None:
        self.name = name
        self.command = command
        self.process: subprocess.Popen[bytes] | None = None
        self.started = 0.0
        self.restart_at = 0.0
        self.failures = 0

    def start(self, environment: dict[str, str], lock_fd: int, now: float) -> None:
        """Start the process."""
        self.process = subprocess.Popen(
            self.command, env=environment, pass_fds=(lock_fd,), stdin=subprocess.DEVNULL
        )
        self.started = now

    def has_died(self, now: float) -> bool:
        """Say whether it is dead, and when it is to be started again."""
        if self.process is None or self.process.poll() is None:
            return False
        self.failures = 0 if now - self.started > HEALTHY_SECONDS else self.failures + 1
        wait = min(RESTART_SECONDS_MAX, 0.1 * 2**self.failures) if self.failures > 1 else 0.0
        self.restart_at = now + wait
        return True


class Supervisor:
    """Runs a node until it is told to stop."""

    def __init__(self, home: Home, boot: Boot, clock: Clock, stamp_base: int) -> None:
        self._home = home
        self._boot = boot
        self._clock = clock
        self._stopping = False
        self._children = [
            Child(name, (sys.executable, "-m", "trunkline.process", name, str(home.folder)))
            for name in self._names()
        ]
        self._stamp_base = stamp_base

    def _names(self) -> list[str]:
        gateways = [f"gateway-{index}" for index in range(self._boot.gateway.workers)]
        return ["worker", *gateways, "console"]

    def run(self, lock: HomeLock) -> int:
        """Run until SIGTERM or SIGINT; return the exit code. The caller took the lock."""
        shutil.rmtree(self._home.run_folder, ignore_errors=True)
        self._home.metrics_folder.mkdir(parents=True)
        environment = self._environment()
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, self._ask_to_stop)
        for child in self._children:
            child.start(environment, lock.fileno(), self._clock.monotonic())
        while not self._stopping:
            self._clock.pause(0.05)
            self._restart_the_dead(environment, lock.fileno())
        self._stop()
        return 0

    def _environment(self) -> dict[str, str]:
        return {
            **os.environ,
            FOLDER_VARIABLE: str(self._home.metrics_folder),
            "TRUNKLINE_STAMP_BASE": str(self._stamp_base),
            "TRUNKLINE_SUPERVISOR": str(os.getpid()),
            # Flags win over the settings file, so the children are told what they came to.
            "TRUNKLINE_GATEWAY__LISTEN": self._boot.gateway.listen,
            "TRUNKLINE_GATEWAY__WORKERS": str(self._boot.gateway.workers),
            "TRUNKLINE_CONSOLE__LISTEN": self._boot.console.listen,
        }

    def _ask_to_stop(self, _number: int, _frame: FrameType | None) -> None:
        self._stopping = True

    def _restart_the_dead(self, environment: dict[str, str], lock_fd: int) -> None:
        now = self._clock.monotonic()
        for child in self._children:
            if child.process is not None and child.has_died(now):
                telemetry.process_died(child.name, child.process.returncode)
                child.process = None
            if child.process is None and now >= child.restart_at:
                child.start(environment, lock_fd, now)

    def _stop(self) -> None:
        deadline = self._clock.monotonic() + STOP_SECONDS
        gateways = [child for child in self._children if child.name.startswith("gateway")]
        others = [child for child in self._children if child not in gateways]
        # Gateways first: nothing is accepted that cannot move on.
        for group in (gateways, others):
            for child in group:
                if child.process is not None:
                    child.process.terminate()
            for child in group:
                self._wait(child, deadline)
        telemetry.node_stopped()

    def _wait(self, child: Child, deadline: float) -> None:
        if child.process is None:
            return
        try:
            child.process.wait(max(0.1, deadline - self._clock.monotonic()))
        except subprocess.TimeoutExpired:
            telemetry.process_killed(child.name)
            child.process.kill()
            child.process.wait()


def free_port(host: str) -> int:
    """Return a port nobody listens on, for a `--listen` that names port 0."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as probe:
        probe.bind((host, 0))
        return int(probe.getsockname()[1])


def is_listening(host: str, port: int) -> bool:
    """Say whether somebody already listens there."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as probe:
        probe.settimeout(0.5)
        return probe.connect_ex((host, port)) == 0


def split_address(text: str) -> tuple[str, int]:
    """Split `host:port` or `[host]:port`; `ValueError` says what was expected."""
    host, separator, port = text.rpartition(":")
    if not separator or not port.isdigit() or int(port) > 65535:
        raise ValueError(f"{text!r} is no address; expected HOST:PORT, say 127.0.0.1:8080")
    return host.strip("[]"), int(port)
