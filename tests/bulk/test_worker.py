"""Files that came over HTTP: put into the books once, taken in whole, whatever comes between."""

from __future__ import annotations

import asyncio
import gzip
import hashlib
import json
import threading
from collections.abc import Iterator
from contextlib import closing
from itertools import count
from pathlib import Path
from typing import Any

import pytest

from tests.support.bulk_stage import LONG_AGO_MS, SHOP, SNAPSHOT, track
from trunkline.bulk import importing, worker
from trunkline.bulk.importing import open_partition
from trunkline.bulk.worker import ImportWorker
from trunkline.cli._import_state import examine_imports
from trunkline.desk import imports as desk
from trunkline.desk.imports import ImportDesk
from trunkline.eventlogs.sqlite import SqliteEventLog
from trunkline.kit.clock import Clock, FakeClock, SystemClock
from trunkline.kit.desk import ImportAsked, ImportOrdered, Reply
from trunkline.kit.import_terms import ImportTerms
from trunkline.kit.settings import PipelineSettings
from trunkline.model.record import ACCEPTED, AcceptedEvent, decode_accepted
from trunkline.model.snapshot import Snapshot
from trunkline.node import protocol_shelf
from trunkline.pipeline.engine import Pipeline
from trunkline.reports.imports import QUIET_MS, state_of, tell_import
from trunkline.state.db import open_writer
from trunkline.state.home import Home
from trunkline.state.imports import MIGRATIONS, ImportRow, open_imports
from trunkline.state.spool import SpoolFile

EVENTS = ImportTerms("ndjson", True, {}, {})
PATIENCE_SECONDS = 60.0


class Stage:
    """A home, the desk that takes orders, and the worker that carries them out."""

    def __init__(self, folder: Path) -> None:
        self.home = Home(folder / "home")
        self.home.prepare()
        self.clock: Clock = SystemClock()
        self.log = SqliteEventLog(self.home.log_folder, self.clock, sync="OFF", reserve_bytes=0)
        self.stamps = count(1)
        self.snapshot: Snapshot = SNAPSHOT

    def order(self, data: bytes, terms: ImportTerms = EVENTS, app: str = SHOP.id) -> Reply:
        """Send a file as the gateway does."""
        file = SpoolFile(self.home.imports_folder)
        with closing(file):
            file.write(data)
            file.seal()
            order = ImportOrdered(
                app=app, key="backend", terms=terms, file=file.path, digest=file.digest
            )
            return asyncio.run(ImportDesk(self.home, self.clock).order(order))

    def taken(self, data: bytes, terms: ImportTerms = EVENTS) -> str:
        """Send a file that is taken, and return its import's id."""
        reply = self.order(data, terms)
        assert reply.outcome == "taken"
        said = json.loads(reply.value)
        assert (said["status"], said["bytes"]) == ("accepted", len(data))
        found: str = said["id"]
        return found

    def ask(self, job: str = "", *, rejects: bool = False, app: str = SHOP.id) -> Reply:
        asked = ImportAsked(app=app, job=job, rejects=rejects)
        return asyncio.run(ImportDesk(self.home, self.clock).tell(asked))

    def told(self, job: str) -> dict[str, Any]:
        reply = self.ask(job)
        assert reply.outcome == "found"
        value: dict[str, Any] = json.loads(reply.value)
        # At any moment: a line of these tests is one event or person, or rejected.
        assert value["lines"] == value["stored"] + value["duplicate"] + value["rejected"]
        return value

    def worker(self) -> ImportWorker:
        return ImportWorker(
            home=self.home,
            log=self.log,
            protocols=protocol_shelf(),
            snapshot=lambda: self.snapshot,
            clock=self.clock,
            stamp=lambda: next(self.stamps),
        )

    def work_until(self, is_so: Any, what: str) -> None:
        """Let the worker work until something is true."""
        halt, tick = threading.Event(), threading.Event()
        thread = threading.Thread(target=self.worker().run, args=(halt,))
        thread.start()
        try:
            for _ in range(int(PATIENCE_SECONDS * 100)):
                if is_so():
                    return
                tick.wait(0.01)
            raise AssertionError(f"waited in vain: {what}")
        finally:
            halt.set()
            thread.join(PATIENCE_SECONDS)
            assert not thread.is_alive()

    def work(self, *jobs: str) -> None:
        """Let the worker work until these imports are over, and the pipeline judge them."""

        def is_over(job: str) -> bool:
            told = self.told(job)
            return told["done"] is not None or told["state"] == "failed"

        self.work_until(lambda: all(is_over(job) for job in jobs), "all over")
        self.judge()

    def judge(self) -> None:
        """Let the pipeline take up what lies in ACCEPTED."""
        pipeline = Pipeline(
            log=self.log,
            protocols=protocol_shelf(),
            snapshot=lambda: self.snapshot,
            home=self.home,
            settings=PipelineSettings(),
            keep_days=7.0,
            clock=self.clock,
        )
        with closing(pipeline):
            pipeline.recover()
            while pipeline.step():
                pass

    def stored(self) -> list[AcceptedEvent]:
        """Return what lies in ACCEPTED."""
        with closing(self.log.reader(ACCEPTED, "look", {})) as reader:
            found = [decode_accepted(fetched.record.value) for fetched in reader.read(10_000)]
        return [record for record in found if isinstance(record, AcceptedEvent)]

    def numbers(self) -> list[int]:
        return [json.loads(record.body)["properties"]["number"] for record in self.stored()]

    def names(self) -> list[str]:
        folder = self.home.imports_folder
        return sorted("".join(path.suffixes) for path in folder.glob("*"))


