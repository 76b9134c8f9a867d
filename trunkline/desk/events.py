"""An event's whole story, as `trunkline trace` prints it, for the back end that sent it.

Read in threads of their own, so that a slow disk holds up nothing else of the gateway's process.
What was sent by a playbook with code is not made again here: that takes the jail, which only the
worker and `trunkline trace` have; the answer says so.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import msgspec

from trunkline.kit.desk import EventAsked, Reply
from trunkline.kit.eventlog import EventLog
from trunkline.model.snapshot import Snapshot
from trunkline.reports.rendering import Kinds
from trunkline.reports.trace import Tracer
from trunkline.state.home import Home

THREADS = 2  # stories told at a time; the gateway bounds how many wait
_encode = msgspec.json.Encoder().encode


class EventDesk:
    """Answers what is asked of events."""

    def __init__(
        self, home: Home, log: EventLog, snapshot: Callable[[], Snapshot | None], kinds: Kinds
    ) -> None:
        self._home = home
        self._log = log
        self._snapshot = snapshot
        self._kinds = kinds
        self._threads = ThreadPoolExecutor(THREADS, thread_name_prefix="stories")

    async def answer(self, question: EventAsked) -> Reply:
        """Tell the newest event of the app with this id; `missing` where there is none."""
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._threads, self._tell, question)

    def _tell(self, question: EventAsked) -> Reply:
        snapshot = self._snapshot()
        if snapshot is None:
            return Reply("missing")
        tracer = Tracer(self._home, self._log, snapshot, self._kinds)
        stories = tracer.trace(question.id, question.app)
        return Reply("found", _encode(stories[0])) if stories else Reply("missing")
