"""The item table of a partition: the catalogue's columns in their judged types.

Numbers are a column of doubles, and labels a column of lists of texts, so that no reader judges a value
again. The file's metadata has a format number and the columns' kinds.
"""

from __future__ import annotations

import io
import json
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from models.recommenders.items.features import NOT_FEATURES

if TYPE_CHECKING:
    import pandas as pd

FORMAT = 2
_KEY = b"fedrec.items"
_LEFT_OUT = {
    "text": "long texts are no labels; to take each as one: --labels-split {name}=none",
    "identifiers": "no two items share a value; to take them as labels: --labels-split {name}=none",
    "vectors": "measured numbers are no labels; to take each as one: --labels-split {name}=none",
    "empty": "no item has a value",
    "left out": "by --leave-out",
    "row numbers": "it has the name that pandas gives to row numbers",
}
_TYPES = {"numbers": pa.float64(), "labels": pa.list_(pa.string())}


@dataclass(frozen=True)
class ColumnFacts:
    """What was found in a column of an items file, for people; the item table has the values.

    Attributes:
        name: of the column.
        kind: see `models.recommenders.items.column_kinds.Kind`; "left out" if an option said so, and
            "row numbers" for those of pandas.
        missing: number of items without a value.
        separator: where text was split into labels; None if it was not.
        labels: number of distinct labels; None unless the column holds labels.
        examples: the most frequent labels.
        unsplit: a separator that belongs to the labels, and the number of cells that have it.
        least, greatest: range of numbers; None otherwise. A date is a number such as 19950321.
    """

    name: str
    kind: str
    missing: int = 0
    separator: str | None = None
    labels: int | None = None
    examples: tuple[str, ...] = ()
    least: float | None = None
    greatest: float | None = None
    unsplit: tuple[str, int] | None = None

    @classmethod
    def of_json(cls, values: Mapping[str, Any]) -> ColumnFacts:
        """Return the facts in a manifest's entry.

        Raises:
            TypeError: the entry has other keys.
        """
        unsplit = {"unsplit": tuple(values["unsplit"])} if "unsplit" in values else {}
        return cls(**{**values, **unsplit, "examples": tuple(values.get("examples", ()))})

    def as_json(self) -> dict[str, Any]:
        """Return the facts as a manifest's entry."""
        found = asdict(self)
        # Without it where there is none, so that an equal column has the same entry as before it was noted.
        if self.unsplit is None:
            del found["unsplit"]
        return found

    def described(self, items: int) -> str:
        """Return what was found, as one line, given the number of items."""
        if self.kind in _LEFT_OUT:
            return f"left out: {_LEFT_OUT[self.kind].format(name=self.name)}"
        missing = f"; {self.missing:,} of {items:,} items have none" if self.missing else ""
        if self.labels is None:
            return f"{self.kind} from {self.least:.15g} to {self.greatest:.15g}{missing}"
        split = f", split at {self.separator!r}" if self.separator else ""
        more = ", ..." if self.labels > len(self.examples) else ""
        kept = ""
        if self.unsplit:
            separator, cells = self.unsplit
            option = shlex.quote(f"{self.name}={separator}")
            where = f"{separator!r} (in {cells:,} of {items:,} items)"
            kept = f"; not split at {where}; to split there: --labels-split {option}"
        return f"{self.labels:,} labels{split}: {', '.join(map(repr, self.examples))}{more}{missing}{kept}"


def item_table(items: pd.DataFrame) -> pa.Table:
    """Return a catalogue's items (see `Catalog`) as a table of Arrow. Equal items give an equal table."""
    import pandas as pd

    arrays, kinds = {}, {}
    for name in items.columns:
        column = items[name]
        if name in NOT_FEATURES:
            arrays[name] = pa.array(column, pa.string())
            continue
        kinds[name] = "numbers" if pd.api.types.is_float_dtype(column.dtype) else "labels"
        arrays[name] = pa.array(column.tolist(), _TYPES[kinds[name]], from_pandas=True)
    facts = json.dumps({"format": FORMAT, "columns": kinds})
    return pa.table(arrays).replace_schema_metadata({_KEY: facts.encode()})


