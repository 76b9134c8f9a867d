"""One process of a node, forked by the supervisor: a gateway, worker, background or console.

Ended by SIGTERM. SIGINT is ignored: Ctrl-C reaches the whole group, and it is the supervisor that
stops the processes in their order.
"""

from __future__ import annotations

import asyncio
import contextlib
import ctypes
import os
import resource
import signal
import sys
import threading
from collections.abc import AsyncGenerator, Callable
from concurrent.futures import ThreadPoolExecutor

import uvloop

from trunkline import node
from trunkline.control.port import ControlPort
from trunkline.gateway.server import serve
from trunkline.kit.addresses import split_address
from trunkline.kit.clock import SystemClock
from trunkline.kit.settings import Boot
from trunkline.state.home import Home
from trunkline.telemetry import http_out, log, metrics
from trunkline.telemetry import node as telemetry

PR_SET_PDEATHSIG = 1
PR_SET_NAME = 15
# When all want the processor: accepting goes before forwarding, that before what nobody waits for.
WORKER_NICENESS = 10
BACKGROUND_NICENESS = 15
# glibc's `mallopt`: how much freed memory a thread keeps. What is given back after a step, the
# kernel has to clear again for the next one: 0.4 to 0.8 page faults an event.
M_TRIM_THRESHOLD, TRIM_BYTES = -1, 16_777_216
M_MMAP_THRESHOLD, MMAP_BYTES = -3, 8_388_608


def run(name: str, home: Home, boot: Boot, stamp_base: int, supervisor: int) -> None:
    """Be the process `name` (gateway-N, worker, background, console) until SIGTERM."""
    _die_with(supervisor)
    _take_name(name)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    log.configure(name)
    metrics.take_name(name)
    _raise_file_limit()
    _keep_memory()
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(_run(name, home, boot, stamp_base))


async def _run(name: str, home: Home, boot: Boot, stamp_base: int) -> None:
    stop = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop.set)
    clock = SystemClock()
    stamp = node.stamp_from(stamp_base, clock)
    if name.startswith("gateway-"):
        index = int(name.removeprefix("gateway-"))
        await _run_gateway(node.wire(home, boot, clock, stamp, gateway=index), boot, name, stop)
    elif name == "worker":
        await _run_worker(node.wire(home, boot, clock, stamp, worker=True), stop)
    elif name == "background":
        await _run_background(node.wire(home, boot, clock, stamp, background=True), stop)
    else:
        telemetry.process_ready(name)
        await ControlPort(home, boot).serve(*split_address(boot.console.listen), stop)


async def _run_gateway(path: node.Path, boot: Boot, name: str, stop: asyncio.Event) -> None:
    assert path.gateway is not None
    path.catalog.start()
    telemetry.process_ready(name)
    await serve(path.gateway, *split_address(boot.gateway.listen), stop)
    path.catalog.close()
    path.log.close()


async def _run_worker(path: node.Path, stop: asyncio.Event) -> None:
    os.nice(WORKER_NICENESS)
    assert path.pipeline is not None and path.forwarder is not None and path.eraser is not None
    path.catalog.start()
    path.pipeline.recover()
    async with _threads(stop, path.pipeline.run, path.eraser.run):
        telemetry.process_ready("worker")
        try:
            await path.forwarder.run(stop)
        finally:
            http_out.tell()
    path.pipeline.close()
    path.catalog.close()
    path.log.close()


async def _run_background(path: node.Path, stop: asyncio.Event) -> None:
    os.nice(BACKGROUND_NICENESS)
    assert path.profiles is not None and path.importer is not None and path.naming is not None
    path.catalog.start()
    async with _threads(stop, path.profiles.run, path.importer.run, path.naming.run):
        telemetry.process_ready("background")
        await stop.wait()
    path.profiles.close()
    path.catalog.close()
    path.log.close()


@contextlib.asynccontextmanager
async def _threads(
    stop: asyncio.Event, *engines: Callable[[threading.Event], None]
) -> AsyncGenerator[None]:
    """Run engines on threads for as long as the block runs; raise what ended one of them."""
    halt = threading.Event()
    # Threads of their own: those of `asyncio.to_thread` are few, and for what ends soon.
    loop, pool = asyncio.get_running_loop(), ThreadPoolExecutor(len(engines), "engine")
    running = [loop.run_in_executor(pool, engine, halt) for engine in engines]
    for each in running:
        # If one ends by itself the process ends too, and the supervisor starts it afresh.
        each.add_done_callback(lambda _: stop.set())
    try:
        yield
    finally:
        halt.set()
        await asyncio.wait(running)
        pool.shutdown()
    for each in running:
        each.result()


def _raise_file_limit() -> None:
    """Take all the open files that we may have: each connection is one."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


def _keep_memory() -> None:
    """Have the C library keep what was freed, within bounds (glibc; elsewhere nothing is done)."""
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if sys.platform == "linux" and mallopt is not None:
        mallopt(M_TRIM_THRESHOLD, TRIM_BYTES)
        mallopt(M_MMAP_THRESHOLD, MMAP_BYTES)


def _die_with(supervisor: int) -> None:
    """Ask the kernel to kill us when our supervisor is gone (Linux; elsewhere the lock tells)."""
    if sys.platform == "linux":
        ctypes.CDLL(None, use_errno=True).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != supervisor:
        sys.exit("the supervisor is gone")


def _take_name(name: str) -> None:
    """Be called by our name in `top` and `ps` (Linux)."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_NAME, f"tl-{name}".encode()[:15])
