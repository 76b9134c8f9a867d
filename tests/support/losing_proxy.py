"""A proxy between a client and a node that loses answers: the worst moment for a cut.

The node has stored the events and said so, the client never hears it and sends them again. The
first answer to each batch is lost, known by the messageId of its first event.
"""

from __future__ import annotations

import gzip
import http.client
import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

TIMEOUT_SECONDS = 30.0
HOP_HEADERS = ("connection", "host", "transfer-encoding", "keep-alive")


class LosingProxy:
    """Passes requests on to a port of this machine. `lost` counts the answers it kept back."""

    def __init__(self, port: int) -> None:
        self._port = port
        self._seen: set[str] = set()
        self._lock = threading.Lock()
        self.lost = 0
        proxy = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            disable_nagle_algorithm = True

            def do_POST(self) -> None:
                body = self.read_body()
                headers = {k: v for k, v in self.headers.items() if k.lower() not in HOP_HEADERS}
                status, answer = proxy.pass_on(self.path, headers, body)
                if proxy.is_first(body, headers.get("Content-Encoding", "")):
                    self.close_connection = True
                    return
                self.send_response(status)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(answer)))
                self.end_headers()
                self.wfile.write(answer)

            def read_body(self) -> bytes:
                if self.headers.get("Transfer-Encoding") != "chunked":
                    return self.rfile.read(int(self.headers["Content-Length"]))
                body = b""
                while size := int(self.rfile.readline(), 16):
                    body += self.rfile.read(size)
                    self.rfile.readline()
                self.rfile.readline()
                return body

            def log_message(self, format: str, *args: Any) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self._server.server_port}"
        self._thread = threading.Thread(target=self._server.serve_forever, daemon=True)
        self._thread.start()

    def pass_on(self, path: str, headers: dict[str, str], body: bytes) -> tuple[int, bytes]:
        """Ask the node, and return its status and body."""
        node = http.client.HTTPConnection("127.0.0.1", self._port, timeout=TIMEOUT_SECONDS)
        try:
            node.request("POST", path, body, headers)
            answer = node.getresponse()
            return answer.status, answer.read()
        finally:
            node.close()

    def is_first(self, body: bytes, encoding: str) -> bool:
        """Say whether a batch comes for the first time, and remember it."""
        text = gzip.decompress(body) if encoding == "gzip" else body
        message_id = json.loads(text)["batch"][0]["messageId"]
        with self._lock:
            is_new = message_id not in self._seen
            self._seen.add(message_id)
            self.lost += is_new
        return is_new

    def close(self) -> None:
        """Stop listening."""
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()
