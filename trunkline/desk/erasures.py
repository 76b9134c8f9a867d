"""Erasures: ordered, and told of. The worker carries them out (`erasure/engine.py`)."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import msgspec
from msgspec import Struct

from trunkline.kit.clock import Clock
from trunkline.kit.desk import ErasureAsked, ErasureOrdered, Reply
from trunkline.model.snapshot import Snapshot
from trunkline.reports.erasures import order_erasure, tell_erasure
from trunkline.state.erasures import TooManyErasures, read_erasures
from trunkline.state.home import Home

_encode = msgspec.json.Encoder().encode


class _Taken(Struct):
    """What is answered to who ordered."""

    status: str
    job: str


class ErasureDesk:
    """Answers what is asked of erasures. Reading and writing is done in a thread."""

    def __init__(self, home: Home, clock: Clock, snapshot: Callable[[], Snapshot | None]) -> None:
        self._home = home
        self._clock = clock
        self._snapshot = snapshot

    async def order(self, question: ErasureOrdered) -> Reply:
        """Take an order, durably; `full` where too many are open."""
        return await asyncio.to_thread(self._order, question)

    async def tell(self, question: ErasureAsked) -> Reply:
        """Tell how far a job of the app is."""
        return await asyncio.to_thread(self._tell, question)

    def _order(self, question: ErasureOrdered) -> Reply:
        now_ms = self._clock.now_ms()
        try:
            row = order_erasure(
                self._home, question.app, question.id, question.key, question.suppress, now_ms
            )
        except TooManyErasures:
            return Reply("full")
        return Reply("taken", _encode(_Taken("accepted", row.id)))

    def _tell(self, question: ErasureAsked) -> Reply:
        with read_erasures(self._home) as erasures:
            row = None if erasures is None else erasures.get(question.job)
        if row is None or row.app != question.app:
            return Reply("missing")
        return Reply("found", _encode(tell_erasure(row, self._snapshot())))
