"""Fold-in: a user vector for the history of an unseen user, without training, and the best items for it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from models.errors import InvalidInput
from models.federation.model import FloatArray

Float64Array = npt.NDArray[np.float64]


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


def fold_in(
    history_rows: Sequence[int] | npt.NDArray[np.integer],
    item_embeddings: FloatArray,
    item_biases: FloatArray,
    how: FoldIn | None = None,
    gram: Float64Array | None = None,
) -> Float64Array:
    """The user vector (dims,) float64 that explains a history best, given fixed items.

    One user step of implicit ALS (Hu, Koren and Volinsky 2008, eq. 4) with the item bias inside the residual:
    with the weights c_i = w for every item and 1 for the seen ones, targets t_i = `target` for seen items and
    0 for others, and biases b_i around their mean,

        x = ( Y' C Y + regularisation I )^-1  Y' C (t - b)

    Biases are taken around their mean, so that a shift of all biases, which ranks nothing otherwise, changes
    nothing.

    Args:
        history_rows: rows of the seen items, without duplicates; may be empty.
        item_embeddings: Y, (items, dims).
        item_biases: b, (items,).
        how: target, regularisation and weights.
        gram: `gram_of(item_embeddings)`, where it is known already.

    Raises:
        InvalidInput: a row is not one of the items.
    """
    how = how or FoldIn()
    rows = np.asarray(history_rows, dtype=np.int64)
    items, dims = item_embeddings.shape
    if rows.size and (rows.min() < 0 or rows.max() >= items):
        raise InvalidInput(f"A history row lies outside the {items} items: {rows.tolist()}.")
    weight = min(1.0, how.unseen_weight / items)
    biases = item_biases.astype(np.float64) - float(np.mean(item_biases, dtype=np.float64))
    seen = item_embeddings[rows].astype(np.float64)
    everywhere = gram_of(item_embeddings) if gram is None else gram
    left = weight * everywhere + (1.0 - weight) * (seen.T @ seen) + how.regularisation * np.eye(dims)
    # Every item asks for -b with weight w; a seen one asks for target - b with weight 1 instead.
    right = -weight * (item_embeddings.T @ biases) + seen.T @ (how.target - (1.0 - weight) * biases[rows])
    return np.asarray(np.linalg.solve(left, right), dtype=np.float64)


def gram_of(item_embeddings: FloatArray) -> Float64Array:
    """Y'Y (dims, dims) in float64."""
    wide = item_embeddings.astype(np.float64)
    return np.asarray(wide.T @ wide, dtype=np.float64)


def scores_of(user: Float64Array, item_embeddings: FloatArray, item_biases: FloatArray) -> Float64Array:
    """The scores (items,) float64 of all items for a user vector (dims,)."""
    return np.asarray(item_embeddings @ user + item_biases, dtype=np.float64)


def top_k(
    scores: Float64Array, k: int, exclude: Sequence[int] | npt.NDArray[np.integer] = ()
) -> npt.NDArray[np.int64]:
    """Rows of the k highest scores, highest first; among equal scores the lower row comes first.

    Args:
        scores: (items,), finite.
        k: at least 1; fewer rows come back where fewer are left.
        exclude: rows that must not appear.

    Raises:
        InvalidInput: k is less than 1.
    """
    if k < 1:
        raise InvalidInput(f"The number of recommendations k must be at least 1, got {k}.")
    left = np.ones(scores.shape[0], dtype=bool)
    left[np.asarray(exclude, dtype=np.int64)] = False
    rows = np.flatnonzero(left)
    if k < rows.size:
        # The k-th score is a threshold; all rows that reach it are kept, so that ties are cut by row.
        threshold = np.partition(scores[rows], rows.size - k)[rows.size - k]
        rows = rows[scores[rows] >= threshold]
    order = np.lexsort((rows, -scores[rows]))
    return rows[order][:k]
