"""The kernel's filter: its numbers are the kernel's, and it says what is meant, for every call."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from trunkline.jail.seccomp import build_filter
from trunkline.jail.syscalls import AARCH64, CONDITIONS, X86_64, Architecture

ALLOW, KILL, REFUSE = 0x7FFF0000, 0x80000000, 0x00050001
HEADERS = {
    "x86_64": (X86_64, Path("/usr/include/x86_64-linux-gnu/asm/unistd_64.h")),
    "aarch64": (AARCH64, Path("/usr/include/asm-generic/unistd.h")),
}
# What they are called where file offsets have two sizes.
OTHER_NAMES = {"__NR3264_mmap": "mmap"}


def run_filter(architecture: Architecture, audit: int, number: int, *arguments: int) -> int:
    """Be the kernel's BPF machine."""
    words = {0: number, 4: audit}
    for place, argument in enumerate(arguments):
        words[16 + 8 * place] = argument & 0xFFFFFFFF
    lines = build_filter(architecture)
    value, at = 0, 0
    while True:
        code, if_true, if_false, k = lines[at]
        at += 1
        if code == 0x20:
            value = words.get(k, 0)
        elif code == 0x54:
            value &= k
        elif code == 0x15:
            at += if_true if value == k else if_false
        elif code == 0x35:
            at += if_true if value >= k else if_false
        else:
            assert code == 0x06
            return k


@pytest.mark.parametrize("architecture", [X86_64, AARCH64], ids=["x86_64", "aarch64"])
def test_only_the_calls_of_the_table_pass(architecture: Architecture) -> None:
    allowed = set(architecture.calls.values())
    plain = allowed - {architecture.calls[name] for name in CONDITIONS}
    verdicts = {n: run_filter(architecture, architecture.audit, n) for n in range(1000)}
    assert {n for n, verdict in verdicts.items() if verdict == ALLOW} == plain | {
        architecture.calls["mprotect"]  # without PROT_EXEC
    }
    assert {verdict for n, verdict in verdicts.items() if n not in allowed} == {REFUSE}


@pytest.mark.parametrize("architecture", [X86_64, AARCH64], ids=["x86_64", "aarch64"])
def test_memory_is_never_executable_nor_a_files(architecture: Architecture) -> None:
    def ask(call: str, protection: int, flags: int = 0) -> int:
        number = architecture.calls[call]
        return run_filter(architecture, architecture.audit, number, 0, 4096, protection, flags)

    private, anonymous = 0x2, 0x20
    assert ask("mmap", 3, private | anonymous) == ALLOW
    assert ask("mmap", 7, private | anonymous) == REFUSE
    assert ask("mmap", 3, private) == REFUSE
    assert ask("mprotect", 3) == ALLOW
    assert ask("mprotect", 4) == REFUSE


def test_another_architectures_calls_end_the_process() -> None:
    for architecture, other in ((X86_64, AARCH64), (AARCH64, X86_64)):
        assert run_filter(architecture, other.audit, architecture.calls["read"]) == KILL
    i386 = 0x40000003
    assert run_filter(X86_64, i386, X86_64.calls["read"]) == KILL


def test_calls_of_the_x32_abi_are_refused() -> None:
    for number in X86_64.calls.values():
        assert run_filter(X86_64, X86_64.audit, 0x40000000 + number) == REFUSE


@pytest.mark.parametrize("name", HEADERS)
def test_the_numbers_are_those_of_the_kernels_headers(name: str) -> None:
    architecture, header = HEADERS[name]
    if not header.exists():
        pytest.skip(f"{header} is not installed")
    found: dict[str, int] = {}
    for word, number in re.findall(r"#define (__NR\w*) (\d+)", header.read_text("utf-8")):
        found[OTHER_NAMES.get(word, re.sub(r"^__NR(3264)?_", "", word))] = int(number)
    assert {call: found[call] for call in architecture.calls} == dict(architecture.calls)
