"""A sender that behaves as a careful back end does: it sends again until it is told yes."""

from __future__ import annotations

import asyncio
import base64
import uuid
from datetime import timedelta

import msgspec
from pyreqwest.client import Client, ClientBuilder
from pyreqwest.exceptions import PyreqwestError

from trunkline.kit.clock import Clock

TIMEOUT_SECONDS = 10.0
RETRY_SECONDS = 0.05


class Sender:
    """Sends track events, `concurrency` at a time, and remembers which were answered yes.

    `acknowledged` maps messageId to the milliseconds its yes took; `resent` counts tries again.
    """

    def __init__(self, url: str, secret: str, clock: Clock, users: int = 50) -> None:
        credentials = base64.b64encode(f"{secret}:".encode()).decode()
        self._headers = {
            "authorization": f"Basic {credentials}",
            "content-type": "application/json",
        }
        self._url = f"{url}/v1/track"
        self._clock = clock
        self._users = users
        self._sent = 0
        self.acknowledged: dict[str, float] = {}
        self.resent = 0
        self.refused = 0

    async def run(self, stop: asyncio.Event, concurrency: int, pause_seconds: float = 0.0) -> None:
        """Send until told to stop. What is under way then is given up, not acknowledged."""
        timeout = timedelta(seconds=TIMEOUT_SECONDS)
        async with ClientBuilder().timeout(timeout).no_proxy().build() as client:
            lanes = [self._lane(client, stop, pause_seconds) for _ in range(concurrency)]
            await asyncio.gather(*lanes)

    async def _lane(self, client: Client, stop: asyncio.Event, pause_seconds: float) -> None:
        while not stop.is_set():
            self._sent += 1
            await self._send(client, stop, self._sent)
            if pause_seconds:
                await self._clock.sleep(pause_seconds)

    async def _send(self, client: Client, stop: asyncio.Event, number: int) -> None:
        message_id = str(uuid.uuid4())
        body = msgspec.json.encode(
            {
                "messageId": message_id,
                "event": "Order Completed",
                "userId": f"user-{number % self._users}",
                "properties": {"order_id": str(number), "revenue": 49.9, "currency": "EUR"},
            }
        )
        while not stop.is_set():
            start = self._clock.monotonic()
            status = await self._post(client, body)
            if status == 200:
                self.acknowledged[message_id] = (self._clock.monotonic() - start) * 1000
                return
            if status is not None and 400 <= status < 500 and status != 429:
                self.refused += 1
                return
            self.resent += 1
            await self._clock.sleep(RETRY_SECONDS)

    async def _post(self, client: Client, body: bytes) -> int | None:
        """Return the status, or None where no answer came."""
        try:
            request = client.post(self._url).headers(self._headers).body_bytes(body).build()
            response = await request.send()
            await response.bytes()
        except PyreqwestError:
            return None
        return int(response.status)
