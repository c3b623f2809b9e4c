"""Item features, such as genres and years. They filter recommendations, and place untrained items."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
import scipy.sparse as sp

_NOT_FEATURES = ("item_id", "title")
_BINS = 10


@dataclass(frozen=True)
class ItemFeatures:
    """The features of a catalogue's items.

    Attributes:
        items: number of items.
        labels: column -> label -> (n,) sorted rows of the items that have it. A cell may have several labels,
            separated by "|" if the column uses that, by spaces otherwise.
        numbers: column -> (items,) float64, NaN where unknown.
    """

    items: int
    labels: Mapping[str, Mapping[str, npt.NDArray[np.int64]]]
    numbers: Mapping[str, npt.NDArray[np.float64]]

    @classmethod
    def of(cls, catalog: pd.DataFrame) -> ItemFeatures:
        """Return the features in a catalogue's columns, all except ids and titles, in row order."""
        labels, numbers = {}, {}
        for name in catalog.columns:
            if name in _NOT_FEATURES:
                continue
            column = catalog[name]
            if pd.api.types.is_numeric_dtype(column):
                numbers[str(name)] = column.to_numpy(dtype=np.float64, na_value=np.nan)
            else:
                labels[str(name)] = _labels(column)
        return cls(len(catalog), labels, numbers)

    def matrix(self) -> sp.csr_matrix:
        """Return (items, features) of 0 and 1: a column per label, and one per tenth of a numeric column."""
        columns = [rows for by_label in self.labels.values() for _, rows in sorted(by_label.items())]
        for numbers in self.numbers.values():
            columns += _bins(numbers)
        lengths = [len(rows) for rows in columns]
        rows = np.concatenate(columns) if columns else np.empty(0, dtype=np.int64)
        places = np.repeat(np.arange(len(columns)), lengths)
        return sp.csr_matrix((np.ones(len(rows)), (rows, places)), shape=(self.items, len(columns)))


def _labels(column: pd.Series[Any]) -> dict[str, npt.NDArray[np.int64]]:
    cells = ["" if pd.isna(cell) else str(cell) for cell in column]
    separator = "|" if any("|" in cell for cell in cells) else None
    found = defaultdict(list)
    for row, cell in enumerate(cells):
        for label in dict.fromkeys(part.strip() for part in cell.split(separator)):
            if label:
                found[label].append(row)
    return {label: np.array(rows, dtype=np.int64) for label, rows in found.items()}


def _bins(numbers: npt.NDArray[np.float64]) -> list[npt.NDArray[np.int64]]:
    known = np.flatnonzero(~np.isnan(numbers))
    if known.size == 0:
        return []
    edges = np.unique(np.quantile(numbers[known], np.linspace(0.0, 1.0, _BINS + 1)[1:-1]))
    places = np.searchsorted(edges, numbers[known], side="right")
    return [known[places == place] for place in range(len(edges) + 1)]
