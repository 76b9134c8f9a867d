"""Files of rows: formats, compression, what is no row, and going on in the middle."""

from __future__ import annotations

import csv
import datetime
import decimal
import gzip
import io
from contextlib import closing
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from trunkline.bulk import rows
from trunkline.bulk.rows import LINE_BYTES_MAX, Fault, Row, RowsError, TextFile, guess_format
from trunkline.bulk.tables import ParquetTable


def rows_of(path: Path, format_: Any = "ndjson", after: int = 0) -> list[Row]:
    with closing(TextFile(path, format_)) as file:
        return list(file.rows(after))


def written(folder: Path, content: bytes) -> Path:
    path = folder / "file"
    path.write_bytes(content)
    return path


def zstd(data: bytes) -> bytes:
    packed = pa.compress(data, codec="zstd", asbytes=True)
    assert isinstance(packed, bytes)
    return packed


@pytest.mark.parametrize(
    ("name", "format_"),
    [("a.ndjson", "ndjson"), ("a.b.JSONL.gz", "ndjson"), ("a.csv.zst", "csv"), ("a.tsv", "csv"),
     ("a.parquet", "parquet")],
)  # fmt: skip
def test_a_name_tells_the_format(name: str, format_: str) -> None:
    assert guess_format(Path(name)) == format_


@pytest.mark.parametrize("name", ["events", "events.gz", "events.xlsx"])
def test_a_name_that_tells_nothing_is_refused(name: str) -> None:
    with pytest.raises(RowsError, match="give --format"):
        guess_format(Path(name))


def test_lines_have_the_numbers_an_editor_shows(tmp_path: Path) -> None:
    file = written(tmp_path, b'\xef\xbb\xbf{"a":1}\r\n\n  {"b":2}  \n{"c":3}')
    assert rows_of(file) == [Row(1, b'{"a":1}'), Row(3, b'{"b":2}'), Row(4, b'{"c":3}')]


def test_a_line_that_is_too_long_costs_the_others_nothing(tmp_path: Path) -> None:
    longest, longer = b"x" * (LINE_BYTES_MAX - 1) + b"\n", b"y" * (3 * LINE_BYTES_MAX) + b"\n"
    rows = rows_of(written(tmp_path, b"1\n" + longest + longer + b"2\n"))
    assert [row.number for row in rows] == [1, 2, 3, 4]
    assert rows[1].content == longest.strip()
    assert isinstance(rows[2].content, Fault) and rows[2].content.code == "too_large"
    assert rows[3].content == b"2"


@pytest.mark.parametrize("pack", [gzip.compress, zstd])
def test_compressed_files_are_read_as_what_they_are_whatever_their_name(
    tmp_path: Path, pack: Any
) -> None:
    file = written(tmp_path, pack(b"1\n2\n") + pack(b"3\n"))  # as `cat a.gz b.gz` makes them
    assert [row.content for row in rows_of(file)] == [b"1", b"2", b"3"]


@pytest.mark.parametrize("pack", [gzip.compress, zstd])
def test_a_file_that_breaks_off_gives_what_stands_before(tmp_path: Path, pack: Any) -> None:
    lines = b"".join(b"%d\n" % (number * 7919**3) for number in range(200_000))
    file = written(tmp_path, pack(lines)[:-100])
    found: list[Row] = []
    with closing(TextFile(file, "ndjson")) as text, pytest.raises(RowsError, match="past line"):
        found.extend(text.rows(0))
    assert len(found) > 100 and found[1].content == b"%d" % 7919**3


@pytest.mark.parametrize("delimiter", [",", ";", "\t", "|"])
def test_csv_rows_have_the_line_they_begin_at(tmp_path: Path, delimiter: str) -> None:
    text = 'a,b\n1,"x\ny"\n2,z\n\n3\n4,"unfinished\n'.replace(",", delimiter)
    rows = rows_of(written(tmp_path, text.encode()), "csv")
    assert rows[0] == Row(2, {"a": "1", "b": "x\ny"})
    assert rows[1] == Row(4, {"a": "2", "b": "z"})
    assert rows[2].number == 6
    assert rows[2].content == Fault("invalid_row", "1 fields came; the header names 2 columns", "3")
    assert [row.number for row in rows] == [2, 4, 6, 7]


def test_an_unclosed_quote_does_not_take_the_memory(tmp_path: Path) -> None:
    lines = "".join(f"{number},text of the row\n" for number in range(20_000))
    rows = rows_of(written(tmp_path, ('a,b\n1,"open\n' + lines).encode()), "csv")
    faults = [row for row in rows if isinstance(row.content, Fault)]
    assert faults and faults[0].number == 2
    assert rows[-1].content == {"a": "19999", "b": "text of the row"}


