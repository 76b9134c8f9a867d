"""Servers that the benchmark needs beside the node: `python -m bench.servers JOB PORT`.

- `yardstick`: what serves the gateway, with nothing of the gateway: reads the body, decodes the
  JSON, answers 200, without a task for it. Nothing is stored (durability class C).
  `answer_rsgi` does the same under Granian, which is started by its own command.
- `timing`: a receiver of webhooks that notes when each event came, by the clock that all processes
  of a machine share. GET returns the milliseconds of all events so far and forgets them.
- `silent`: takes connections and requests and never answers.
"""

from __future__ import annotations

import asyncio
import sys
import time
from collections.abc import Coroutine
from typing import Any

import msgspec
import uvloop

from trunkline.gateway.http1 import Application
from trunkline.gateway.http1_intake import Fault
from trunkline.gateway.http1_request import HttpRequest
from trunkline.gateway.http1_server import HttpServer
from trunkline.gateway.server import spare_collector
from trunkline.kit.clock import SystemClock
from trunkline.proof.receiver import HttpProtocol

_JSON = [("content-type", "application/json"), ("x-request-id", "bench-000000000001")]
_ANSWER = b'{"status":"success","description":"the event is stored"}'
_decode = msgspec.json.Decoder().decode


class Yardstick:
    """Reads, decodes, answers."""

    def begin(self, request: HttpRequest) -> Coroutine[Any, Any, None] | None:
        """Answer at once where the body is in hand, as the gateway does."""
        body = request.whole_body
        if body is None:
            return self._read(request)
        _decode(body)
        request.response_bytes(200, _JSON, _ANSWER)
        return None

    def describe_fault(self, fault: Fault) -> tuple[list[tuple[str, str]], bytes]:
        """Say what is wrong."""
        return _JSON, fault.sentence.encode()

    async def _read(self, request: HttpRequest) -> None:
        _decode(await request())
        request.response_bytes(200, _JSON, _ANSWER)


async def answer_rsgi(_scope: object, wire: HttpProtocol) -> None:
    """Do what `Yardstick` does, under Granian."""
    _decode(await wire())
    wire.response_bytes(200, _JSON, _ANSWER)


class Timing(Yardstick):
    """Notes how long each event was on its way: `properties.sent_ns` says since when."""

    def __init__(self) -> None:
        self.milliseconds: list[float] = []

    def begin(self, request: HttpRequest) -> Coroutine[Any, Any, None] | None:
        """Take a batch of events, or tell what was noted."""
        if request.method == "GET":
            told, self.milliseconds = self.milliseconds, []
            request.response_bytes(200, _JSON, msgspec.json.encode(told))
            return None
        return self._note(request)

    async def _note(self, request: HttpRequest) -> None:
        events = _decode(await request())
        now = time.monotonic_ns()
        self.milliseconds += [(now - event["properties"]["sent_ns"]) / 1e6 for event in events]
        request.response_bytes(200, _JSON, b"{}")


async def serve(application: Application, port: int) -> None:
    """Serve as the gateway does: the same server, loop and care for the collector."""
    spare_collector()
    server = HttpServer(application, SystemClock())
    server.listen("127.0.0.1", port)
    await asyncio.Event().wait()


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
        uvloop.run(serve(Yardstick() if job == "yardstick" else Timing(), port))


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]))
