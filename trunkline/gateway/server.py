"""Serving a `Gateway` over HTTP/1.1, and stopping it without losing an answer.

Each gateway process runs one server in its own event loop; the listeners share the port with
`SO_REUSEPORT`, so the kernel spreads connections over the processes. That option also lets a second
node of the same user listen on the same port unnoticed and take half of its events:
`check_listen` is what the supervisor asks once, before its first gateway.
"""

from __future__ import annotations

import asyncio
import gc
import resource

from granian.constants import HTTPModes, Interfaces
from granian.http import HTTP1Settings
from granian.server.embed import Server

from trunkline.gateway.engine import Gateway
from trunkline.kit.addresses import ListenError
from trunkline.telemetry import gateway as telemetry

BACKLOG = 2048
HEADER_READ_MS = 30_000
_SPARE_FILES = 128  # descriptors left to the log, bells and metrics

# A stop of the node ends within 10 s (operator's contract), ours within 7.5. What is on its way
# gets 3 s by itself; then bodies that still arrive are cut; then the log gets the rest to make
# durable what was gathered.
ANSWER_SECONDS = 3.0
CUT_SECONDS = 1.5
FLUSH_SECONDS = 2.5


async def serve(gateway: Gateway, address: str, port: int, stop: asyncio.Event) -> None:
    """Serve until `stop` is set; then answer what was accepted, and return within 10 s.

    Raises `ListenError` where the port cannot be listened on.
    """
    loop = asyncio.get_running_loop()
    _spare_collector()
    server = _make_server(gateway, address, port)
    serving = asyncio.create_task(server.serve())
    stopping = asyncio.create_task(stop.wait())
    gateway.start()
    try:
        telemetry.gateway_started(address, port)
        await asyncio.wait({serving, stopping}, return_when=asyncio.FIRST_COMPLETED)
        if serving.done() and not stop.is_set():
            await gateway.close()
            _raise_failure(serving, address, port)
    finally:
        stopping.cancel()
    begun = loop.time()
    is_clean = await _stop(gateway, server, serving)
    telemetry.gateway_stopped(loop.time() - begun, is_clean)


async def _stop(gateway: Gateway, server: Server, serving: asyncio.Task[None]) -> bool:
    gateway.stop_soon()
    server.stop()
    done, _ = await asyncio.wait({serving}, timeout=ANSWER_SECONDS)
    if not done:
        gateway.cut_bodies()
        done, _ = await asyncio.wait({serving}, timeout=CUT_SECONDS)
    closing = asyncio.create_task(gateway.close())
    flushed, _ = await asyncio.wait({closing}, timeout=FLUSH_SECONDS)
    for task in (serving, closing):
        task.cancel()
    await asyncio.wait({serving, closing}, timeout=0.5)
    return bool(done) and bool(flushed)


def _spare_collector() -> None:
    # What lives for the whole process is not looked through again, and a young collection comes
    # after 20,000 more objects, not 700: some 400 requests instead of 14. Nothing of a request is
    # left to the collector, it only goes through what is in flight: 6 % of the time, now under 1.
    gc.collect()
    gc.freeze()
    gc.set_threshold(20_000, 20, 50)


def _make_server(gateway: Gateway, address: str, port: int) -> Server:
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return Server(
        gateway.handle,
        address=address,
        port=port,
        interface=Interfaces.RSGI,
        http=HTTPModes.http1,
        websockets=False,
        backlog=BACKLOG,
        # How many connections are open at a time. Idle ones count, so it is as high as descriptors
        # allow; what is worked on has its own limit, which answers instead of waiting.
        backpressure=max(64, min(65_536, soft - _SPARE_FILES)),
        http1_settings=HTTP1Settings(header_read_timeout=HEADER_READ_MS),
        log_enabled=False,
    )


def _raise_failure(serving: asyncio.Task[None], address: str, port: int) -> None:
    error = serving.exception()
    raise ListenError(
        f"gateway.listen: {address}:{port} cannot be listened on ({error or 'the server ended'}); "
        "stop what uses it, or set another address"
    ) from error
