"""Group commit: whatever requests gathered while the last append ran goes in as one append.

A durable append costs about the same for one record and for a hundred, so under load the cost of a
commit is shared by as many requests as came during the one before. Theory of operation:

- All state belongs to the event loop. The thread knows one thing: jobs in, one at a time.
- `gather` puts records among the gathered ones. When no append runs, one is started at the end of
  this turn of the loop, so that requests which became ready together go together.
- The thread appends and comes back with one `call_soon_threadsafe`, which tells each request of the
  group; the next is handed over at the end of that turn. Telling is a call, not a future: a future
  costs its task a turn of the loop, and with it 5 µs a request.

A group that fails is refused whole: each of its requests is answered 503 and may be sent again,
and nothing else is touched. Refusals ride along with whatever is appended; nobody waits for them.
"""

from __future__ import annotations

import asyncio
import threading
from collections import deque
from collections.abc import Callable, Sequence
from functools import partial
from queue import SimpleQueue

from trunkline.gateway.refusals import Refusals
from trunkline.kit.clock import Clock
from trunkline.kit.eventlog import Appender, LogFailure, Record
from trunkline.model.record import AcceptedRefusal
from trunkline.telemetry import gateway as telemetry

APPEND_BYTES_MAX = 8 * 1024 * 1024
APPEND_RECORDS_MAX = 10_000
WAITING_BYTES_MAX = 64 * 1024 * 1024
WAITING_RECORDS_MAX = 100_000

Told = Callable[[LogFailure | None], None]  # what became of an append: None is durable

# The records of one request, their bytes, and who is told. A bare tuple: it is made once a request,
# and a class would cost 0.4 µs more.
_Entry = tuple[Sequence[Record], int, Told]


class Committer:
    """The one way into this process's partition of ACCEPTED. Use it from one event loop."""

    def __init__(self, appender: Appender, refusals: Refusals, clock: Clock) -> None:
        self._appender = appender
        self._refusals = refusals
        self._clock = clock
        self._loop = asyncio.get_running_loop()
        self._gathered: deque[_Entry] = deque()
        self._gathered_bytes = 0
        self._gathered_records = 0
        self._is_appending = False
        self._is_closing = False
        self._failures = 0
        self._idle = asyncio.Event()
        self._idle.set()
        self._ended = asyncio.Event()
        self._jobs: SimpleQueue[Callable[[], None] | None] = SimpleQueue()
        self._thread = threading.Thread(target=self._work, name="gateway-commit", daemon=True)
        self._thread.start()

    def gather(self, records: Sequence[Record], size: int, tell: Told) -> bool:
        """Gather records of `size` bytes for the next append; `tell` is called once it returned.

        False where no more may wait, or it is closing: then nothing is stored and nobody is told.
        `tell` must not raise; what it raises is told as a defect, and the others are told all the
        same.
        """
        if (
            self._gathered_bytes > WAITING_BYTES_MAX
            or self._gathered_records > WAITING_RECORDS_MAX
            or self._is_closing
        ):
            return False
        self._gathered.append((records, size, tell))
        self._gathered_bytes += size
        self._gathered_records += len(records)
        if not self._is_appending:
            self._start()
        return True

    def nudge(self) -> None:
        """Append the refusals that wait, where nothing else is about to take them along."""
        if not self._is_appending and not self._is_closing and self._refusals.is_waiting:
            self._start()

    def probe(self) -> asyncio.Future[LogFailure | None]:
        """Write durably and leave no record. Behind the append that runs, as an event would be."""
        durable: asyncio.Future[LogFailure | None] = self._loop.create_future()
        self._jobs.put(partial(self._probe, durable))
        return durable

    async def close(self) -> None:
        """Take no more, append what was gathered and the refusals, and end the thread."""
        if self._is_closing:
            return
        self._is_closing = True
        self._refusals.fold_out()
        if not self._is_appending and self._refusals.is_waiting:
            self._start()
        await self._idle.wait()
        self._jobs.put(None)
        # Not joined: a thread that hangs in a write must not keep the process from ending.
        await self._ended.wait()

    # In the event loop.

    def _start(self) -> None:
        self._is_appending = True
        self._idle.clear()
        self._loop.call_soon(self._hand_over)

    def _hand_over(self) -> None:
        entries, room = self._take()
        refused = self._refusals.take(max(room, APPEND_BYTES_MAX // 16))
        if not entries and not refused:
            self._is_appending = False
            self._idle.set()
            return
        self._jobs.put(partial(self._append, entries, refused))

    def _take(self) -> tuple[list[_Entry], int]:
        entries: list[_Entry] = []
        gathered = self._gathered
        room = APPEND_BYTES_MAX
        records = APPEND_RECORDS_MAX
        while gathered:
            its_records, size, _ = gathered[0]
            if entries and (size > room or len(its_records) > records):
                break
            entries.append(gathered.popleft())
            room -= size
            records -= len(its_records)
        self._gathered_bytes -= APPEND_BYTES_MAX - room
        self._gathered_records -= APPEND_RECORDS_MAX - records
        return entries, room

    def _settle(
        self, entries: list[_Entry], refused: list[AcceptedRefusal], failure: LogFailure | None
    ) -> None:
        for _, _, tell in entries:
            try:
                tell(failure)
            except Exception as error:  # must not keep the rest of the group waiting
                telemetry.telling_broke(error)
        if failure is not None:
            self._failures += 1
            self._refusals.put_back(refused)
        elif self._failures:
            telemetry.commit_recovered(self._failures)
            self._failures = 0
        # After a failure the refusals wait for the next event or nudge: no hot loop on a full disk.
        if self._gathered or (failure is None and self._refusals.is_waiting):
            # What is ready to be read now comes along: 64 connections that send one event after the
            # other go in groups of 50 instead of 30.
            self._loop.call_soon(self._hand_over)
        else:
            self._is_appending = False
            self._idle.set()

    # In the thread.

    def _work(self) -> None:
        while (job := self._jobs.get()) is not None:
            job()
        self._come_back(self._ended.set)

    def _append(self, entries: list[_Entry], refused: list[AcceptedRefusal]) -> None:
        records = [record for its_records, _, _ in entries for record in its_records]
        records += self._refusals.encode(refused)
        failure = self._try(partial(self._appender.append, records), len(records))
        self._come_back(partial(self._settle, entries, refused, failure))

    def _probe(self, durable: asyncio.Future[LogFailure | None]) -> None:
        failure = self._try(self._appender.probe, 0)
        self._come_back(partial(_settle_probe, durable, failure))

    def _try(self, write: Callable[[], object], records: int) -> LogFailure | None:
        begun = self._clock.monotonic()
        try:
            write()
        except LogFailure as failure:
            telemetry.commit_failed(failure, is_first=self._failures == 0)
            return failure
        except Exception as error:  # the edge of the commit loop: a defect must not end the thread
            telemetry.commit_broke(error, is_first=self._failures == 0)
            return LogFailure(f"the event log broke: {type(error).__name__}")
        if records:
            telemetry.committed(records, self._clock.monotonic() - begun)
        return None

    def _come_back(self, then: Callable[[], None]) -> None:
        try:
            self._loop.call_soon_threadsafe(then)
        except RuntimeError:
            # The loop was closed while the write ran: nobody is left to be told.
            return


def _settle_probe(durable: asyncio.Future[LogFailure | None], failure: LogFailure | None) -> None:
    if not durable.done():
        durable.set_result(failure)
