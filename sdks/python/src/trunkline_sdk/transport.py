"""One connection to a node, kept open: a request out, an answer back, within limits."""

from __future__ import annotations

import contextlib
import gzip
import http.client
import ssl
from dataclasses import dataclass, field
from email.utils import parsedate_to_datetime
from urllib.parse import SplitResult, urlsplit

from trunkline_sdk.clock import now_ms, to_ms
from trunkline_sdk.errors import InvalidSetting

ANSWER_BYTES_MAX = 4 * 1024 * 1024
COMPRESS_BYTES_MIN = 1024
USER_AGENT = "trunkline-sdk-python/0.1.0"


class NoAnswer(Exception):
    """Whether the node has stored what was sent is not known; sending it again is safe."""


@dataclass(frozen=True)
class Request:
    """A POST of JSON: path on the host, headers, body."""

    path: str
    headers: dict[str, str]
    body: bytes


@dataclass(frozen=True)
class Answer:
    """Status, headers (names in lower case) and body of an answer."""

    status: int
    body: bytes = b""
    headers: dict[str, str] = field(default_factory=dict)  # pyright: ignore[reportUnknownVariableType]

    def retry_after_seconds(self, now: int) -> float:
        """Return what `Retry-After` asks for, in either form; 0 where it asks for nothing."""
        text = self.headers.get("retry-after", "").strip()
        if text.isdigit():
            return float(text)
        try:
            moment = parsedate_to_datetime(text)
        except (TypeError, ValueError, IndexError):
            return 0.0
        return max(0.0, (to_ms(moment) - now) / 1000)


class Transport:
    """Speaks to one host. Raises `InvalidSetting` for an address that is none."""

    def __init__(
        self,
        host: str,
        *,
        timeout_seconds: float,
        compress: bool,
        ssl_context: ssl.SSLContext | None,
    ) -> None:
        parts = _parts_of(host)
        self._is_tls = parts.scheme == "https"
        self._name, self._port = parts.hostname or "", _port_of(host)
        self._prefix = parts.path.rstrip("/")
        self._timeout_seconds = timeout_seconds
        self._compress = compress
        self._ssl_context = ssl_context
        self._connection: http.client.HTTPConnection | None = None

    def post(self, request: Request) -> Answer:
        """Send a request and return the answer. Raises `NoAnswer`."""
        is_fresh = self._connection is None
        try:
            return self._exchange(request)
        except (ConnectionError, http.client.BadStatusLine) as error:
            self.close()
            if is_fresh:
                raise NoAnswer(_say(error)) from error
        except (OSError, http.client.HTTPException) as error:
            self.close()
            raise NoAnswer(_say(error)) from error
        # The node had closed a connection that stood idle; that is no failure of its own.
        return self.post(request)

    def close(self) -> None:
        """Close the connection; the next request opens another."""
        connection, self._connection = self._connection, None
        if connection is not None:
            with contextlib.suppress(OSError):
                connection.close()

    def _exchange(self, request: Request) -> Answer:
        if self._connection is None:
            self._connection = self._connect()
        body, headers = request.body, {"User-Agent": USER_AGENT, **request.headers}
        headers["Content-Type"] = "application/json"
        if self._compress and len(body) >= COMPRESS_BYTES_MIN:
            body = gzip.compress(body, 6)
            headers["Content-Encoding"] = "gzip"
        self._connection.request("POST", self._prefix + request.path, body, headers)
        answer = self._connection.getresponse()
        content = answer.read(ANSWER_BYTES_MAX)
        if answer.will_close or not answer.isclosed():
            self.close()
        found = {name.lower(): value for name, value in answer.getheaders()}
        return Answer(answer.status, content, found)

    def _connect(self) -> http.client.HTTPConnection:
        seconds = self._timeout_seconds
        if not self._is_tls:
            return http.client.HTTPConnection(self._name, self._port, timeout=seconds)
        context = self._ssl_context or ssl.create_default_context()
        return http.client.HTTPSConnection(self._name, self._port, timeout=seconds, context=context)


def _parts_of(host: object) -> SplitResult:
    expected = 'give the address of the node\'s ingest port, as in "https://events.example.com"'
    try:
        parts = urlsplit(host if isinstance(host, str) else "")
    except ValueError as error:  # a bracket that is not closed
        raise InvalidSetting(f"host is {host!r}; {expected}") from error
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise InvalidSetting(f"host is {host!r}; {expected}")
    if parts.query or parts.fragment or "@" in parts.netloc:
        what = "a user or password" if "@" in parts.netloc else "something behind a ? or #"
        raise InvalidSetting(f"host holds {what}; {expected}")
    return parts


def _port_of(host: str) -> int | None:
    try:
        return urlsplit(host).port
    except ValueError as error:
        raise InvalidSetting(f"host is {host!r}: {error}") from error


def _say(error: Exception) -> str:
    return f"{type(error).__name__}: {error}" if str(error) else type(error).__name__


def seconds_until(moment_ms: int) -> float:
    """Return the seconds until a moment; 0 where it has passed."""
    return max(0.0, (moment_ms - now_ms()) / 1000)
