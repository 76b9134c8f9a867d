"""A server that takes the tracking, REST and S2S APIs and answers as a story says.

For what a healthy node does not do on demand: to ask for a pause, to close a connection, to refuse
a key. Without a line in its script it stores what it gets, and says so.
"""

from __future__ import annotations

import gzip
import json
import sys
import threading
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

GOOD = b'{"success":true,"status":"success"}'


@dataclass(frozen=True)
class Asked:
    """One request: when it came (monotonic), path, headers (lower case), body as sent."""

    at: float
    path: str
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        packed = self.headers.get("content-encoding") == "gzip"
        return json.loads(gzip.decompress(self.body) if packed else self.body)

    @property
    def message_ids(self) -> list[str]:
        """The ids of the events in it, whichever API it speaks."""
        value = self.json
        events = value.get("batch") or value.get("messages") or [value]
        return [event.get("messageId") or event["id"] for event in events]


@dataclass(frozen=True)
class Line:
    """One answer. `cut` closes the connection in its place."""

    status: int = 200
    body: bytes = GOOD
    headers: dict[str, str] = field(default_factory=dict[str, str])
    cut: bool = False


def refusal(status: int, code: str, **headers: str) -> Line:
    """Return an error as the tracking API says it; a header's name has `_` for `-`."""
    body = json.dumps({"success": False, "code": code, "message": f"a {code}"}).encode()
    return Line(status, body, {name.replace("_", "-"): text for name, text in headers.items()})


class Server(ThreadingHTTPServer):
    """Says nothing when a client goes away."""

    daemon_threads = True

    def handle_error(self, request: Any, client_address: Any) -> None:
        if not isinstance(sys.exception(), ConnectionError):
            super().handle_error(request, client_address)


class ScriptedNode:
    """Listens on loopback. `script` holds the next answers; `judge`, if set, decides the others."""

    def __init__(self) -> None:
        self.asked: list[Asked] = []
        self.script: deque[Line] = deque()
        self.judge: Callable[[Asked], Line] = lambda _: Line()
        self._changed = threading.Condition()
        node = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            disable_nagle_algorithm = True
            timeout = 60

            def do_POST(self) -> None:
                length = int(self.headers["Content-Length"])
                body = self.rfile.read(length)
                if len(body) < length:  # its sender ended in the middle
                    self.close_connection = True
                    return
                headers = {name.lower(): text for name, text in self.headers.items()}
                line = node.answer(Asked(time.monotonic(), self.path, headers, body))
                if line.cut:
                    self.close_connection = True
                    return
                self.send_response(line.status)
                for name, text in line.headers.items():
                    self.send_header(name, text)
                self.send_header("Content-Length", str(len(line.body)))
                self.end_headers()
                self.wfile.write(line.body)

            def log_message(self, format: str, *args: Any) -> None:
                pass

        self._server = Server(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_port}"
        self._thread = threading.Thread(
            target=self._server.serve_forever, args=(0.02,), daemon=True
        )
        self._thread.start()

    def answer(self, asked: Asked) -> Line:
        """Keep a request and say what it gets."""
        with self._changed:
            self.asked.append(asked)
            self._changed.notify_all()
            return self.script.popleft() if self.script else self.judge(asked)

    def wait_asked(self, count: int, seconds: float = 60.0) -> list[Asked]:
        """Wait for so many requests, and return them."""
        with self._changed:
            came = self._changed.wait_for(lambda: len(self.asked) >= count, seconds)
            assert came, f"{len(self.asked)} of {count} requests came"
            return list(self.asked)

    def close(self) -> None:
        """Stop listening."""
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()
