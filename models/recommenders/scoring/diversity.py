"""Diverse recommendations: items with high scores that differ from each other."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from models.errors import InvalidInput
from models.kernel.arrays import FloatArray


def diversified(
    rows: npt.NDArray[np.int64], scores: FloatArray, directions: FloatArray, k: int, diversity: float
) -> npt.NDArray[np.int64]:
    """Return k of the candidate rows, chosen one by one by maximal marginal relevance.

    Carbonell and Goldstein 1998: the next item is the one with the largest

        (1 - diversity) * relevance  -  diversity * (largest similarity to an item chosen before)

    with relevance scaled to 0..1 among the candidates, and cosine as similarity. The best candidate is always
    the first; among equals the better candidate comes first.

    Args:
        rows: (n,) candidates, the best first.
        scores: (n,) of the candidates.
        directions: (n, dims) their embeddings, of length 1.
        k: number of rows; all candidates if there are fewer.
        diversity: from 0 to 1.

    Raises:
        InvalidInput: the diversity is not from 0 to 1.
    """
    if not 0.0 <= diversity <= 1.0:
        raise InvalidInput(f"Diversity must be between 0 and 1, got {diversity}.")
    if rows.size == 0:
        return rows
    spread = float(scores[0] - scores[-1])
    relevance = (scores - scores[-1]) / spread if spread else np.zeros_like(scores)
    nearest = np.full(rows.size, -np.inf)
    chosen = [0]
    while len(chosen) < min(k, rows.size):
        nearest = np.maximum(nearest, directions @ directions[chosen[-1]])
        gain = (1.0 - diversity) * relevance - diversity * nearest
        gain[chosen] = -np.inf
        chosen.append(int(np.argmax(gain)))
    return rows[chosen]
