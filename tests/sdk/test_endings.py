"""How a caller's process ends: at exit, by signals, in forks. Real processes, each its own."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest
from trunkline_sdk import InvalidSetting, Trunkline

from tests.support.python_sdk_stage import SOURCE
from tests.support.scripted_node import ScriptedNode, refusal

pytestmark = pytest.mark.slow

PATIENCE = 60.0
OPENING = """
import os, signal, sys, time
from trunkline_sdk import Limits, Trunkline
url, folder = sys.argv[1:]
limits = Limits(exit_seconds=50, linger_seconds=50, retry_seconds_max=0.1)
def open_client(**more):
    return Trunkline("tls_key", url, limits=limits, **more)
"""


def start(scripted: ScriptedNode, folder: Path, story: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", OPENING + story, scripted.url, str(folder)],
        env={**os.environ, "PYTHONPATH": str(SOURCE)}, stdout=subprocess.PIPE,
        stderr=subprocess.PIPE, text=True,
    )  # fmt: skip


def finish(process: subprocess.Popen[str]) -> tuple[int, str]:
    output, errors = process.communicate(timeout=PATIENCE)
    return process.returncode, output + errors


def ids(scripted: ScriptedNode) -> list[str]:
    return [one for asked in scripted.asked for one in asked.message_ids]


def test_what_waits_is_sent_at_exit(scripted: ScriptedNode, tmp_path: Path) -> None:
    story = "open_client().track('u', 'Seen', message_id='m')"
    assert finish(start(scripted, tmp_path, story)) == (0, "")
    assert ids(scripted) == ["m"]


def test_an_exit_is_not_held_up_for_longer_than_it_may(
    scripted: ScriptedNode, tmp_path: Path
) -> None:
    scripted.judge = lambda _: refusal(503, "later")
    story = """
limits = Limits(exit_seconds=0.2)
open_client().track('u', 'Seen', message_id='m')
"""
    code, output = finish(start(scripted, tmp_path, story))
    assert code == 0 and "event_rejected message_id=m code=not_sent" in output


SIGNALLED = """
client = open_client(flush_on_signals=True)
client.track('u', 'Seen', message_id='m')
print('ready', flush=True)
time.sleep(60)
"""


def signal_when_ready(process: subprocess.Popen[str], number: int) -> tuple[int, str]:
    assert process.stdout is not None and process.stdout.readline() == "ready\n"
    process.send_signal(number)
    return finish(process)


def test_sigterm_sends_what_waits_and_then_ends_the_process_as_it_would(
    scripted: ScriptedNode, tmp_path: Path
) -> None:
    code, _ = signal_when_ready(start(scripted, tmp_path, SIGNALLED), signal.SIGTERM)
    assert code == -signal.SIGTERM and ids(scripted) == ["m"]


def test_ctrl_c_still_raises_keyboard_interrupt(scripted: ScriptedNode, tmp_path: Path) -> None:
    code, output = signal_when_ready(start(scripted, tmp_path, SIGNALLED), signal.SIGINT)
    assert code == -signal.SIGINT and "KeyboardInterrupt" in output and ids(scripted) == ["m"]


def test_a_handler_that_was_there_is_called_too(scripted: ScriptedNode, tmp_path: Path) -> None:
    own = "signal.signal(signal.SIGTERM, lambda *_: (print('own'), sys.exit(7)))\n"
    code, output = signal_when_ready(start(scripted, tmp_path, own + SIGNALLED), signal.SIGTERM)
    assert (code, output) == (7, "own\n") and ids(scripted) == ["m"]


def test_a_second_sigterm_does_not_wait(scripted: ScriptedNode, tmp_path: Path) -> None:
    scripted.judge = lambda _: refusal(503, "later")
    process = start(scripted, tmp_path, SIGNALLED)
    assert process.stdout is not None and process.stdout.readline() == "ready\n"
    process.send_signal(signal.SIGTERM)
    scripted.wait_asked(1)  # it sends, and will for 50 s
    process.send_signal(signal.SIGTERM)
    assert finish(process)[0] == -signal.SIGTERM


def test_signals_need_the_main_thread() -> None:
    raised: list[Exception] = []

    def make() -> None:
        try:
            Trunkline("key", "http://127.0.0.1:9", flush_on_signals=True)
        except InvalidSetting as error:
            raised.append(error)

    thread = threading.Thread(target=make)
    thread.start()
    thread.join()
    assert "needs the main thread" in str(raised[0])


@pytest.mark.parametrize("path", ["None", "folder + '/q.db'"])
def test_a_fork_doubles_nothing_and_both_sides_go_on(
    scripted: ScriptedNode, tmp_path: Path, path: str
) -> None:
    story = f"""
client = open_client(queue_path={path})
client.track('u', 'Seen', message_id='before')
child = os.fork()
client.track('u', 'Seen', message_id='child' if child == 0 else 'parent')
done = client.flush(50)
if child == 0:
    # Its own is sent, but it may be sending the parent's out of the file: cut off there, that would
    # come again, under its id.
    os._exit(0 if client.close(50) and done else 3)
status = os.waitpid(child, 0)[1]
sys.exit(status or not done)
"""
    assert finish(start(scripted, tmp_path, story)) == (0, "")
    assert sorted(ids(scripted)) == ["before", "child", "parent"]


def test_forks_in_the_middle_of_calls_of_other_threads(
    scripted: ScriptedNode, tmp_path: Path
) -> None:
    story = """
import threading
client = open_client(queue_path=folder + '/q.db')
def call(name):
    for n in range(100):
        client.track('u', 'Seen', message_id=f'{name}-{n}')
threads = [threading.Thread(target=call, args=(name,)) for name in 'ab']
for thread in threads: thread.start()
children = []
for n in range(10):
    child = os.fork()
    if child == 0:
        client.track('u', 'Seen', message_id=f'child-{n}')
        os._exit(0 if client.flush(50) else 3)
    children.append(child)
for thread in threads: thread.join()
assert client.flush(50)
assert [os.waitpid(child, 0)[1] for child in children] == [0] * 10
"""
    assert finish(start(scripted, tmp_path, story)) == (0, "")
    wanted = [f"{name}-{n}" for name in "ab" for n in range(100)]
    # A child that ends in the middle of a request leaves its events to the others: they may come
    # twice, and a node takes them once.
    assert set(ids(scripted)) == {*wanted, *(f"child-{n}" for n in range(10))}


def test_a_client_of_asyncio_goes_on_in_a_fork(scripted: ScriptedNode, tmp_path: Path) -> None:
    story = """
import asyncio
from trunkline_sdk import AsyncTrunkline
client = AsyncTrunkline('tls_key', url, queue_path=folder + '/q.db', limits=limits)
async def call(name):
    await client.track('u', 'Seen', message_id=name)
    return await client.flush(50)
assert asyncio.run(call('before'))
child = os.fork()
done = asyncio.run(call('child' if child == 0 else 'parent'))
if child == 0:
    os._exit(0 if done else 3)
sys.exit(os.waitpid(child, 0)[1] or not done)
"""
    assert finish(start(scripted, tmp_path, story)) == (0, "")
    assert set(ids(scripted)) == {"before", "child", "parent"}
