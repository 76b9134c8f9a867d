"""`trunkline import`: files of historical events, from a shell."""

from __future__ import annotations

import uuid
from collections import Counter
from collections.abc import Mapping
from contextlib import closing
from pathlib import Path
from typing import Annotated, Any

import cyclopts
import msgspec
from msgspec import Struct

from trunkline.bulk.importing import (
    Import,
    ImportStopped,
    Pace,
    RejectFile,
    Told,
)
from trunkline.bulk.judging import Reject, RowJudge
from trunkline.bulk.mapping import (
    ColumnMap,
    MappingError,
    map_columns,
    read_mapping_file,
    read_pairs,
)
from trunkline.bulk.rows import RowsError, TextFile, guess_format
from trunkline.bulk.tables import ParquetTable
from trunkline.cli import _import_show as show
from trunkline.cli._frame import (
    HOME_DEFAULT,
    CommandError,
    HomeOption,
    JsonOption,
    open_home,
    read_boot,
    say,
    say_json,
)
from trunkline.cli._import_list import show_imports
from trunkline.cli._node import read_snapshot
from trunkline.kit.clock import SystemClock
from trunkline.kit.eventlog import EventLog
from trunkline.kit.import_terms import FIELDS, ImportFormat, ImportKind, ImportTerms
from trunkline.kit.times import format_ms
from trunkline.model.snapshot import App, Snapshot, fold_name
from trunkline.node import open_log, protocol_shelf, stamp_base, stamp_from
from trunkline.reports.imports import Known, count_known
from trunkline.state.home import Home
from trunkline.state.imports import ImportRow, Imports, identify, open_imports

SOME_REJECTED = 3  # the exit code
_SHOWN_REJECTS = 5
_TAKEN_UP_SECONDS = 60.0
_POLL_SECONDS = 0.05


class _Asked(Struct):
    """What the command line asks for."""

    home: Home
    snapshot: Snapshot
    app: App
    terms: ImportTerms
    rejects: Path | None
    is_agreed: bool
    is_again: bool
    is_quiet: bool


KindOption = Annotated[ImportKind, cyclopts.Parameter(help="What the lines are.")]
MappingOption = Annotated[
    list[str] | None,
    cyclopts.Parameter(
        negative="", help="COLUMN=FIELD, or a JSON file of them. A field `-` leaves it out."
    ),
]
SetOption = Annotated[
    list[str] | None,
    cyclopts.Parameter(name="--set", negative="", help="FIELD=VALUE, the same for every row."),
]
FormatOption = Annotated[
    ImportFormat | None,
    cyclopts.Parameter(name="--format", help="Left out: as the file's name ends."),
]
HistoricalOption = Annotated[
    bool,
    cyclopts.Parameter(
        negative="--live",
        help="Historical events go only to destinations that take them; live ones to all.",
    ),
]
RejectsOption = Annotated[
    Path | None, cyclopts.Parameter(help="Left out: FILE.rejects.ndjson beside the file.")
]
YesOption = Annotated[
    bool, cyclopts.Parameter(negative="", help="Do not ask about guessed columns.")
]
AgainOption = Annotated[
    bool, cyclopts.Parameter(negative="", help="From the beginning, whatever was done.")
]
DryRunOption = Annotated[
    bool, cyclopts.Parameter(negative="", help="Only judge the lines; store nothing.")
]


ListOption = Annotated[
    bool, cyclopts.Parameter(name="--list", negative="", help="Show the last imports instead.")
]


def command(
    *files: Path,
    app: Annotated[str, cyclopts.Parameter(help="The app's id or name.")] = "",
    kind: KindOption = "events",
    mapping: MappingOption = None,
    set_: SetOption = None,
    format_: FormatOption = None,
    historical: HistoricalOption = True,
    rejects: RejectsOption = None,
    yes: YesOption = False,
    again: AgainOption = False,
    dry_run: DryRunOption = False,
    list_: ListOption = False,
    home: HomeOption = HOME_DEFAULT,
    json: JsonOption = False,
) -> int:
    """Import files of events or users: NDJSON, CSV or Parquet, plain or with gzip or zstd.

    Works beside a running node and without one. Stopped or killed, it goes on where it was when it
    is started again. The exit code is 3 where some lines were rejected.

    Example: trunkline import orders.csv.gz --app Shop --mapping customer=userId --yes

    Parameters
    ----------
    files
        The files, one after another.
    """
    place = open_home(home)
    snapshot = read_snapshot(place)
    if list_:
        return show_imports(place, _find_app(snapshot, app).id if app else None, is_json=json)
    _check(files, app, rejects)
    said, same = _read_mapping(mapping or []), _read_constants(set_ or [])
    terms = ImportTerms("ndjson", historical, said, same, kind)
    asked = _Asked(
        place, snapshot, _find_app(snapshot, app), terms, rejects, yes or bool(mapping), again, json
    )
    outcomes: list[show.Outcome] = []
    for file in files:
        asked.terms = msgspec.structs.replace(terms, format=format_ or _guess(file))
        outcome = _import(file, asked, dry_run=dry_run)
        outcomes.append(outcome)
        if not json:
            show.say_outcome(outcome)
    if json:
        say_json(show.add_up(outcomes))
    return SOME_REJECTED if any(outcome.rejected for outcome in outcomes) else 0


