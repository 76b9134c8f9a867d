"""A vendor on loopback: it issues tokens, keeps every request whole, and says what it is told."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, NamedTuple
from urllib.parse import urlsplit

TOKEN_PATH = "/token"


class Seen(NamedTuple):
    """A request that came in; header names in lower case."""

    method: str
    path: str
    query: str
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)


class VendorServer:
    """Paths below `/secured` want a token that was issued at `/token` and not revoked since."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._seen: list[Seen] = []
        self._tokens: set[str] = set()
        self.issued = 0
        vendor = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            disable_nagle_algorithm = True

            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
                parts = urlsplit(self.path)
                headers = {name.lower(): value for name, value in self.headers.items()}
                seen = Seen(self.command, parts.path, parts.query, headers, body)
                status, answer = vendor.take(seen)
                text = json.dumps(answer).encode()
                self.send_response(status)
                self.send_header("Content-Length", str(len(text)))
                self.end_headers()
                self.wfile.write(text)

            do_GET = do_PUT = do_POST

            def log_message(self, format: str, *args: Any) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self._server.server_port}"
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def take(self, seen: Seen) -> tuple[int, Any]:
        """Keep a request and return status and answer."""
        with self._changed:
            if seen.path == TOKEN_PATH:
                self.issued += 1
                token = f"token-{self.issued}"
                self._tokens.add(token)
                self._seen.append(seen)
                return 200, {"access_token": token, "expires_in": 3600}
            token = seen.headers.get("authorization", "").removeprefix("Bearer ")
            if seen.path.startswith("/secured") and token not in self._tokens:
                return 401, {"error": "invalid_token"}
            self._seen.append(seen)
            self._changed.notify_all()
            return 200, {"status": "ok"}

    def revoke(self) -> None:
        """Let no token hold that was issued so far."""
        with self._changed:
            self._tokens.clear()

    def at(self, path: str) -> list[Seen]:
        """Return what was taken at a path, in order."""
        with self._changed:
            return [seen for seen in self._seen if seen.path == path]

    def wait(self, is_true: Callable[[], bool], seconds: float) -> bool:
        """Wait until something about what came is true; say whether it is."""
        with self._changed:
            return self._changed.wait_for(is_true, seconds)

    def close(self) -> None:
        """Stop listening."""
        self._server.shutdown()
        self._server.server_close()
