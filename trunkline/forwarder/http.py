"""HTTP out: one request to one checked address, and an answer or the reason why there is none.

The life of a request:

    parse the URL → resolve its name → check every address → a client pinned to one of them
    → send → read at most 512 KiB of the answer → Response, or SendFailed with its Outcome

Nothing is followed, remembered or unpacked: no redirects, cookies, proxies, compression. One
deadline covers all of it, from the lookup to the last byte, so a receiver that drips one byte a
second is cut like one that never answers. Retries are the forwarder's; the only second try made
here is another address of the same host when the first could not be connected to, because then
nothing was sent.
"""

from __future__ import annotations

import contextlib
import math
from collections.abc import Iterator, Mapping, Sequence
from datetime import timedelta
from functools import cached_property, lru_cache
from ipaddress import ip_address

from msgspec import Struct
from pyreqwest.client import Client
from pyreqwest.exceptions import PyreqwestError
from pyreqwest.http import HeaderMap, Url
from pyreqwest.request import StreamRequest

from trunkline import __version__
from trunkline.forwarder.addresses import public_of, refusal_sentence
from trunkline.forwarder.clients import UNPINNED, ClientPool, Pin
from trunkline.forwarder.failures import (
    CAUSES,
    SendFailed,
    blocked,
    failure_of,
    lookup_failure_of,
    rejected,
    retry,
)
from trunkline.forwarder.resolver import Lookup, Resolver
from trunkline.forwarder.retry_after import after_seconds
from trunkline.kit.clock import Clock
from trunkline.kit.destination import Request, Response
from trunkline.telemetry.http_out import HttpOutMetrics

__all__ = ["ANSWER_BYTES_MAX", "HttpSender", "SendFailed"]

ANSWER_BYTES_MAX = 524_288  # a vendor that tells of 2,000 events one by one needs 250 bytes each
URL_BYTES_MAX = 32_768
TRIES_MAX = 4  # addresses of a host within one attempt
_UNPINNED = (UNPINNED,)
_PARSED_URL_BYTES_MAX = 1024  # longer ones carry an event and do not come again


class _Target(Struct, frozen=True):
    """A parsed URL. `literal` is the address that its host spells, in whatever form, else ""."""

    url: Url
    host: str
    literal: str


class _Headers(Mapping[str, str]):
    """The headers of an answer with lower-case names, read when somebody asks for one.

    Nobody does for most answers, and reading them all is 3 % of what the event loop does for a
    request.
    """

    def __init__(self, headers: HeaderMap) -> None:
        self._headers = headers

    def may_have(self, name: str) -> bool:
        """Say whether one of that name came; its value may be no text."""
        return name in self._headers

    def __getitem__(self, name: str) -> str:
        return self._read[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._read)

    def __len__(self) -> int:
        return len(self._read)

    def __repr__(self) -> str:
        return repr(self._read)

    @cached_property
    def _read(self) -> dict[str, str]:
        return _headers_of(self._headers)


class HttpSender:
    """Sends requests. One serves all destinations of a process, on one event loop.

    `allow_private_addresses` lets every destination reach private addresses, else each needs its
    own leave. `lookup` and `trusted_pem` (root certificates beside the system's) are for tests
    and for houses with their own authority.
    """

    def __init__(
        self,
        clock: Clock,
        *,
        allow_private_addresses: bool = False,
        user_agent: str = f"Trunkline/{__version__}",
        lookup: Lookup | None = None,
        trusted_pem: bytes | None = None,
    ) -> None:
        self._clock = clock
        self._allow_private = allow_private_addresses
        self._resolver = Resolver(clock, lookup)
        self._clients = ClientPool(user_agent, trusted_pem=trusted_pem)
        self._metrics = HttpOutMetrics(CAUSES)

    async def send(
        self, request: Request, *, timeout_seconds: float, allow_private: bool
    ) -> Response:
        """Send a request and return the answer, whatever its status.

        Raises `SendFailed` where there is none: a retry for what time may mend, blocked for what
        a person must mend, rejected for what lies in this request alone.
        """
        deadline = self._clock.monotonic() + timeout_seconds
        try:
            target = _target_of(request.url)
            pins = self._known_pins(target, allow_private=allow_private or self._allow_private)
            if pins is None:
                pins = await self._pins(
                    target.host, timeout_seconds, allow_private=allow_private or self._allow_private
                )
            response = await self._send_to_first(request, target, pins, deadline)
        except SendFailed as failure:
            self._metrics.failed(failure.cause)
            raise
        self._metrics.answered(response.status)
        return response

    async def close(self) -> None:
        """Let go of every connection; requests under way fail with a retry."""
        self._resolver.close()
        await self._clients.close()
        self._metrics.clients(0)
        self._metrics.close()

    def _known_pins(self, target: _Target, *, allow_private: bool) -> Sequence[Pin] | None:
        """Return where the target may be connected to; None where its name must be looked up."""
        if target.literal:
            if not allow_private:
                _check([target.literal], target.host, allow_private=False)
            return _UNPINNED
        addresses = self._resolver.known(target.host)
        if addresses is None:
            return None
        return _pins_of(addresses, target.host, allow_private=allow_private)

    async def _pins(
        self, host: str, timeout_seconds: float, *, allow_private: bool
    ) -> Sequence[Pin]:
        """Look a name up and return where it may be connected to, the best first; at least one."""
        try:
            addresses = await self._resolver.resolve(host, timeout_seconds)
        except TimeoutError as error:
            raise retry("timeout", is_unsent=True) from error
        except (OSError, UnicodeError) as error:
            raise lookup_failure_of(error, host) from error
        return _pins_of(addresses, host, allow_private=allow_private)

    async def _send_to_first(
        self, request: Request, target: _Target, pins: Sequence[Pin], deadline: float
    ) -> Response:
        """Send to the first address that takes a connection."""
        last: SendFailed | None = None
        for pin in pins:
            left_seconds = deadline - self._clock.monotonic()
            if left_seconds <= 0:
                break
            try:
                return await self._send_to(request, target, pin, left_seconds)
            except SendFailed as failure:
                last = failure
                if failure.is_unsent or failure.cause == "timeout":
                    self._resolver.demote(pin.host, pin.address)
                if not failure.is_unsent:
                    raise
        raise last or retry("timeout", is_unsent=True)

    async def _send_to(
        self, request: Request, target: _Target, pin: Pin, timeout_seconds: float
    ) -> Response:
        client = self._clients.ready(pin) or await self._clients.take(pin)
        try:
            # Streamed, and left when we have enough: the rest of a huge answer is never received.
            async with _build(client, request, target.url, timeout_seconds) as answer:
                body = await answer.body_reader.read(ANSWER_BYTES_MAX)
                headers = _Headers(answer.headers)
                return Response(
                    answer.status, headers, bytes(body or b""), self._after_seconds(headers)
                )
        except (PyreqwestError, TimeoutError) as error:
            raise failure_of(error, target.host) from error
        finally:
            self._clients.release(pin)
            self._metrics.clients(len(self._clients))

    def _after_seconds(self, headers: _Headers) -> float:
        if not headers.may_have("retry-after"):
            return 0.0
        return after_seconds(headers.get("retry-after"), self._clock.now_ms())


