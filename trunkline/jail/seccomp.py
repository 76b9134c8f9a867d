"""The kernel's filter of system calls, as a program for its BPF machine. Pure ctypes.

    is it our architecture? no → kill
    a call of another ABI?      → EPERM
    for each allowed call: is it this one? then look at its arguments, if it has conditions
    otherwise                   → EPERM

Refused calls fail with EPERM instead of killing, so that code reads "Operation not permitted".
"""

from __future__ import annotations

import ctypes
import errno
import os
import struct
from collections.abc import Sequence

from trunkline.jail.syscalls import CONDITIONS, Architecture

_LOAD = 0x20  # BPF_LD | BPF_W | BPF_ABS
_EQUAL = 0x15  # BPF_JMP | BPF_JEQ | BPF_K
_AT_LEAST = 0x35  # BPF_JMP | BPF_JGE | BPF_K
_AND = 0x54  # BPF_ALU | BPF_AND | BPF_K
_RETURN = 0x06  # BPF_RET | BPF_K
_ALLOW = 0x7FFF0000
_KILL = 0x80000000  # the whole process
_REFUSE = 0x00050000 | errno.EPERM
_NUMBER_AT, _ARCH_AT, _ARGUMENTS_AT = 0, 4, 16  # in struct seccomp_data
_PR_SET_SECCOMP = 22
_MODE_FILTER = 2

Instruction = tuple[int, int, int, int]  # code, jump if true, jump if false, k


class _Program(ctypes.Structure):
    _fields_ = [("length", ctypes.c_ushort), ("filter", ctypes.c_void_p)]


def build_filter(architecture: Architecture) -> tuple[Instruction, ...]:
    """Return the filter's instructions."""
    lines: list[Instruction] = [
        (_LOAD, 0, 0, _ARCH_AT),
        (_EQUAL, 1, 0, architecture.audit),
        (_RETURN, 0, 0, _KILL),
        (_LOAD, 0, 0, _NUMBER_AT),
    ]
    if architecture.foreign_from:
        lines += [(_AT_LEAST, 0, 1, architecture.foreign_from), (_RETURN, 0, 0, _REFUSE)]
    for name, number in architecture.calls.items():
        verdict = _verdict(name)
        lines += [(_EQUAL, 0, len(verdict), number), *verdict]
    return (*lines, (_RETURN, 0, 0, _REFUSE))


def _verdict(name: str) -> list[Instruction]:
    lines: list[Instruction] = []
    for argument, mask, wanted in CONDITIONS.get(name, ()):
        lines += [
            (_LOAD, 0, 0, _ARGUMENTS_AT + 8 * argument),  # the low half: little-endian
            (_AND, 0, 0, mask),
            (_EQUAL, 1, 0, wanted),
            (_RETURN, 0, 0, _REFUSE),
        ]
    return [*lines, (_RETURN, 0, 0, _ALLOW)]


def install_filter(lines: Sequence[Instruction], libc: ctypes.CDLL) -> None:
    """Put this process under a filter, for good. Raises `OSError`.

    It must have set no_new_privs before, and have one thread.
    """
    packed = b"".join(struct.pack("=HBBI", *line) for line in lines)
    held = ctypes.create_string_buffer(packed, len(packed))
    program = _Program(len(packed) // 8, ctypes.addressof(held))
    if libc.prctl(_PR_SET_SECCOMP, _MODE_FILTER, ctypes.byref(program), 0, 0):
        code = ctypes.get_errno()
        raise OSError(code, f"the kernel takes no seccomp filter: {os.strerror(code)}")
