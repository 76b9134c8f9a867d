"""An import that is killed at any moment and started again stores each row once."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import closing
from itertools import count
from pathlib import Path

import pytest

from tests.support.bulk_stage import SHOP, new_judge, track
from trunkline.bulk import importing
from trunkline.bulk.importing import AHEAD_MAX, Import, ImportStopped, Pace, RejectFile
from trunkline.bulk.judging import Reject
from trunkline.bulk.rows import RowsError, TextFile
from trunkline.eventlogs.sqlite import SqliteEventLog
from trunkline.kit.clock import FakeClock, SystemClock
from trunkline.model.record import ACCEPTED, AcceptedEvent, decode_accepted
from trunkline.state.db import open_writer
from trunkline.state.home import Home, HomeLock
from trunkline.state.imports import ImportRow, Imports, identify, open_imports
from trunkline.state.pipeline import MIGRATIONS

ROWS = 95
BAD = {11, 30, 95}  # lines that are none
STEP = 10


class Killed(Exception):
    """What stands for SIGKILL: nothing of the process goes on behind it."""


class DyingImports(Imports):
    """Dies before or behind a save, the `nth` one."""

    def __init__(self, imports: Imports, nth: int, *, is_saved: bool) -> None:
        super().__init__(imports._db)
        self._left = nth
        self._is_saved = is_saved

    def save(self, row: ImportRow) -> None:
        self._left -= 1
        if self._left == 0 and not self._is_saved:
            raise Killed
        super().save(row)
        if self._left == 0:
            raise Killed


class Stage:
    """A home, a file, and imports of it."""

    def __init__(self, folder: Path) -> None:
        self.home = Home(folder / "home")
        self.home.prepare()
        self.file = folder / "events.ndjson"
        lines = ["no event" if n in BAD else json.dumps(track(n)) for n in range(1, ROWS + 1)]
        self.file.write_text("\n".join(lines))
        self.clock = SystemClock()
        self.log = SqliteEventLog(self.home.log_folder, self.clock, sync="OFF", reserve_bytes=0)
        self.stamps = count(1)

    def row(self, imports: Imports, name: str = "import-1") -> ImportRow:
        """Return the import of the file, found or new."""
        known = identify(self.file)
        return imports.find(SHOP.id, known) or ImportRow(
            name, SHOP.id, str(self.file), known.size, known.mtime_ns, known.head, "{}", 1
        )

    def run(self, *, name: str = "import-1", nth: int = 0, is_saved: bool = False) -> ImportRow:
        """Run the import; with `nth` it dies at a save."""
        with open_imports(self.home) as imports, closing(TextFile(self.file, "ndjson")) as file:
            row = self.row(imports, name)
            work = Import(
                row, file, new_judge(name),
                log=self.log,
                imports=DyingImports(imports, nth, is_saved=is_saved) if nth else imports,
                home=self.home,
                rejects=RejectFile(self.rejects, row.reject_bytes),
                clock=self.clock,
                stamp=lambda: next(self.stamps),
            )  # fmt: skip
            with closing(work):
                work.run(lambda _: None)
            return row

    @property
    def rejects(self) -> Path:
        return self.file.with_name(f"{self.file.name}.rejects")

    def stored(self) -> list[AcceptedEvent]:
        """Return what lies in ACCEPTED."""
        reader = self.log.reader(ACCEPTED, "look", {})
        with closing(reader):
            found = [decode_accepted(fetched.record.value) for fetched in reader.read(10_000)]
        return [record for record in found if isinstance(record, AcceptedEvent)]

    def check_whole(self, row: ImportRow) -> None:
        """Assert that each good line was stored once, in order, and each bad one told once."""
        numbers = [json.loads(record.body)["properties"]["number"] for record in self.stored()]
        assert numbers == [n for n in range(1, ROWS + 1) if n not in BAD]
        told = [json.loads(line)["line"] for line in self.rejects.read_text().splitlines()]
        assert told == sorted(BAD)
        assert (row.rows, row.accepted, row.rejected) == (ROWS, ROWS - len(BAD), len(BAD))
        assert row.done_ms > 0 and row.position == ROWS


@pytest.fixture
def stage(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Stage]:
    monkeypatch.setattr(importing, "ROWS_MAX", STEP)
    made = Stage(tmp_path)
    yield made
    made.log.close()


def test_a_file_is_stored_line_by_line(stage: Stage) -> None:
    stage.check_whole(stage.run())


@pytest.mark.parametrize("is_saved", [False, True])
@pytest.mark.parametrize("nth", range(1, 13))  # the first save, ten steps, the last one
def test_killed_at_any_save_and_started_again(stage: Stage, nth: int, is_saved: bool) -> None:
    with pytest.raises(Killed):
        stage.run(nth=nth, is_saved=is_saved)
    stage.check_whole(stage.run())


def test_killed_again_and_again(stage: Stage) -> None:
    for nth in (1, 3, 2, 2, 1, 4):
        with pytest.raises(Killed):
            stage.run(nth=nth)
    stage.check_whole(stage.run())


def test_another_import_between_a_kill_and_the_next_start_changes_nothing(stage: Stage) -> None:
    with pytest.raises(Killed):
        stage.run(nth=4)  # its third step lies in the log, and only there
    mine = stage.file
    stage.file = mine.with_name("other.ndjson")
    stage.file.write_text("\n".join(json.dumps(track(1000 + n)) for n in range(25)))
    stage.run(name="import-2")
    stage.file = mine
    stage.run()
    numbers = [json.loads(record.body)["properties"]["number"] for record in stage.stored()]
    mine_only = [n for n in numbers if n < 1000]
    assert mine_only == [n for n in range(1, ROWS + 1) if n not in BAD]
    assert [n for n in numbers if n >= 1000] == [1000 + n for n in range(25)]


def test_one_import_runs_at_a_time(stage: Stage) -> None:
    with closing(importing.open_partition(stage.log)):
        other = SqliteEventLog(stage.home.log_folder, stage.clock, reserve_bytes=0)
        with closing(other), pytest.raises(ImportStopped, match="one import runs at a time"):
            importing.open_partition(other)


def test_what_stands_before_a_break_is_stored(stage: Stage) -> None:
    class Breaking(TextFile):
        def rows(self, after: int):  # type: ignore[no-untyped-def]
            for row in super().rows(after):
                if row.number == 57:
                    raise RowsError("broken here")
                yield row

    with open_imports(stage.home) as imports, closing(Breaking(stage.file, "ndjson")) as file:
        row = stage.row(imports)
        work = Import(
            row, file, new_judge(),
            log=stage.log, imports=imports, home=stage.home,
            rejects=RejectFile(stage.rejects, 0), clock=stage.clock,
            stamp=lambda: next(stage.stamps),
        )  # fmt: skip
        with closing(work), pytest.raises(RowsError, match="broken here"):
            work.run(lambda _: None)
    assert (row.position, row.done_ms) == (56, 0)
    assert len(stage.stored()) == 56 - 2
    stage.check_whole(stage.run())  # the file was made again, with the same beginning


class Worker(FakeClock):
    """Time in which a node's pipeline takes up `rate` records of imports a second."""

    def __init__(self, home: Home, rate: float) -> None:
        super().__init__()
        self._db = open_writer(home.pipeline_file, MIGRATIONS)
        self._rate = rate
        self.taken = 0.0

    def pause(self, seconds: float) -> None:
        super().pause(seconds)
        self.taken += seconds * self._rate
        self._db.execute(
            "INSERT OR REPLACE INTO position VALUES (?, ?, ?)",
            (ACCEPTED, importing.PARTITION, int(self.taken)),
        )


