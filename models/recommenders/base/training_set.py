"""A client's training positives as a sparse matrix."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from models.errors import InvalidInput

IntArray = npt.NDArray[np.int32]


class TrainingSet:
    """A client's training positives in LightFM's layout, built once.

    Args:
        users: (n,) user row of each positive.
        items: (n,) item row of each positive.
        shape: (users, items) of the client's matrix.

    Raises:
        InvalidInput: there is no positive, or one occurs twice.
    """

    def __init__(self, users: IntArray, items: IntArray, shape: tuple[int, int]) -> None:
        import scipy.sparse as sp

        if len(users) == 0:
            raise InvalidInput("A training set needs at least one interaction, got none.")
        for name, rows, size in (("User", users, shape[0]), ("Item", items, shape[1])):
            if not 0 <= rows.min() <= rows.max() < size:
                raise InvalidInput(
                    f"{name} rows range from {rows.min()} to {rows.max()}, expected 0..{size - 1}."
                )
        # pandas may return read-only views, which LightFM's buffers refuse, so the arrays are copied.
        self.users = np.array(users, dtype=np.int32)
        self.items = np.array(items, dtype=np.int32)
        self.shape = shape
        self._keys = np.sort(self.users.astype(np.int64) * shape[1] + self.items)
        if (self._keys[1:] == self._keys[:-1]).any():
            raise InvalidInput("A training set has a pair of user and item twice. Pairs must be unique.")
        # Laid out here, because scipy takes longer to sort and to add up a few pairs than their training.
        starts = np.concatenate([[0], np.cumsum(np.bincount(self.users, minlength=shape[0]))])
        columns = (self._keys % shape[1]).astype(np.int32)
        ones = np.ones(len(users), dtype=np.float32)
        self.positives = sp.csr_matrix((ones, columns, starts.astype(np.int32)), shape=shape)

    def __len__(self) -> int:
        return len(self.users)

    def contains(self, users: IntArray, items: IntArray) -> npt.NDArray[np.bool_]:
        """Return (n,): whether each pair is a training positive."""
        keys = users.astype(np.int64) * self.shape[1] + items
        at = np.minimum(np.searchsorted(self._keys, keys), len(self._keys) - 1)
        found: npt.NDArray[np.bool_] = self._keys[at] == keys
        return found
