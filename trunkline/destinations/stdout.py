"""`stdout`: canonical events to the node's standard output, one JSON object a line.

For trying things out, and for containers whose output is collected. What is written counts as
delivered; what becomes of it behind the pipe is the collector's matter.
"""

from __future__ import annotations

import errno
import os
import select
import sys
import threading
from collections.abc import Sequence
from typing import ClassVar

from trunkline.kit.destination import Attempt, Channel, Example, Mapped, Settings
from trunkline.kit.sample_events import PURCHASE, SIGN_UP
from trunkline.model.outcome import Blocked, Delivered, Outcome, Retry


class StdoutSettings(Settings, frozen=True, kw_only=True):
    """Nothing but what every destination has."""


class Stdout(Channel[StdoutSettings]):
    """Canonical events to standard output."""

    kind = "stdout"
    title = "Standard output"
    settings_type = StdoutSettings

    # Several destinations may be on it, each on its own thread; lines must not mix.
    _lock: ClassVar[threading.Lock] = threading.Lock()

    def open(self) -> None:
        """Nothing to do: it is open as long as the process is."""

    def deliver(
        self,
        events: Sequence[Mapped],
        attempt: Attempt,  # noqa: ARG002  of the contract; a line tells no attempt
    ) -> Sequence[Outcome]:
        """Write the events as lines. A reader that stands still is a retry after the time-out.

        Lines that went before a failure are written again: at least once, as everywhere.
        """
        lines = b"".join([event.body + b"\n" for event in events])
        try:
            with self._lock:
                sys.stdout.flush()
                _write(sys.stdout.fileno(), lines, self.settings.timeout_seconds)
        except TimeoutError:
            return [Retry("standard output is not being read")] * len(events)
        except (OSError, ValueError) as error:
            return [_outcome_of(error)] * len(events)
        return [Delivered()] * len(events)

    def close(self) -> None:
        """Nothing to do: it is the process's, not ours."""

    examples: ClassVar[Sequence[Example]] = (
        Example(
            "One event",
            settings={},
            events=(SIGN_UP,),
            text=(
                b'{"messageId":"order-1002-signup","type":"identify",'
                b'"userId":"u-43","timestamp":"2026-11-20T10:15:31.000Z",'
                b'"receivedAt":"2026-11-20T10:15:31.045Z","traits":{"plan":"gold"},'
                b'"app":"zcmwmxbkmuodelu","source":{"protocol":"tracking",'
                b'"key":"backend"}}\n'
            ),
        ),
        Example(
            "Two events",
            settings={},
            events=(PURCHASE, SIGN_UP),
            text=(
                b'{"messageId":"7d0a2c1e-3f64-4b7e-9b1a-52f1c6d8e901",'
                b'"type":"track","event":"Purchase Completed","userId":"u-42",'
                b'"timestamp":"2026-11-20T10:15:30.000Z",'
                b'"receivedAt":"2026-11-20T10:15:30.120Z",'
                b'"properties":{"revenue":29.9,"currency":"USD",'
                b'"order_id":"A-1001"},"app":"zcmwmxbkmuodelu",'
                b'"source":{"protocol":"s2s","key":"backend",'
                b'"slug":"taqsq"}}\n{"messageId":"order-1002-signup",'
                b'"type":"identify","userId":"u-43",'
                b'"timestamp":"2026-11-20T10:15:31.000Z",'
                b'"receivedAt":"2026-11-20T10:15:31.045Z","traits":{"plan":"gold"},'
                b'"app":"zcmwmxbkmuodelu","source":{"protocol":"tracking",'
                b'"key":"backend"}}\n'
            ),
        ),
        Example(
            "In small portions",
            settings={"batch_events_max": 10},
            events=(PURCHASE,),
            text=(
                b'{"messageId":"7d0a2c1e-3f64-4b7e-9b1a-52f1c6d8e901",'
                b'"type":"track","event":"Purchase Completed","userId":"u-42",'
                b'"timestamp":"2026-11-20T10:15:30.000Z",'
                b'"receivedAt":"2026-11-20T10:15:30.120Z",'
                b'"properties":{"revenue":29.9,"currency":"USD",'
                b'"order_id":"A-1001"},"app":"zcmwmxbkmuodelu",'
                b'"source":{"protocol":"s2s","key":"backend","slug":"taqsq"}}\n'
            ),
        ),
    )


def _write(fd: int, data: bytes, timeout_seconds: float) -> None:
    """Write all of it, waiting at most so long for each piece to be taken."""
    poller = select.poll()
    poller.register(fd, select.POLLOUT)
    view = memoryview(data)
    while view:
        if not poller.poll(timeout_seconds * 1000):
            raise TimeoutError
        # No more than a pipe takes at once after POLLOUT, so that the write itself cannot block.
        view = view[os.write(fd, view[: select.PIPE_BUF]) :]


def _outcome_of(error: OSError | ValueError) -> Outcome:
    # ValueError: the stream was closed, or is none of the system's.
    if isinstance(error, ValueError) or error.errno in (errno.EPIPE, errno.EBADF):
        return Blocked("standard output is closed; start the node with one, or disable this")
    return Retry(f"standard output: {os.strerror(error.errno or 0)}")
