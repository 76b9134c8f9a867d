"""Health and metrics on the console port, for Prometheus and for whoever looks in a browser."""

from __future__ import annotations

import asyncio
import hmac
import ipaddress
from typing import Any, Protocol

from granian.constants import Interfaces
from granian.server.embed import Server

from trunkline.kit.settings import Boot
from trunkline.state.home import Home
from trunkline.telemetry import metrics

Headers = list[tuple[str, str]]
TEXT = [("content-type", "text/plain; charset=utf-8"), ("cache-control", "no-store")]
METRICS = [("content-type", "text/plain; version=0.0.4; charset=utf-8")]
WELCOME = b"""Trunkline. This port is for its operators.

/metrics        for Prometheus
/health/live    is this process alive

The console and the admin API are not built yet: use the command line, `trunkline --help`.
"""


class HttpProtocol(Protocol):
    """The part of Granian's RSGI protocol that is used here."""

    def response_bytes(self, status: int, headers: Headers, body: bytes) -> None:
        """Answer."""
        ...


class ControlPort:
    """Serves the console port."""

    def __init__(self, home: Home, boot: Boot) -> None:
        self._home = home
        self._token = boot.console.metrics_token

    async def serve(self, host: str, port: int, stop: asyncio.Event) -> None:
        """Serve until `stop` is set."""
        server = Server(
            self.handle, host, port, interface=Interfaces.RSGI, websockets=False, log_enabled=False
        )
        task = asyncio.create_task(server.serve())
        waiter = asyncio.create_task(stop.wait())
        await asyncio.wait((task, waiter), return_when=asyncio.FIRST_COMPLETED)
        if task.done():
            task.result()
        server.stop()
        await task

    async def handle(self, scope: Any, protocol: HttpProtocol) -> None:
        """Answer one request."""
        if scope.path == "/health/live":
            protocol.response_bytes(200, TEXT, b"live\n")
        elif scope.path == "/metrics":
            self._answer_metrics(scope, protocol)
        elif scope.path == "/":
            protocol.response_bytes(200, TEXT, WELCOME)
        else:
            protocol.response_bytes(404, TEXT, b"Nothing here; / says what there is.\n")

    def _answer_metrics(self, scope: Any, protocol: HttpProtocol) -> None:
        if not self._may_scrape(scope):
            protocol.response_bytes(
                401,
                [*TEXT, ("www-authenticate", "Bearer")],
                b"Send Authorization: Bearer with the [console] metrics_token.\n",
            )
            return
        protocol.response_bytes(200, METRICS, metrics.render())

    def _may_scrape(self, scope: Any) -> bool:
        address = str(scope.client).rpartition(":")[0].strip("[]")
        if self._token is None:
            return ipaddress.ip_address(address).is_loopback
        given = str(scope.headers.get("authorization", ""))
        return hmac.compare_digest(given.encode(), f"Bearer {self._token}".encode())
