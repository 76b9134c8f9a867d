"""HTTP out: one request to one checked address, and an answer or the reason why there is none.

The life of a request:

    parse the URL → resolve its name → check every address → a connection to one of them
    → send → read at most 512 KiB of the answer → Response, or SendFailed with its Outcome

Nothing is followed, remembered or unpacked: no redirects, cookies, proxies, compression. One
deadline covers all of it, from the lookup to the last byte, so a receiver that drips one byte a
second is cut like one that never answers. Retries are the forwarder's; the only second try made
here is another address of the same host when the first could not be connected to, because then
nothing was sent.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from functools import cached_property, lru_cache
from ipaddress import ip_address

from msgspec import Struct
from pyreqwest.http import Url

from trunkline import __version__
from trunkline.forwarder.addresses import public_of, refusal_sentence
from trunkline.forwarder.failures import (
    CAUSES,
    SendFailed,
    blocked,
    connect_failure_of,
    failure_of,
    lookup_failure_of,
    rejected,
    retry,
)
from trunkline.forwarder.http_connection import (
    ANSWER_BYTES_MAX,
    BadAnswer,
    Closed,
    Closing,
    Peer,
)
from trunkline.forwarder.http_pool import ConnectFailed, HttpPool
from trunkline.forwarder.resolver import Lookup, Resolver
from trunkline.forwarder.retry_after import after_seconds
from trunkline.kit.clock import Clock
from trunkline.kit.destination import Request, Response
from trunkline.telemetry.http_out import HttpOutMetrics

__all__ = ["ANSWER_BYTES_MAX", "HttpSender", "SendFailed"]

URL_BYTES_MAX = 32_768
TRIES_MAX = 4  # addresses of a host within one attempt
_PARSED_URL_BYTES_MAX = 1024  # longer ones carry an event and do not come again

# The connection is ours: what would speak of it is not taken from a request.
_OURS = frozenset(
    {
        "connection",
        "content-length",
        "expect",
        "keep-alive",
        "te",
        "trailer",
        "transfer-encoding",
        "upgrade",
    }
)
_TOKEN = re.compile(r"[!#$%&'*+\-.^_`|~0-9A-Za-z]{1,256}")  # a method, a header's name
_CONTROL = re.compile(r"[\x00-\x08\x0a-\x1f\x7f]")  # in no header's value; a tab may be


class _Target(Struct, frozen=True):
    """A parsed URL. `literal` is the address that its host spells, in whatever form, else "".

    `path` goes into the request line and `authority` into `host`.
    """

    host: str
    literal: str
    port: int
    is_tls: bool
    path: str
    authority: str


class _Headers(Mapping[str, str]):
    """The headers of an answer with lower-case names, read when somebody asks for one.

    Nobody does for most answers. A name that came twice has its values joined; a value that is no
    text is left out.
    """

    def __init__(self, lines: Sequence[tuple[bytes, bytes]]) -> None:
        self._lines = lines

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
        found: dict[str, str] = {}
        for raw_name, raw in self._lines:
            name = raw_name.decode("latin-1").lower()
            try:
                value = raw.decode()
            except UnicodeDecodeError:
                continue
            found[name] = f"{found[name]}, {value}" if name in found else value
        return found


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
        self._metrics = HttpOutMetrics(CAUSES)
        self._pool = HttpPool(trusted_pem=trusted_pem, count=self._metrics.connections)
        self._user_agent = user_agent

    async def send(
        self, request: Request, *, timeout_seconds: float, allow_private: bool
    ) -> Response:
        """Send a request and return the answer, whatever its status.

        Raises `SendFailed` where there is none: a retry for what time may mend, blocked for what
        a person must mend, rejected for what lies in this request alone.
        """
        deadline = self._clock.monotonic() + timeout_seconds
        allow_private = allow_private or self._allow_private
        try:
            target = _target_of(request.url)
            head = _head_of(request, target, self._user_agent)
            addresses = self._known_addresses(target, allow_private=allow_private)
            if addresses is None:
                addresses = await self._addresses(
                    target.host, timeout_seconds, allow_private=allow_private
                )
            response = await self._send_to_first(head, request.body, target, addresses, deadline)
        except SendFailed as failure:
            self._metrics.failed(failure.cause)
            raise
        self._metrics.answered(response.status)
        return response

    async def close(self) -> None:
        """Let go of every connection; requests under way fail with a retry."""
        self._resolver.close()
        await self._pool.close()
        self._metrics.close()

    def _known_addresses(self, target: _Target, *, allow_private: bool) -> Sequence[str] | None:
        """Return where the target may be connected to; None where its name must be looked up."""
        if target.literal:
            return _check([target.literal], target.host, allow_private=allow_private)
        addresses = self._resolver.known(target.host)
        if addresses is None:
            return None
        return _check(addresses, target.host, allow_private=allow_private)

    async def _addresses(
        self, host: str, timeout_seconds: float, *, allow_private: bool
    ) -> Sequence[str]:
        """Look a name up and return where it may be connected to, the best first; at least one."""
        try:
            addresses = await self._resolver.resolve(host, timeout_seconds)
        except TimeoutError as error:
            raise retry("timeout", is_unsent=True) from error
        except (OSError, UnicodeError) as error:
            raise lookup_failure_of(error, host) from error
        return _check(addresses, host, allow_private=allow_private)

    async def _send_to_first(
        self, head: bytes, body: bytes, target: _Target, addresses: Sequence[str], deadline: float
    ) -> Response:
        """Send to the first address that takes a connection."""
        last: SendFailed | None = None
        for address in addresses[:TRIES_MAX]:
            left_seconds = deadline - self._clock.monotonic()
            if left_seconds <= 0:
                break
            peer = Peer(target.host, address, target.port, target.is_tls)
            try:
                return await self._send_to(head, body, peer, left_seconds)
            except SendFailed as failure:
                last = failure
                if failure.is_unsent or failure.cause == "timeout":
                    self._resolver.demote(target.host, address)
                if not failure.is_unsent:
                    raise
        raise last or retry("timeout", is_unsent=True)

    async def _send_to(
        self, head: bytes, body: bytes, peer: Peer, timeout_seconds: float
    ) -> Response:
        try:
            status, lines, content = await self._pool.send(peer, head, body, timeout_seconds)
        except ConnectFailed as error:
            raise connect_failure_of(error.cause, peer.host) from error
        except (OSError, BadAnswer, Closed, Closing) as error:  # a time-out is an OSError, too
            raise failure_of(error) from error
        headers = _Headers(lines)
        if not any(name.lower() == b"retry-after" for name, _ in lines):
            return Response(status, headers, content)
        seconds = after_seconds(headers.get("retry-after"), self._clock.now_ms())
        return Response(status, headers, content, seconds)


def _head_of(request: Request, target: _Target, user_agent: str) -> bytes:
    """Return the request line and headers. Raises `SendFailed` for what cannot be sent."""
    if not _TOKEN.fullmatch(request.method):
        raise blocked("invalid request", "its method is not valid")
    given = _lines_of(request.headers)
    lines = [f"{request.method} {target.path} HTTP/1.1", *given.values()]
    if "host" not in given:
        lines.append(f"host: {target.authority}")
    if "user-agent" not in given:
        lines.append(f"user-agent: {user_agent}")
    if "accept" not in given:
        lines.append("accept: */*")
    if request.body or request.method not in ("GET", "HEAD"):
        lines.append(f"content-length: {len(request.body)}")
    lines.append("\r\n")
    return "\r\n".join(lines).encode("utf-8", "replace")


def _lines_of(headers: Sequence[tuple[str, str]]) -> dict[str, str]:
    """Return the headers that are sent, by their lower-case name."""
    lines: dict[str, str] = {}
    for name, value in headers:
        lower = _lower_of(name)
        if not lower or _CONTROL.search(value):
            # No word of which: its value may be a secret, and so may what is no name.
            raise blocked("invalid request", "a header of it is not valid")
        if lower not in _OURS:
            line = f"{name}: {value}"
            lines[lower] = f"{lines[lower]}\r\n{line}" if lower in lines else line
    return lines


@lru_cache(maxsize=1024)
def _lower_of(name: str) -> str:
    """Return the lower-case name of a header; "" for what is none."""
    return name.lower() if _TOKEN.fullmatch(name) else ""


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
    host, port = parsed.host_str, parsed.port_or_known_default
    if parsed.scheme not in ("http", "https") or not host or not port:
        raise ValueError("it must start with http:// or https:// and name a host")
    if parsed.username or parsed.password:
        raise ValueError("it holds a user name or password; send an Authorization header instead")
    query = parsed.query_string
    return _Target(
        host=host,
        literal=_literal_of(host),
        port=port,
        is_tls=parsed.scheme == "https",
        path=parsed.path if query is None else f"{parsed.path}?{query}",
        authority=host if parsed.port is None else f"{host}:{parsed.port}",
    )


def _literal_of(host: str) -> str:
    try:
        return str(ip_address(host.strip("[]")))
    except ValueError:
        return ""