@pytest.fixture
def home(tmp_path: Path) -> Home:
    made = Home(tmp_path / "home")
    made.prepare()
    return made


def test_an_import_waits_for_a_node_that_is_far_behind(home: Home) -> None:
    clock = Worker(home, rate=5000.0)
    lock = HomeLock(home)
    assert lock.try_take("a node")
    pace = Pace(home, clock)
    pace.wait(AHEAD_MAX)
    assert clock.taken == 0
    pace.wait(AHEAD_MAX + 20_000)
    assert 20_000 <= clock.taken < 21_000
    lock.release()


def test_where_no_node_runs_nothing_is_waited_for(home: Home) -> None:
    clock = Worker(home, rate=0.0)
    Pace(home, clock).wait(100 * AHEAD_MAX)
    assert clock.monotonic() == FakeClock().monotonic()


def test_a_node_that_takes_nothing_up_is_told_after_a_while(home: Home) -> None:
    lock = HomeLock(home)
    assert lock.try_take("a node")
    with pytest.raises(ImportStopped, match="has taken up no event for 300 s"):
        Pace(home, Worker(home, rate=0.0)).wait(2 * AHEAD_MAX)
    lock.release()


def test_rejects_that_were_written_and_not_counted_are_written_over(tmp_path: Path) -> None:
    path = tmp_path / "rejects"
    first, second = (Reject(n, "code", "message", "row") for n in (1, 2))
    begun = RejectFile(path, 0)
    kept = begun.write([first])
    begun.write([Reject(2, "code", "a longer message, of another catalog", "row")])
    begun.close()
    again = RejectFile(path, kept)
    assert again.write([]) == kept
    assert again.write([second]) == path.stat().st_size
    again.close()
    assert [json.loads(line) for line in path.read_text().splitlines()] == [
        {"line": n, "code": "code", "message": "message", "row": "row"} for n in (1, 2)
    ]
