"""A gateway on a free port of 127.0.0.1, served in a thread, with a protocol made for tests.

The appender is a real one that keeps records in memory, can be held up and can fail; the sockets
are real, so that hostile clients can be written byte by byte.
"""

from __future__ import annotations

import asyncio
import json
import socket
import threading
from collections.abc import Callable, Coroutine, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

import msgspec

from trunkline.gateway import Gateway, serve
from trunkline.kit.clock import Clock, FakeClock, SystemClock
from trunkline.kit.desk import Desk
from trunkline.kit.eventlog import Appender, LogFailure, Record
from trunkline.kit.protocol import Answer, Decoded, Failure, Normalised, Protocol, Request, Route
from trunkline.kit.settings import GatewaySettings
from trunkline.model.record import (
    Accepted,
    AcceptedEvent,
    AcceptedRefusal,
    decode_accepted,
)
from trunkline.model.snapshot import S2S, App, Plan, Rate, Snapshot

T = TypeVar("T")

WIRE_MAX = 65_536
INFLATED_MAX = 262_144


class ListAppender(Appender):
    """Keeps records in a list. `gate` holds appends up; `failure` makes them fail."""

    def __init__(self) -> None:
        self.appends: list[Sequence[Record]] = []
        self.gate = threading.Event()
        self.gate.set()
        self.entered = threading.Event()
        self.failure: Exception | None = None
        self.probes = 0

    def append(self, records: Sequence[Record]) -> Sequence[int]:
        self.entered.set()
        assert self.gate.wait(30)
        if self.failure is not None:
            raise self.failure
        begin = self.stored
        self.appends.append(list(records))
        return range(begin, begin + len(records))

    def probe(self) -> None:
        self.probes += 1
        assert self.gate.wait(30)
        if self.failure is not None:
            raise self.failure

    def close(self) -> None:
        self.gate.set()

    @property
    def stored(self) -> int:
        return sum(len(records) for records in self.appends)

    def decoded(self) -> list[Accepted]:
        return [decode_accepted(r.value) for records in self.appends for r in records]


class PlainProtocol(Protocol):
    """`{"users": [...]}` becomes an event for each user; `{"refuse": n}` n refusals."""

    name = "plain"
    routes = (
        Route("POST", "/events/{app}", WIRE_MAX, INFLATED_MAX),
        Route("POST", "/big", 4_194_304, 8_388_608),
        Route("GET", "/settings/{key}", 0, 0),
    )

    def __init__(self) -> None:
        self.requests: list[Request] = []

    def decode(self, request: Request, snapshot: Snapshot) -> Decoded:
        self.requests.append(request)
        if request.route.method == "GET":
            return Decoded(
                self._say(200, key=request.params["key"]), (self._event(request, "get"),)
            )
        try:
            value: dict[str, Any] = msgspec.json.decode(request.body or b"{}")
        except msgspec.DecodeError:
            return Decoded(self._say(400, code="not_json"))
        if "boom" in value:
            raise RuntimeError("a defect of the protocol")
        accepted = [self._event(request, user) for user in value.get("users", [])]
        refused = [self._refusal(request, n) for n in range(value.get("refuse", 0))]
        status = 200 if accepted or not refused else 400
        return Decoded(self._say(status, bytes=len(request.body)), accepted, refused)

    def failure(self, request_path: str, failure: Failure) -> Answer:
        return self._say(failure.status, code=failure.code, message=failure.sentence)

    def normalise(self, record: AcceptedEvent, app: App | None) -> Normalised:
        raise NotImplementedError

    def _say(self, status: int, **fields: object) -> Answer:
        return Answer(status, msgspec.json.encode({"protocol": self.name, **fields}))

    def _event(self, request: Request, user: str) -> AcceptedEvent:
        app = request.params.get("app", "big")
        return AcceptedEvent(
            app=app,
            message_id=f"{request.request_id}/{user}",
            user=f"u:{user}",
            protocol=self.name,
            type="track",
            key="k",
            is_client=False,
            snapshot=1,
            received_ms=request.received_ms,
            address=request.address,
            user_agent="",
            request_id=request.request_id,
            envelope=b"",
            body=b"{}",
        )

    def _refusal(self, request: Request, number: int) -> AcceptedRefusal:
        return AcceptedRefusal(
            app=request.params.get("app", "big"),
            protocol=self.name,
            key="k",
            snapshot=1,
            received_ms=request.received_ms,
            address=request.address,
            request_id=request.request_id,
            code="bad",
            message="It is bad.",
            message_id=str(number),
            body=b"{}",
        )


