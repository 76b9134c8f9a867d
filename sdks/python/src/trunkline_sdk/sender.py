"""Takes entries out of a queue and to the node: in order, within limits, until they are stored.

One thread of its own, so that no caller waits for a network. What a node cannot take now waits,
longer each time and never less than `Retry-After`; what it will never take goes to `on_rejected`.
"""

from __future__ import annotations

import json
import logging
import random
import threading
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from trunkline_sdk.clock import monotonic, now_ms
from trunkline_sdk.entry import Entry, RouteState, Waiting
from trunkline_sdk.errors import InvalidSetting, Rejected
from trunkline_sdk.queues import Queue
from trunkline_sdk.transport import NoAnswer, Transport, seconds_until
from trunkline_sdk.wires import (
    BATCH_BYTES_MAX,
    BATCH_EVENTS_MAX,
    Held,
    NotNow,
    Stored,
    Suspect,
    Verdict,
    Wire,
    Wrong,
)

LOG = logging.getLogger("trunkline_sdk")
RETRY_AFTER_SECONDS_MAX = 3600.0
SUSPECTS_MAX = 5
FIRST_WAIT_SECONDS = 0.5

OnRejected = Callable[[Sequence[Rejected]], None]


@dataclass(frozen=True)
class Limits:
    """Every bound of a client. Times in seconds."""

    queue_events_max: int = 10_000  # in memory
    queue_bytes_max: int = 256 * 1024 * 1024  # in a file
    wait_seconds: float = 5.0  # of a call, where when_full="wait"
    batch_events_max: int = 100  # of a request
    linger_seconds: float = 0.1  # for more events to share a request
    timeout_seconds: float = 10.0  # of a connection, and of an answer
    retry_seconds_max: float = 60.0  # between two tries, where the node asks for nothing else
    keep_days_max: float = 6.0  # tries end; a node knows an id again for 7 days
    exit_seconds: float = 5.0  # for what waits when the process ends

    def __post_init__(self) -> None:
        if not 1 <= self.batch_events_max <= BATCH_EVENTS_MAX:
            raise InvalidSetting(
                f"batch_events_max is {self.batch_events_max}; a node takes 1 to {BATCH_EVENTS_MAX}"
            )
        least = {"queue_events_max": 1, "queue_bytes_max": 65_536, "timeout_seconds": 0.001}
        wrong = [name for name, value in vars(self).items() if value < least.get(name, 0)]
        if wrong:
            raise InvalidSetting(f"{', '.join(wrong)} too small: {self}")


