"""The index of ids: what was put is found, across restarts, parts and writers; the cost is flat."""

from __future__ import annotations

import random
import statistics
import time
from pathlib import Path

import apsw
import pytest

from trunkline.state import id_file
from trunkline.state.id_file import FRESH_IDS_MAX
from trunkline.state.id_filter import IdFilter
from trunkline.state.ids import DAY_MS, IdEntry, IdIndex, IdReader, id_key

NOW_MS = 1_795_255_200_000
Item = tuple[bytes, IdEntry]


def items(rng: random.Random, count: int, first: int, received_ms: int = NOW_MS) -> list[Item]:
    return [
        (rng.randbytes(16), IdEntry(1, first + i, 0, first + i, received_ms)) for i in range(count)
    ]


def test_what_was_put_is_found_and_nothing_else(tmp_path: Path) -> None:
    rng = random.Random(1)
    index = IdIndex(tmp_path, 1_000_000)
    some = items(rng, 3000, 0)
    index.put_many(some[:1000], 1000)
    index.put_many(some[1000:], 3000)
    found = index.find_many([key for key, _ in some])
    assert found == {key: [entry] for key, entry in some}
    assert index.find_many([rng.randbytes(16) for _ in range(1000)]) == {}
    index.close()


def test_settled_ids_are_found_as_fresh_ones_are(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(id_file, "FRESH_IDS_MAX", 500)
    rng = random.Random(2)
    index = IdIndex(tmp_path, 1_000_000)
    every: list[Item] = []
    for step in range(60):
        if step in (20, 41):
            index.close()
            index = IdIndex(tmp_path, 1_000_000)
        some = items(rng, 100, step * 100)
        every += some
        index.put_many(some, step * 100 + 100)
        probe = rng.sample(every, 20)
        assert index.find_many([key for key, _ in probe]) == {key: [entry] for key, entry in probe}
    assert index.find_many([key for key, _ in every]) == {key: [entry] for key, entry in every}
    reader = IdReader(tmp_path)
    index.put_many([(id_key("shop", "m1"), IdEntry(0, 7, 0, 9000, NOW_MS))], 9001)
    assert reader.find("shop", "m1") == IdEntry(0, 7, 0, 9000, NOW_MS)
    assert reader.find("shop", "m2") is None
    reader.close()
    index.close()


def test_fresh_blobs_are_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(id_file, "FRESH_IDS_MAX", 500)
    rng = random.Random(3)
    index = IdIndex(tmp_path, 1_000_000)
    for step in range(100):
        index.put_many(items(rng, 100, step * 100), step * 100 + 100)
    db = apsw.Connection(str(next(tmp_path.glob("*.db"))))
    blobs = db.execute("SELECT count(*) FROM fresh").get
    assert isinstance(blobs, int) and blobs <= 16
    # A file that gets nothing more is settled whole, beside the work of the next day.
    for step in range(400):
        index.put_many(items(rng, 1, 10_000 + step, NOW_MS + DAY_MS), 10_001 + step)
    assert db.execute("SELECT count(*) FROM fresh").get == 0
    db.close()
    index.close()


def test_an_id_that_came_again_has_its_newest_place_in_a_file_and_one_in_each(
    tmp_path: Path,
) -> None:
    index = IdIndex(tmp_path, 1_000_000)
    key = id_key("shop", "m1")
    places = [IdEntry(0, n, 0, n, NOW_MS + n * DAY_MS // 2) for n in range(3)]
    for n, place in enumerate(places):
        index.put_many([(key, place)], n + 1)
    # 10:00 and 22:00 of one day, and 10:00 of the next.
    assert sorted(index.find_many([key])[key]) == [places[1], places[2]]
    index.close()


def test_marks_say_what_a_file_covers_and_a_lagging_one_is_noticed(tmp_path: Path) -> None:
    rng = random.Random(4)
    index = IdIndex(tmp_path, 1_000_000)
    index.put_many(items(rng, 10, 100), 110)
    early = index.marks()
    index.put_many(items(rng, 10, 110, NOW_MS + DAY_MS), 120)
    index.put_many(items(rng, 10, 120, NOW_MS + DAY_MS), 130)
    marks = index.marks()
    assert sorted(marks.values()) == [(100, 110), (110, 130)]
    assert index.covered(marks, 130) == 130
    assert index.covered(early, 110) == 110
    name = max(marks)
    assert index.covered({**marks, name: (110, 140)}, 140) == 130
    index.release([name])
    assert index.covered(marks, 130) == 110
    assert index.covered({}, 0) == 0
    index.close()


def test_parts_and_days_are_named_and_let_go_by_age(tmp_path: Path) -> None:
    rng = random.Random(5)
    index = IdIndex(tmp_path, 800)  # 100 a file
    for step in range(9):
        index.put_many(items(rng, 50, step * 50, NOW_MS + step // 5 * DAY_MS), step * 50 + 50)
    names = sorted(path.name for path in tmp_path.glob("*.db"))
    assert names == [
        "2026-11-21.1.db",
        "2026-11-21.2.db",
        "2026-11-21.db",
        "2026-11-22.1.db",
        "2026-11-22.db",
    ]
    assert index.too_many() == []
    for step in range(9, 18):
        index.put_many(items(rng, 50, step * 50, NOW_MS + 2 * DAY_MS), step * 50 + 50)
    assert index.too_many() == ["2026-11-21"]
    index.release(["2026-11-21"])
    assert index.since_ms == NOW_MS // DAY_MS * DAY_MS + DAY_MS
    index.unlink(["2026-11-21"])
    assert not (tmp_path / "2026-11-21.db").exists()
    assert index.too_old(0.5) == ["2026-11-21.1", "2026-11-21.2"]
    index.close()


def test_the_filter_has_no_false_no_and_few_false_yes() -> None:
    rng = random.Random(6)
    filter_ = IdFilter()
    keys = [rng.randbytes(16) for _ in range(300_000)]
    for start in range(0, len(keys), 1000):
        filter_.add(start // 1000 % 2, keys[start : start + 1000])
    for start in range(0, len(keys), 1000):
        slot = 1 << start // 1000 % 2
        assert all(slots & slot for slots in filter_.slots_of(keys[start : start + 1000]))
    strangers = [rng.randbytes(16) for _ in range(20_000)]
    assert sum(map(bool, filter_.slots_of(strangers))) < 400
    filter_.clear([0])
    assert not any(slots & 1 for slots in filter_.slots_of(keys))
    assert all(slots & 2 for slots in filter_.slots_of(keys[1000:2000]))


@pytest.mark.slow
def test_a_file_the_filter_does_not_know_yet_is_asked(tmp_path: Path) -> None:
    rng = random.Random(7)
    index = IdIndex(tmp_path, 10_000_000)
    old = items(rng, 1000, 0)
    index.put_many(old, 1000)
    for step in range(1, 3 * FRESH_IDS_MAX // 10_000):
        index.put_many(items(rng, 10_000, step * 10_000), step * 10_000 + 10_000)
    index.close()
    index = IdIndex(tmp_path, 10_000_000)
    keys = [key for key, _ in old]
    assert len(index.find_many(keys)) == 1000
    assert index.warm(5000) >= 5000
    assert len(index.find_many(keys)) == 1000
    while index.warm(100_000):
        pass
    assert len(index.find_many(keys)) == 1000
    index.close()


class Filled:
    """An index that was given so many ids, 400,000 a day."""

    def __init__(self, folder: Path, ids: int) -> None:
        self.rng = random.Random(ids)
        self.folder = folder
        self.index = IdIndex(folder, 100_000_000)
        self.serial = 0
        while self.serial < ids:
            self.index.put_many(self.next_items(5000), self.serial)

    def next_items(self, count: int) -> list[Item]:
        day_ms = NOW_MS + self.serial // 400_000 * DAY_MS
        some = items(self.rng, count, self.serial, day_ms)
        self.serial += count
        return some

    def step(self) -> float:
        """Return the seconds of processor that 1,000 new ids cost."""
        some = self.next_items(1000)
        keys = [key for key, _ in some]
        started = time.process_time()
        assert not self.index.find_many(keys)
        self.index.put_many(some, self.serial)
        return time.process_time() - started


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_the_cost_of_a_new_id_does_not_grow_with_what_is_stored(tmp_path: Path) -> None:
    small, large = Filled(tmp_path / "small", 100_000), Filled(tmp_path / "large", 2_500_000)
    # One after the other, so that both have the same noise.
    costs = [(small.step(), large.step()) for _ in range(150)]
    medians = [statistics.median(column) for column in zip(*costs, strict=True)]
    assert medians[1] < 1.4 * medians[0], medians
    index = large.index
    index.put_many([(id_key("shop", "m1"), IdEntry(0, 1, 0, large.serial, NOW_MS))], large.serial)
    reader = IdReader(large.folder)
    reader.find("shop", "opens the files")
    started = time.process_time()
    assert reader.find("shop", "m1") is not None
    assert time.process_time() - started < 0.1
    reader.close()
    small.index.close()
    index.close()