@pytest.fixture
def stage(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Stage]:
    monkeypatch.setattr(importing, "ROWS_MAX", 10)
    monkeypatch.setattr(worker, "LOOK_SECONDS", 0.02)
    monkeypatch.setattr(worker, "TURN_SECONDS", 0.02)
    monkeypatch.setattr(worker, "PUT_OFF_SECONDS", 0.02)
    made = Stage(tmp_path)
    yield made
    made.log.close()


def lines(rows: int, first: int = 0) -> bytes:
    return b"".join(json.dumps(track(n)).encode() + b"\n" for n in range(first, first + rows))


def test_a_file_is_taken_in_and_then_removed(stage: Stage) -> None:
    job = stage.taken(gzip.compress(lines(95) + b"no event\n"))
    told = stage.told(job)
    assert (told["state"], told["lines"], told["kind"]) == ("waiting", 0, "events")
    assert (told["duplicate"], told["judged"]) == (0, False)
    assert told["secondsLeft"] is told["problem"] is None
    assert stage.names() == [".spool"]
    stage.work(job)
    told = stage.told(job)
    assert (told["state"], told["lines"], told["stored"], told["rejected"]) == ("done", 96, 95, 1)
    assert (told["share"], told["rate"] > 0, told["done"] is not None) == (1.0, True, True)
    (reject,) = told["rejects"]
    assert (reject["line"], reject["code"]) == (96, "malformed_json")
    assert stage.numbers() == list(range(95))
    assert all(record.historical for record in stage.stored())
    assert stage.stored()[94].request_id == f"{job}:95"
    assert stage.names() == [".rejects.ndjson"]
    kept = stage.ask(job, rejects=True)
    assert kept.file is not None and json.loads(kept.file.read_bytes())["row"] == "no event"


def named(first: int, end: int) -> bytes:
    events = [track(n, messageId=f"m-{n}") for n in range(first, end)]
    return b"".join(json.dumps(event).encode() + b"\n" for event in events)


def test_stored_is_what_was_new_and_is_final_once_all_of_it_was_judged(stage: Stage) -> None:
    first = stage.taken(named(0, 30))
    stage.work(first)
    told = stage.told(first)
    assert (told["stored"], told["duplicate"], told["judged"]) == (30, 0, True)
    # 15 of it known, 5 twice in the file itself, 10 new, and one no event.
    later = stage.taken(named(15, 40) + named(35, 40) + b"no event\n")
    stage.work_until(lambda: stage.told(later)["done"] is not None, "it lies in the log")
    told = stage.told(later)
    assert (told["lines"], told["stored"], told["duplicate"], told["rejected"]) == (31, 30, 0, 1)
    assert (told["state"], told["judged"]) == ("running", False)
    stage.judge()
    told = stage.told(later)
    assert (told["lines"], told["stored"], told["duplicate"], told["rejected"]) == (31, 10, 20, 1)
    assert (told["state"], told["judged"]) == ("done", True)
    stage.work_until(lambda: noted(stage, later) == 20, "the worker notes what it came to")
    assert stage.told(later) == told