def make_app(app: str = "wallet", rate: Rate | None = None) -> App:
    """An app with nothing but an id and perhaps a rate."""
    return App(app, app, "web", "IRR", ("IRR",), "accept", 24, 7, rate or Rate(), S2S(), (), (), ())


def make_snapshot(*apps: App) -> Snapshot:
    """A snapshot of these apps."""
    return Snapshot(1, "Acme", Plan(), apps)


class Reply:
    """An answer as it came over the socket."""

    def __init__(self, status: int, headers: dict[str, str], body: bytes) -> None:
        self.status = status
        self.headers = headers
        self.body = body

    @property
    def json(self) -> Any:
        return json.loads(self.body)


class Client:
    """A raw connection."""

    def __init__(self, port: int, timeout_seconds: float = 10.0) -> None:
        self.socket = socket.create_connection(("127.0.0.1", port))
        self.socket.settimeout(timeout_seconds)
        self._buffer = b""

    def send(self, data: bytes) -> Client:
        self.socket.sendall(data)
        return self

    def head(self, method: str, path: str, *headers: str) -> Client:
        lines = [f"{method} {path} HTTP/1.1", "Host: test", *headers, "", ""]
        return self.send("\r\n".join(lines).encode())

    def post(self, path: str, body: bytes, *headers: str) -> Client:
        self.head("POST", path, f"Content-Length: {len(body)}", *headers)
        return self.send(body)

    def reply(self, has_body: bool = True) -> Reply:
        while b"\r\n\r\n" not in self._buffer:
            self._fill()
        head, _, self._buffer = self._buffer.partition(b"\r\n\r\n")
        first, *rest = head.decode().split("\r\n")
        headers = {k.lower(): v for k, _, v in (line.partition(": ") for line in rest)}
        size = int(headers.get("content-length", "0")) if has_body else 0
        while len(self._buffer) < size:
            self._fill()
        body, self._buffer = self._buffer[:size], self._buffer[size:]
        return Reply(int(first.split()[1]), headers, body)

    def is_closed(self) -> bool:
        """Wait for the server to close; False where it sends something instead."""
        try:
            return self.socket.recv(1) == b""
        except ConnectionResetError:
            return True

    def close(self) -> None:
        self.socket.close()

    def _fill(self) -> None:
        data = self.socket.recv(65_536)
        if not data:
            raise ConnectionError("the server closed the connection")
        self._buffer += data


