"""The process that jailed processes are forked from: everything imported, nothing of an operator.

    python -m trunkline.jail.zygote DESCRIPTOR PARENT

A message on the control socket brings one end of a socket pair and asks for a process; the answer
brings a handle of it (a pidfd). It ends when the socket closes, and dies with its parent; what it
forked dies with it.
"""

from __future__ import annotations

import contextlib
import gc
import os
import signal
import socket
import sys
import traceback
from pathlib import Path
from types import FrameType
from typing import Any

import msgspec
from msgspec import Struct

from trunkline.jail.confine import (
    JailError,
    architecture_of,
    confine,
    die_with_parent,
    keep_only,
    take_name,
)

MESSAGE_BYTES_MAX = 65_536
_SOCKET_AT = 3
_KILLED_FIRST = "1000"  # of all processes, when the machine has no memory left


class Spawn(Struct, frozen=True):
    """Fork a process and jail it: by the calls of this machine, within this address space."""

    machine: str
    address_space_bytes: int


class Spawned(Struct, frozen=True, tag="spawned"):
    """The process runs; its handle comes with this message. `pid` 0: this is only a greeting."""

    pid: int


class Failed(Struct, frozen=True, tag="failed"):
    """There is no process, or no zygote. The reason is for the log."""

    reason: str


Told = Spawned | Failed


def main(arguments: list[str]) -> int:
    """Serve until the control socket closes."""
    control = socket.socket(fileno=int(arguments[0]))
    try:
        die_with_parent(int(arguments[1]))
        os.environ.clear()
        _prepare()
    except Exception:  # said to the node, which logs it
        _tell(control, Failed(traceback.format_exc(limit=-2)[-2000:]))
        return 1
    _tell(control, Spawned(0))
    _serve(control)
    return 0


def _prepare() -> None:
    from trunkline.jail import warm  # imports all that jailed processes may use

    warm.prepare()
    take_name("tl-zygote")
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGCHLD, _reap)
    gc.collect()
    gc.freeze()  # what is shared with the forked stays shared


def _reap(_number: int, _frame: FrameType | None) -> None:
    with contextlib.suppress(ChildProcessError):
        while os.waitpid(-1, os.WNOHANG)[0]:
            pass


def _serve(control: socket.socket) -> None:
    while True:
        text, descriptors, _, _ = socket.recv_fds(control, MESSAGE_BYTES_MAX, 1)
        if not text:
            return
        spawn = msgspec.json.decode(text, type=Spawn)
        try:
            _spawn(control, spawn, descriptors[0])
        except OSError as error:
            _tell(control, Failed(f"no process could be started: {error}"))
        finally:
            os.close(descriptors[0])


def _spawn(control: socket.socket, spawn: Spawn, descriptor: int) -> None:
    us = os.getpid()
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGCHLD})  # not reaped before it has a handle
    try:
        pid = os.fork()
        if pid == 0:
            _be_jailed(spawn, descriptor, us)
        handle = os.pidfd_open(pid)
    finally:
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGCHLD})
    try:
        _tell(control, Spawned(pid), handle)
    finally:
        os.close(handle)


def _tell(control: socket.socket, told: Told, *descriptors: int) -> None:
    text = msgspec.json.encode(told)
    if descriptors:
        socket.send_fds(control, [text], descriptors)
    else:
        control.send(text)


def _be_jailed(spawn: Spawn, descriptor: int, parent: int) -> Any:
    """Be a jailed process; never return, whatever happens."""
    leave = os._exit  # bound here: the code may tamper with `os`
    try:
        for number in (signal.SIGCHLD, signal.SIGTERM):
            signal.signal(number, signal.SIG_DFL)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGCHLD})
        _jail(spawn, descriptor, parent)
    finally:
        leave(0)


def _jail(spawn: Spawn, descriptor: int, parent: int) -> None:
    from trunkline.jail import frames, worker  # already imported by `_prepare`

    take_name("tl-jail")
    with contextlib.suppress(OSError):
        Path("/proc/self/oom_score_adj").write_text(_KILLED_FIRST)
    keep_only(descriptor, _SOCKET_AT)
    try:
        confine(architecture_of(spawn.machine), spawn.address_space_bytes, parent)
    except JailError as error:
        frames.send_frame(_SOCKET_AT, 0, frames.encode_message(frames.NoJail(str(error))))
        return
    frames.send_frame(_SOCKET_AT, 0, frames.encode_message(frames.Ready()))
    worker.serve(_SOCKET_AT)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
