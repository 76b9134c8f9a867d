"""Many people: memory stays flat."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

PEOPLE = 500_000
MEMORY_MB_MAX = 250
SCRIPT = """
import re, sys
from pathlib import Path
from tests.support.profile_world import ProfileWorld, happened
from trunkline.kit.clock import SystemClock
from trunkline.kit.eventlog import Record
from trunkline.model.record import encode_record

people, folder = int(sys.argv[1]), Path(sys.argv[2])
world = ProfileWorld(folder, clock=SystemClock())
pattern = encode_record(happened(1, "u-0000000", message_id="m-0000000"))


def peak():  # not by getrusage, which counts what the process was forked from
    return int(re.search(r"VmHWM:\\s+([0-9]+)", Path("/proc/self/status").read_text())[1]) // 1024


early = 0
for start in range(0, people, 5000):
    numbers = (b"-%07d" % number for number in range(start, start + 5000))
    world.appender.append([Record(b"", pattern.replace(b"-0000000", n), 1) for n in numbers])
    world.take()
    if start == people // 10:
        early = peak()
with world.writing() as store:
    count = store.db.execute("SELECT count(*) FROM identifier").get
print(count, early, peak())
world.close()
"""


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_half_a_million_people_take_no_more_memory_than_a_tenth_of_them(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT, str(PEOPLE), str(tmp_path)],
        capture_output=True, text=True, timeout=570, check=True,
    )  # fmt: skip
    count, early, late = map(int, done.stdout.split()[-3:])
    assert count == PEOPLE
    assert late < MEMORY_MB_MAX
    assert late - early < 60, (early, late)
