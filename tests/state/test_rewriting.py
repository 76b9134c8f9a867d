"""Records are replaced for good while others append and read: nothing of the old bytes is left."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from trunkline.eventlogs.sqlite import SqliteAppender, SqliteEventLog
from trunkline.kit.clock import SystemClock
from trunkline.kit.eventlog import Fetched, Record

TOPIC = "events"
SECRET = b"jane-roe-was-here"


def open_log(folder: Path, segment_bytes: int = 60_000) -> SqliteEventLog:
    return SqliteEventLog(folder, SystemClock(), segment_bytes=segment_bytes, reserve_bytes=0)


def record(number: int) -> Record:
    value = (SECRET if number % 7 == 0 else b"somebody else").ljust(300, b".")
    return Record(b"k", b"%d " % number + value, number)


def left(number: int) -> Record:
    return Record(b"k", b"%d erased" % number, number)


def files_with(folder: Path, text: bytes) -> list[str]:
    return [path.name for path in folder.rglob("*") if path.is_file() and text in path.read_bytes()]


class Others:
    """One appends all the time, one reads all the time; `wrong` is what it should not have read."""

    def __init__(self, log: SqliteEventLog, appender: SqliteAppender) -> None:
        self.wrong: list[object] = []
        self._log, self._appender = log, appender
        self._stop = threading.Event()
        self._threads = [threading.Thread(target=each) for each in (self._append, self._read)]

    def __enter__(self) -> Others:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join()

    def _append(self) -> None:
        number = 2000
        while not self._stop.is_set():
            if list(self._appender.append([new(number)])) != [number]:
                self.wrong.append(number)
            number += 1

    def _read(self) -> None:
        while not self._stop.is_set():
            reader = self._log.reader(TOPIC, "g", {})
            for _ in range(20):
                self.wrong += [each for each in reader.read(100) if not is_known(each)]
            reader.close()


def new(number: int) -> Record:
    return Record(b"k", b"new %d" % number, number)


def is_known(fetched: Fetched) -> bool:
    at = fetched.offset
    return fetched.record in ((record(at), left(at)) if at < 2000 else (new(at),))


def read_all(log: SqliteEventLog) -> list[Record]:
    reader, seen = log.reader(TOPIC, "g", {}), list[Record]()
    while some := reader.read(500):
        seen += [each.record for each in some]
    reader.close()
    return seen


def test_no_file_holds_the_old_bytes_and_others_go_on(tmp_path: Path) -> None:
    """Closed and last segments are changed; who appends and who reads notices nothing."""
    log = open_log(tmp_path)
    appender = log.appender(TOPIC, 0)
    appender.append([record(number) for number in range(2000)])
    assert files_with(tmp_path, SECRET)
    with Others(log, appender) as others:
        found, _ = log.search(TOPIC, 0, range(2000), [SECRET], 10_000)
        assert [each.offset for each in found] == list(range(0, 2000, 7))
        log.replace(TOPIC, 0, {each.offset: left(each.offset) for each in found})
        assert files_with(tmp_path, SECRET) == []
    assert others.wrong == []
    seen = read_all(log)
    assert seen[:2000] == [left(n) if n % 7 == 0 else record(n) for n in range(2000)]
    assert seen[2000:] == [new(n) for n in range(2000, len(seen))]
    log.close()


KILLED = """
import sys
from pathlib import Path
from tests.state.test_rewriting import *
log = open_log(Path(sys.argv[1]))
found, _ = log.search(TOPIC, 0, range(2000), [SECRET], 10_000)
print("go", flush=True)
log.replace(TOPIC, 0, {each.offset: left(each.offset) for each in found})
print("done", flush=True)
"""


@pytest.mark.slow
def test_a_kill_at_any_moment_leaves_each_record_old_or_new(tmp_path: Path) -> None:
    log = open_log(tmp_path)
    log.appender(TOPIC, 0).append([record(number) for number in range(2000)])
    log.close()
    for wait in (0.0, 0.002, 0.004, 0.008, 0.016, 0.032, 0.064, 30.0):
        command = [sys.executable, "-c", KILLED, str(tmp_path)]
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as child:
            assert child.stdout is not None and child.stdout.readline() == "go\n"
            try:
                child.wait(wait)
            except subprocess.TimeoutExpired:
                os.kill(child.pid, signal.SIGKILL)
        log = open_log(tmp_path)
        seen = read_all(log)
        assert len(seen) == 2000
        assert all(each in (record(n), left(n)) for n, each in enumerate(seen))
        assert all(each == record(n) for n, each in enumerate(seen) if n % 7)
        log.close()
    assert files_with(tmp_path, SECRET) == []
