"""Running one seed from beginning to end, and telling how to run it again where it breaks."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Generator

import pytest

from tests.simulator.journal import Broken
from tests.simulator.machine import Machine
from tests.simulator.story import Story
from tests.support.power import PowerVFS
from trunkline.eventlogs import sqlite
from trunkline.state import partition, segment

TAIL_LINES = 25
WAL_BYTES = 65_536  # so that checkpoints happen in a run


def run_seed(seed: int, *, is_loud: bool = False, sync: str = "FULL") -> list[str]:
    """Live through a seed and return its lines. Raises `Broken` with the last of them."""
    lines: list[str] = []
    try:
        asyncio.run(_live(seed, is_loud, sync, lines))
    except Exception as error:
        kind = "" if isinstance(error, Broken) else f"{type(error).__name__}: "
        tail = "" if is_loud else "\n".join(["", *lines[-TAIL_LINES:]])
        again = f"python -m tests.simulator --seed {seed}"
        raise Broken(f"{kind}{error}\nrun it again: {again}{tail}") from error
    return lines


async def _live(seed: int, is_loud: bool, sync: str, lines: list[str]) -> None:
    machine = Machine(seed, is_loud, sync)
    machine.journal.lines = lines
    with machine.journal.listening(), _small_disk(machine.vfs):
        try:
            await Story(seed, machine).live()
        finally:
            machine.journal.is_over = True
            await machine.destroy()


@contextlib.contextmanager
def _small_disk(vfs: PowerVFS) -> Generator[None]:
    """Have logs checkpointed early, and folders synced on the simulated disk."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sqlite, "WAL_BYTES", WAL_BYTES)
        for module in (sqlite, partition, segment):
            patch.setattr(module, "sync_folder", vfs.sync_folder)
        yield
