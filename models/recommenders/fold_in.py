"""Fold-in: a user vector for the history of an unseen user, without training, and the best items for it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from models.errors import InvalidInput
from models.federation.arrays import FloatArray

Float64Array = npt.NDArray[np.float64]
Rows = Sequence[int] | npt.NDArray[np.integer]
# Into so many blocks the scores are cut at least, to find the best of them.
_BLOCKS = 1000


@dataclass(frozen=True)
class FoldIn:
    """How a history becomes a user vector.

    The defaults were chosen on MovieLens-100K with WARP embeddings of 32 dims and users that took no part in
    training, for histories of 3, 10 and 85 items. A ranking loss leaves scores on the scale of its margins,
    which is why the target of a seen item is not 1.

    Attributes:
        target: the score that a seen item should get; unseen items should get 0.
        regularisation: L2 penalty on the user vector.
        unseen_weight: the weight of all items together as unseen ones, where one seen item weighs 1. Spread
            over the items, so that the same value serves a catalogue of any size.
    """

    target: float = 4.0
    regularisation: float = 10.0
    unseen_weight: float = 5.0

    def __post_init__(self) -> None:
        if not self.regularisation > 0.0 or not self.unseen_weight >= 0.0:
            raise InvalidInput(
                "Fold-in needs a positive regularisation and no negative weight, got "
                f"{self.regularisation} and {self.unseen_weight}."
            )


@dataclass(frozen=True)
class ItemSide:
    """Item embeddings and biases, with what every fold-in needs of them and depends on no history.

    Attributes:
        embeddings: Y, (items, dims).
        biases: b, (items,).
        gram: Y'Y, (dims, dims) float64.
        bias_pull: Y'(b - mean of b), (dims,) float64.
        bias_mean: mean of b.
    """

    embeddings: FloatArray
    biases: FloatArray
    gram: Float64Array
    bias_pull: Float64Array
    bias_mean: float

    @classmethod
    def of(cls, embeddings: FloatArray, biases: FloatArray) -> ItemSide:
        """The item side of these embeddings (items, dims) and biases (items,)."""
        wide = embeddings.astype(np.float64)
        mean = float(np.mean(biases, dtype=np.float64))
        return cls(
            embeddings=embeddings,
            biases=biases,
            gram=np.asarray(wide.T @ wide, dtype=np.float64),
            bias_pull=np.asarray(wide.T @ (biases.astype(np.float64) - mean), dtype=np.float64),
            bias_mean=mean,
        )

    def __len__(self) -> int:
        return int(self.embeddings.shape[0])

    def scores(self, user: Float64Array) -> FloatArray:
        """The scores (items,) of all items for a user vector (dims,), in the embeddings' precision."""
        # A vector of another precision would have numpy copy all embeddings first.
        return np.asarray(self.embeddings @ user.astype(self.embeddings.dtype) + self.biases)


@dataclass(frozen=True)
class FoldedUser:
    """A user vector, and what each item of the history has to do with it.

    Attributes:
        general: (dims,) the part that a user without a history would have.
        parts: (history, dims), what each item of the history adds to it.
    """

    general: Float64Array
    parts: Float64Array

    @property
    def vector(self) -> Float64Array:
        """The user vector (dims,): the sum of all parts."""
        return np.asarray(self.general + self.parts.sum(axis=0), dtype=np.float64)


def fold_in(
    history_rows: Rows, side: ItemSide, how: FoldIn | None = None, weights: Sequence[float] | None = None
) -> FoldedUser:
    """The user vector that explains a history best, given fixed items.

    One user step of implicit ALS (Hu, Koren and Volinsky 2008, eq. 4) with the item bias inside the residual:
    with the confidences c_i = w for unseen items and those of `weights` for seen ones, targets t_i = `target`
    for seen items and 0 for others, and biases b_i around their mean,

        x = ( Y' C Y + regularisation I )^-1  Y' C (t - b)

    Biases are taken around their mean, so that a shift of all biases, which ranks nothing otherwise, changes
    nothing. The right side is a sum over items and the left side is the same for all of them, so x is a sum
    over items, too: that is what `FoldedUser.parts` holds.

    Args:
        history_rows: rows of the seen items, without duplicates; may be empty.
        side: the items.
        how: target, regularisation and weights.
        weights: confidence in each seen item, more than 0; 1 where nothing is said.

    Raises:
        InvalidInput: a row is not one of the items, or a weight is not positive.
    """
    how = how or FoldIn()
    rows = np.asarray(history_rows, dtype=np.int64)
    items, dims = side.embeddings.shape
    if rows.size and (rows.min() < 0 or rows.max() >= items):
        raise InvalidInput(f"A history row lies outside the {items} items: {rows.tolist()}.")
    confidence = np.ones(rows.size) if weights is None else np.asarray(weights, dtype=np.float64)
    if confidence.shape != rows.shape or not np.all((confidence > 0.0) & np.isfinite(confidence)):
        raise InvalidInput("A history needs one positive, finite weight for each of its items.")
    unseen = min(1.0, how.unseen_weight / items)
    seen = side.embeddings[rows].astype(np.float64)
    left = unseen * side.gram + (seen.T * (confidence - unseen)) @ seen + how.regularisation * np.eye(dims)
    # Every item asks for -b with the weight of the unseen; a seen one asks for target - b with its own.
    biases = side.biases[rows].astype(np.float64) - side.bias_mean
    asked = confidence * (how.target - biases) + unseen * biases
    right = np.column_stack([-unseen * side.bias_pull, seen.T * asked])
    solved = np.linalg.solve(left, right)
    return FoldedUser(general=solved[:, 0], parts=np.ascontiguousarray(solved[:, 1:].T))


def top_k(
    scores: FloatArray, k: int, exclude: Rows = (), allowed: npt.NDArray[np.bool_] | None = None
) -> npt.NDArray[np.int64]:
    """Rows of the k highest scores, highest first; among equal scores the lower row comes first.

    Args:
        scores: (items,), finite.
        k: at least 1; fewer rows come back where fewer are left.
        exclude: rows that must not appear.
        allowed: (items,) which rows may appear; all where nothing is said.

    Raises:
        InvalidInput: k is less than 1.
    """
    if k < 1:
        raise InvalidInput(f"The number of recommendations k must be at least 1, got {k}.")
    left = scores.copy() if allowed is None else np.where(allowed, scores, -np.inf)
    left[np.asarray(exclude, dtype=np.int64)] = -np.inf
    # All rows that reach the threshold are kept, so that ties are cut by row.
    rows = np.flatnonzero((left >= _threshold(left, k)) & (left > -np.inf))
    order = np.lexsort((rows, -left[rows]))
    return rows[order][:k]


def _threshold(scores: FloatArray, k: int) -> float:
    """A score that at least k items reach, and few others do; -inf where there are fewer than k.

    The maxima of disjoint blocks are scores of different items, so the k-th highest maximum is reached by at
    least k of them. It is found without moving the scores about, as a partition of all of them would.
    """
    blocks = max(k, _BLOCKS)
    height = scores.size // blocks
    # Fewer items than blocks: each is one of its own.
    maxima = scores[: height * blocks].reshape(height, blocks).max(axis=0) if height else scores
    if maxima.size < k:
        return -np.inf
    return float(np.partition(maxima, maxima.size - k)[maxima.size - k])