@pytest.mark.parametrize(
    ("content", "sentence"),
    [(b"", "names its columns"), (b"\n1,2\n", "names its columns"), (b"a,a\n", "'a' twice"),
     (b",".join(b"c%d" % n for n in range(1001)), "at most 1000")],
)  # fmt: skip
def test_a_header_that_is_none_is_told(tmp_path: Path, content: bytes, sentence: str) -> None:
    with pytest.raises(RowsError, match=sentence):
        TextFile(written(tmp_path, content), "csv")


FIELDS = st.lists(st.lists(st.text(alphabet='ab,"\n ', max_size=6), min_size=2, max_size=2))


@settings(max_examples=60)
@given(fields=FIELDS, data=st.data())
def test_reading_goes_on_behind_any_row(
    tmp_path_factory: pytest.TempPathFactory, fields: list[list[str]], data: st.DataObject
) -> None:
    text = io.StringIO()
    csv.writer(text).writerows([["x", "y"], *fields])
    file = written(tmp_path_factory.mktemp("csv"), text.getvalue().encode())
    whole = rows_of(file, "csv")
    expected = [{"x": x, "y": y} for x, y in fields]
    assert [row.content for row in whole] == expected
    if whole:
        at = data.draw(st.integers(0, len(whole) - 1))
        assert rows_of(file, "csv", after=whole[at].number) == whole[at + 1 :]


def test_parquet_goes_on_in_the_middle_of_a_row_group(tmp_path: Path) -> None:
    path = tmp_path / "a.parquet"
    table = pa.table({"n": list(range(2500)), "gap": [None, "x"] * 1250})
    pq.write_table(table, path, row_group_size=700)
    with closing(ParquetTable(path)) as file:
        whole = list(file.rows(0))
        assert file.columns == ("n", "gap") and file.share_read == 1.0
        assert whole[0] == Row(1, {"n": 0}) and whole[1] == Row(2, {"n": 1, "gap": "x"})
        assert len(whole) == 2500
        for after in (0, 1, 699, 700, 701, 1999, 2499, 2500):
            assert list(file.rows(after)) == whole[after:]


def test_parquet_values_are_what_json_can_say(tmp_path: Path) -> None:
    path = tmp_path / "a.parquet"
    at = datetime.datetime(2024, 1, 2, 3, 4, 5, 678_000)
    table = pa.table(
        {
            "ns": pa.array([at], pa.timestamp("ns")),
            "zone": pa.array([at], pa.timestamp("ms", tz="Asia/Tehran")),
            "day": pa.array([at.date()]),
            "price": pa.array([decimal.Decimal("12.50")]),
            "whole": pa.array([decimal.Decimal("7.00")]),
            "bytes": pa.array([b"text"]),
            "list": pa.array([[{"at": at}]]),
        }
    )
    pq.write_table(table, path)
    with closing(ParquetTable(path)) as file:
        (row,) = file.rows(0)
    assert row.content == {
        "ns": "2024-01-02T03:04:05.678Z",
        "zone": "2024-01-02T03:04:05.678Z",
        "day": "2024-01-02",
        "price": 12.5,
        "whole": 7,
        "bytes": "text",
        "list": [{"at": "2024-01-02T03:04:05.678Z"}],
    }


def test_what_is_no_parquet_is_told(tmp_path: Path) -> None:
    with pytest.raises(RowsError, match="no Parquet file"):
        ParquetTable(written(tmp_path, b"PAR1 and nothing else"))


def test_a_line_without_an_end_ends_the_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A few megabytes can unpack to terabytes of it."""
    monkeypatch.setattr(rows, "SKIPPED_BYTES_MAX", 3 * LINE_BYTES_MAX)
    path = tmp_path / "bomb.ndjson.gz"
    path.write_bytes(gzip.compress(b"{}\n" + b"0" * 8 * LINE_BYTES_MAX))
    found: list[Row] = []
    with closing(TextFile(path, "ndjson")) as file, pytest.raises(RowsError, match="has no lines"):
        found += file.rows(0)
    path.write_bytes(gzip.compress(b"{}\n" + b"0" * 2 * LINE_BYTES_MAX + b"\n{}\n"))
    with closing(TextFile(path, "ndjson")) as file:
        assert [row.number for row in file.rows(0)] == [1, 2, 3]
