"""Names into addresses, by us and not by the HTTP client: what was checked is what is connected to.

A lookup blocks, so it runs on a thread of its own, a few at a time; callers of one name share one
lookup. The threads are daemons: one that hangs must not hold up the end of the process. An answer
is kept for 30 s, a failure not at all: what waits for a mended name is already paced by the
forwarder. The address that worked stays first for as long as the name has it, so that connections
are used again, and one that failed goes last, so that a dead IPv6 route costs one request.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
import threading
from collections import OrderedDict
from collections.abc import Callable, Sequence

from msgspec import Struct

from trunkline.kit.clock import Clock

ANSWER_SECONDS = 30.0
NAMES_MAX = 4096
LOOKUPS_MAX = 8  # at a time
ADDRESSES_MAX = 16

Lookup = Callable[[str], Sequence[str]]


class _Answer(Struct):
    """Addresses of a name, the best first, good until `until` of the monotonic clock."""

    addresses: list[str]
    until: float


class Resolver:
    """A bounded cache over a blocking lookup that raises `socket.gaierror`."""

    def __init__(self, clock: Clock, lookup: Lookup | None = None) -> None:
        self._clock = clock
        self._lookup = lookup or look_up
        self._answers: OrderedDict[str, _Answer] = OrderedDict()
        self._lookups: dict[str, asyncio.Task[list[str]]] = {}
        self._slots = asyncio.Semaphore(LOOKUPS_MAX)

    def known(self, name: str) -> Sequence[str] | None:
        """Return the addresses of a name if they are still good, else None."""
        answer = self._answers.get(name)
        if answer is None or answer.until < self._clock.monotonic():
            return None
        return answer.addresses

    async def resolve(self, name: str, timeout_seconds: float) -> Sequence[str]:
        """Return the addresses of a name, at least one, the best first.

        Raises `socket.gaierror` as the lookup did, `UnicodeError` for what is no host name,
        `TimeoutError` when time is up; the lookup itself goes on for whoever asks next.
        """
        known = self.known(name)
        if known is not None:
            return known
        under_way = self._lookups.get(name)
        if under_way is None:
            under_way = asyncio.get_running_loop().create_task(self._look(name))
            self._lookups[name] = under_way
            under_way.add_done_callback(lambda done: self._keep(name, done))
        # Shielded: one caller's deadline must not end the lookup of the others.
        return await asyncio.wait_for(asyncio.shield(under_way), timeout_seconds)

    def demote(self, name: str, address: str) -> None:
        """Put an address that did not answer behind the others of its name."""
        answer = self._answers.get(name)
        if answer is not None and len(answer.addresses) > 1 and address in answer.addresses:
            answer.addresses = [a for a in answer.addresses if a != address] + [address]

    def close(self) -> None:
        """Give up the lookups under way."""
        for under_way in self._lookups.values():
            under_way.cancel()

    async def _look(self, name: str) -> list[str]:
        async with self._slots:
            loop = asyncio.get_running_loop()
            found: asyncio.Future[list[str]] = loop.create_future()
            thread = threading.Thread(
                target=_look_on_thread,
                args=(self._lookup, name, loop, found),
                name="resolver",
                daemon=True,
            )
            thread.start()
            return await found

    def _keep(self, name: str, done: asyncio.Task[list[str]]) -> None:
        del self._lookups[name]
        if done.cancelled() or done.exception() is not None:
            return
        addresses = done.result()
        before = self._answers.pop(name, None)
        if before is not None and before.addresses[0] in addresses:
            addresses.sort(key=lambda address: address != before.addresses[0])
        self._answers[name] = _Answer(addresses, self._clock.monotonic() + ANSWER_SECONDS)
        if len(self._answers) > NAMES_MAX:
            self._answers.popitem(last=False)


def look_up(name: str) -> list[str]:
    """Ask the system for a name's addresses, in the order it prefers (RFC 6724). Blocking."""
    found = socket.getaddrinfo(name, None, proto=socket.IPPROTO_TCP)
    return list(dict.fromkeys(str(entry[4][0]).partition("%")[0] for entry in found))


def _look_on_thread(
    lookup: Lookup, name: str, loop: asyncio.AbstractEventLoop, found: asyncio.Future[list[str]]
) -> None:
    addresses: list[str] = []
    error: Exception | None = None
    try:
        addresses = list(lookup(name))[:ADDRESSES_MAX]
        if not addresses:
            raise socket.gaierror(socket.EAI_NONAME, "the name has no address")
    except Exception as failure:  # handed on to whoever waits, whatever it is
        error = failure

    def tell() -> None:
        if found.done():
            return
        if error is not None:
            found.set_exception(error)
        else:
            found.set_result(addresses)

    # The loop is closed where the process ended first; then nobody waits any more.
    with contextlib.suppress(RuntimeError):
        loop.call_soon_threadsafe(tell)
