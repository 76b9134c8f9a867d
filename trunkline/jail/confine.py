"""What a process does to itself before it touches an operator's code: it gives everything away.

In this order: descriptors, limits, the root user, capabilities, core dumps and tracers, life after
its parent, new privileges, system calls. Then it tries a call that must fail. Whatever of this
cannot be done raises `JailError`: no jail, no code.
"""

from __future__ import annotations

import ctypes
import errno
import os
import resource
import signal
from pathlib import Path

from trunkline.jail.seccomp import build_filter, install_filter
from trunkline.jail.syscalls import ARCHITECTURES, Architecture

NOBODY = 65534
CPU_SECONDS_MAX = 900  # of one process's whole life; `cell.py` replaces it long before
_PR_SET_PDEATHSIG = 1
_PR_SET_DUMPABLE = 4
_PR_SET_NAME = 15
_PR_SET_NO_NEW_PRIVS = 38
_PR_CAP_AMBIENT = 47
_PR_CAP_AMBIENT_CLEAR_ALL = 4
_CAPABILITY_VERSION = 0x20080522
_NONE_AT_ALL = (
    resource.RLIMIT_NPROC,
    resource.RLIMIT_NOFILE,
    resource.RLIMIT_CORE,
    resource.RLIMIT_FSIZE,
    resource.RLIMIT_MEMLOCK,
)
LIBC = ctypes.CDLL(None, use_errno=True)


class JailError(Exception):
    """This machine has no jail, or could not close it. The message says what to do."""


def architecture_of(machine: str) -> Architecture:
    """Return the calls of a machine as `uname -m` names it. Raises `JailError`."""
    found = ARCHITECTURES.get(machine)
    if found is None:
        known = ", ".join(sorted(ARCHITECTURES))
        raise JailError(
            f"no jail for the processor {machine}: its system calls are not known here, only those "
            f"of {known}. Run the node on one of those, or use a playbook without code"
        )
    return found


def keep_only(descriptor: int, place: int) -> None:
    """Close every descriptor but one, which becomes `place`."""
    if descriptor != place:
        os.dup2(descriptor, place)
    os.closerange(0, place)
    os.closerange(place + 1, 1 << 20)


def confine(architecture: Architecture, address_space_bytes: int, parent: int) -> None:
    """Jail this process, for good. `parent` is the process it dies with. Raises `JailError`."""
    try:
        _set_limits(address_space_bytes)
        _leave_root()
        _drop_capabilities()
        _control(_PR_SET_DUMPABLE, 0)
        _die_with(parent)
        _control(_PR_SET_NO_NEW_PRIVS, 1)
        install_filter(build_filter(architecture), LIBC)
    except (OSError, ValueError) as error:
        raise JailError(
            f"the jail cannot be closed: {error}. Code of operators needs Linux with seccomp; in a "
            "container, a profile that allows prctl and setuid; or run the node as a user that is "
            "not root"
        ) from error
    _prove_closed()


def _set_limits(address_space_bytes: int) -> None:
    for limit in _NONE_AT_ALL:
        resource.setrlimit(limit, (0, 0))
    resource.setrlimit(resource.RLIMIT_AS, (address_space_bytes, address_space_bytes))
    resource.setrlimit(resource.RLIMIT_CPU, (CPU_SECONDS_MAX, CPU_SECONDS_MAX))


def _leave_root() -> None:
    if 0 not in os.getresuid():
        return
    os.setgroups([])
    os.setresgid(NOBODY, NOBODY, NOBODY)
    os.setresuid(NOBODY, NOBODY, NOBODY)


def _drop_capabilities() -> None:
    _control(_PR_CAP_AMBIENT, _PR_CAP_AMBIENT_CLEAR_ALL)
    header = (ctypes.c_uint32 * 2)(_CAPABILITY_VERSION, 0)
    if LIBC.capset(ctypes.byref(header), ctypes.byref((ctypes.c_uint32 * 6)())):
        raise OSError(ctypes.get_errno(), "capabilities cannot be dropped")


def _die_with(parent: int) -> None:
    """Be killed by the kernel when the parent is gone; the change of user forgot it."""
    _control(_PR_SET_PDEATHSIG, int(signal.SIGKILL))
    if os.getppid() != parent:
        raise OSError(errno.ESRCH, "the process that made this one is gone")


def _control(option: int, value: int) -> None:
    if LIBC.prctl(option, value, 0, 0, 0):
        code = ctypes.get_errno()
        raise OSError(code, f"prctl {option}: {os.strerror(code)}")


def take_name(name: str) -> None:
    """Be called by this name in `top` and `ps`."""
    LIBC.prctl(_PR_SET_NAME, name.encode()[:15], 0, 0, 0)


def die_with_parent(parent: int) -> None:
    """Be killed when the parent is gone. Raises `OSError` where it is already."""
    _die_with(parent)


def _prove_closed() -> None:
    try:
        Path("/").stat()
    except OSError as error:
        if error.errno == errno.EPERM:
            return
    raise JailError("the jail does not hold: a call that it must refuse was allowed")
