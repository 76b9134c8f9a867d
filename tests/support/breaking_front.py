"""A shop's web server whose node is killed behind it: it knows what that cuts off.

A request that the node has, and an answer that it gave, belong to a page by the host name asked.
"""

from __future__ import annotations

import http.client
import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler
from pathlib import Path

from tests.support.shop_front import Page, ShopFront

KEPT_SECONDS_MAX = 120.0


class BreakingFront(ShopFront):
    """Where the node is away, a page's connection is closed, as if there were no web server; with
    `is_proxy` it is answered 502. All counts are of posts, by host.

    `asked` are at the node now. `broken` reached it and got no answer; `lost` got one that reached
    no page. What finds nobody listening is in neither.
    """

    def __init__(
        self, folder: Path, node_port: int, hosts: tuple[str, ...], pages: dict[str, Page]
    ) -> None:
        self.is_proxy = False
        self.asked: Counter[str] = Counter()
        self.broken: Counter[str] = Counter()
        self.kept: Counter[str] = Counter()
        self.lost: Counter[str] = Counter()
        self._counting = threading.Lock()
        self._is_let_go: threading.Event | None = None
        super().__init__(folder, node_port, hosts, pages)

    def keep_answers(self) -> None:
        """Keep back each answer to a post until `lose_answers`; `kept` counts them."""
        self._is_let_go = threading.Event()

    def lose_answers(self) -> None:
        """Close the connections whose answers were kept: those never arrive."""
        gate, self._is_let_go = self._is_let_go, None
        if gate is not None:
            gate.set()

    def pass_on(self, asked: BaseHTTPRequestHandler) -> None:
        """Ask the node what was asked here, and answer as it does, if it does."""
        body = asked.rfile.read(int(asked.headers.get("Content-Length", "0")))
        if asked.command != "POST":
            self._pass_on(asked, body, "")
            return
        host = asked.headers.get("Host", "").partition(":")[0]
        with self._counted(self.asked, host):
            self._pass_on(asked, body, host)

    def _pass_on(self, asked: BaseHTTPRequestHandler, body: bytes, host: str) -> None:
        try:
            answer, data = self.ask_node(asked, body)
        except (OSError, http.client.HTTPException) as error:
            if not isinstance(error, ConnectionRefusedError):
                self._count(self.broken, host)
            self._say_away(asked)
            return
        gate = self._is_let_go
        if host and gate is not None:
            with self._counted(self.kept, host):
                gate.wait(KEPT_SECONDS_MAX)
            self._count(self.lost, host)
            asked.close_connection = True
            return
        self.answer(asked, answer, data)

    def _say_away(self, asked: BaseHTTPRequestHandler) -> None:
        asked.close_connection = True
        if not self.is_proxy:
            return
        try:
            asked.send_response(502)
            asked.send_header("Content-Length", "0")
            asked.end_headers()
        except OSError:
            return  # the page is gone

    def _count(self, counter: Counter[str], host: str) -> None:
        with self._counting:
            counter[host] += 1

    @contextmanager
    def _counted(self, counter: Counter[str], host: str) -> Iterator[None]:
        self._count(counter, host)
        try:
            yield
        finally:
            with self._counting:
                counter[host] -= 1

    def close(self) -> None:
        """Stop listening; nothing is kept any more."""
        self.lose_answers()
        super().close()