def parquet_bytes(table: pa.Table) -> bytes:
    """Return a table as the bytes of a Parquet file. Equal tables give equal bytes."""
    sink = pa.BufferOutputStream()
    pq.write_table(table, sink)
    data: bytes = sink.getvalue().to_pybytes()
    return data


def judged_kinds(table: pa.Table) -> dict[str, str]:
    """Return the kinds of the columns that a table has as judged ones; none if it is not an item table."""
    facts = json.loads((table.schema.metadata or {}).get(_KEY, b"{}"))
    if facts.get("format") != FORMAT:
        return {}
    kinds: dict[str, str] = facts["columns"]
    names = set(table.column_names)
    return {name: kind for name, kind in kinds.items() if name in names and table[name].type == _TYPES[kind]}


def read_item_table(data: bytes) -> pd.DataFrame:
    """Return the items in the bytes of an item table, as `ItemFeatures.of` takes them.

    A table without a format number is older. Its columns are read as fedrec read them then: text is labels
    separated by "|", or by blanks in a column without "|".

    Raises:
        ValueError: the bytes are not an item table. Its subclass ArrowInvalid: they are not Parquet.
    """
    import pandas as pd

    table, is_judged = _opened(data)
    if not is_judged:
        items = pd.read_parquet(io.BytesIO(data), engine="pyarrow")
        return pd.DataFrame(
            {name: items[name] if name in NOT_FEATURES else _as_before(items[name]) for name in items}
        )
    frame: pd.DataFrame = table.to_pandas(ignore_metadata=True)
    return frame


def item_names(data: bytes) -> tuple[list[str], list[str]]:
    """Return the ids and the titles in the bytes of an item table. The id replaces a missing title.

    Raises:
        ValueError: as in `read_item_table`, which takes a second more to import pandas.
    """
    table, _ = _opened(data)
    titles = table["title"].to_pylist() if "title" in table.column_names else ()
    return named(table["item_id"].to_pylist(), titles)


def named(item_ids: Sequence[object], titles: Sequence[object]) -> tuple[list[str], list[str]]:
    """Return ids and titles as texts. The id replaces a missing title; no titles at all mean all missing."""
    ids = [str(item_id) for item_id in item_ids]
    known = titles or [None] * len(ids)
    return ids, [
        title if isinstance(title, str) and title else id_ for id_, title in zip(ids, known, strict=True)
    ]


def _opened(data: bytes) -> tuple[pa.Table, bool]:
    """Return an item table, and whether its columns were judged; see `read_item_table`."""
    table = pq.ParquetFile(pa.BufferReader(data)).read()
    facts = (table.schema.metadata or {}).get(_KEY)
    if facts is None:
        return table, False
    found = json.loads(facts)
    if found["format"] != FORMAT:
        raise ValueError(f"the item table has format {found['format']!r}, expected {FORMAT}")
    for name, kind in found["columns"].items():
        if table.schema.field(name).type != _TYPES[kind]:
            raise ValueError(f"the item table's column {name!r} does not hold {kind}")
    return table, True


def _as_before(column: pd.Series) -> pd.Series:
    """Return a column of an older table as numbers or labels."""
    import pandas as pd

    if pd.api.types.is_numeric_dtype(column):
        return column
    cells = [_texts(cell) for cell in column]
    separator = "|" if any("|" in text for texts in cells for text in texts) else None
    labels = [
        [part.strip() for text in texts for part in text.split(separator) if part.strip()] for texts in cells
    ]
    return pd.Series(labels, index=column.index, dtype=object)


def _texts(cell: Any) -> list[str]:
    import pandas as pd

    every = cell if isinstance(cell, list | np.ndarray) else [cell]
    return [str(each) for each in every if each is not None and not pd.isna(each)]
