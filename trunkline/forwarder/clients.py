"""The HTTP clients that are kept: one for each host and the address of it that was checked.

A client is pinned to its address, so a name that changes its mind (DNS rebinding) reaches nothing
that was not checked. Destinations of the same host share a client and its connections, whatever
their ports; a host that *is* an address needs no pin, so all of those share one.

Making a client takes 8 ms, nearly all of it the root certificates, and 140 KB. So it happens on a
thread (the client's library lets the interpreter go on meanwhile), and the pool has a limit.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from datetime import timedelta
from itertools import islice
from typing import NamedTuple

from msgspec import Struct
from pyreqwest.client import Client, ClientBuilder

CLIENTS_MAX = 512
CONNECT_SECONDS_MAX = 4.0  # then the host's next address gets its chance within the same attempt
IDLE_SECONDS_MAX = 30.0
IDLE_PER_HOST_MAX = 256  # below what is under way at a time, connections are made anew: half speed


class Pin(NamedTuple):
    """A host and the address it is reached at; both "" for hosts that are addresses themselves."""

    host: str
    address: str


UNPINNED = Pin("", "")


class _Pooled(Struct):
    """A client, made or being made, and how many requests have it."""

    making: asyncio.Task[Client]
    client: Client | None = None
    requests: int = 0


class ClientPool:
    """Clients by pin, the least recently used going first. Not for use by several threads."""

    def __init__(
        self, user_agent: str, *, trusted_pem: bytes | None = None, clients_max: int = CLIENTS_MAX
    ) -> None:
        self._user_agent = user_agent
        self._trusted_pem = trusted_pem
        self._clients_max = clients_max
        self._pooled: OrderedDict[Pin, _Pooled] = OrderedDict()

    def __len__(self) -> int:
        return len(self._pooled)

    def ready(self, pin: Pin) -> Client | None:
        """Return the client of a pin if it was made before, to be given back like one of `take`."""
        pooled = self._pooled.get(pin)
        if pooled is None or pooled.client is None:
            return None
        self._pooled.move_to_end(pin)
        pooled.requests += 1
        return pooled.client

    async def take(self, pin: Pin) -> Client:
        """Return the client of a pin. Give it back with `release`, or it is kept for ever."""
        pooled = self._pooled.get(pin)
        if pooled is None:
            await self._make_room()
            pooled = self._pooled.get(pin)  # another may have begun it meanwhile
        if pooled is None:
            making = asyncio.get_running_loop().create_task(asyncio.to_thread(self._build, pin))
            pooled = self._pooled[pin] = _Pooled(making)
        self._pooled.move_to_end(pin)
        return self.ready(pin) or await self._wait_for(pin, pooled)

    def release(self, pin: Pin) -> None:
        """Say that a request of a taken client is over."""
        pooled = self._pooled.get(pin)
        if pooled is not None:
            pooled.requests -= 1

    async def close(self) -> None:
        """Close every client; requests under way fail."""
        pooled = list(self._pooled.values())
        self._pooled.clear()
        for each in pooled:
            await (await each.making).close()

    async def _wait_for(self, pin: Pin, pooled: _Pooled) -> Client:
        pooled.requests += 1  # from now on nobody evicts it
        try:
            # Shielded: one caller's end must not end the making for the others.
            client = await asyncio.shield(pooled.making)
        except BaseException:
            pooled.requests -= 1
            if pooled.making.done() and self._pooled.get(pin) is pooled:
                del self._pooled[pin]
            raise
        pooled.client = client
        return client

    async def _make_room(self) -> None:
        # A client with requests under way stays: the limit then yields to the forwarder's own.
        surplus = max(0, len(self._pooled) + 1 - self._clients_max)
        idle = (pin for pin, pooled in self._pooled.items() if not pooled.requests)
        for pin in list(islice(idle, surplus)):
            await (await self._pooled.pop(pin).making).close()

    def _build(self, pin: Pin) -> Client:
        builder = (
            ClientBuilder()
            .no_proxy()  # an environment variable must not decide where events go
            .follow_redirects(False)
            .referer(False)
            .default_cookie_store(False)
            .gzip(False)  # 512 KiB of answer are as many, not what they unpack to
            .brotli(False)
            .zstd(False)
            .deflate(False)
            .http1_only()
            .user_agent(self._user_agent)
            .connect_timeout(timedelta(seconds=CONNECT_SECONDS_MAX))
            .pool_idle_timeout(timedelta(seconds=IDLE_SECONDS_MAX))
            .pool_max_idle_per_host(IDLE_PER_HOST_MAX)
        )
        if pin.address:
            builder = builder.resolve(pin.host, pin.address, 0)  # 0: the port of the URL
        if self._trusted_pem is not None:
            builder = builder.add_root_certificate_pem(self._trusted_pem)
        return builder.build()