def noted(stage: Stage, job: str) -> int:
    with open_imports(stage.home) as imports:
        row = imports.get(job)
        assert row is not None
        return row.duplicates


def test_a_file_that_breaks_off_is_counted_as_far_as_it_went(stage: Stage) -> None:
    stage.work(stage.taken(named(0, 200)))
    # The end of a gzip file is missing, as of a download that was cut.
    job = stage.taken(gzip.compress(named(100, 400), 0)[:-40])
    stage.work(job)
    told = stage.told(job)
    assert (told["state"], told["judged"], told["duplicate"]) == ("failed", True, 100)
    assert told["stored"] > 40  # what stands less than 16 KiB before the cut was not taken
    assert len(stage.stored()) == 200 + told["lines"]


def test_a_body_of_several_messages_is_one_line_and_as_many_events(stage: Stage) -> None:
    def body(*ids: str) -> bytes:
        messages = [
            {"type": "action", "id": id_, "time": LONG_AGO_MS, "name": "taqsq"} for id_ in ids
        ]
        return json.dumps({"customUserId": "u-1", "messages": messages}).encode() + b"\n"

    job = stage.taken(body("a", "b", "c") + body("c", "d"))
    stage.work_until(lambda: len(stage.stored()) == 5, "both bodies")
    stage.judge()
    with open_imports(stage.home) as imports:
        row = imports.get(job)
    assert row is not None
    told = tell_import(stage.home, row, stage.clock.now_ms())
    assert (told.lines, told.stored, told.duplicate, told.rejected) == (2, 4, 1, 0)


def test_the_same_file_is_one_import_and_other_terms_are_another(stage: Stage) -> None:
    data = lines(5)
    job = stage.taken(data)
    assert stage.taken(data) == job and stage.names() == [".spool"]
    live = stage.taken(data, ImportTerms("ndjson", False, {}, {}))
    assert live != job
    stage.work(job, live)
    assert stage.taken(data) == job and stage.names() == []
    assert stage.numbers() == [*range(5), *range(5)]
    assert [record.historical for record in stage.stored()] == [True] * 5 + [False] * 5
    listed = json.loads(stage.ask().value)["imports"]
    assert [each["id"] for each in listed] == [live, job]


def test_files_are_taken_in_as_they_came(stage: Stage) -> None:
    jobs = [stage.taken(lines(20, first)) for first in (0, 20, 40)]
    stage.work(*jobs)
    assert stage.numbers() == list(range(60))


def test_halted_at_any_moment_and_started_again_each_row_is_stored_once(stage: Stage) -> None:
    job = stage.taken(lines(200))
    for rows in (10, 60, 110):
        stage.work_until(lambda rows=rows: stage.told(job)["lines"] >= rows, "some are taken in")
    stage.work(job)
    assert stage.numbers() == list(range(200))


def test_it_waits_its_turn_behind_an_import_from_a_shell(stage: Stage) -> None:
    with closing(open_partition(stage.log)):
        job = stage.taken(lines(5))
        tries = threading.Event()
        stage.work_until(lambda: tries.wait(0.2) or True, "it tries")
        assert stage.told(job)["state"] == "waiting" and not stage.stored()
    stage.work(job)
    assert stage.numbers() == list(range(5))


def test_users_in_columns_become_identify(stage: Stage) -> None:
    terms = ImportTerms("csv", True, {"nr": "customUserId"}, {"country": "IR"}, "users")
    job = stage.taken(b"nr,E-Mail,level\n0042,a@b.example,3\n,c@d.example,4\n", terms)
    stage.work(job)
    told = stage.told(job)
    assert (told["kind"], told["stored"], told["rejected"]) == ("users", 1, 1)
    assert told["columns"] == {
        "nr": "customUserId", "E-Mail": "email", "level": "customAttributes.level",
        "(every row) country": "IR",
    }  # fmt: skip
    (record,) = stage.stored()
    event = protocol_shelf()[record.protocol].normalise(record, SHOP).event
    assert (event.type, event.user_id) == ("identify", "0042")
    assert event.traits == {"email": "a@b.example", "country": "IR", "level": 3}


