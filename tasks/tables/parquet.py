"""Reads Parquet files in batches."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from tasks.tables.dialect import Opened
from tasks.tables.table import from_one, one_line, refuse

_BATCH_ROWS = 1 << 17


class ParquetFile:
    """A Parquet file, whose footer is checked. Its rows are counted from 1.

    Attributes:
        names: the columns.
        header_row: None, because no row has the names.
    """

    header_row = None

    def __init__(self, path: Path, open_: Opened) -> None:
        """Read the footer.

        Raises:
            InvalidInput: the file is not Parquet.
        """
        self._path, self._open = path, open_
        with self._open() as stream:
            try:
                footer = pq.ParquetFile(stream)
                self.names: list[str] = footer.schema_arrow.names
                self._rows: int = footer.metadata.num_rows
            except (pa.ArrowException, ValueError, OSError) as error:
                refuse(path, f"the file cannot be read as Parquet ({one_line(error)})")

    def most_rows(self, size: int) -> int:
        """Return the number of rows, whatever the size in bytes is."""
        del size
        return self._rows

    def batches(self, columns: Sequence[str]) -> Iterator[pa.RecordBatch]:
        """Yield the rows of these columns in order, with the types of the file.

        Raises:
            InvalidInput: a part of the file is damaged.
        """
        with self._open() as stream:
            try:
                yield from pq.ParquetFile(stream).iter_batches(_BATCH_ROWS, columns=list(columns))
            except (pa.ArrowException, ValueError, OSError) as error:
                refuse(self._path, f"the file cannot be read as Parquet ({one_line(error)})")

    def number(self, position: int) -> int:
        """Return the number in the file, from 1, of the row at this position."""
        return from_one(position)
