"""The table in docs/guide/performance.md: written by a full run, never by hand."""

from __future__ import annotations

from pathlib import Path

from bench.results import Machine, Report, Result, number

PAGE = Path(__file__).parent.parent / "docs" / "guide" / "performance.md"
BEGIN = "<!-- table: written by `make bench`; edits are lost -->\n"
END = "<!-- end of the table -->\n"


def write_table(report: Report, page: Path = PAGE) -> None:
    """Put a run's table into the page. Raises `ValueError` where the page has no place for it."""
    before, begin, rest = page.read_text("utf-8").partition(BEGIN)
    _, end, after = rest.partition(END)
    if not (begin and end):
        raise ValueError(f"{page}: a line {BEGIN.strip()} and a line {END.strip()} are missing")
    page.write_text(before + begin + table_of(report) + end + after, "utf-8")


def table_of(report: Report) -> str:
    """Return a run as a table in Markdown, with what it ran on below."""
    lines = [
        "",
        "| # | workload | must | aim | measured | | class | Trunkline | beside |",
        "|---|---|---|---|---|---|---|---|---|",
        *map(_row, report.results),
        "",
        _sentence(report.machine),
        "",
    ]
    return "\n".join(lines) + "\n"


def _row(result: Result) -> str:
    bound = result.bound
    measured = "" if result.measured is None else f"{number(result.measured)} {result.unit}"
    spread = ""
    if len(result.rounds) > 1:
        spread = f" ({number(min(result.rounds))} to {number(max(result.rounds))})"
    beside = "; ".join(filter(None, (result.yardstick, result.note)))
    cells = (
        str(result.workload), result.title, bound.say(bound.must), bound.say(bound.aim),
        measured + spread, result.verdict, result.durability, result.ours, beside,
    )  # fmt: skip
    return "| " + " | ".join(cells) + " |"


def _sentence(machine: Machine) -> str:
    kind = "A short run, whose figures mean little" if machine.is_short else "A full run"
    return (
        f"{kind} of {machine.seconds / 60:.0f} minutes, {machine.at[:16].replace('T', ' ')} UTC: "
        f"{machine.processors} processors shared with the load, {machine.system}, Python "
        f"{machine.python}; load average {machine.load_before:.1f} before and "
        f"{machine.load_after:.1f} after; an fsync took {machine.fsync_ms:.2f} ms."
    )
