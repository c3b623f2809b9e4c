"""The ratings of a client's users: which items each of them rated, and how."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt
import scipy.sparse as sp

from models.errors import InvalidInput
from models.kernel.arrays import FloatArray
from models.kernel.histories import Float64Array, Histories, IntArray


@dataclass(frozen=True)
class Ratings:
    """What the users of one client rated, user by user and in the order of the items within each user.

    Attributes:
        histories: who rated what.
        values: (n,) float64, the rating of each of `histories.items`.
    """

    histories: Histories
    values: Float64Array

    @classmethod
    def of(cls, users: IntArray, items: IntArray, values: Float64Array, shape: tuple[int, int]) -> Ratings:
        """The ratings in these rows.

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
        """Number of items of the catalogue."""
        return self.histories.n_items

    @property
    def items(self) -> npt.NDArray[np.int64]:
        """(n,): the item row of each rating."""
        return self.histories.items

    @cached_property
    def counts(self) -> npt.NDArray[np.int64]:
        """(users,): how many ratings each user gave."""
        return np.diff(self.histories.starts)

    @cached_property
    def users(self) -> npt.NDArray[np.int64]:
        """(n,): the user row of each rating."""
        return np.repeat(np.arange(len(self)), self.counts)

    @cached_property
    def rated(self) -> npt.NDArray[np.int64]:
        """(m,): the rows of the items that anyone here rated, ascending: few of all, where users are few."""
        return np.unique(self.items)

    def matrix(self, weights: Float64Array | None = None) -> sp.csr_matrix[np.float64]:
        """(users, m): the weight of each rated pair, 1 where nothing is said; columns as in `rated`."""
        values = np.ones(len(self.items)) if weights is None else weights
        shape = (len(self), len(self.rated))
        return sp.csr_matrix((values, self._columns, self.histories.starts), shape=shape)

    def spread(self, rows: FloatArray) -> npt.NDArray[np.float32]:
        """(items, ...): what stands in the rows (m, ...) of `rated` items, and 0 in those of all others."""
        whole = np.zeros((self.n_items, *rows.shape[1:]), dtype=np.float32)
        whole[self.rated] = rows
        return whole

    @cached_property
    def _columns(self) -> npt.NDArray[np.int64]:
        return np.searchsorted(self.rated, self.items)


@dataclass(frozen=True)
class RatedData:
    """What a client learns ratings from.

    Attributes:
        ratings: of its users, in training.
        user_ids: of the same users; what a user draws follows from the id and the job's seed.
    """

    ratings: Ratings
    user_ids: tuple[str, ...]
