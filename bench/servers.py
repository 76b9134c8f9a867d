"""Servers that the benchmark needs beside the node: `python -m bench.servers JOB PORT`.

- `yardstick`: what serves the gateway, with nothing of the gateway: reads the body, decodes the
  JSON, answers 200. Nothing is stored (durability class C).
- `timing`: a receiver of webhooks that notes when each event came, by the clock that all processes
  of a machine share. GET returns the milliseconds of all events so far and forgets them.
- `silent`: takes connections and requests and never answers.
"""

from __future__ import annotations

import asyncio
import gc
import sys
import time
from collections.abc import Awaitable, Callable
from typing import Any

import msgspec
import uvloop
from granian.constants import HTTPModes, Interfaces
from granian.server.embed import Server

Handler = Callable[[Any, Any], Awaitable[None]]

_JSON = [("content-type", "application/json"), ("x-request-id", "bench-000000000001")]
_ANSWER = b'{"status":"success","description":"the event is stored"}'
_decode = msgspec.json.Decoder().decode


async def yardstick(_: Any, proto: Any) -> None:
    """Read, decode, answer."""
    _decode(await proto())
    proto.response_bytes(200, _JSON, _ANSWER)


class Timing:
    """Notes how long each event was on its way: `properties.sent_ns` says since when."""

    def __init__(self) -> None:
        self.milliseconds: list[float] = []

    async def handle(self, scope: Any, proto: Any) -> None:
        """Take a batch of events, or tell what was noted."""
        if scope.method == "GET":
            told, self.milliseconds = self.milliseconds, []
            proto.response_bytes(200, _JSON, msgspec.json.encode(told))
            return
        events = _decode(await proto())
        now = time.monotonic_ns()
        self.milliseconds += [(now - event["properties"]["sent_ns"]) / 1e6 for event in events]
        proto.response_bytes(200, _JSON, b"{}")


async def serve(handler: Handler, port: int) -> None:
    """Serve as the gateway does: the same server, loop and care for the collector."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(20_000, 20, 50)
    await Server(
        handler, address="127.0.0.1", port=port, interface=Interfaces.RSGI, http=HTTPModes.http1,
        websockets=False, backlog=2048, log_enabled=False,
    ).serve()  # fmt: skip


async def be_silent(port: int) -> None:
    """Take requests and never answer."""

    async def swallow(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while await reader.read(1 << 16):
                pass
        except ConnectionError:
            return
        finally:
            writer.close()

    async with await asyncio.start_server(swallow, "127.0.0.1", port) as listener:
        await listener.serve_forever()


def main(job: str, port: int) -> None:
    """Serve until killed."""
    if job == "silent":
        uvloop.run(be_silent(port))
    else:
        uvloop.run(serve(yardstick if job == "yardstick" else Timing().handle, port))


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]))