def _check(files: tuple[Path, ...], app: str, rejects: Path | None) -> None:
    if not files:
        raise CommandError("name a file to import; `trunkline import --help` shows how")
    if not app:
        raise CommandError("say which app it is for, with --app; `trunkline key list` shows them")
    if rejects is not None and len(files) > 1:
        raise CommandError("--rejects is for one file; leave it out, or import the files singly")
    for file in files:
        if not file.is_file():
            raise CommandError(f"{file}: there is no such file")


def _guess(file: Path) -> ImportFormat:
    try:
        return guess_format(file)
    except RowsError as error:
        raise CommandError(str(error)) from error


def _read_mapping(given: list[str]) -> dict[str, str]:
    pairs: dict[str, str] = {}
    try:
        for each in given:
            path = Path(each)
            is_file = "=" not in each or path.is_file()
            pairs |= read_mapping_file(path.read_bytes(), each) if is_file else read_pairs([each])
    except MappingError as error:
        raise CommandError(f"--mapping: {error}") from error
    return pairs


def _read_constants(given: list[str]) -> dict[str, str]:
    constants: dict[str, str] = {}
    for each in given:
        field, separator, text = each.partition("=")
        if not separator or not field or not text:
            raise CommandError(f'--set {each!r}: expected FIELD=VALUE, say event="Order Completed"')
        constants[field] = text
    return constants


def _find_app(snapshot: Snapshot, name: str) -> App:
    found = [a for a in snapshot.apps if a.id == name or fold_name(a.name) == fold_name(name)]
    if len(found) != 1:
        known = ", ".join(f"{app.id} ({app.name})" for app in snapshot.apps[:20]) or "none"
        what = "several apps" if found else "no app"
        raise CommandError(f"{name!r} names {what}; there are: {known}")
    if "bulk" not in snapshot.plan.features:
        raise CommandError("the organisation's plan has no bulk imports; see `plan` in workspace")
    return found[0]


def _import(file: Path, asked: _Asked, *, dry_run: bool) -> show.Outcome:
    """Import a file, or go on with it. Raises `CommandError`."""
    try:
        with closing(_open(file, asked.terms)) as source:
            columns = _columns_of(source, file, asked, is_agreed=asked.is_agreed or dry_run)
            if dry_run:
                return _try_out(file, source, columns, asked)
            with open_imports(asked.home) as imports:
                return _take_in(file, source, columns, asked, imports)
    except (RowsError, MappingError, ImportStopped) as error:
        raise CommandError(str(error)) from error


def _open(file: Path, terms: ImportTerms) -> TextFile | ParquetTable:
    return ParquetTable(file) if terms.format == "parquet" else TextFile(file, terms.format)


def _columns_of(
    source: TextFile | ParquetTable, file: Path, asked: _Asked, *, is_agreed: bool
) -> ColumnMap | None:
    """Return what the columns of a table fill, once it was shown and agreed to."""
    terms = asked.terms
    if terms.format == "ndjson":
        if terms.mapping or terms.constants:
            raise CommandError(
                f"{file}: --mapping and --set are for columns, of CSV and Parquet; a line of "
                "NDJSON is taken as it stands"
            )
        return None
    fields = FIELDS[terms.kind]
    columns = map_columns(source.columns, terms.mapping, terms.constants.items(), fields)
    if not asked.is_quiet:
        say(f"{file}:")
        show.show_mapping(columns, _first_row(file, terms))
    if not show.agree(columns.find_gaps(), is_agreed=is_agreed, may_ask=not asked.is_quiet):
        raise CommandError("nothing was imported")
    return columns


def _first_row(file: Path, terms: ImportTerms) -> Mapping[str, Any]:
    with closing(_open(file, terms)) as source:
        for row in source.rows(0):
            if isinstance(row.content, Mapping):
                return row.content
            break
    return {}


def _judge(asked: _Asked, columns: ColumnMap | None, name: str, file: Path) -> RowJudge:
    return RowJudge(
        protocol_shelf(),
        asked.snapshot,
        asked.app,
        name=name,
        is_historical=asked.terms.historical,
        columns=columns,
        people_of=identify(file).head if asked.terms.kind == "users" else None,
    )


