"""One process of a node: `python -m trunkline.process gateway-0|worker|console HOME`.

Started by the supervisor, ended by SIGTERM. SIGINT is ignored: Ctrl-C reaches the whole group, and
it is the supervisor that stops the processes in their order.
"""

from __future__ import annotations

import asyncio
import contextlib
import ctypes
import os
import signal
import sys
import threading
from pathlib import Path

import uvloop

from trunkline import node, supervisor
from trunkline.control.port import ControlPort
from trunkline.gateway.server import serve
from trunkline.kit.clock import SystemClock
from trunkline.kit.settings import Boot, load_boot
from trunkline.state.home import Home
from trunkline.telemetry import log
from trunkline.telemetry import node as telemetry

PR_SET_PDEATHSIG = 1
WORKER_NICENESS = 5  # accepting goes before forwarding when both want the processor


def main() -> None:
    """Run the process that the command line names."""
    name, folder = sys.argv[1], Path(sys.argv[2])
    _die_with_supervisor()
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    log.configure(name)
    home = Home(folder)
    boot = load_boot(home.settings_file, os.environ, {})
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(_run(name, home, boot))


async def _run(name: str, home: Home, boot: Boot) -> None:
    stop = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop.set)
    if name.startswith("gateway-"):
        await _run_gateway(home, boot, int(name.removeprefix("gateway-")), stop)
    elif name == "worker":
        await _run_worker(home, boot, stop)
    else:
        await _run_console(home, boot, stop)


async def _run_gateway(home: Home, boot: Boot, index: int, stop: asyncio.Event) -> None:
    clock = SystemClock()
    path = node.wire(home, boot, clock, _stamp(clock), gateway=index)
    assert path.gateway is not None
    host, port = supervisor.split_address(boot.gateway.listen)
    path.catalog.start()
    telemetry.process_ready(f"gateway-{index}")
    await serve(path.gateway, host, port, stop)
    path.catalog.close()
    path.log.close()


async def _run_worker(home: Home, boot: Boot, stop: asyncio.Event) -> None:
    os.nice(WORKER_NICENESS)
    clock = SystemClock()
    path = node.wire(home, boot, clock, _stamp(clock), worker=True)
    assert path.pipeline is not None and path.forwarder is not None
    path.catalog.start()
    path.pipeline.recover()
    halt = threading.Event()
    pipeline = asyncio.create_task(asyncio.to_thread(path.pipeline.run, halt))
    # If it ends by itself the process ends too, and the supervisor starts it afresh.
    pipeline.add_done_callback(lambda _: stop.set())
    telemetry.process_ready("worker")
    try:
        await path.forwarder.run(stop)
    finally:
        halt.set()
        await pipeline
    path.pipeline.close()
    path.catalog.close()
    path.log.close()


async def _run_console(home: Home, boot: Boot, stop: asyncio.Event) -> None:
    host, port = supervisor.split_address(boot.console.listen)
    telemetry.process_ready("console")
    await ControlPort(home, boot).serve(host, port, stop)


def _stamp(clock: SystemClock) -> node.Stamp:
    return node.stamp_from(int(os.environ["TRUNKLINE_STAMP_BASE"]), clock)


def _die_with_supervisor() -> None:
    """Ask the kernel to kill us when our supervisor is gone (Linux; elsewhere the lock tells)."""
    if sys.platform == "linux":
        ctypes.CDLL(None, use_errno=True).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != int(os.environ.get("TRUNKLINE_SUPERVISOR", os.getppid())):
        sys.exit("the supervisor is gone")


if __name__ == "__main__":
    with contextlib.suppress(KeyboardInterrupt):
        main()
