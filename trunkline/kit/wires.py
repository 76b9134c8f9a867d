"""Cutting a connection on which nothing comes back: a server may stand still and not say so."""

from __future__ import annotations

import contextlib
import os
import socket
import threading
from collections.abc import Generator


@contextlib.contextmanager
def cut_after(fd: int, seconds: float) -> Generator[None]:
    """Shut down the socket of a file descriptor if the block takes longer than so many seconds.

    Whoever waits on it is told that the connection ended. The descriptor itself stays its owner's.
    """
    wire = socket.socket(fileno=os.dup(fd))
    timer = threading.Timer(seconds, _cut, [wire])
    timer.daemon = True
    timer.start()
    try:
        yield
    finally:
        timer.cancel()
        timer.join()
        wire.close()


def _cut(wire: socket.socket) -> None:
    with contextlib.suppress(OSError):
        wire.shutdown(socket.SHUT_RDWR)
