"""A stage for the jail: works of one function, a loop that is watched for stalls, all attacks.

Run as a program (`python -m tests.support.jail_stage SECRET`) it carries out the attacks as the
user that it is, and prints what came of them as JSON.
"""

from __future__ import annotations

import asyncio
import contextlib
import ctypes
import json
import os
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import msgspec
import uvloop
from msgspec import Struct

from tests.support.jail_attacks import ATTACKS, Attack
from trunkline.jail.nursery import Nursery
from trunkline.jail.syscalls import ARCHITECTURES
from trunkline.jail.workshop import JailWorkshop
from trunkline.kit.clock import Clock, SystemClock
from trunkline.kit.settings import JailSettings
from trunkline.kit.shaping import Held, Shaper, Work
from trunkline.playbook.program import Moment, Shaped

ROOT = Path(__file__).parent.parent.parent
NOBODY = 65534
UNFILTERED = (
    335,
    336,
)  # x86-64's uretprobe and uprobe: no filter sees them; the caller gets SIGILL
WHOLE = {"global": {"mappings": [{"inputKey": "input", "outputKey": ""}]}}


def function_work(
    body: str, lang: str = "python", name: str = "app/crm", when: str = "after"
) -> Work:
    """A playbook that passes the event on, and one function."""
    functions = [{"lang": lang, "when": when, "body": body}]
    return Work(name, msgspec.json.encode({"version": 1, "functions": functions, **WHOLE}))


def lua_work(body: str, name: str = "app/crm") -> Work:
    """A playbook of one Lua expression."""
    expressions = [{"lang": "lua", "name": "all", "body": body}]
    tree = {"version": 1, "global": {"expressions": expressions}}
    return Work(name, msgspec.json.encode(tree))


def moment(number: int = 0) -> Moment:
    return Moment(1_795_170_000_000, f"app/crm\0m-{number}")


async def shape(shaper: Shaper, *events: dict[str, Any]) -> list[Any]:
    """Shape events; return each one's outputs, its failure's message, or why it is held."""
    answers = await shaper.shape([(event, moment(n)) for n, event in enumerate(events)])
    return [plain(answer) for answer in answers]


def plain(answer: Shaped | Held) -> Any:
    if isinstance(answer, Held):
        return answer.reason
    if answer.failure is not None:
        return answer.failure.message
    return answer.filtered or list(answer.outputs)


class Kept(Nursery):
    """A nursery that outlives its workshops: a zygote takes half a second to start."""

    async def close(self) -> None:
        self._turn = asyncio.Lock()  # the next one's event loop is another


_kept = Kept(os.uname().machine, JailSettings().address_space_bytes)


@contextlib.asynccontextmanager
async def workshop(
    clock: Clock | None = None, nursery: Nursery | None = None, **settings: Any
) -> AsyncIterator[JailWorkshop]:
    opened = JailWorkshop(JailSettings(**settings), clock or SystemClock(), nursery or _kept)
    try:
        yield opened
    finally:
        await opened.close()


def own_nursery(machine: str = "") -> Nursery:
    """A nursery for one workshop."""
    return Nursery(machine or os.uname().machine, JailSettings().address_space_bytes)


async def end_kept() -> None:
    """End the zygote that workshops share."""
    await Nursery.close(_kept)


class Outcome(Struct):
    """What came of an attack: its answer, the next event's, and how long the loop stood still."""

    name: str
    answer: Any
    next_answer: Any
    seconds: float
    stall_seconds: float


class Heartbeat:
    """Watches the event loop: the longest time that it was held up by us, not by the machine."""

    def __init__(self) -> None:
        self.stall_seconds = 0.0
        self._task = asyncio.create_task(self._beat())

    async def _beat(self) -> None:
        while True:
            began, waited = time.monotonic(), _run_delay()
            await asyncio.sleep(0.002)
            gap = time.monotonic() - began - (_run_delay() - waited) - 0.002
            self.stall_seconds = max(self.stall_seconds, gap)

    def stop(self) -> None:
        self._task.cancel()


def _run_delay() -> float:
    """Seconds that this thread was ready to run and others ran."""
    try:
        return int(Path("/proc/thread-self/schedstat").read_text("ascii").split()[1]) / 1e9
    except OSError:
        return 0.0


async def carry_out(shop: JailWorkshop, attack: Attack, secret: str) -> Outcome:
    """Carry out one attack between two events that have nothing to do with it."""
    shaper = await shop.open(function_work(attack.code, attack.lang, f"app/{attack.name}"))
    architecture = ARCHITECTURES[os.uname().machine]
    foreign = architecture.foreign_from
    event = {
        "type": "track",
        "attack": True,
        "secret": secret,
        "pid": os.getpid(),
        "zygote": shop.zygote_pid,
        "allowed": sorted({*architecture.calls.values(), *UNFILTERED}),
        "bases": [0, foreign] if foreign else [0],
    }
    harmless = {"type": "track", "attack": False}
    assert await shape(shaper, harmless) == [[{"gain": "passed"}]]
    heartbeat = Heartbeat()
    began = time.monotonic()
    (answer,) = await shape(shaper, event)
    seconds = time.monotonic() - began
    (after,) = await shape(shaper, harmless)
    heartbeat.stop()
    await shaper.close()
    return Outcome(attack.name, answer, after, seconds, heartbeat.stall_seconds)


async def carry_out_all(secret: str) -> list[Outcome]:
    async with workshop() as shop:
        return [await carry_out(shop, attack, secret) for attack in ATTACKS]


def attack_here(secret: str) -> list[Outcome]:
    """Carry out all attacks as the user that we are."""
    return uvloop.run(carry_out_all(secret))


def attack_as_nobody(secret: str) -> list[Outcome]:
    """Carry out all attacks as an ordinary user."""
    done = subprocess.run(
        [sys.executable, "-B", "-m", "tests.support.jail_stage", secret],
        cwd=ROOT,
        env={"PATH": os.environ["PATH"]},
        preexec_fn=become_nobody,
        capture_output=True,
        check=False,
        timeout=100,
    )
    assert done.returncode == 0, done.stderr.decode()
    return msgspec.json.decode(done.stdout.splitlines()[-1], type=list[Outcome])


def become_nobody() -> None:
    """Become an ordinary user; one that may read the interpreter, where only root's home has it."""
    libc = ctypes.CDLL(None, use_errno=True)
    os.setgroups([])
    os.setresgid(NOBODY, NOBODY, NOBODY)
    libc.prctl(8, 1, 0, 0, 0)  # keep capabilities
    os.setresuid(NOBODY, NOBODY, NOBODY)
    if os.access(sys.executable, os.X_OK):
        return
    read_all = 1 << 2  # CAP_DAC_READ_SEARCH
    header = (ctypes.c_uint32 * 2)(0x20080522, 0)
    sets = (ctypes.c_uint32 * 6)(read_all, read_all, read_all)
    assert libc.capset(ctypes.byref(header), ctypes.byref(sets)) == 0
    assert libc.prctl(47, 2, 2, 0, 0) == 0  # and over the next exec


def processes_named(name: str) -> Iterator[int]:
    """The processes that go by this name."""
    for folder in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            if (folder / "comm").read_text("utf-8").strip() == name:
                yield int(folder.name)


if __name__ == "__main__":
    assert os.getuid() != 0
    print(json.dumps([msgspec.structs.asdict(each) for each in attack_here(sys.argv[1])]))