@pytest.mark.parametrize(
    ("data", "terms", "problem"),
    [
        (gzip.compress(lines(50))[:-400], EVENTS, "the file cannot be read past line "),
        (b"a,a\n1,2\n", ImportTerms("csv", True, {}, {}), "names the column 'a' twice"),
        (b"x,y\n1,2\n", ImportTerms("csv", True, {}, {}), "no column fills userId"),
        (b"user_id\n1\n", ImportTerms("csv", True, {}, {}), "give the parameter set=event=Name;"),
        (b"x\n1\n", ImportTerms("csv", True, {"z": "userId"}, {}), "no column 'z'"),
        (b"x\n1\n", ImportTerms("csv", True, {}, {}, "users"), "no column fills one of customUser"),
    ],
)
def test_a_file_that_can_never_be_taken_in_fails_with_a_sentence(
    stage: Stage, data: bytes, terms: ImportTerms, problem: str
) -> None:
    job, good = stage.taken(data, terms), stage.taken(lines(3))
    stage.work(job, good)
    told = stage.told(job)
    assert told["state"] == "failed" and problem in told["problem"]
    assert str(stage.home.folder) not in told["problem"]
    assert stage.told(good)["state"] == "done"  # nobody stands behind it for ever
    assert ".spool" not in stage.names()
    # Sent again it is tried again: what was wrong may have been the catalog.
    assert stage.taken(data, terms) == job
    assert stage.told(job)["problem"] is None


def test_a_file_that_is_gone_is_asked_for_again_and_goes_on(stage: Stage) -> None:
    job = stage.taken(lines(100))
    stage.work_until(lambda: stage.told(job)["lines"] >= 20, "some are taken in")
    for path in stage.home.imports_folder.glob("*.spool"):
        path.unlink()
    stage.work(job)
    if stage.told(job)["state"] == "failed":  # else it was through before
        assert "send it again, and it goes on" in stage.told(job)["problem"]
        assert stage.taken(lines(100)) == job
        stage.work(job)
    assert stage.numbers() == list(range(100))


def test_an_app_that_is_gone_ends_its_imports(stage: Stage) -> None:
    job = stage.taken(lines(3))
    stage.snapshot = Snapshot(8, "Acme", SNAPSHOT.plan, ())
    stage.work(job)
    assert stage.told(job)["problem"] == "its app is not in the catalog any more"


