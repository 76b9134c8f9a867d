"""Takes in the files that came over HTTP, one after the other, beside the path of a running node.

The files lie in `state/imports/`, what is known of them in `state/imports.db`: a gateway put both
there, durably, before it said yes. Each goes through the same `Import` as a file from a shell, in
the partition of imports, so the two take turns, and a kill at any moment costs nothing. A file is
removed when it is through or can never be; its rejects stay for `REJECTS_DAYS`.

One thread of the background process. What a file holds it rejects line by line; what is wrong with
the whole file ends its import with a sentence, and whoever sent it reads that.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from contextlib import closing

import apsw
import msgspec

from trunkline.bulk.importing import (
    Import,
    ImportHalted,
    ImportStopped,
    PartitionTaken,
    RejectFile,
    Told,
)
from trunkline.bulk.judging import RowJudge
from trunkline.bulk.mapping import ColumnMap, map_columns
from trunkline.bulk.rows import RowsError, TextFile
from trunkline.kit.clock import Clock
from trunkline.kit.eventlog import EventLog
from trunkline.kit.import_terms import FIELDS, ImportTerms, MappingError
from trunkline.kit.protocol import Protocol
from trunkline.model.snapshot import App, Snapshot
from trunkline.reports.imports import COUNTED_DAYS, count_known, rejects_file
from trunkline.state.home import Home
from trunkline.state.imports import ImportRow, Imports, open_imports
from trunkline.state.spool import sweep
from trunkline.telemetry import bulk as telemetry

LOOK_SECONDS = 1.0
TURN_SECONDS = 2.0  # how soon another try to have the partition
PUT_OFF_SECONDS = 30.0
SWEEP_SECONDS = 60.0
TRIES_MAX = 5  # in a row that ended with a defect; then the import fails
REJECTS_DAYS = 30.0
REJECT_BYTES_MAX = 67_108_864  # of one import; what is above is counted only
_DAY_MS = 86_400_000
_COUNTED_MAX = 20  # imports whose duplicates are looked for in one turn
_MAPPING_CHARS_MAX = 65_536
_DEFECT = "a defect on our side ended it again and again; its reason is in the node's log"


class Hopeless(Exception):
    """The import can never go on; the message says why, to whoever sent the file."""


class ImportWorker:
    """Works on what lies in the folder of imports. Call `run` in a thread of its own."""

    def __init__(
        self,
        *,
        home: Home,
        log: EventLog,
        protocols: Mapping[str, Protocol],
        snapshot: Callable[[], Snapshot | None],
        clock: Clock,
        stamp: Callable[[], int],
    ) -> None:
        self._home = home
        self._log = log
        self._protocols = protocols
        self._snapshot = snapshot
        self._clock = clock
        self._stamp = stamp
        self._halt = threading.Event()
        self._tries: dict[str, int] = {}
        self._sweep_at = 0.0
        self._tell_at = 0.0

    def run(self, halt: threading.Event) -> None:
        """Work until `halt` is set: within a second or so, or the append that runs just then."""
        self._halt = halt
        while not halt.is_set():
            try:
                self._work()
            except Exception as error:  # the edge of the loop: told, and tried again
                telemetry.worker_broke(error)
                halt.wait(PUT_OFF_SECONDS)

    def _work(self) -> None:
        home = self._home
        while not home.imports_file.exists() and not home.imports_folder.exists():
            if self._halt.wait(LOOK_SECONDS):
                return
        with open_imports(home) as imports:
            while not self._halt.wait(self._turn(imports)):
                pass

    def _turn(self, imports: Imports) -> float:
        """Do what there is to do; return the seconds until there may be more."""
        self._keep_house(imports)
        row = imports.next_spooled()
        snapshot = self._snapshot()
        if row is None or snapshot is None:
            return LOOK_SECONDS
        return self._try(row, imports, snapshot)

    def _try(self, row: ImportRow, imports: Imports, snapshot: Snapshot) -> float:
        """Work on an import; return the seconds until the next turn."""
        try:
            self._take_in(row, imports, snapshot)
        except PartitionTaken as error:
            self._tell_turn(row, error)
            return TURN_SECONDS
        except ImportHalted:
            return 0.0
        except (Hopeless, RowsError, MappingError) as error:
            self._fail(row, imports, str(error))
        except (ImportStopped, OSError, apsw.Error) as error:
            telemetry.import_put_off(row.name, str(error), PUT_OFF_SECONDS, None)
            return PUT_OFF_SECONDS
        except Exception as error:  # the edge: one file must not keep the others from their turn
            return self._put_off(row, imports, error)
        self._tries.pop(row.name, None)
        return 0.0

    def _tell_turn(self, row: ImportRow, error: PartitionTaken) -> None:
        """Tell why it is not this one's turn: at first, and then now and then."""
        if self._clock.monotonic() >= self._tell_at:
            self._tell_at = self._clock.monotonic() + PUT_OFF_SECONDS
            telemetry.import_put_off(row.name, str(error), TURN_SECONDS, None)

    def _put_off(self, row: ImportRow, imports: Imports, error: Exception) -> float:
        tries = self._tries[row.name] = self._tries.get(row.name, 0) + 1
        telemetry.import_put_off(row.name, f"defect, try {tries}", PUT_OFF_SECONDS, error)
        if tries >= TRIES_MAX:
            del self._tries[row.name]
            self._fail(row, imports, _DEFECT)
        return PUT_OFF_SECONDS

    def _take_in(self, row: ImportRow, imports: Imports, snapshot: Snapshot) -> None:
        app = snapshot.apps_by_id.get(row.app)
        if app is None:
            raise Hopeless("its app is not in the catalog any more")
        terms = msgspec.json.decode(row.terms, type=ImportTerms)
        path = self._home.imports_folder / row.spool
        if not path.is_file():
            raise Hopeless("its file is gone from the server; send it again, and it goes on")
        with closing(TextFile(path, terms.format, "the file", self._look_up)) as source:
            columns = _columns_of(source, terms)
            row.columns = _show(columns)
            judge = self._judge(row, terms, snapshot, app, columns)
            self._run(row, source, judge, imports)
        path.unlink(missing_ok=True)
        telemetry.import_done(row.name, row.app, row.rows, row.accepted, row.rejected)

    def _look_up(self) -> None:
        if self._halt.is_set():
            raise ImportHalted

    def _judge(
        self,
        row: ImportRow,
        terms: ImportTerms,
        snapshot: Snapshot,
        app: App,
        columns: ColumnMap | None,
    ) -> RowJudge:
        return RowJudge(
            self._protocols,
            snapshot,
            app,
            name=row.name,
            is_historical=terms.historical,
            columns=columns,
            people_of=row.head if row.kind == "users" else None,
        )

    def _run(self, row: ImportRow, source: TextFile, judge: RowJudge, imports: Imports) -> None:
        work = Import(
            row,
            source,
            judge,
            log=self._log,
            imports=imports,
            home=self._home,
            rejects=RejectFile(
                rejects_file(self._home, row.name), row.reject_bytes, REJECT_BYTES_MAX
            ),
            clock=self._clock,
            stamp=self._stamp,
            is_halted=self._halt.is_set,
        )
        telemetry.import_begun(row.name, row.app, row.kind, row.size, row.position)
        counted = Told(row.rows, row.accepted, row.rejected, 0.0)

        def tell(told: Told) -> None:
            nonlocal counted
            telemetry.lines_taken_up(told.rows - counted.rows, told.rejected - counted.rejected)
            counted = told

        with closing(work):
            work.run(tell)

    def _fail(self, row: ImportRow, imports: Imports, problem: str) -> None:
        imports.fail(row, problem, self._clock.now_ms())
        (self._home.imports_folder / row.spool).unlink(missing_ok=True)
        telemetry.import_failed(row.name, row.app, problem)

    def _keep_house(self, imports: Imports) -> None:
        """Count the duplicates of what is through; now and then remove what nobody needs."""
        now_ms = self._clock.now_ms()
        for row in imports.uncounted(now_ms - COUNTED_DAYS * _DAY_MS, _COUNTED_MAX):
            known = count_known(self._home, row)
            if known.is_all:
                imports.note_duplicates(row.name, known.duplicates)
        if self._clock.monotonic() >= self._sweep_at:
            self._sweep_at = self._clock.monotonic() + SWEEP_SECONDS
            self._sweep(imports, now_ms)

    def _sweep(self, imports: Imports, now_ms: int) -> None:
        folder = self._home.imports_folder
        spools = sweep(folder, imports.open_spools)
        rejects = 0
        for path in folder.glob("*.rejects.ndjson"):
            if now_ms - path.stat().st_mtime * 1000 > REJECTS_DAYS * _DAY_MS:
                path.unlink(missing_ok=True)
                rejects += 1
        if spools or rejects:
            telemetry.files_swept(spools, rejects)


def _columns_of(source: TextFile, terms: ImportTerms) -> ColumnMap | None:
    """Return what the columns of a table fill: nobody can be asked, so guesses stand."""
    if terms.format == "ndjson":
        return None
    columns = map_columns(
        source.columns, terms.mapping, terms.constants.items(), FIELDS[terms.kind]
    )
    gaps = columns.find_gaps("the parameter set=event=Name")
    if gaps:
        how = "say it with the parameter mapping=COLUMN=FIELD"
        raise Hopeless(f"{'; '.join(gaps)}; {how}, and send it again")
    return columns


def _show(columns: ColumnMap | None) -> str:
    if columns is None:
        return ""
    shown = {target.column: target.field for target in columns.targets}
    shown |= {f"(every row) {'.'.join(path)}": text for path, text in columns.constants}
    text = msgspec.json.encode(shown).decode()
    return text if len(text) <= _MAPPING_CHARS_MAX else ""
