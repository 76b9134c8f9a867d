"""Files of rows: which format and compression a file has, and its rows one by one, memory flat.

A row has a number that a person finds it by: its line in text, its place in Parquet, from 1 on.
What cannot be read as a row is a `Fault` in its place, so that it costs the others nothing.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple, cast

from msgspec import Struct

from trunkline.kit.import_terms import ImportFormat

LINE_BYTES_MAX = 1_048_576
COLUMNS_MAX = 1_000
SKIPPED_BYTES_MAX = 1_073_741_824  # of one line; a small file of zeros unpacks to more
_LOOK_LINES = 4_096
_UNPACKED_BYTES = 16_384  # at a time; what stands so near before a cut is lost. More is no faster
_ENDINGS: dict[str, ImportFormat] = {
    ".ndjson": "ndjson",
    ".jsonl": "ndjson",
    ".json": "ndjson",
    ".csv": "csv",
    ".tsv": "csv",
    ".parquet": "parquet",
}
_PACKED = (".gz", ".zst")
_MAGIC: tuple[tuple[bytes, str], ...] = ((b"\x1f\x8b", "gzip"), (b"\x28\xb5\x2f\xfd", "zstd"))
_DELIMITERS = ",;\t|"


class RowsError(Exception):
    """The file cannot be read, or not further; the message is one sentence that says why."""


class Fault(Struct, frozen=True):
    """Why a row is none, and what stood there where that can be told."""

    code: str
    message: str
    text: str = ""


Content = bytes | Mapping[str, Any] | Fault


class Row(NamedTuple):
    """A line of NDJSON as its bytes, a row of columns as what each column holds, or a fault."""

    number: int
    content: Content


def guess_format(path: Path) -> ImportFormat:
    """Return the format that a file's name tells. Raises `RowsError`."""
    endings = [suffix.lower() for suffix in path.suffixes if suffix.lower() not in _PACKED]
    found = _ENDINGS.get(endings[-1]) if endings else None
    if found is None:
        raise RowsError(
            f"{path}: its name tells no format; expected one of {' '.join(_ENDINGS)}, with .gz or "
            ".zst behind it where it is compressed; or give --format"
        )
    return found


class TextFile:
    """A file of lines, NDJSON or CSV, compressed or not. Close it."""

    def __init__(
        self,
        path: Path,
        format_: ImportFormat,
        called: str = "",
        look_up: Callable[[], None] = lambda: None,
    ) -> None:
        """`called` is what messages call the file: its path, if nothing.

        `look_up` is called every few thousand lines, and may raise to end the reading. Raises
        `RowsError` and `OSError`.
        """
        self.path = path
        self.columns: tuple[str, ...] = ()
        self._size = max(1, path.stat().st_size)
        with ExitStack() as undo:
            self._raw: BinaryIO = undo.enter_context(path.open("rb"))
            self._lines = _Lines(called or str(path), _unpack(self._raw), look_up)
            self._table = _CsvTable(self._lines) if format_ == "csv" else None
            self._undo = undo.pop_all()
        if self._table is not None:
            self.columns = self._table.columns

    @property
    def share_read(self) -> float:
        """How much of the file was read, 0 to 1."""
        return min(1.0, self._raw.tell() / self._size)

    def rows(self, after: int) -> Iterator[Row]:
        """Yield the rows whose number is above `after`. Raises `RowsError` where it breaks."""
        if self._table is not None:
            return self._table.rows(after)
        return _json_rows(self._lines, after)

    def close(self) -> None:
        """Let go of the file."""
        self._undo.close()


def _unpack(raw: BinaryIO) -> BinaryIO:
    head = raw.read(4)
    raw.seek(0)
    codec = next((name for magic, name in _MAGIC if head.startswith(magic)), "")
    if not codec:
        return raw
    import pyarrow

    packed: Any = pyarrow
    stream = packed.CompressedInputStream(packed.PythonFile(raw, "r"), codec)
    return cast("BinaryIO", io.BufferedReader(stream, _UNPACKED_BYTES))


