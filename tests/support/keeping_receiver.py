"""A receiver of webhooks that keeps every event whole, apart for each path, and may misbehave."""

from __future__ import annotations

import json
import threading
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


@dataclass
class Shelf:
    """What came to one path. `events` in the order of their first coming; `copies` of each id."""

    events: dict[str, dict[str, Any]] = field(default_factory=dict[str, dict[str, Any]])
    copies: Counter[str] = field(default_factory=Counter[str])
    requests: int = 0

    @property
    def extra_copies(self) -> int:
        """Deliveries beyond the first of each event."""
        return self.copies.total() - len(self.copies)


class KeepingReceiver:
    """Keeps what it answered 200 to. `fail_every` n answers every nth request of a path 503."""

    def __init__(self, fail_every: int = 0) -> None:
        self._fail_every = fail_every
        self._shelves: dict[str, Shelf] = {}
        self._changed = threading.Condition()
        receiver = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            disable_nagle_algorithm = True

            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                self.send_response(receiver.take(self.path, body))
                said = receiver.say(self.path, body)
                self.send_header("Content-Length", str(len(said)))
                self.end_headers()
                self.wfile.write(said)

            def log_message(self, format: str, *args: Any) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self._server.server_port}"
        self._thread = threading.Thread(target=self._server.serve_forever, daemon=True)
        self._thread.start()

    def shelf(self, path: str) -> Shelf:
        """Return what came to a path."""
        with self._changed:
            return self._shelves.setdefault(path, Shelf())

    def take(self, path: str, body: bytes) -> int:
        """Keep the events of a request and return the status to answer."""
        decoded: Any = json.loads(body)
        events: list[dict[str, Any]] = decoded if isinstance(decoded, list) else [decoded]
        with self._changed:
            shelf = self._shelves.setdefault(path, Shelf())
            shelf.requests += 1
            if self._fail_every and shelf.requests % self._fail_every == 0:
                return 503
            for event in events:
                shelf.events.setdefault(event["messageId"], event)
                shelf.copies[event["messageId"]] += 1
            self._changed.notify_all()
        return 200

    def say(self, path: str, body: bytes) -> bytes:
        """Return the body of the answer to a request."""
        return b""

    def wait(self, is_done: Callable[[], bool], seconds: float) -> bool:
        """Wait until something is true of what came, and say whether it got so."""
        with self._changed:
            return self._changed.wait_for(is_done, seconds)

    def close(self) -> None:
        """Stop listening."""
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()
