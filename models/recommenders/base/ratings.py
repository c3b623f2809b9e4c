"""The ratings of a client's users."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from models.errors import InvalidInput
from models.kernel.arrays import FloatArray
from models.kernel.histories import Float64Array, Histories, IntArray

if TYPE_CHECKING:
    import scipy.sparse as sp


@dataclass(frozen=True)
class Ratings:
    """The ratings of one client's users, sorted by user row and then by item row.

    Attributes:
        histories: the rated items of each user.
        values: (n,) float64, the rating of each of `histories.items`.
    """

    histories: Histories
    values: Float64Array

    @classmethod
    def of(cls, users: IntArray, items: IntArray, values: Float64Array, shape: tuple[int, int]) -> Ratings:
        """Return the ratings in these rows, sorted.

        Args:
            users, items: (n,) user and item rows, in any order.
            values: (n,) the rating of each.
            shape: (users, items) of the client's matrix.

        Raises:
            InvalidInput: a row is out of range, a pair occurs twice, a rating is not finite, or lengths
                differ.
        """
        if not len(users) == len(items) == len(values):
            raise InvalidInput(
                f"Ratings need a user, an item and a value each, got {len(users)}, {len(items)} and "
                f"{len(values)}."
            )
        if not np.isfinite(values).all():
            raise InvalidInput("A rating is not a finite number.")
        return cls(
            Histories.of(users, items, items, shape),
            np.asarray(values, dtype=np.float64)[np.lexsort((items, users))],
        )

    def __len__(self) -> int:
        return len(self.histories)

    @property
    def n_items(self) -> int:
        """Return the number of items of the catalogue."""
        return self.histories.n_items

    @property
    def items(self) -> npt.NDArray[np.int64]:
        """Return (n,): the item row of each rating."""
        return self.histories.items

    @cached_property
    def counts(self) -> npt.NDArray[np.int64]:
        """Return (users,): the number of ratings of each user."""
        return np.diff(self.histories.starts)

    @cached_property
    def users(self) -> npt.NDArray[np.int64]:
        """Return (n,): the user row of each rating."""
        return np.repeat(np.arange(len(self)), self.counts)

    @cached_property
    def rated(self) -> npt.NDArray[np.int64]:
        """Return (m,): the rows of the items with a rating, ascending; few of all if there are few users."""
        return np.unique(self.items)

    def matrix(self, weights: Float64Array | None = None) -> sp.csr_matrix[np.float64]:
        """Return (users, m): the weight of each rated pair, 1 by default; columns as in `rated`."""
        import scipy.sparse as sp

        values = np.ones(len(self.items)) if weights is None else weights
        shape = (len(self), len(self.rated))
        return sp.csr_matrix((values, self._columns, self.histories.starts), shape=shape)

    def spread(self, rows: FloatArray) -> npt.NDArray[np.float32]:
        """Return (items, ...): the rows (m, ...) of the `rated` items, and 0 for all other items."""
        whole = np.zeros((self.n_items, *rows.shape[1:]), dtype=np.float32)
        whole[self.rated] = rows
        return whole

    @cached_property
    def _columns(self) -> npt.NDArray[np.int64]:
        return np.searchsorted(self.rated, self.items)


@dataclass(frozen=True)
class RatedData:
    """A client's training ratings and user ids.

    Attributes:
        ratings: the training ratings of its users.
        user_ids: the ids of the same users. A user's random draws follow from the id and the job's seed.
    """

    ratings: Ratings
    user_ids: tuple[str, ...]
