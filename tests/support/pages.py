"""Pages of documentation as scripts: finds their fenced blocks, and what each one is for.

A block of `sh` is run. An HTML comment right above a fence says what else it is:

    <!-- output -->              what the block before it prints, compared loosely
    <!-- eventually -->          run again and again until it prints the output that follows
    <!-- background: TEXT -->    left running; the page goes on when it has printed TEXT
    <!-- fails -->               must end with an error
    <!-- file: NAME -->          is saved as NAME in the page's folder
    <!-- shown: REASON -->       not run, for this reason

Anywhere on the page, `<!-- page runs beside: make run -->` starts that before the first block.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Literal

from msgspec import Struct

ROOT = Path(__file__).parent.parent.parent
Role = Literal["run", "output", "eventually", "background", "fails", "file", "shown", "unknown"]
ROLES: dict[str, Role] = {
    "output": "output", "eventually": "eventually", "background": "background", "fails": "fails",
    "file": "file", "shown": "shown",
}  # fmt: skip
RUNNABLE = ("console", "python", "js", "javascript", "java", "go")
_COMMENT = re.compile(r"<!--\s*([a-z]+)(?::\s*(.*?))?\s*-->")
_BESIDE = re.compile(r"<!--\s*page runs beside:\s*(.*?)\s*-->")
_FENCE = re.compile(r"(`{3,})(\w*)")
_VARIES = (
    (re.compile(r"\d{4}-\d\d-\d\dT[\d:]+(\.\d+)?Z"), "TIME"),
    (re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}"), "UUID"),
    (re.compile(r"requestId=\S+"), "requestId=ID"),
    (re.compile(r"\b(tls|tlc)_[\w-]{20,}"), "KEY"),
    (re.compile(r"\b[\d.]+ (ms|GB|MB)\b"), r"N \1"),
    (re.compile(r"\b\d+ events?\b"), "N events"),  # what waits at that moment shares a request
    (re.compile(r"\s+"), " "),
)


class Block(Struct, frozen=True):
    """One fenced block: its line in the page, its language, what it is for, its text."""

    line: int
    language: str
    role: Role
    argument: str
    text: str


class Page(Struct, frozen=True):
    """A page: where it is, what runs beside it, its blocks in order."""

    path: Path
    beside: str
    blocks: tuple[Block, ...]

    @property
    def is_run(self) -> bool:
        """Say whether anything on it is run."""
        return any(block.role not in ("shown", "unknown") for block in self.blocks)

    def complaints(self) -> list[str]:
        """Return what is wrong with the page as a script."""
        return [
            f"{self.path.relative_to(ROOT)}:{block.line}: a block of `{block.language or 'text'}` "
            "that nothing runs; use sh, or say above it what it is (tests/support/pages.py)"
            for block in self.blocks
            if block.role == "unknown"
        ]


def documentation() -> list[Path]:
    """Return every page that is written by hand."""
    return [*sorted(ROOT.glob("*.md")), *sorted((ROOT / "docs" / "guide").rglob("*.md"))]


def read_page(path: Path) -> Page:
    """Find the blocks of a page. Raises `ValueError` for a fence that is not closed."""
    lines = path.read_text("utf-8").splitlines()
    blocks: list[Block] = []
    role, argument, at = "", "", 0
    while at < len(lines):
        comment, fence = _COMMENT.fullmatch(lines[at].strip()), _FENCE.match(lines[at])
        if comment and comment[1] in ROLES:
            role, argument = comment[1], comment[2] or ""
        elif fence:
            end = _end_of_fence(lines, at, fence[1], path)
            text = "\n".join(lines[at + 1 : end])
            blocks.append(Block(at + 1, fence[2], _role(role, fence[2]), argument, text))
            role, argument, at = "", "", end
        elif lines[at].strip():
            role, argument = "", ""
        at += 1
    beside = _BESIDE.search("\n".join(lines))
    return Page(path, beside[1] if beside else "", tuple(blocks))


def _end_of_fence(lines: list[str], start: int, ticks: str, path: Path) -> int:
    for at in range(start + 1, len(lines)):
        if lines[at].strip() == ticks:
            return at
    raise ValueError(f"{path}:{start + 1}: this fence is not closed")


def _role(said: str, language: str) -> Role:
    if said:
        return ROLES[said]
    if language in ("sh", "bash"):
        return "run"
    return "unknown" if language in RUNNABLE else "shown"


def fits(expected: str, actual: str) -> bool:
    """Say whether every expected line stands in the output, in this order.

    `…` stands for anything; times, ids, keys and durations may be others; lines may stand between.
    """
    lines = [_plain(line) for line in actual.splitlines()]
    at = 0
    for line in expected.splitlines():
        wanted = _plain(line)
        if wanted in ("", "…"):
            continue
        pattern = re.compile(".*".join(re.escape(part) for part in wanted.split("…")))
        found = next((n for n in range(at, len(lines)) if pattern.fullmatch(lines[n])), None)
        if found is None:
            return False
        at = found + 1
    return True


def _plain(line: str) -> str:
    for pattern, word in _VARIES:
        line = pattern.sub(word, line)
    return line.strip()
