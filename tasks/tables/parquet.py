"""Reads Parquet files in batches."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from tasks.tables.dialect import Opened
from tasks.tables.table import from_one, named, one_line, refuse

_BATCH_ROWS = 1 << 17


class ParquetFile:
    """A Parquet file, whose footer is checked. Its rows are counted from 1.

    Attributes:
        names: the columns; one without a name is left out.
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
                self._all_names: list[str] = [name.strip() for name in footer.schema_arrow.names]
                self._stored = footer.schema_arrow.names
                self._rows: int = footer.metadata.num_rows
            except (pa.ArrowException, ValueError, OSError) as error:
                refuse(path, f"the file cannot be read as Parquet ({one_line(error)})")
        self.names = named(self._all_names)

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
            stored = [self._stored[self._all_names.index(name)] for name in columns]
            try:
                for batch in pq.ParquetFile(stream).iter_batches(_BATCH_ROWS, columns=stored):
                    plain = [name.strip() for name in batch.schema.names]
                    # The metadata say which columns were judged before.
                    yield batch.rename_columns(plain).replace_schema_metadata(batch.schema.metadata)
            except (pa.ArrowException, ValueError, OSError) as error:
                refuse(self._path, f"the file cannot be read as Parquet ({one_line(error)})")

    def number(self, position: int) -> int:
        """Return the number in the file, from 1, of the row at this position."""
        return from_one(position)
