"""Lists of made-up users: histories that need no real user's data, and how often each item is recommended."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np
import numpy.typing as npt

from models.recommenders.scoring.fold_in import Rows, top_k
from models.recommenders.scoring.scorer import Scorer

# Which items (items,) may appear; None for all.
Allowed = npt.NDArray[np.bool_] | None


def made_up_histories(
    scorer: Scorer, rows: Rows, length: int, *, weight: float, allowed: Allowed = None
) -> list[list[int]]:
    """Return a history for each of these items: the best items for a user of that item, and the item last.

    Such a history is like a real one of the model's: its items go together, and popular ones are in many.

    Args:
        scorer: of the model that makes the histories up.
        rows: (n,), one for each history.
        length: of a history, at least 2.
        weight: of the item, above 0. A weight w stands for w items like it.
        allowed: (items,) which items may be added.

    Raises:
        InvalidInput: a row is not one of the items, or the weight is not positive.
    """
    histories = []
    for row in np.asarray(rows, dtype=np.int64).tolist():
        best = top_k(scorer.score([row], [weight]).scores, length - 1, [row], allowed)
        histories.append([*best[::-1].tolist(), row])
    return histories


def times_listed(
    scorer: Scorer, histories: Iterable[Sequence[int]], k: int, allowed: Allowed = None
) -> npt.NDArray[np.int64]:
    """Return in how many lists each item is, (items,): one list of the k best items for each history.

    Args:
        scorer: of the model. It folds each history in and scores as it does when it serves.
        histories: rows of the items of each, the oldest first. A list holds none of them.
        k: length of a list.
        allowed: (items,) which items may appear.

    Raises:
        InvalidInput: a row is not one of the items, or k is less than 1.
    """
    counts = np.zeros(len(scorer), dtype=np.int64)
    for history in histories:
        counts[top_k(scorer.score(history).scores, k, history, allowed)] += 1
    return counts
