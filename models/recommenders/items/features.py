"""Item features, such as genres and years. They filter recommendations, and place untrained items."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from models.errors import InvalidInput

if TYPE_CHECKING:
    import pandas as pd
    import scipy.sparse as sp

NOT_FEATURES = ("item_id", "title")
_BINS = 10
# Whole numbers with at most this many values, such as years or star ratings, have a feature for each value.
_MOST_VALUES = 100
# Placing an item solves equations of the size of all features, and a label of few items says little.
_MOST_COLUMNS = 2000
_MOST_LABELS, _BUMPS = 64, 7


@dataclass(frozen=True)
class ItemFeatures:
    """The features of a catalogue's items.

    Attributes:
        items: number of items.
        columns: names of the columns, in the catalogue's order.
        labels: column -> label -> (n,) sorted rows of the items that have it.
        numbers: column -> (items,) float64, NaN where unknown.
    """

    items: int
    columns: tuple[str, ...]
    labels: Mapping[str, Mapping[str, npt.NDArray[np.int64]]]
    numbers: Mapping[str, npt.NDArray[np.float64]]

    @classmethod
    def of(cls, catalog: pd.DataFrame) -> ItemFeatures:
        """Return the features in a catalogue's columns, all except ids and titles, in row order.

        Args:
            catalog: a column of numbers is numeric, and one of labels has a sequence of texts in each cell.
                `judge_column` decides that once for a partition.

        Raises:
            InvalidInput: a cell is neither.
        """
        import pandas as pd

        labels, numbers = {}, {}
        for name in catalog.columns:
            if name in NOT_FEATURES:
                continue
            column = catalog[name]
            if pd.api.types.is_numeric_dtype(column):
                numbers[str(name)] = column.to_numpy(dtype=np.float64, na_value=np.nan)
            else:
                labels[str(name)] = _rows_by_label(str(name), column.tolist())
        columns = tuple(str(name) for name in catalog.columns if name not in NOT_FEATURES)
        return cls(len(catalog), columns, labels, numbers)

    def matrix(self) -> sp.csr_matrix:
        """Return (items, features) of 0 and 1: a column per label, and several for each column of numbers.

        Whole numbers with few distinct values have a column per value, other numbers one per tenth. Of more
        than 2,000 columns those with the most items are left, in their order.
        """
        import scipy.sparse as sp

        columns: list[npt.NDArray[np.int64]] = []
        for name in self.columns:
            if name in self.labels:
                columns += [rows for _, rows in sorted(self.labels[name].items())]
            else:
                columns += _parts(self.numbers[name])
        if len(columns) > _MOST_COLUMNS:
            columns = [columns[place] for place in _longest(columns, _MOST_COLUMNS)]
        lengths = [len(rows) for rows in columns]
        rows = np.concatenate(columns) if columns else np.empty(0, dtype=np.int64)
        places = np.repeat(np.arange(len(columns)), lengths)
        return sp.csr_matrix((np.ones(len(rows)), (rows, places)), shape=(self.items, len(columns)))

    def smooth(self) -> npt.NDArray[np.float64]:
        """Return (items, features): a constant, a column per label, and bumps over each column of numbers.

        Numbers that are near each other have similar features, unlike in `matrix`. Of more than 64 labels
        those with the most items are left, in their order.
        """
        labels = [rows for name in self.columns for _, rows in sorted(self.labels.get(name, {}).items())]
        if len(labels) > _MOST_LABELS:
            labels = [labels[place] for place in _longest(labels, _MOST_LABELS)]
        found = np.zeros((self.items, 1 + len(labels)))
        found[:, 0] = 1.0
        for place, rows in enumerate(labels, start=1):
            found[rows, place] = 1.0
        return np.concatenate([found, *(_bumps(self.numbers[name]) for name in sorted(self.numbers))], axis=1)


def _longest(columns: Sequence[npt.NDArray[np.int64]], most: int) -> npt.NDArray[np.int64]:
    """Return the places of the `most` longest columns, ascending."""
    by_items = np.argsort([-len(rows) for rows in columns], kind="stable")
    return np.sort(by_items[:most])


def _bumps(numbers: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Return (items, at most 7): Gaussian bumps at quantiles, as wide as the way to the nearest other one."""
    is_known = ~np.isnan(numbers)
    if not is_known.any():
        return np.zeros((len(numbers), 0))
    middles = np.unique(np.quantile(numbers[is_known], np.linspace(0.0, 1.0, _BUMPS)))
    gaps = np.diff(middles)
    widths = np.ones(len(middles))
    if len(gaps):
        widths = np.minimum(np.append(gaps, gaps[-1]), np.insert(gaps, 0, gaps[0]))
    heights = np.exp(-0.5 * np.square((np.where(is_known, numbers, 0.0)[:, np.newaxis] - middles) / widths))
    return np.asarray(np.where(is_known[:, np.newaxis], heights, 0.0))


def _rows_by_label(name: str, cells: Sequence[Any]) -> dict[str, npt.NDArray[np.int64]]:
    found = defaultdict(list)
    for row, cell in enumerate(cells):
        if isinstance(cell, str) or not isinstance(cell, Sequence | np.ndarray):
            raise InvalidInput(
                f"The catalogue's column {name!r} has {cell!r} in row {row}, not a list of labels."
            )
        for label in dict.fromkeys(cell):
            found[label].append(row)
    return {label: np.array(rows, dtype=np.int64) for label, rows in found.items()}


def _parts(numbers: npt.NDArray[np.float64]) -> list[npt.NDArray[np.int64]]:
    known = np.flatnonzero(~np.isnan(numbers))
    values = np.unique(numbers[known])
    if len(values) <= _MOST_VALUES and (values == np.round(values)).all():
        return [known[numbers[known] == value] for value in values]
    edges = np.unique(np.quantile(numbers[known], np.linspace(0.0, 1.0, _BINS + 1)[1:-1]))
    places = np.searchsorted(edges, numbers[known], side="right")
    return [known[places == place] for place in range(len(edges) + 1)]
