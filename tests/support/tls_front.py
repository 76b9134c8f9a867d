"""A TLS front for a node, under host names that a client has in its code.

It passes each request on and may lose one answer: the client never hears what the node has stored.
"""

from __future__ import annotations

import http.client
import threading
from http.server import BaseHTTPRequestHandler
from pathlib import Path

from tests.support.certificates import self_signed
from tests.support.tls_server import QuietHandler, TlsServer

TIMEOUT_SECONDS = 30.0
HOP_HEADERS = ("connection", "transfer-encoding", "keep-alive", "content-length", "server", "date")


class TlsFront:
    """Listens on loopback for `hosts`. The first request whose body holds `lost_mark` gets no
    answer; `heard` are all requests: host, method, path and the status of the node."""

    def __init__(self, folder: Path, port: int, hosts: tuple[str, ...], lost_mark: bytes) -> None:
        context, certificate = self_signed(folder, *hosts)
        self.certificate_file = folder / "front.pem"
        self.certificate_file.write_bytes(certificate)
        self.heard: list[tuple[str, str, str, int]] = []
        self.lost = 0
        self._port = port
        self._lost_mark = lost_mark
        self._lock = threading.Lock()
        front = self

        class Handler(QuietHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers.get("Content-Length", "0")))
                status, headers, answer = front.pass_on(self, body)
                if front.is_to_lose(body):
                    self.close_connection = True
                    return
                self.send_response(status)
                for name, value in headers:
                    if name.lower() not in HOP_HEADERS:
                        self.send_header(name, value)
                self.send_header("Content-Length", str(len(answer)))
                self.end_headers()
                self.wfile.write(answer)

            do_OPTIONS = do_POST

        self._server = TlsServer(context, Handler)
        self.port = self._server.port

    def pass_on(
        self, asked: BaseHTTPRequestHandler, body: bytes
    ) -> tuple[int, list[tuple[str, str]], bytes]:
        """Ask the node what was asked here, and return its answer."""
        node = http.client.HTTPConnection("127.0.0.1", self._port, timeout=TIMEOUT_SECONDS)
        headers = {k: v for k, v in asked.headers.items() if k.lower() not in HOP_HEADERS}
        try:
            node.request(asked.command, asked.path, body, headers)
            answer = node.getresponse()
            host = asked.headers.get("Host", "")
            self.heard.append((host, asked.command, asked.path, answer.status))
            return answer.status, answer.getheaders(), answer.read()
        finally:
            node.close()

    def is_to_lose(self, body: bytes) -> bool:
        """Say whether this answer is the one that gets lost."""
        with self._lock:
            is_first = self._lost_mark in body and not self.lost
            self.lost += is_first
        return is_first

    def close(self) -> None:
        """Stop listening."""
        self._server.close()
