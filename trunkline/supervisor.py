"""The processes of a node: one supervisor, its children, and how they live and die together.

`trunkline serve` becomes this program, with the home's lock in its hands. It imports everything
once and forks gateways, worker, background and console in its own process group, so a child is
there within milliseconds and shares the memory of the code. It forks again what dies, and on
SIGTERM or Ctrl-C stops them in the order in which events flow: first the gateways, so that nothing
is accepted that cannot move on. A child dies with its supervisor (the kernel sees to it on Linux),
and the lock is inherited, so a home is free only when all are gone.

The supervisor itself has no thread and no open database: a fork must not copy one.
"""

from __future__ import annotations

import gc
import os
import signal
import sys
import traceback
from pathlib import Path
from types import FrameType

from trunkline import node, process
from trunkline.kit.clock import Clock, SystemClock
from trunkline.kit.settings import Boot, load_boot
from trunkline.state.home import Home
from trunkline.telemetry import log, metrics
from trunkline.telemetry import node as telemetry

STOP_SECONDS = 9.0  # a node stops cleanly within 10 s; past this its children are killed
RESTART_SECONDS_MAX = 5.0
HEALTHY_SECONDS = 10.0  # a child that lived this long is started again at once
LOOK_SECONDS = 0.05


class Child:
    """One process of the node, started again when it dies."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.pid: int | None = None
        self.started = 0.0
        self.restart_at = 0.0
        self.failures = 0

    def has_died(self, now: float) -> int | None:
        """Return how it ended, if it did just now, and note when it is to be started again."""
        if self.pid is None:
            return None
        pid, status = os.waitpid(self.pid, os.WNOHANG)
        if pid == 0:
            return None
        self.pid = None
        self.failures = 0 if now - self.started > HEALTHY_SECONDS else self.failures + 1
        wait = min(RESTART_SECONDS_MAX, 0.1 * 2**self.failures) if self.failures > 1 else 0.0
        self.restart_at = now + wait
        return os.waitstatus_to_exitcode(status)


class Supervisor:
    """Runs a node until it is told to stop."""

    def __init__(self, home: Home, boot: Boot, clock: Clock, stamp_base: int) -> None:
        self._home = home
        self._boot = boot
        self._clock = clock
        self._stamp_base = stamp_base
        self._is_stopping = False
        gateways = [f"gateway-{index}" for index in range(boot.gateway.workers)]
        self._children = [Child(name) for name in ("worker", *gateways, "background", "console")]

    def run(self) -> int:
        """Run until SIGTERM or SIGINT; return the exit code."""
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, self._ask_to_stop)
        gc.freeze()  # what is shared with the children stays shared
        while not self._is_stopping:
            for child in self._children:
                self._look_at(child)
            self._clock.pause(LOOK_SECONDS)
        self._stop()
        return 0

    def _ask_to_stop(self, _number: int, _frame: FrameType | None) -> None:
        self._is_stopping = True

    def _look_at(self, child: Child) -> None:
        now = self._clock.monotonic()
        code = child.has_died(now)
        if code is not None:
            telemetry.process_died(child.name, code)
            metrics.forget_process(self._home.metrics_folder, child.name)
        if child.pid is None and now >= child.restart_at and not self._is_stopping:
            self._start(child, now)

    def _start(self, child: Child, now: float) -> None:
        try:
            metrics.keep_space(self._home.metrics_folder, child.name)
        except OSError as error:
            telemetry.metrics_space_missing(child.name, error)
        supervisor = os.getpid()
        pid = os.fork()
        if pid == 0:
            self._be(child.name, supervisor)
        child.pid = pid
        child.started = now

    def _be(self, name: str, supervisor: int) -> None:
        """Be a child; never return, whatever happens."""
        code = 1
        try:
            process.run(name, self._home, self._boot, self._stamp_base, supervisor)
            code = 0
        except BaseException:  # the child's last words; the supervisor starts another
            traceback.print_exc()
        finally:
            sys.stdout.flush()
            sys.stderr.flush()
            os._exit(code)

    def _stop(self) -> None:
        deadline = self._clock.monotonic() + STOP_SECONDS
        gateways = [child for child in self._children if child.name.startswith("gateway")]
        others = [child for child in self._children if child not in gateways]
        # Gateways first: nothing is accepted that cannot move on.
        for group in (gateways, others):
            self._signal(group, signal.SIGTERM)
            self._wait(group, deadline)
        telemetry.node_stopped()

    def _signal(self, group: list[Child], number: signal.Signals) -> None:
        for child in group:
            if child.pid is not None:
                os.kill(child.pid, number)

    def _wait(self, group: list[Child], deadline: float) -> None:
        while any(child.pid is not None for child in group):
            for child in group:
                child.has_died(self._clock.monotonic())
            if self._clock.monotonic() > deadline:
                for child in group:
                    if child.pid is not None:
                        telemetry.process_killed(child.name)
                self._signal(group, signal.SIGKILL)
                deadline += STOP_SECONDS
            self._clock.pause(LOOK_SECONDS / 5)


def main() -> int:
    """Be the supervisor of the home that the command line names."""
    log.configure("supervisor")
    home = Home(Path(sys.argv[1]))
    boot = load_boot(home.settings_file, os.environ, {})
    clock = SystemClock()
    event_log = node.open_log(home, boot, clock)
    base = node.stamp_base(event_log, clock)
    event_log.close()
    telemetry.node_started(
        str(home.folder), boot.gateway.listen, boot.console.listen, boot.gateway.workers
    )
    return Supervisor(home, boot, clock, base).run()


if __name__ == "__main__":
    sys.exit(main())
