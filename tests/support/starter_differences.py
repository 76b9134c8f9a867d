"""How our kits differ from the public ones, and why: `tests/vendors/starter_differences/*.yaml`.

One file for each kit of ours that has a public counterpart, or for one way of it:

    kit: meta
    public: [facebook-pixel]
    guide: {page: vendor-differences.md, title: Meta}
    params: {public: {PIXEL_ID: "1234567890"}, ours: {}}   # where an example is not enough
    places: {ours: {body.data.0: ""}, public: {query: ""}} # how what stands there is called
    rows:
      - about: a click
        public: only Meta's cookie
        ours: the cookie, else one made of the click's id
        why: otherwise the click is lost
        only_ours: [user_data.fbc]
        events: [Order Completed]          # left out: all of them

A row explains differences of requests: `only_ours`, `only_theirs` and `differs` are patterns of
fields (`*` is one step of a path, `**` any number), `not_sent_by_ours` and `not_sent_by_public`
names of events (`*` any text). A row with `is_beside: true` explains what no request shows, as
how answers are read. The guide's tables are made of these rows (`docs/generate.py`).
"""

from __future__ import annotations

import re
from functools import cache
from pathlib import Path
from typing import Literal, TypeVar

import msgspec
from msgspec import Struct

from tests.support.pages import ROOT

FOLDER = ROOT / "tests" / "vendors" / "starter_differences"
GUIDE = ROOT / "docs" / "guide"
Kind = Literal[
    "only_ours", "only_theirs", "differs", "not_sent_by_ours", "not_sent_by_public"
]  # fmt: skip
FIELD_KINDS: tuple[Kind, ...] = ("only_ours", "only_theirs", "differs")
EVENT_KINDS: tuple[Kind, ...] = ("not_sent_by_ours", "not_sent_by_public")
_File = TypeVar("_File", "Differences", "Unpaired")
_BEGIN = "<!-- differences: {name} -->"
_END = "<!-- end of differences -->"
_BLOCK = re.compile(r"<!-- differences: ([a-z0-9-]+) -->\n.*?<!-- end of differences -->", re.S)


class Row(Struct, frozen=True, forbid_unknown_fields=True):
    """One explanation: a line of the guide's table, and the differences that it explains."""

    about: str
    public: str
    ours: str
    why: str
    events: tuple[str, ...] = ()
    only_ours: tuple[str, ...] = ()
    only_theirs: tuple[str, ...] = ()
    differs: tuple[str, ...] = ()
    not_sent_by_ours: tuple[str, ...] = ()
    not_sent_by_public: tuple[str, ...] = ()
    is_beside: bool = False

    def __post_init__(self) -> None:
        if self.is_beside == any(self.patterns(kind) for kind in (*FIELD_KINDS, *EVENT_KINDS)):
            raise ValueError(
                f"{self.about!r} needs patterns of differences, or `is_beside: true` where no "
                "request shows what it says; one of the two"
            )

    def patterns(self, kind: Kind) -> tuple[str, ...]:
        """Return the patterns of one kind of difference."""
        found: tuple[str, ...] = getattr(self, kind)
        return found


class Place(Struct, frozen=True, forbid_unknown_fields=True):
    """Where the guide shows the table: a page of `docs/guide`, and the heading above it."""

    page: str
    title: str


class Sides(Struct, frozen=True, forbid_unknown_fields=True):
    """Params for each side."""

    ours: dict[str, str] = {}
    public: dict[str, str] = {}


class Places(Struct, frozen=True, forbid_unknown_fields=True):
    """Under which other names the parts of each side's requests are compared; the first that fits.

    A part is a beginning of a path, in whole steps. The body's own name is always left out.
    """

    ours: dict[str, str] = {}
    public: dict[str, str] = {}


class Differences(Struct, frozen=True, forbid_unknown_fields=True):
    """What is known of one kit of ours beside its public counterparts."""

    kit: str
    public: tuple[str, ...]
    guide: Place
    rows: tuple[Row, ...]
    params: Sides = Sides()
    places: Places = Places()
    name: str = ""  # of its file, which says it

    @property
    def path(self) -> Path:
        """The file that it is read from."""
        return FOLDER / f"{self.name}.yaml"


class Unpaired(Struct, frozen=True, forbid_unknown_fields=True):
    """The public kits that are not compared."""

    other_ways: dict[str, str]
    other_vendors: tuple[str, ...]


@cache
def read_differences() -> dict[str, Differences]:
    """Return what is known by the files' names. Raises `ValueError` with the file for a mistake."""
    return {
        path.stem: msgspec.structs.replace(_read(path, Differences), name=path.stem)
        for path in sorted(FOLDER.glob("*.yaml"))
        if path.stem != "unpaired"
    }


def read_unpaired() -> Unpaired:
    """Return which public kits have nothing of ours beside them, and why."""
    return _read(FOLDER / "unpaired.yaml", Unpaired)


def _read(path: Path, type: type[_File]) -> _File:
    try:
        return msgspec.yaml.decode(path.read_bytes(), type=type)
    except msgspec.MsgspecError as error:
        raise ValueError(f"{path.relative_to(ROOT)}: {error}") from error


@cache
def pattern_of(text: str, *, is_event: bool) -> re.Pattern[str]:
    """Return what a pattern of a field or of an event's name matches, in full."""
    any_step = ".*" if is_event else r"[^.]*"
    parts = re.split(r"(\*\*|\*)", text)
    known = {"**": ".*", "*": any_step}
    return re.compile("".join(known.get(part) or re.escape(part) for part in parts))


def fill_page(text: str) -> str:
    """Return a page of the guide with each of its tables made anew."""
    return _BLOCK.sub(lambda found: describe(read_differences()[found[1]]), text)


def described(text: str) -> list[str]:
    """Return the names of those whose tables stand on a page of the guide."""
    return _BLOCK.findall(text)


def describe(differences: Differences) -> str:
    """Return one table, between the marks that it is found by."""
    head = "| | public kit | ours | why | fields |\n|---|---|---|---|---|"
    lines = [_line(row) for row in differences.rows]
    return "\n".join([_BEGIN.format(name=differences.name), head, *lines, _END])


def _line(row: Row) -> str:
    cells = (row.about, row.public, row.ours, row.why, _fields(row))
    return "| " + " | ".join(cell.strip().replace("|", "\\|") for cell in cells) + " |"


def _fields(row: Row) -> str:
    """Return the fields of a row as people read them: without positions, each once."""
    found = [_shown(one) for kind in FIELD_KINDS for one in row.patterns(kind)]
    return ", ".join(f"`{one}`" for one in dict.fromkeys(found))


def _shown(pattern: str) -> str:
    steps = [step for step in pattern.split(".") if step not in ("*", "**")]
    return ".".join(steps) or "all"
