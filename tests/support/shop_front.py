"""A shop's web server with TLS: its pages, under a strict Content-Security-Policy, and a node.

One port for every host name; a browser is told to find them all here. What is no page is passed on
to the node, as a reverse proxy does it. While a certain file is there, answers to posts are held
up, and each makes a mark in it: the node has stored the event by then, and the page does not know.
While another one is there, the node is not asked: whatever is meant for it is answered 503, as a
proxy says that what stands behind it is away.
"""

from __future__ import annotations

import http.client
import os
import threading
import time
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler
from pathlib import Path

from tests.support.certificates import self_signed
from tests.support.tls_front import HOP_HEADERS, TIMEOUT_SECONDS
from tests.support.tls_server import QuietHandler, TlsServer

PREFIX = "/in"  # below this the node is found too; its server takes it away
HELD_SECONDS_MAX = 60.0
CALLER = "198.51.100.23"  # where the shop's web server says that visitors come from


@dataclass(frozen=True)
class Page:
    """A page or a script of the shop. `policy` is its Content-Security-Policy."""

    text: str
    policy: str = ""


class ShopFront:
    """Listens on loopback for `hosts`. `pages` are by path, the same for all hosts."""

    def __init__(
        self, folder: Path, node_port: int, hosts: tuple[str, ...], pages: dict[str, Page]
    ) -> None:
        context, _ = self_signed(folder, *hosts)
        self.hold_file = folder / "hold"
        self.away_file = folder / "away"
        self._node_port = node_port
        self._pages = pages
        self._is_closed = threading.Event()
        front = self

        class Handler(QuietHandler):
            def do_GET(self) -> None:
                page = front.find_page(self.path)
                if page is None:
                    front.pass_on(self)
                    return
                body = page.text.encode()
                kind = "text/javascript" if self.path.endswith(".js") else "text/html"
                self.send_response(200)
                self.send_header("Content-Type", f"{kind}; charset=utf-8")
                if page.policy:
                    self.send_header("Content-Security-Policy", page.policy)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def do_POST(self) -> None:
                front.pass_on(self)

            do_OPTIONS = do_POST

        self._server = TlsServer(context, Handler)
        self.port = self._server.port

    def find_page(self, path: str) -> Page | None:
        """Return the shop's own page of a path; a query changes nothing."""
        return self._pages.get(path.partition("?")[0])

    def pass_on(self, asked: BaseHTTPRequestHandler) -> None:
        """Ask the node what was asked here, and answer as it does."""
        body = asked.rfile.read(int(asked.headers.get("Content-Length", "0")))
        if self.away_file.exists():
            asked.send_response(503)
            asked.send_header("Content-Length", "0")
            asked.end_headers()
            return
        answer, data = self.ask_node(asked, body)
        if asked.command == "POST":
            self._wait_while_held()
        self.answer(asked, answer, data)

    def ask_node(
        self, asked: BaseHTTPRequestHandler, body: bytes
    ) -> tuple[http.client.HTTPResponse, bytes]:
        """Return what the node answers. Raises `OSError`, `HTTPException` where it is away."""
        headers = {k: v for k, v in asked.headers.items() if k.lower() not in HOP_HEADERS}
        headers |= {"X-Forwarded-For": CALLER, "X-Forwarded-Proto": "https"}
        node = http.client.HTTPConnection("127.0.0.1", self._node_port, timeout=TIMEOUT_SECONDS)
        try:
            node.request(asked.command, asked.path.removeprefix(PREFIX), body, headers)
            answer = node.getresponse()
            return answer, answer.read()
        finally:
            node.close()

    def answer(
        self, asked: BaseHTTPRequestHandler, answer: http.client.HTTPResponse, data: bytes
    ) -> None:
        """Give the page the node's answer."""
        try:
            asked.send_response(answer.status)
            for name, value in answer.getheaders():
                if name.lower() not in HOP_HEADERS:
                    asked.send_header(name, value)
            asked.send_header("Content-Length", str(len(data)))
            asked.end_headers()
            asked.wfile.write(data)
        except OSError:
            asked.close_connection = True  # the page is gone

    def _wait_while_held(self) -> None:
        try:  # never made here: it would come back in the moment that its maker takes it away
            marks = os.open(self.hold_file, os.O_WRONLY | os.O_APPEND)
        except FileNotFoundError:
            return
        os.write(marks, b".")
        os.close(marks)
        end = time.monotonic() + HELD_SECONDS_MAX
        while self.hold_file.exists() and time.monotonic() < end:
            self._is_closed.wait(0.02)

    def close(self) -> None:
        """Stop listening; nobody is held any more."""
        self._is_closed.set()
        self.hold_file.unlink(missing_ok=True)
        self._server.close()
