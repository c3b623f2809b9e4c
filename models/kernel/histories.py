"""The histories of a client's users: the items that each user used, oldest first."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from models.errors import InvalidInput

if TYPE_CHECKING:
    import scipy.sparse as sp

IntArray = npt.NDArray[np.integer]
Float64Array = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Histories:
    """The interactions of a client's users, grouped by user and oldest first within each user.

    Attributes:
        items: (n,) int64 item rows.
        starts: (users + 1,) int64; user u's items are `items[starts[u]:starts[u + 1]]`.
        n_items: number of items of the catalogue.
    """

    items: npt.NDArray[np.int64]
    starts: npt.NDArray[np.int64]
    n_items: int

    @classmethod
    def of(cls, users: IntArray, items: IntArray, places: IntArray, shape: tuple[int, int]) -> Histories:
        """Return the histories in these interactions.

        Args:
            users, items: (n,) user and item rows, in any order.
            places: (n,) position of each interaction in its user's history; the earliest has the lowest.
            shape: (users, items) of the client's matrix.

        Raises:
            InvalidInput: a row is out of range, or a pair of user and item occurs twice.
        """
        n_users, n_items = shape
        for name, rows, size in (("User", users, n_users), ("Item", items, n_items)):
            if len(rows) and not 0 <= rows.min() <= rows.max() < size:
                raise InvalidInput(
                    f"{name} rows range from {rows.min()} to {rows.max()}, expected 0..{size - 1}."
                )
        keys = users.astype(np.int64) * n_items + items
        if len(np.unique(keys)) != len(keys):
            raise InvalidInput("A history has an item twice; pairs of user and item must be unique.")
        order = np.lexsort((places, users))
        starts = np.concatenate([[0], np.cumsum(np.bincount(users, minlength=n_users))])
        return cls(items[order].astype(np.int64), starts.astype(np.int64), n_items)

    @classmethod
    def pooled(cls, parts: Sequence[Histories]) -> Histories:
        """Return the histories of several clients' users together, in the order of the clients."""
        lengths = np.concatenate([np.diff(part.starts) for part in parts])
        return cls(
            np.concatenate([part.items for part in parts]),
            np.concatenate([[0], np.cumsum(lengths)]),
            parts[0].n_items,
        )

    def of_users(self, chosen: npt.NDArray[np.bool_]) -> Histories:
        """Return the histories of the users of a mask (users,) alone, in their order."""
        lengths = np.diff(self.starts)
        starts = np.concatenate([[0], np.cumsum(lengths[chosen])])
        return Histories(self.items[np.repeat(chosen, lengths)], starts, self.n_items)

    def __len__(self) -> int:
        return len(self.starts) - 1

    def __iter__(self) -> Iterator[npt.NDArray[np.int64]]:
        """Yield each user's items, oldest first."""
        for first, last in pairwise(self.starts):
            yield self.items[first:last]

    @property
    def steps_back(self) -> npt.NDArray[np.int64]:
        """Return the number of later items in each item's history, (n,); 0 for the latest item."""
        ends: npt.NDArray[np.int64] = np.repeat(self.starts[1:], np.diff(self.starts))
        return ends - 1 - np.arange(len(self.items))

    def matrix(self, weights: Float64Array | None = None) -> sp.csr_matrix[np.float64]:
        """Return the (users, items) matrix of used items.

        A used item has its weight, or 1 without `weights`. All other entries are 0.
        """
        import scipy.sparse as sp

        values = np.ones(len(self.items)) if weights is None else weights
        return sp.csr_matrix((values, self.items, self.starts), shape=(len(self), self.n_items))
