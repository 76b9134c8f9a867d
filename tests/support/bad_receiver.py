"""A receiver that misbehaves, each path in its own way, below HTTP where it must."""

from __future__ import annotations

import contextlib
import socket
import threading
from collections import Counter
from collections.abc import Callable

Manner = Callable[["BadReceiver", socket.socket], None]
STEP_SECONDS = 1.0


def _never(receiver: BadReceiver, connection: socket.socket) -> None:
    """Take the request and say nothing."""
    receiver.stopping.wait()


def _drip(receiver: BadReceiver, connection: socket.socket) -> None:
    """Answer one byte a second."""
    for byte in b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n" + b"x" * 100:
        connection.sendall(bytes([byte]))
        if receiver.stopping.wait(STEP_SECONDS):
            return


def _garbage(receiver: BadReceiver, connection: socket.socket) -> None:
    """Say 200, and rubbish."""
    body = bytes(range(256)) * 4
    head = b"HTTP/1.1 200 \xff\xfe\r\nContent-Type: \x80/\x81\r\nContent-Length: %d\r\n\r\n"
    connection.sendall(head % len(body) + body)


def _flood(receiver: BadReceiver, connection: socket.socket) -> None:
    """Say 200, and never stop talking."""
    connection.sendall(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
    while not receiver.stopping.is_set():
        connection.sendall(b"10000\r\n" + b"f" * 65_536 + b"\r\n")


def _redirect(receiver: BadReceiver, connection: socket.socket) -> None:
    """Send elsewhere."""
    location = f"http://127.0.0.1:{receiver.port}/elsewhere"
    connection.sendall(
        f"HTTP/1.1 302 Found\r\nLocation: {location}\r\nContent-Length: 0\r\n\r\n".encode()
    )


def _no_http(receiver: BadReceiver, connection: socket.socket) -> None:
    """Answer something that is no HTTP."""
    connection.sendall(b"SSH-2.0-OpenSSH_9.6\r\n")


def _hang_up(receiver: BadReceiver, connection: socket.socket) -> None:
    """Close without a word."""


def _fine(receiver: BadReceiver, connection: socket.socket) -> None:
    """Answer well."""
    connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")


MANNERS: dict[str, Manner] = {
    "never": _never,
    "drip": _drip,
    "garbage": _garbage,
    "flood": _flood,
    "redirect": _redirect,
    "no-http": _no_http,
    "hang-up": _hang_up,
    "elsewhere": _fine,
}


class BadReceiver:
    """Listens on loopback; `requests` counts what came, by the name in the path."""

    def __init__(self) -> None:
        self.stopping = threading.Event()
        self.requests: Counter[str] = Counter()
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        self._threads: list[threading.Thread] = []
        self._accepting = threading.Thread(target=self._accept, daemon=True)
        self._accepting.start()

    def url(self, manner: str) -> str:
        """Return the address of a manner."""
        return f"http://127.0.0.1:{self.port}/{manner}"

    def close(self) -> None:
        """Stop listening and let everyone go."""
        self.stopping.set()
        self._listener.shutdown(socket.SHUT_RDWR)
        self._accepting.join(10)
        self._listener.close()
        for thread in self._threads:
            thread.join(10)

    def _accept(self) -> None:
        while not self.stopping.is_set():
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            thread = threading.Thread(target=self._serve, args=(connection,), daemon=True)
            self._threads.append(thread)
            thread.start()

    def _serve(self, connection: socket.socket) -> None:
        with connection, contextlib.suppress(OSError):
            connection.settimeout(30)
            head, _, body = _read_head(connection).partition(b"\r\n\r\n")
            size = int(head.lower().partition(b"content-length:")[2].split(b"\r\n")[0] or 0)
            while len(body) < size:
                more = connection.recv(65_536)
                if not more:
                    return
                body += more
            manner = head.split(b" ")[1].decode().lstrip("/")
            self.requests[manner] += 1
            MANNERS[manner](self, connection)


def _read_head(connection: socket.socket) -> bytes:
    data = b""
    while b"\r\n\r\n" not in data:
        more = connection.recv(65_536)
        if not more:
            raise ConnectionResetError
        data += more
    return data