def _build(client: Client, request: Request, url: Url, timeout_seconds: float) -> StreamRequest:
    try:
        builder = (
            client.request(request.method, url)
            .headers(request.headers)
            .timeout(_timeout_of(math.ceil(100 * timeout_seconds)))
        )
    except ValueError as error:  # its sentence may quote a header, and a header a secret
        raise blocked("invalid request", "its method or a header is not valid") from error
    if request.body:
        builder = builder.body_bytes(request.body)
    return builder.build_streamed()


@lru_cache(maxsize=16_384)
def _timeout_of(hundredths: int) -> timedelta:
    """Return a time that most requests have in common: to make it takes 3 % of the event loop."""
    return timedelta(seconds=hundredths / 100)


def _pins_of(addresses: Sequence[str], host: str, *, allow_private: bool) -> Sequence[Pin]:
    checked = _check(addresses, host, allow_private=allow_private)
    return [Pin(host, address) for address in checked[:TRIES_MAX]]


def _check(addresses: Sequence[str], host: str, *, allow_private: bool) -> Sequence[str]:
    """Return the addresses that may be reached. Raises `SendFailed` where none may."""
    if allow_private:
        return addresses
    allowed = public_of(addresses)
    if allowed:
        return allowed
    address = addresses[0]
    raise blocked("forbidden address", refusal_sentence(host, address, "the URL"))


def _target_of(url: str) -> _Target:
    if len(url) > URL_BYTES_MAX:
        raise rejected("URL too long", f"the URL has {len(url)} bytes, at most {URL_BYTES_MAX} go")
    parse = _parse if len(url) <= _PARSED_URL_BYTES_MAX else _parse.__wrapped__
    try:
        return parse(url)
    except ValueError as error:
        raise blocked("invalid URL", f"the URL is not valid: {error}; correct it") from error


@lru_cache(maxsize=2048)
def _parse(url: str) -> _Target:
    """Parse a URL the way it will be connected to, so `0x7f.1` and `2130706433` are 127.0.0.1."""
    parsed = Url(url)
    host = parsed.host_str
    if parsed.scheme not in ("http", "https") or not host:
        raise ValueError("it must start with http:// or https:// and name a host")
    if parsed.username or parsed.password:
        raise ValueError("it holds a user name or password; send an Authorization header instead")
    return _Target(parsed, host, _literal_of(host))


def _literal_of(host: str) -> str:
    try:
        return str(ip_address(host.strip("[]")))
    except ValueError:
        return ""


def _headers_of(headers: HeaderMap) -> dict[str, str]:
    """Return the headers with lower-case names; a name that came twice has its values joined."""
    found: dict[str, str] = {}
    try:
        for name, value in headers.items():
            found[name] = f"{found[name]}, {value}" if name in found else value
    except ValueError:
        return _text_headers_of(headers)
    return found


def _text_headers_of(headers: HeaderMap) -> dict[str, str]:
    """Return the headers whose values are text, where one is not."""
    found: dict[str, str] = {}
    for name in headers:
        with contextlib.suppress(ValueError):
            found[name] = ", ".join(headers.getall(name))
    return found