def test_a_defect_ends_one_import_and_not_the_worker(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    bad, good = stage.taken(lines(3)), stage.taken(lines(3, 3))
    judge = worker.RowJudge

    def broken(*given: Any, **fields: Any) -> Any:
        if fields["name"] == bad:
            raise RuntimeError("a defect")
        return judge(*given, **fields)

    monkeypatch.setattr(worker, "RowJudge", broken)
    stage.work(bad, good)
    assert stage.told(bad)["problem"] == worker._DEFECT
    assert stage.told(good)["state"] == "done"


def test_an_app_may_have_only_so_many_that_wait(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(desk, "OPEN_MAX", 2)
    first = [stage.taken(lines(1, n)) for n in range(2)]
    assert stage.order(lines(1, 2)).outcome == "full"
    assert stage.names() == [".spool", ".spool"]
    assert stage.taken(lines(1, 0)) == first[0]  # what is there is no new one
    assert stage.order(lines(1, 2), app="otherotherother").outcome == "taken"


def test_of_another_app_nothing_is_told(stage: Stage) -> None:
    job = stage.taken(lines(1) + b"bad\n")
    stage.work(job)
    for rejects in (False, True):
        assert stage.ask(job, rejects=rejects, app="otherotherother").outcome == "missing"
        assert stage.ask("import-nosuch", rejects=rejects).outcome == "missing"
    assert json.loads(stage.ask(app="otherotherother").value) == {"imports": []}


def test_what_a_kill_left_is_swept_and_what_waits_is_not(stage: Stage) -> None:
    folder = stage.home.imports_folder
    job = stage.taken(lines(3))
    held = SpoolFile(folder)
    left = SpoolFile(folder)
    left.close()
    orphan = SpoolFile(folder)
    orphan.seal()
    orphan.close()
    old = folder / "import-old.rejects.ndjson"
    old.write_bytes(b"{}\n")
    stage.work(job)
    stage.work_until(lambda: not orphan.path.exists() and not left.path.exists(), "they are swept")
    assert held.path.exists() and old.exists()
    held.close()
    clock = FakeClock(SystemClock().now_ms())
    clock.jump((worker.REJECTS_DAYS + 1) * 86_400)
    stage.clock = clock
    stage.work_until(lambda: not old.exists(), "old rejects are swept")


def test_rejects_are_kept_up_to_a_size_and_counted_beyond(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(worker, "REJECT_BYTES_MAX", 2_000)
    job = stage.taken(b"no event\n" * 100)
    stage.work(job)
    assert (stage.told(job)["rejected"], len(stage.told(job)["rejects"])) == (100, 5)
    kept = stage.ask(job, rejects=True).file
    assert kept is not None and 1_000 < kept.stat().st_size <= 2_000
    assert len([json.loads(line) for line in kept.read_bytes().splitlines()]) > 5


def test_the_doctor_tells_of_what_waits_stands_still_and_failed(stage: Stage) -> None:
    def examined(*, is_running: bool = True) -> list[tuple[str, str]]:
        return list(examine_imports(stage.home, is_running=is_running))

    assert examined() == []
    job, bad = stage.taken(lines(50)), stage.taken(b"x,y\n1,2\n", ImportTerms("csv", True, {}, {}))
    ((verdict, text),) = examined()
    assert (verdict, text[:12]) == ("ok", "2 files wait")
    SpoolFile(stage.home.imports_folder).close()
    ((verdict, text),) = examined(is_running=False)
    assert verdict == "warning" and "1 were left by a kill" in text and "no node runs" in text
    with open_imports(stage.home) as imports:
        row = imports.get(job)
        assert row is not None
        row.saved_ms = stage.clock.now_ms() - 2 * QUIET_MS
        imports.save(row)
    assert examined()[1][1].startswith(f"{job} has stood still for 20 min behind line 0")
    stage.work(job, bad)
    _, (verdict, text) = examined()
    assert verdict == "warning" and f"{bad} of the app {SHOP.id} failed: no column" in text


# The books.


def test_books_of_an_older_version_are_read(tmp_path: Path) -> None:
    home = Home(tmp_path)
    with closing(open_writer(home.imports_file, MIGRATIONS[:1])) as db:
        db.execute(
            "INSERT INTO import VALUES ('import-1','a','f.ndjson',5,6,'h','{}',7,8,9,9,9,0,0,0,9)"
        )
    with open_imports(home) as imports:
        (row,) = imports.latest(None, 10)
    assert (row.name, row.kind, row.spool, row.duplicates, row.position) == (
        "import-1", "events", "", -1, 9,
    )  # fmt: skip
    assert state_of(row, 10) == "done"


def test_books_are_opened_by_many_at_once(tmp_path: Path) -> None:
    """Gateways, worker and commands meet them new; each brings them up to date or waits."""
    failures = list[Exception]()

    def open_them(home: Home) -> None:
        try:
            with open_imports(home) as imports:
                imports.latest(None, 1)
        except Exception as error:
            failures.append(error)

    for number in range(30):  # SQLite says in some of a hundred that the file is locked
        home = Home(tmp_path / str(number))
        threads = [threading.Thread(target=open_them, args=(home,)) for _ in range(12)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert failures == []


def test_what_an_import_does_is_told_by_its_row() -> None:
    def row(**fields: Any) -> ImportRow:
        return ImportRow("i", "a", "", 1, 0, "h", "{}", 1, **fields)

    assert state_of(row(spool="s"), 5) == "waiting"
    assert state_of(row(spool="s", saved_ms=5), 5 + 2 * QUIET_MS) == "running"
    assert state_of(row(saved_ms=5), 6) == "running"
    assert state_of(row(saved_ms=5), 6 + QUIET_MS) == "stopped"
    assert state_of(row(spool="s", saved_ms=5, fault="no"), 6) == "failed"
    assert state_of(row(spool="s", saved_ms=5, done_ms=6), 6) == "done"


def test_a_file_is_known_by_all_of_its_bytes(tmp_path: Path) -> None:
    with closing(SpoolFile(tmp_path)) as file:
        file.write(b"a" * 2_000_000)
        file.write(b"b")
        assert (file.size, file.digest) == (
            2_000_001, hashlib.sha256(b"a" * 2_000_000 + b"b").hexdigest(),
        )  # fmt: skip