class _Lines:
    """The lines of a file, numbered, with a limit to their length."""

    def __init__(self, called: str, stream: BinaryIO, look_up: Callable[[], None]) -> None:
        self._called = called
        self._look_up = look_up
        self._stream = stream
        self.number = 0

    def next(self) -> bytes | None:
        """Return the next line with its end, b"" at the end of the file; None for one too long."""
        line = self._read()
        if not line:
            return b""
        self.number += 1
        if self.number % _LOOK_LINES == 0:
            self._look_up()
        if len(line) <= LINE_BYTES_MAX:
            return line.removeprefix(b"\xef\xbb\xbf") if self.number == 1 else line
        skipped = len(line)
        while line and not line.endswith(b"\n"):
            self._look_up()
            if skipped > SKIPPED_BYTES_MAX:
                raise RowsError(
                    f"{self._called} has no lines: {self.number} is longer than "
                    f"{SKIPPED_BYTES_MAX} bytes; what stands before it was taken"
                )
            line = self._read()
            skipped += len(line)
        return None

    def _read(self) -> bytes:
        try:
            return self._stream.readline(LINE_BYTES_MAX + 1)
        except (OSError, EOFError, ValueError) as error:
            raise RowsError(
                f"{self._called} cannot be read past line {self.number}: {error}; "
                "what stands before it was taken. Make the file again, then start again"
            ) from error


def _json_rows(lines: _Lines, after: int) -> Iterator[Row]:
    while (line := lines.next()) != b"":
        if lines.number <= after:
            continue
        if line is None:
            yield Row(lines.number, _too_long())
        elif stripped := line.strip():
            yield Row(lines.number, stripped)


class _CsvTable:
    """Rows of columns as text. The first line names the columns."""

    def __init__(self, lines: _Lines) -> None:
        self._lines = lines
        header = lines.next()
        if not header or not header.strip():
            raise RowsError("the first line of a CSV file names its columns; this file has none")
        self._reader = csv.reader(self._texts(_decode(header)), delimiter=_delimiter(header))
        self.columns = _check_columns(next(self._reader))

    def rows(self, after: int) -> Iterator[Row]:
        """Yield the rows; a row that spans lines has the number of its first one."""
        while True:
            number = self._lines.number + 1
            try:
                fields = next(self._reader)
            except StopIteration:
                return
            except csv.Error as error:
                yield Row(number, Fault("invalid_row", f"no row of CSV: {error}"))
                continue
            if number > after and fields:
                yield Row(number, self._fit(fields))

    def _fit(self, fields: list[str]) -> Content:
        if len(fields) == len(self.columns):
            return dict(zip(self.columns, fields, strict=True))
        message = f"{len(fields)} fields came; the header names {len(self.columns)} columns"
        return Fault("invalid_row", message, ",".join(fields))

    def _texts(self, header: str) -> Iterator[str]:
        yield header
        while (line := self._lines.next()) != b"":
            if line is None:
                raise RowsError(f"line {self._lines.number} of the file is {_too_long().message}")
            yield _decode(line)


def _delimiter(header: bytes) -> str:
    return max(_DELIMITERS, key=lambda each: header.count(each.encode()))


def _decode(line: bytes) -> str:
    # What is no UTF-8 stays recognisable, and the row is refused when it is written as JSON.
    return line.decode("utf-8", "surrogateescape")


def _check_columns(names: list[str]) -> tuple[str, ...]:
    columns = tuple(name.strip() for name in names)
    if len(columns) > COLUMNS_MAX:
        raise RowsError(f"the header names {len(columns)} columns; at most {COLUMNS_MAX} are taken")
    twice = next((name for name in columns if columns.count(name) > 1), None)
    if twice is not None:
        raise RowsError(f"the header names the column {twice!r} twice; give each its own name")
    return columns


def _too_long() -> Fault:
    return Fault("too_large", f"longer than {LINE_BYTES_MAX} bytes")
