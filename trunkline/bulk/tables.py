"""Parquet files: rows read group by group, as values that JSON can say."""

from __future__ import annotations

import datetime
import decimal
import importlib
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, cast

from trunkline.bulk.rows import COLUMNS_MAX, Row, RowsError
from trunkline.kit.times import format_ms

_BATCH_ROWS = 1_000
_EPOCH = datetime.datetime(1970, 1, 1, tzinfo=datetime.UTC)
_MS = datetime.timedelta(milliseconds=1)
_EXACT_MAX = 2**53  # whole numbers beyond it are not the same in every reader of JSON


class ParquetTable:
    """A Parquet file. Close it."""

    def __init__(self, path: Path) -> None:
        """Raises `RowsError`."""
        self.path = path
        # Slow to import, and most commands do without.
        self._arrow: Any = importlib.import_module("pyarrow")
        parquet: Any = importlib.import_module("pyarrow.parquet")
        try:
            self._file = parquet.ParquetFile(path)
        except (OSError, self._arrow.ArrowException) as error:
            raise RowsError(f"{path} is no Parquet file that can be read: {error}") from error
        self.columns = tuple(cast("Sequence[str]", self._file.schema_arrow.names))
        if len(self.columns) > COLUMNS_MAX:
            self.close()
            raise RowsError(f"{path} has {len(self.columns)} columns; at most {COLUMNS_MAX}")
        self._rows = cast("int", self._file.metadata.num_rows)
        self._done = 0

    @property
    def share_read(self) -> float:
        """How much of the file was read, 0 to 1."""
        return min(1.0, self._done / max(1, self._rows))

    def rows(self, after: int) -> Iterator[Row]:
        """Yield the rows behind the first `after`. Raises `RowsError` where the file breaks."""
        self._done = 0
        for group in range(cast("int", self._file.num_row_groups)):
            rows = cast("int", self._file.metadata.row_group(group).num_rows)
            if self._done + rows <= after:
                self._done += rows
                continue
            yield from self._group(group, after)

    def close(self) -> None:
        """Let go of the file."""
        self._file.close()

    def _group(self, group: int, after: int) -> Iterator[Row]:
        try:
            for batch in self._file.iter_batches(batch_size=_BATCH_ROWS, row_groups=[group]):
                for values in self._values(batch):
                    self._done += 1
                    if self._done > after:
                        yield Row(self._done, values)
        except (OSError, self._arrow.ArrowException) as error:
            raise RowsError(
                f"{self.path} cannot be read past row {self._done}: {error}; what stands before it "
                "was taken. Make the file again, then start again"
            ) from error

    def _values(self, batch: Any) -> list[dict[str, Any]]:
        rows = cast("list[dict[str, Any]]", self._whole_micros(batch).to_pylist())
        return [
            {name: plain(value) for name, value in row.items() if value is not None} for row in rows
        ]

    def _whole_micros(self, batch: Any) -> Any:
        """Return a batch whose nanoseconds are cut off: Python's times have none."""
        arrow = self._arrow
        for index, field in enumerate(batch.schema):
            if arrow.types.is_timestamp(field.type) and field.type.unit == "ns":
                coarse = arrow.timestamp("us", tz=field.type.tz)
                batch = batch.set_column(
                    index, field.name, batch.column(index).cast(coarse, safe=False)
                )
        return batch


def plain(value: Any) -> Any:
    """Return a value as JSON has it: times as text in UTC, decimals as numbers, bytes as text."""
    if isinstance(value, datetime.datetime):
        aware = value if value.tzinfo else value.replace(tzinfo=datetime.UTC)
        return format_ms((aware - _EPOCH) // _MS)
    if isinstance(value, datetime.date | datetime.time):
        return value.isoformat()
    if isinstance(value, decimal.Decimal):
        return _number(value)
    if isinstance(value, bytes):
        return value.decode("utf-8", "surrogateescape")
    return _plain_parts(value)


def _plain_parts(value: Any) -> Any:
    if isinstance(value, Mapping):
        pairs = cast("Mapping[str, Any]", value)
        return {name: plain(item) for name, item in pairs.items() if item is not None}
    if isinstance(value, list | tuple):
        return [plain(item) for item in cast("Sequence[Any]", value)]
    if isinstance(value, datetime.timedelta):
        return value.total_seconds()
    return value


def _number(value: decimal.Decimal) -> int | float | str:
    if not value.is_finite():
        return str(value)
    if value == value.to_integral_value():
        return int(value) if abs(value) <= _EXACT_MAX else str(value)
    return float(value)
