"""The system calls that jailed code may make, by architecture. What is not here is refused.

Python, Lua and QuickJS need memory, time, dice, one open socket and an end. They get nothing that
takes a name, a path, an address, a process, a signal or a new descriptor.
"""

from __future__ import annotations

from collections.abc import Mapping

from msgspec import Struct

PROT_EXEC = 0x4
MAP_ANONYMOUS = 0x20


class Architecture(Struct, frozen=True):
    """How one architecture numbers its calls. `audit` is what seccomp calls it.

    `foreign_from`: numbers from here on belong to another ABI (x32); 0 where there is none.
    """

    audit: int
    foreign_from: int
    calls: Mapping[str, int]


X86_64 = Architecture(
    audit=0xC000003E,
    foreign_from=0x40000000,
    calls={
        "read": 0, "write": 1, "mmap": 9, "mprotect": 10, "munmap": 11, "brk": 12,
        "rt_sigprocmask": 14, "rt_sigreturn": 15, "sched_yield": 24, "mremap": 25, "madvise": 28,
        "getpid": 39, "exit": 60, "gettimeofday": 96, "gettid": 186, "time": 201, "futex": 202,
        "restart_syscall": 219, "clock_gettime": 228, "clock_getres": 229, "exit_group": 231,
        "getrandom": 318,
    },
)  # fmt: skip

AARCH64 = Architecture(
    audit=0xC00000B7,
    foreign_from=0,
    calls={
        "read": 63, "write": 64, "exit": 93, "exit_group": 94, "futex": 98, "clock_gettime": 113,
        "clock_getres": 114, "sched_yield": 124, "restart_syscall": 128, "rt_sigprocmask": 135,
        "rt_sigreturn": 139, "gettimeofday": 169, "getpid": 172, "gettid": 178, "brk": 214,
        "munmap": 215, "mremap": 216, "mmap": 222, "mprotect": 226, "madvise": 233,
        "getrandom": 278,
    },
)  # fmt: skip

# As `uname -m` says it. A machine that is not here has no jail.
ARCHITECTURES: Mapping[str, Architecture] = {
    "x86_64": X86_64,
    "amd64": X86_64,
    "aarch64": AARCH64,
    "arm64": AARCH64,
}

# Allowed only where (value & mask) == wanted, for each (argument, mask, wanted): memory is never
# executable and never a file's.
CONDITIONS: Mapping[str, tuple[tuple[int, int, int], ...]] = {
    "mmap": ((2, PROT_EXEC, 0), (3, MAP_ANONYMOUS, MAP_ANONYMOUS)),
    "mprotect": ((2, PROT_EXEC, 0),),
}