def _try_out(
    file: Path, source: TextFile | ParquetTable, columns: ColumnMap | None, asked: _Asked
) -> show.Outcome:
    """Judge every row and store nothing."""
    clock = SystemClock()
    begun, judge = clock.monotonic(), _judge(asked, columns, "dry-run", file)
    rows = accepted = 0
    rejects: list[Reject] = []
    codes: Counter[str] = Counter()
    with show.showing(str(file), clock, is_quiet=asked.is_quiet) as tell:
        for row in source.rows(0):
            verdict = judge.judge(row, clock.now_ms())
            rows, accepted = rows + 1, accepted + len(verdict.accepted)
            codes.update(reject.code for reject in verdict.rejected)
            rejects += verdict.rejected[: _SHOWN_REJECTS - len(rejects)]
            if rows % 1000 == 0:
                tell(Told(rows, accepted, codes.total(), source.share_read))
    note = "a dry run: nothing was stored"
    for reject in rejects:
        note += f"\n  line {reject.line}: {reject.code}: {reject.message}"
    seconds = clock.monotonic() - begun
    return show.Outcome(
        file=str(file),
        import_id="",
        lines=rows,
        accepted=accepted,
        stored=0,
        duplicate=0,
        judged=False,
        rejected=codes.total(),
        rejects_file=None,
        seconds=round(seconds, 3),
        note=note,
    )


def _take_in(
    file: Path,
    source: TextFile | ParquetTable,
    columns: ColumnMap | None,
    asked: _Asked,
    imports: Imports,
) -> show.Outcome:
    row, note = _find_import(file, asked, imports)
    rejects = asked.rejects or file.with_name(file.name + ".rejects.ndjson")
    if row.done_ms:
        return _outcome(row, _wait_for_known(asked.home, row), rejects, 0.0, note)
    clock = SystemClock()
    begun = clock.monotonic()
    log = open_log(asked.home, read_boot(asked.home), clock)
    try:
        _run(file, source, columns, asked, imports, row, log, rejects)
    finally:
        log.close()
    seconds = clock.monotonic() - begun
    return _outcome(row, _wait_for_known(asked.home, row), rejects, seconds, note)


def _run(
    file: Path,
    source: TextFile | ParquetTable,
    columns: ColumnMap | None,
    asked: _Asked,
    imports: Imports,
    row: ImportRow,
    log: EventLog,
    rejects: Path,
) -> None:
    clock = SystemClock()
    work = Import(
        row,
        source,
        _judge(asked, columns, row.name, file),
        log=log,
        imports=imports,
        home=asked.home,
        rejects=RejectFile(rejects, row.reject_bytes),
        clock=clock,
        stamp=stamp_from(stamp_base(log, clock), clock),
    )
    try:
        with show.showing(str(file), clock, is_quiet=asked.is_quiet) as tell:
            work.run(tell)
    finally:
        work.close()


def _find_import(file: Path, asked: _Asked, imports: Imports) -> tuple[ImportRow, str]:
    """Return the import to go on with, a new one, or one that is done; and what to say of it."""
    identity = identify(file)
    terms = msgspec.json.encode(asked.terms).decode()
    found = None if asked.is_again else imports.find(asked.app.id, identity, asked.terms.kind)
    if found is None:
        name = f"import-{uuid.uuid4().hex[:12]}"
        now_ms = SystemClock().now_ms()
        new = ImportRow(
            name, asked.app.id, str(file), identity.size, identity.mtime_ns, identity.head, terms,
            now_ms, kind=asked.terms.kind,
        )  # fmt: skip
        return new, ""
    if found.done_ms:
        at = format_ms(found.done_ms)
        return found, f"this file was imported {at}; nothing was done now (--again takes it again)"
    if found.terms != terms:
        raise CommandError(
            f"{file}: its import was begun otherwise, with {found.terms}; go on like that, or "
            "begin again with --again"
        )
    return found, f"went on behind row {found.position:,}, where it had stopped"


def _wait_for_known(home: Home, row: ImportRow) -> Known:
    """Return how many were duplicates, once the running node has judged the last one."""
    clock = SystemClock()
    pace = Pace(home, clock)
    deadline = clock.monotonic() + _TAKEN_UP_SECONDS
    while not (known := count_known(home, row)).is_all:
        if clock.monotonic() > deadline or not pace.has_node():
            break
        clock.pause(_POLL_SECONDS)
    return known


def _outcome(
    row: ImportRow, known: Known, rejects: Path, seconds: float, note: str
) -> show.Outcome:
    if not known.is_all and not note:
        note = show.UNJUDGED
    return show.Outcome(
        file=row.path,
        import_id=row.name,
        lines=row.rows,
        accepted=row.accepted,
        stored=row.accepted - known.duplicates,
        duplicate=known.duplicates,
        judged=known.is_all,
        rejected=row.rejected,
        rejects_file=str(rejects) if row.rejected else None,
        seconds=round(seconds, 3),
        note=note,
    )
