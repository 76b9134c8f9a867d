"""A receiver of webhooks that does, path by path, what a story tells it: hold, refuse, judge."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable
from typing import Any

from tests.support.keeping_receiver import KeepingReceiver

Judge = Callable[[list[dict[str, Any]]], int]
HELD_SECONDS_MAX = 120.0


class ToldReceiver(KeepingReceiver):
    """Answers 200 and keeps, until a path is told otherwise."""

    def __init__(self) -> None:
        self._judges: dict[str, Judge] = {}
        self._gates: dict[str, threading.Event] = {}
        super().__init__()

    def answer(self, path: str, status: int) -> None:
        """Answer every request of a path with one status from now on."""
        self.judge(path, lambda _: status)

    def judge(self, path: str, judge: Judge) -> None:
        """Answer each request of a path with what `judge` says of its events."""
        self._judges[path] = judge

    def hold(self, path: str) -> None:
        """Let the requests of a path wait for their answer until `release`."""
        self._gates[path] = threading.Event()

    def release(self, path: str) -> None:
        """Answer what is held, and hold no more."""
        self._gates.pop(path, threading.Event()).set()

    def take(self, path: str, body: bytes) -> int:
        """Answer a request as it was told."""
        gate = self._gates.get(path)
        if gate is not None:
            gate.wait(HELD_SECONDS_MAX)
        judge = self._judges.get(path)
        if judge is not None:
            events: list[dict[str, Any]] = json.loads(
                body if body[:1] == b"[" else b"[" + body + b"]"
            )
            status = judge(events)
            if status != 200:
                return status
        return super().take(path, body)

    def close(self) -> None:
        """Stop listening; nobody is held any more."""
        for path in list(self._gates):
            self.release(path)
        super().close()
