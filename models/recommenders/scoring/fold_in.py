"""Fold-in: a user vector for the history of an unseen user, without training, and the best items for it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from models.errors import InvalidInput
from models.kernel.arrays import FloatArray

Float64Array = npt.NDArray[np.float64]
Rows = Sequence[int] | npt.NDArray[np.integer]
_POPULARITY_POWER = 0.5
_ITEMS_AT_ONCE = 1 << 16
# The scores are cut into at least this number of blocks, to find the best of them.
_BLOCKS = 1000


@dataclass(frozen=True)
class FoldIn:
    """The settings of fold-in, which computes a user vector from a history.

    The default was chosen on the validation cases of MovieLens-100K, for users that took no part in training
    and histories of 3, 10 and all their items, with WARP embeddings of 32 dims from pooled and from federated
    training. `benchmarks/fold_in.py` measures it on the test cases.

    Attributes:
        regularisation: the prior precision of a user vector's entries; their variance is one over it.
    """

    regularisation: float = 3.0

    def __post_init__(self) -> None:
        if not self.regularisation > 0.0:
            raise InvalidInput(f"Fold-in needs a positive regularisation, got {self.regularisation}.")


@dataclass(frozen=True)
class ItemSide:
    """Item embeddings and biases, with the terms that every fold-in needs and that depend on no history.

    The embeddings' mean and covariance are those of an item that is drawn by popularity: with the probability
    p_j proportional to exp(b_j / 2). The softmax of the biases themselves is what the model expects of a user
    that it knows nothing about; its root, which leaves rarer items more, was the better one on validation
    cases, as a power below 1 is for negative samples elsewhere (Mikolov et al. 2013).

    Attributes:
        embeddings: Y, (items, dims).
        biases: b, (items,).
        bias_mean: mean of b, each item counting alike.
        mean: m = sum_j p_j y_j, (dims,) float64.
        axes: V, (dims, dims) float64, the principal axes of the covariance as columns.
        variances: s, (dims,) float64, along these axes; the covariance is V diag(s) V'.
    """

    embeddings: FloatArray
    biases: FloatArray
    bias_mean: float
    mean: Float64Array
    axes: Float64Array
    variances: Float64Array

    @classmethod
    def of(cls, embeddings: FloatArray, biases: FloatArray) -> ItemSide:
        """Return the item side of these embeddings (items, dims) and biases (items,)."""
        shares = np.exp(_POPULARITY_POWER * (biases.astype(np.float64) - biases.max()))
        shares /= shares.sum()
        mean, covariance = _moments(embeddings, shares)
        variances, axes = np.linalg.eigh(covariance)
        return cls(
            embeddings=embeddings,
            biases=biases,
            bias_mean=float(np.mean(biases, dtype=np.float64)),
            mean=mean,
            axes=axes,
            # A covariance has no negative variances, but rounding may cause some.
            variances=np.maximum(variances, 0.0),
        )

    def __len__(self) -> int:
        return int(self.embeddings.shape[0])

    def scores(self, user: Float64Array) -> FloatArray:
        """Return the scores (items,) of all items for a user vector (dims,), in the embeddings' precision."""
        return self.scores_of(slice(None), user)

    def scores_of(self, rows: Rows | slice, user: Float64Array) -> FloatArray:
        """Return the scores of these rows alone, as `scores` does for all."""
        # A vector of another precision would have numpy copy all embeddings first.
        vector = user.astype(self.embeddings.dtype)
        return np.asarray(self.embeddings[rows] @ vector + self.biases[rows])


@dataclass(frozen=True)
class FoldedUser:
    """A user vector, and the part of each item of the history in it.

    Attributes:
        parts: (history, dims), the part of each item of the history.
        rest: (dims,) the part that no item of the history explains; None without such a part.
    """

    parts: Float64Array
    rest: Float64Array | None = None

    @classmethod
    def trained(cls, vector: Float64Array, parts: Float64Array) -> FoldedUser:
        """Return a user of a trained vector (dims,) and the parts (history, dims) that explain some of it."""
        return cls(parts, vector - parts.sum(axis=0))

    @property
    def vector(self) -> Float64Array:
        """Return the user vector (dims,): the sum of all parts, which is zero without a history."""
        explained = self.parts.sum(axis=0)
        return np.asarray(explained if self.rest is None else explained + self.rest, dtype=np.float64)


