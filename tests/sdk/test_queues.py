"""Both queues keep one contract; the one in a file keeps it across processes and bad files."""

from __future__ import annotations

import sqlite3
import stat
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from trunkline_sdk import QueueFileError, QueueFull
from trunkline_sdk.entry import Entry, RouteState
from trunkline_sdk.file_queue import FileQueue
from trunkline_sdk.queues import MemoryQueue, Queue

Open = Callable[[], Queue]
SIZE = 100


def entry(name: str, route: str = "a", size: int = SIZE) -> Entry:
    return Entry(route, "", name, b"x" * (size - len(name)), 1)


@pytest.fixture(params=["memory", "file"])
def queue(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Queue]:
    memory = request.param == "memory"
    made = MemoryQueue(10) if memory else FileQueue(tmp_path / "q.db", 10 * SIZE)
    yield made
    made.leave()


def names(queue: Queue, route: str = "a", count: int = 100, size: int = 10**6) -> list[str]:
    return [one.entry.message_id for one in queue.head(route, count, size)]


def test_entries_of_a_route_come_in_their_order(queue: Queue) -> None:
    queue.put([entry("1"), entry("2", "b")])
    queue.put([entry("3")])
    assert names(queue) == ["1", "3"] and names(queue, "b") == ["2"] and names(queue, "c") == []
    assert names(queue, count=1) == ["1"] and queue.count() == 3
    assert sorted(state.route for state in queue.routes()) == ["a", "b"]


def test_a_head_fits_into_its_bytes_but_is_never_empty(queue: Queue) -> None:
    queue.put([entry(str(n)) for n in range(5)])
    assert names(queue, size=2 * SIZE + 2) == ["0", "1"]
    assert names(queue, size=1) == ["0"]


def test_what_is_full_takes_nothing_of_a_batch_that_does_not_fit(queue: Queue) -> None:
    queue.put([entry(str(n)) for n in range(8)])
    with pytest.raises(QueueFull, match="nothing was queued"):
        queue.put([entry(str(n)) for n in range(8, 11)])
    assert queue.count() == 8
    queue.put([entry("8"), entry("9")])
    queue.remove(queue.head("a", 1, 10**6))
    queue.put([entry("10")])
    assert names(queue) == [str(n) for n in range(1, 11)]


def test_entries_leave_from_anywhere_and_numbers_are_never_used_again(queue: Queue) -> None:
    last = queue.put([entry(str(n)) for n in range(6)])
    head = queue.head("a", 6, 10**6)
    queue.remove([head[1], head[4]])
    assert names(queue) == ["0", "2", "3", "5"]
    assert queue.holds(last, ["a"]) and not queue.holds(last, ["b"])
    queue.remove([head[0], head[2], head[3], head[5]])
    queue.remove([head[0]])
    assert not queue.holds(last, ["a"]) and queue.routes() == [] and queue.count() == 0
    assert queue.put([entry("6")]) > last


def test_a_pause_is_remembered_with_its_route(queue: Queue) -> None:
    queue.put([entry("1"), entry("2", "b")])
    queue.pause("b", 3, 12_345)
    assert set(queue.routes()) == {RouteState("a", 0, 0), RouteState("b", 3, 12_345)}


@settings(deadline=None)
@given(st.lists(st.integers(0, 5), max_size=25))
def test_a_queue_in_memory_equals_a_list(steps: list[int]) -> None:
    queue, model, made = MemoryQueue(8), list[str](), 0
    for step in steps:
        if step < 4:
            fresh = [entry(str(made + n)) for n in range(step)]
            made += step
            if len(model) + step <= 8:
                queue.put(fresh)
                model += [one.message_id for one in fresh]
            else:
                with pytest.raises(QueueFull):
                    queue.put(fresh)
        else:
            gone = queue.head("a", 3, 10**6)[step - 4 :]
            queue.remove(gone)
            model = [name for name in model if name not in {g.entry.message_id for g in gone}]
        assert names(queue) == model and queue.count() == len(model)


def test_a_file_keeps_everything_until_it_is_opened_again(tmp_path: Path) -> None:
    queue = FileQueue(tmp_path / "q.db", 10**6)
    queue.put([entry("1"), entry("2")])
    queue.pause("a", 1, 7)
    assert queue.leave() == []
    again = FileQueue(tmp_path / "q.db", 10**6)
    assert names(again) == ["1", "2"] and again.routes() == [RouteState("a", 1, 7)]
    again.leave()


def test_only_its_user_may_read_a_queue_file(tmp_path: Path) -> None:
    queue = FileQueue(tmp_path / "q.db", 10**6)
    queue.put([entry("1")])
    modes = {stat.S_IMODE(path.stat().st_mode) for path in tmp_path.iterdir()}
    assert modes == {0o600}
    queue.leave()


def test_one_claim_of_a_route_at_a_time(tmp_path: Path) -> None:
    one, other = (FileQueue(tmp_path / "q.db", 10**6) for _ in range(2))
    assert one.claim("a") and not other.claim("a") and other.claim("b")
    one.release("a")
    assert other.claim("a")
    other.release("a"), other.release("b"), one.leave(), other.leave()


def test_a_file_is_synced_at_every_call(tmp_path: Path) -> None:
    queue = FileQueue(tmp_path / "q.db", 10**6)
    assert queue._db is not None
    assert queue._db.execute("PRAGMA synchronous").fetchone() == (2,)
    assert queue._db.execute("PRAGMA journal_mode").fetchone() == ("wal",)
    queue.leave()


def test_files_that_cannot_be_used_are_said_when_the_client_is_made(tmp_path: Path) -> None:
    (tmp_path / "text.db").write_text("this is no database, but a text " * 100)
    with pytest.raises(QueueFileError, match="not a database"):
        FileQueue(tmp_path / "text.db", 10**6)
    with pytest.raises(QueueFileError, match=r"absent.*q\.db"):
        FileQueue(tmp_path / "absent" / "q.db", 10**6)
    later = sqlite3.connect(tmp_path / "later.db")
    later.execute("PRAGMA user_version = 9")
    later.close()
    with pytest.raises(QueueFileError, match="format 9 of a later version"):
        FileQueue(tmp_path / "later.db", 10**6)


def test_a_full_disk_is_an_error_of_its_own_and_costs_nothing_stored(tmp_path: Path) -> None:
    queue = FileQueue(tmp_path / "q.db", 10**9)
    queue.put([entry("1")])
    assert queue._db is not None
    pages = queue._db.execute("PRAGMA page_count").fetchone()[0]
    queue._db.execute(f"PRAGMA max_page_count = {pages + 2}")
    with pytest.raises(QueueFileError, match="full"):
        queue.put([entry("2", size=100_000)])
    assert names(queue) == ["1"] and queue.count() == 1
    queue.leave()
