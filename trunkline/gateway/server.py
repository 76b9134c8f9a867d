"""Serving a `Gateway` over HTTP/1.1, and stopping it without losing an answer.

Each gateway process runs one server in its own event loop; the listeners share the port with
`SO_REUSEPORT`. That option also lets a second node of the same user listen on the same port
unnoticed and take half of its events: `check_listen` is what the supervisor asks once, before its
first gateway.
"""

from __future__ import annotations

import asyncio
import gc

from trunkline.gateway.engine import Gateway
from trunkline.gateway.http1_server import HttpServer
from trunkline.kit.addresses import ListenError
from trunkline.telemetry import gateway as telemetry

# A stop of the node ends within 10 s (operator's contract), ours within 8.5. What is on its way
# gets 3 s by itself; then bodies that still arrive are cut; then the log gets the rest to make
# durable what was gathered.
ANSWER_SECONDS = 3.0
CUT_SECONDS = 1.5
FLUSH_SECONDS = 2.5
LAST_SECONDS = 0.5  # for the last answers to leave


async def serve(gateway: Gateway, address: str, port: int, stop: asyncio.Event) -> None:
    """Serve until `stop` is set; then answer what was accepted, and return within 10 s.

    Raises `ListenError` where the port cannot be listened on.
    """
    loop = asyncio.get_running_loop()
    spare_collector()
    server = HttpServer(gateway, gateway.clock)
    gateway.start()
    try:
        server.listen(address, port)
    except ListenError:
        await gateway.close()
        raise
    telemetry.gateway_started(address, port)
    await stop.wait()
    begun = loop.time()
    is_clean = await _stop(gateway, server)
    telemetry.gateway_stopped(loop.time() - begun, is_clean)


async def _stop(gateway: Gateway, server: HttpServer) -> bool:
    gateway.stop_soon()
    server.stop_soon()
    if not await server.wait_empty(ANSWER_SECONDS):
        gateway.cut_bodies()
        await server.wait_empty(CUT_SECONDS)
    closing = asyncio.create_task(gateway.close())
    flushed, _ = await asyncio.wait({closing}, timeout=FLUSH_SECONDS)
    closing.cancel()
    is_empty = await server.wait_empty(LAST_SECONDS)
    await server.close()
    await asyncio.wait({closing}, timeout=0.5)
    return is_empty and bool(flushed)


def spare_collector() -> None:
    """Have the collector come rarely, and leave alone what lives as long as the process."""
    # What lives for the whole process is not looked through again, and a young collection comes
    # after 20,000 more objects, not 700: some 400 requests instead of 14. Nothing of a request is
    # left to the collector, it only goes through what is in flight: 6 % of the time, now under 1.
    gc.collect()
    gc.freeze()
    gc.set_threshold(20_000, 20, 50)