def fold_in(
    history_rows: Rows, side: ItemSide, how: FoldIn | None = None, weights: Sequence[float] | None = None
) -> FoldedUser:
    """Return the user vector that makes a history probable, given fixed items.

    A user of vector x takes item j with a probability proportional to p_j exp(x'y_j), where p_j is the item's
    popularity (`ItemSide`), and x is normal around zero with the precision lambda. The log-posterior of items
    i with weights w_i is concave (a multinomial logit; McFadden 1974). At x = 0 its gradient is the sum of
    w_i (y_i - m) and its Hessian is -(W C + lambda I), with W the sum of the weights, m the mean and C the
    covariance of an item drawn by popularity. The answer is one Newton step from there,

        x = (W C + lambda I)^-1  sum_i w_i (y_i - m)

    It needs no pass over the items, as any further step would, which gained little on validation cases. And
    since it is a sum over the history, an answer can say which item adds what (`FoldedUser.parts`).

    Args:
        history_rows: rows of the seen items, without duplicates; may be empty.
        side: the items.
        how: the prior.
        weights: the weight of each seen item, above 0; 1 by default.

    Raises:
        InvalidInput: a row is not one of the items, or a weight is not positive.
    """
    how = how or FoldIn()
    rows, counts = checked_history(history_rows, weights, len(side))
    apart = side.embeddings[rows].astype(np.float64) - side.mean
    stretch = counts[:, np.newaxis] / (counts.sum() * side.variances + how.regularisation)
    return FoldedUser(parts=(apart @ side.axes * stretch) @ side.axes.T)


def checked_history(
    history_rows: Rows, weights: Sequence[float] | None, items: int
) -> tuple[npt.NDArray[np.int64], Float64Array]:
    """Return the rows (history,) of a history and the weight (history,) of each, 1 by default.

    Raises:
        InvalidInput: a row is not one of the items, or a weight is not positive.
    """
    rows = np.asarray(history_rows, dtype=np.int64)
    if rows.size and (rows.min() < 0 or rows.max() >= items):
        raise InvalidInput(f"A history row lies outside the {items} items: {rows.tolist()}.")
    counts = np.ones(rows.size) if weights is None else np.asarray(weights, dtype=np.float64)
    if counts.shape != rows.shape or not np.all((counts > 0.0) & np.isfinite(counts)):
        raise InvalidInput("A history needs one positive, finite weight for each of its items.")
    return rows, counts


def top_k(
    scores: FloatArray, k: int, exclude: Rows = (), allowed: npt.NDArray[np.bool_] | None = None
) -> npt.NDArray[np.int64]:
    """Return the rows of the k highest scores, highest first; among equal scores the lower row comes first.

    Args:
        scores: (items,), finite.
        k: at least 1; fewer rows come back where fewer are left.
        exclude: rows that must not appear.
        allowed: (items,) which rows may appear; all by default.

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


def _moments(embeddings: FloatArray, shares: Float64Array) -> tuple[Float64Array, Float64Array]:
    """Return mean (dims,) and covariance (dims, dims) of embeddings (items, dims) drawn by shares."""
    dims = embeddings.shape[1]
    mean, square = np.zeros(dims), np.zeros((dims, dims))
    # In parts, because a float64 copy of a million embeddings would be larger than everything else.
    for start in range(0, len(shares), _ITEMS_AT_ONCE):
        wide = embeddings[start : start + _ITEMS_AT_ONCE].astype(np.float64)
        weighted = wide.T * shares[start : start + _ITEMS_AT_ONCE]
        mean += weighted.sum(axis=1)
        square += weighted @ wide
    return mean, square - np.outer(mean, mean)


def _threshold(scores: FloatArray, k: int) -> float:
    """Return a score that at least k items reach, and few others do; -inf if there are fewer than k.

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
