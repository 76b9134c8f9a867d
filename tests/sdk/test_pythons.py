"""The library on every Python that it promises and this machine has: one story, in each."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.python_sdk_stage import SOURCE
from tests.support.scripted_node import ScriptedNode, refusal

pytestmark = pytest.mark.slow

VERSIONS = ("3.9", "3.10", "3.11", "3.12", "3.13", "3.14")
STORY = """
import asyncio, atexit, os, sys
from trunkline_sdk import AsyncTrunkline, Limits, Trunkline, Who
url, path = sys.argv[1:]
limits = Limits(exit_seconds=50, retry_seconds_max=0.1)
client = Trunkline("tls_key", url, queue_path=path, limits=limits, flush_on_signals=True)
client.track("u", "Seen", {"x": "y" * 5000}, message_id="track")
client.s2s("app", "dev").event("taqsq", user_id="u", idfa="i", message_id="s2s")
client.rest("app", "key").user(Who("u"), {"firstName": "Maryam"}, message_id="rest")
with client.batch() as batch:
    batch.identify("u", {"a": 1}, message_id="batch")
assert client.flush(50)

async def story():
    async with AsyncTrunkline("tls_key", url, limits=limits) as line:
        await line.page("u", "Home", message_id="asyncio")

asyncio.run(story())
child = os.fork()
if child == 0:
    client.track("u", "Seen", message_id="child")
    os._exit(0 if client.flush(50) else 3)
assert os.waitpid(child, 0)[1] == 0
# Registered later, so run earlier: a call at the very end, with no thread to be had any more.
late = Trunkline("tls_key", url, limits=limits)
atexit.register(lambda: late.track("u", "Seen", message_id="at-exit"))
"""


def find_python(version: str) -> str | None:
    if sys.version_info[:2] == tuple(int(part) for part in version.split(".")):
        return sys.executable
    beside = Path(sys.base_prefix).parent  # where a version manager keeps several
    kept = sorted(beside.glob(f"{version}*/bin/python{version}"))
    return str(kept[-1]) if kept else shutil.which(f"python{version}")


@pytest.mark.parametrize("version", VERSIONS)
def test_the_library_does_the_same_on_every_python(
    scripted: ScriptedNode, tmp_path: Path, version: str
) -> None:
    python = find_python(version)
    if python is None:
        pytest.skip(f"Python {version} is not installed here")
    scripted.script.append(refusal(503, "later"))
    done = subprocess.run(
        [python, "-W", "error", "-W", "ignore::DeprecationWarning:__main__", "-c", STORY,
         scripted.url, tmp_path / "q.db"],
        env={**os.environ, "PYTHONPATH": str(SOURCE), "PYTHONDONTWRITEBYTECODE": "1"},
        capture_output=True, text=True, timeout=100, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    came = [one for asked in scripted.asked[1:] for one in asked.message_ids]
    assert sorted(set(came)) == [
        "asyncio", "at-exit", "batch", "child", "rest", "s2s", "track"
    ]  # fmt: skip
