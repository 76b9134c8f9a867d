"""What `trunkline import` shows: the mapping before it starts, how far it is, what it came to."""

from __future__ import annotations

import sys
from collections.abc import Callable, Generator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

from msgspec import Struct
from rich.console import Console
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeRemainingColumn

from trunkline.bulk.importing import Told
from trunkline.bulk.mapping import ColumnMap
from trunkline.cli._frame import CommandError, say
from trunkline.kit.clock import Clock

_LINE_SECONDS = 5.0
_SHARES = 1000
_VALUE_CHARS_MAX = 40
_EVERY_ROW = "(every row)"
UNJUDGED = "which of them are duplicates is judged by the node when it takes them up"


class Outcome(Struct, rename="camel"):
    """What an import of one file came to; `lines` are rows where it is a table.

    Of its `accepted` events `stored` were new and `duplicate` were known; with `rejected` they add
    up to `lines`. Until the node has `judged` all of them, the others count as stored. Of a dry run
    none is either. A line that is a body of the REST API has as many events as messages.
    """

    file: str
    import_id: str
    lines: int
    accepted: int
    stored: int
    duplicate: int
    judged: bool
    rejected: int
    rejects_file: str | None
    seconds: float
    note: str


class Outcomes(Struct):
    """What all files of a command came to, and each of them."""

    lines: int
    accepted: int
    stored: int
    duplicate: int
    judged: bool
    rejected: int
    files: Sequence[Outcome]


def show_mapping(columns: ColumnMap, first: Mapping[str, Any]) -> None:
    """Print what each column fills, with the value of the first row."""
    names = [target.column for target in columns.targets]
    names += [_EVERY_ROW for _ in columns.constants[:1]]
    width = max([6, *map(len, names)])
    say(f"  {'column':<{width}}  {'field':<32}  first value")
    for target in columns.targets:
        value = " ".join(str(first.get(target.column, "")).split())
        shown = value if len(value) <= _VALUE_CHARS_MAX else f"{value[:_VALUE_CHARS_MAX]}…"
        guess = " (guessed)" if target.is_guess else ""
        say(f"  {target.column:<{width}}  {target.field + guess:<32}  {shown}")
    for path, text in columns.constants:
        say(f"  {_EVERY_ROW:<{width}}  {'.'.join(path):<32}  {text}")


def agree(gaps: Sequence[str], *, is_agreed: bool, may_ask: bool) -> bool:
    """Say whether to go on: as was said on the command line, or as a person answers."""
    if gaps:
        raise CommandError(f"{'; '.join(gaps)}; say it with --mapping COLUMN=FIELD")
    if is_agreed:
        return True
    if not may_ask or not sys.stdin.isatty():
        raise CommandError(
            "the columns were guessed from their names, as shown; add --yes if this is right, or "
            "say it with --mapping COLUMN=FIELD"
        )
    try:
        return input("Import like this? [y/N] ").strip().lower() in ("y", "yes")
    except EOFError:
        return False


@contextmanager
def showing(title: str, clock: Clock, *, is_quiet: bool) -> Generator[Callable[[Told], None]]:
    """Show how far an import is: a bar on a terminal, else a line now and then."""
    if is_quiet:
        yield lambda _: None
    elif sys.stderr.isatty():
        with _bar() as bar:
            yield _bar_teller(bar, title, clock)
    else:
        yield _line_teller(title, clock)


def _bar() -> Progress:
    return Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        TaskProgressColumn(),
        TextColumn("{task.fields[counts]}"),
        TimeRemainingColumn(),
        console=Console(stderr=True),
    )


def _bar_teller(bar: Progress, title: str, clock: Clock) -> Callable[[Told], None]:
    task = bar.add_task(title, total=_SHARES, counts="")
    tell_rate = _Rate(clock)

    def tell(told: Told) -> None:
        counts = f"{told.rows:,} lines  {tell_rate(told):,.0f}/s  {told.rejected:,} rejected"
        bar.update(task, completed=told.share * _SHARES, counts=counts)

    return tell


def _line_teller(title: str, clock: Clock) -> Callable[[Told], None]:
    tell_rate = _Rate(clock)
    next_at = clock.monotonic() + _LINE_SECONDS

    def tell(told: Told) -> None:
        nonlocal next_at
        rate, share, now = tell_rate(told), told.share, clock.monotonic()
        if now < next_at:
            return
        next_at = now + _LINE_SECONDS
        left = tell_rate.seconds_left(share)
        print(
            f"{title}: {share:.0%}, {told.rows:,} lines, {rate:,.0f}/s, {told.rejected:,} "
            f"rejected, {left:.0f} s left",
            file=sys.stderr,
            flush=True,
        )

    return tell


class _Rate:
    """Lines a second, and the time that is left, since this run began."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._begun = clock.monotonic()
        self._first: Told | None = None

    def __call__(self, told: Told) -> float:
        if self._first is None:
            self._first = told  # what an earlier run did is not of this one's pace
            return 0.0
        return (told.rows - self._first.rows) / self._seconds

    def seconds_left(self, share: float) -> float:
        """Return the seconds that are left at this pace."""
        done = share - (self._first.share if self._first else 0.0)
        return self._seconds * (1.0 - share) / done if done > 0 else 0.0

    @property
    def _seconds(self) -> float:
        return max(0.001, self._clock.monotonic() - self._begun)


def add_up(files: Sequence[Outcome]) -> Outcomes:
    """Return what files came to together."""
    return Outcomes(
        lines=sum(each.lines for each in files),
        accepted=sum(each.accepted for each in files),
        stored=sum(each.stored for each in files),
        duplicate=sum(each.duplicate for each in files),
        judged=all(each.judged for each in files),
        rejected=sum(each.rejected for each in files),
        files=files,
    )


def say_outcome(outcome: Outcome) -> None:
    """Print what an import came to."""
    is_whole_run = outcome.seconds >= 1.0 and not outcome.note
    rate = f" ({outcome.lines / outcome.seconds:,.0f} lines/s)" if is_whole_run else ""
    say(
        f"{outcome.file}: {outcome.lines:,} lines read, {_say_events(outcome)}, "
        f"{outcome.rejected:,} rejected, {outcome.seconds:.1f} s{rate}"
    )
    if outcome.rejects_file and outcome.rejected:
        say(f"  the rejected lines, each with its reason: {outcome.rejects_file}")
    if outcome.note:
        say(f"  {outcome.note}")
    if outcome.import_id and not outcome.judged and outcome.note != UNJUDGED:
        say(f"  {UNJUDGED}")


def _say_events(outcome: Outcome) -> str:
    if not outcome.import_id:
        return f"{outcome.accepted:,} events accepted"
    duplicates = f", {outcome.duplicate:,} duplicates" if outcome.judged else ""
    return f"{outcome.stored:,} events stored{duplicates}"