class Sender:
    """The sending side of one client. `turn` is one look at the queue; `run` is the thread."""

    def __init__(
        self, queue: Queue, transport: Transport, limits: Limits, on_rejected: OnRejected | None
    ) -> None:
        self.wires: dict[str, Wire] = {}
        self.hurry = threading.Event()  # somebody waits for what is queued
        self.news = threading.Event()
        self.progress = threading.Condition()
        self._queue = queue
        self._transport = transport
        self._limits = limits
        self._on_rejected = on_rejected
        self._stop = threading.Event()
        self._strange: set[str] = set()

    def run(self) -> None:
        """Send until told to stop. No failure of a turn ends it."""
        self._rest(0.0)  # the call that started the thread may have others behind it
        while not self._stop.is_set():
            try:
                wait = self.turn()
            except Exception:
                LOG.exception("the sender failed; it goes on in a second")
                wait = 1.0
            if wait > 0:  # else more may wait, and what came meanwhile shares the next request
                self._rest(wait)
        self._transport.close()

    def send_here(self, is_done: Callable[[], bool], seconds: float) -> bool:
        """Send on the caller's thread, where a thread can no longer be had; as `wait_until`."""
        deadline = monotonic() + seconds
        while not is_done():
            if monotonic() > deadline:
                return False
            self.news.wait(min(self.turn(), 0.05))
        return True

    def stop(self) -> None:
        """Ask the thread to end after the request it is in."""
        self._stop.set()
        self.hurry.set()
        self.news.set()

    def turn(self) -> float:
        """Send at most one head of each route that is due; return the seconds to the next look."""
        waits = [self._serve(state) for state in self._queue.routes() if self._is_ours(state)]
        return min([self._queue.look_seconds, *waits])

    def reject(self, rejected: Sequence[Rejected]) -> None:
        """Tell of events that will not be stored: the callback, or else the log."""
        if self._on_rejected is None:
            for one in rejected:
                LOG.error("event_rejected message_id=%s code=%s %s", one.message_id, one.code,
                          one.message)  # fmt: skip
            return
        try:
            self._on_rejected(rejected)
        except Exception:
            LOG.exception("on_rejected failed for %s", [one.message_id for one in rejected])

    def _rest(self, wait: float) -> None:
        self.news.wait(wait)
        if self.news.is_set():
            self.news.clear()
            self.hurry.wait(self._limits.linger_seconds)

    def _is_ours(self, state: RouteState) -> bool:
        if state.route not in self.wires and state.route not in self._strange:
            self._strange.add(state.route)
            LOG.warning(
                "events wait on %s, whose key this client was not given; a client with that key "
                "sends them (after a rotation: former_write_keys)", state.route,
            )  # fmt: skip
        return state.route in self.wires

    def _serve(self, state: RouteState) -> float:
        wait = seconds_until(state.not_before_ms)
        if 0 < wait <= RETRY_AFTER_SECONDS_MAX + self._limits.retry_seconds_max:
            return wait  # a longer one is a clock that jumped
        if not self._queue.claim(state.route):
            return self._queue.look_seconds
        try:
            return self._send_head(self.wires[state.route], state)
        finally:
            self._queue.release(state.route)
            with self.progress:
                self.progress.notify_all()

    def _send_head(self, wire: Wire, state: RouteState) -> float:
        head = self._queue.head(state.route, self._limits.batch_events_max, BATCH_BYTES_MAX)
        parts = deque(wire.parts(head))
        suspects: list[Waiting] = []
        doubt = ""
        while parts and not self._stop.is_set():
            part = parts.popleft()
            verdict = self._ask(wire, part)
            if isinstance(verdict, Suspect):
                suspects.append(part[0])
                doubt = verdict.message
                if len(suspects) >= SUSPECTS_MAX:
                    break
            elif isinstance(verdict, (NotNow, Held)):
                return self._pause(state, part, verdict)
            elif isinstance(verdict, Wrong) and len(part) > 1:
                middle = len(part) // 2
                parts.extendleft((part[middle:], part[:middle]))
            else:
                self._settle(part, verdict)
                self._clear(wire, suspects)
                suspects = []
        if suspects:
            return self._pause(state, suspects, Held(doubt))
        if state.failures:
            self._queue.pause(state.route, 0, 0)
        return 0.0 if head else self._queue.look_seconds

    def _ask(self, wire: Wire, part: Sequence[Waiting]) -> Verdict:
        try:
            answer = self._transport.post(wire.pack(part, now_ms()))
        except NoAnswer as error:
            return NotNow(f"no answer: {error}")
        return wire.judge(answer, now_ms())

    def _settle(self, part: Sequence[Waiting], verdict: Stored | Wrong) -> None:
        """Take out what the node has judged. First tell, then forget: a crash tells twice."""
        if isinstance(verdict, Wrong):
            rejected = [rejection(one.entry, verdict.code, verdict.message) for one in part]
        else:
            rejected = [
                rejection(part[row.index].entry, row.code, row.message)
                for row in verdict.refused
                if 0 <= row.index < len(part)
            ]
        if rejected:
            self.reject(rejected)
        self._queue.remove(part)
        with self.progress:
            self.progress.notify_all()

    def _clear(self, wire: Wire, suspects: list[Waiting]) -> None:
        """Another event got through with the same key. Who is refused once more is at fault.

        Once more, because the key may have been mended only a moment ago.
        """
        for one in suspects:
            verdict = self._ask(wire, [one])
            if isinstance(verdict, Suspect):
                verdict = Wrong(verdict.code, verdict.message)
            if isinstance(verdict, (Stored, Wrong)):
                self._settle([one], verdict)

    def _pause(self, state: RouteState, part: Sequence[Waiting], verdict: NotNow | Held) -> float:
        asked = verdict.after_seconds if isinstance(verdict, NotNow) else 0.0
        wait = retry_wait(state.failures, asked, self._limits.retry_seconds_max)
        level = logging.ERROR if isinstance(verdict, Held) else logging.WARNING
        LOG.log(level, "events_wait route=%s again_in_seconds=%.1f %s", state.route, wait,
                verdict.message)  # fmt: skip
        self._queue.pause(state.route, state.failures + 1, now_ms() + int(wait * 1000))
        self._expire(part, verdict.message)
        return wait

    def _expire(self, part: Sequence[Waiting], message: str) -> None:
        since_ms = now_ms() - int(self._limits.keep_days_max * 86_400_000)
        old = [one for one in part if one.entry.made_ms < since_ms]
        if old:
            days = f"not stored within {self._limits.keep_days_max:g} days: {message}"
            self.reject([rejection(one.entry, "expired", days) for one in old])
            self._queue.remove(old)

    def wait_until(self, is_done: Callable[[], bool], seconds: float) -> bool:
        """Wait until something is true of the queue, and say whether it got so."""
        deadline = monotonic() + seconds
        while not is_done():
            left = deadline - monotonic()
            if left <= 0:
                return False
            with self.progress:
                self.progress.wait(min(left, 0.05))  # other processes take entries out too
        return True


def retry_wait(failures: int, asked_seconds: float, seconds_max: float) -> float:
    """Return the seconds until the next try: spread, doubling, never less than what was asked."""
    ceiling = min(seconds_max, FIRST_WAIT_SECONDS * 2 ** min(failures, 20))
    spread = random.SystemRandom().uniform(ceiling / 2, ceiling)
    return max(min(asked_seconds, RETRY_AFTER_SECONDS_MAX), spread)


def rejection(entry: Entry, code: str, message: str) -> Rejected:
    """Return an entry as its caller is told of it."""
    return Rejected(entry.message_id, code, message, json.loads(entry.body))
