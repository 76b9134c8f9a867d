"""How processes end and divide: at exit, on signals and across forks no client is forgotten.

Clients are kept here until they are closed, so one that nobody refers to any more still sends.
"""

from __future__ import annotations

import _thread
import atexit
import logging
import os
import signal
import threading
from types import FrameType
from typing import Any, Protocol

from trunkline_sdk.errors import InvalidSetting

LOG = logging.getLogger("trunkline_sdk")
SIGNALS = (signal.SIGTERM, signal.SIGINT)


class Living(Protocol):
    """What a client does at these moments."""

    def close(self) -> bool:
        """Send what waits, within the client's `exit_seconds`, and end."""
        ...

    def hasten(self) -> None:
        """Send now what waits, without anyone waiting for it."""
        ...

    def before_fork(self) -> None: ...
    def after_fork_in_parent(self) -> None: ...
    def after_fork_in_child(self) -> None: ...


_living: dict[int, Living] = {}
_forking: list[Living] = []
_before: dict[int, Any] = {}  # signal → the handler that was there
_is_ending = False


def keep(client: Living) -> None:
    """Remember a client until it is closed."""
    _living[id(client)] = client


def forget(client: Living) -> None:
    """A client was closed."""
    _living.pop(id(client), None)


def flush_on_signals() -> None:
    """Send what waits before SIGTERM or SIGINT ends the process. Raises `InvalidSetting`.

    A handler that was there before is called at once, and the rest is sent at exit. Where the
    signal would kill at once, it does so when all is sent, or `exit_seconds` are over, or it comes
    a second time.
    """
    if threading.current_thread() is not threading.main_thread():
        raise InvalidSetting("flush_on_signals needs the main thread; make the client there")
    for number in SIGNALS:
        before = signal.getsignal(number)
        # Ignored stays ignored, and what was not set from Python cannot be chained.
        if number not in _before and before not in (signal.SIG_IGN, None):
            _before[number] = before
            signal.signal(number, _handle)


def _handle(number: int, frame: FrameType | None) -> None:
    global _is_ending
    before = _before[number]
    if callable(before):
        _hasten_all()
        before(number, frame)
        return
    if _is_ending:  # a second time, or our own thread: all is sent
        _end_by(number)
    _is_ending = True
    # The signal may have come while this very thread holds the lock of a queue, so it waits for
    # nothing here. This call takes no lock of Python's own either, as Thread.start() would.
    _thread.start_new_thread(_close_and_end, (number,))


def _hasten_all() -> None:
    _thread.start_new_thread(lambda: [client.hasten() for client in list(_living.values())], ())


def _close_and_end(number: int) -> None:
    _close_all()
    os.kill(os.getpid(), number)


def _end_by(number: int) -> None:
    signal.signal(number, signal.SIG_DFL)
    os.kill(os.getpid(), number)


def _close_all() -> None:
    for client in list(_living.values()):
        try:
            client.close()
        except Exception:
            LOG.exception("a client could not be closed")


def _before_fork() -> None:
    _forking[:] = _living.values()
    for client in _forking:
        client.before_fork()


def _after_fork_in_parent() -> None:
    for client in reversed(_forking):
        client.after_fork_in_parent()


def _after_fork_in_child() -> None:
    for client in reversed(_forking):
        client.after_fork_in_child()


atexit.register(_close_all)
if hasattr(os, "register_at_fork"):
    os.register_at_fork(
        before=_before_fork,
        after_in_parent=_after_fork_in_parent,
        after_in_child=_after_fork_in_child,
    )