class Rig:
    """A gateway that is being served."""

    def __init__(
        self,
        settings: GatewaySettings,
        clock: Clock,
        snapshot: Snapshot | None,
        protocols: Sequence[Protocol],
        desk: Desk | None = None,
        spool_folder: Path | None = None,
    ) -> None:
        self._desk = desk
        self._spool_folder = spool_folder
        self.appender = ListAppender()
        self.protocol = next(p for p in protocols if isinstance(p, PlainProtocol))
        self.snapshot = snapshot
        self.clock = clock
        self.gateway: Gateway
        self._protocols = protocols
        self._settings = settings
        # Bound but not listening: nobody else gets the port, and SO_REUSEPORT lets the server.
        self._holder = socket.socket()
        self._holder.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        self._holder.bind(("127.0.0.1", 0))
        self.port: int = self._holder.getsockname()[1]
        self._loop = asyncio.new_event_loop()
        self._ready = threading.Event()
        self._stamps = 0
        self._clients: list[Client] = []
        self._thread = threading.Thread(target=self._run, daemon=True)

    def start(self) -> None:
        self._thread.start()
        assert self._ready.wait(10)
        while True:
            try:
                Client(self.port).close()
                return
            except ConnectionRefusedError:
                self._ready.wait(0.01)

    def stop(self) -> None:
        """Ask for a stop, as SIGTERM does; `join` waits for it."""
        self._loop.call_soon_threadsafe(self._stop.set)

    def join(self, timeout_seconds: float = 10.0) -> None:
        self._thread.join(timeout_seconds)
        assert not self._thread.is_alive(), "the gateway did not stop in time"

    def close(self) -> None:
        self.appender.gate.set()
        if self._thread.is_alive():
            self.stop()
            self.join()
        for client in self._clients:
            client.close()
        self._holder.close()

    def client(self, timeout_seconds: float = 10.0) -> Client:
        client = Client(self.port, timeout_seconds)
        self._clients.append(client)
        return client

    def ask(self, method: str, path: str, *headers: str) -> Reply:
        """One request without a body, on its own connection."""
        client = self.client()
        try:
            return client.head(method, path, *headers).reply(has_body=method != "HEAD")
        finally:
            client.close()

    def post(self, path: str, body: bytes, *headers: str) -> Reply:
        client = self.client()
        try:
            return client.post(path, body, *headers).reply()
        finally:
            client.close()

    def run(self, coroutine: Coroutine[Any, Any, T]) -> T:
        """Run in the gateway's loop."""
        return asyncio.run_coroutine_threadsafe(coroutine, self._loop).result(10)

    def advance(self, seconds: float) -> None:
        assert isinstance(self.clock, FakeClock)
        self.run(self.clock.advance(seconds))

    def until(self, is_so: Callable[[], bool], what: str) -> None:
        """Wait for something that other threads bring about; fails after 10 s."""
        tick = threading.Event()
        for _ in range(1000):
            if is_so():
                return
            tick.wait(0.01)
        raise AssertionError(f"waited 10 s in vain: {what}")

    def _run(self) -> None:
        asyncio.set_event_loop(self._loop)
        try:
            self._loop.run_until_complete(self._main())
            self._loop.run_until_complete(self._loop.shutdown_default_executor())
        finally:
            asyncio.set_event_loop(None)
            self._loop.close()

    async def _main(self) -> None:
        self._stop = asyncio.Event()
        self.gateway = Gateway(
            protocols=self._protocols,
            appender=self.appender,
            snapshot=lambda: self.snapshot,
            settings=self._settings,
            clock=self.clock,
            stamp=self._stamp,
            desk=self._desk,
            spool_folder=self._spool_folder,
        )
        self._ready.set()
        await serve(self.gateway, "127.0.0.1", self.port, self._stop)

    def _stamp(self) -> int:
        self._stamps += 1
        return self._stamps


@contextmanager
def running_gateway(
    *,
    settings: GatewaySettings | None = None,
    clock: Clock | None = None,
    snapshot: Snapshot | None = None,
    protocols: Sequence[Protocol] | None = None,
    desk: Desk | None = None,
    spool_folder: Path | None = None,
) -> Iterator[Rig]:
    """Serve a gateway for the time of a `with`."""
    rig = Rig(
        settings or GatewaySettings(),
        clock or SystemClock(),
        snapshot or make_snapshot(make_app()),
        protocols or [PlainProtocol()],
        desk,
        spool_folder,
    )
    rig.start()
    try:
        yield rig
    finally:
        rig.close()


__all__ = [
    "Client",
    "ListAppender",
    "LogFailure",
    "PlainProtocol",
    "Reply",
    "Rig",
    "make_app",
    "make_snapshot",
    "running_gateway",
]
