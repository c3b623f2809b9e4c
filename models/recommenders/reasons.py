"""Why an item is recommended: what each item of the history, and popularity, contribute to its score."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from models.recommenders.fold_in import Float64Array, FoldedUser, ItemSide, Rows


@dataclass(frozen=True)
class Reason:
    """One thing that speaks for a recommended item.

    Attributes:
        row: of an item of the history; None for what no single item is named for.
        kind: "history" for that item, "popularity" for what speaks for the item without any history, and
            "others" for all reasons that are not listed.
        share: of everything that speaks for the item; more than 0, at most 1.
    """

    row: int | None
    kind: str
    share: float


def reasons_for(
    rows: Rows,
    history_rows: Sequence[int],
    user: FoldedUser,
    side: ItemSide,
    mean_embedding: Float64Array,
    most: int,
) -> list[tuple[Reason, ...]]:
    """For each recommended row what speaks for it, the strongest first, with shares that add up to 1.

    A score is a sum: the item's bias, and its product with the part of each item of the history. Each is
    taken relative to the average item, since what lifts all items alike explains none. What speaks against
    the item has no share.

    Args:
        rows: (k,) of the recommended items.
        history_rows: (history,) rows that `user` was folded in from.
        user: the user vector in parts.
        side: the items.
        mean_embedding: (dims,) of all items.
        most: at most so many reasons are named for an item; the rest are one, "others".
    """
    above = side.embeddings[np.asarray(rows)].astype(np.float64) - mean_embedding
    popularity = side.biases[np.asarray(rows)].astype(np.float64) - side.bias_mean
    lifts = np.column_stack([above @ user.parts.T, popularity])
    return [_reasons(list(history_rows), lift, most) for lift in lifts]


def _reasons(history_rows: list[int], lift: Float64Array, most: int) -> tuple[Reason, ...]:
    for_it = np.maximum(lift, 0.0)
    total = float(for_it.sum())
    if not total:
        # Nothing lifts it above the average item: it is only what is left.
        return (Reason(None, "popularity", 1.0),)
    shares = for_it / total
    order = np.argsort(-shares, kind="stable")
    named = [place for place in order[:most].tolist() if shares[place] > 0.0]
    listed = [
        Reason(history_rows[place], "history", float(shares[place]))
        if place < len(history_rows)
        else Reason(None, "popularity", float(shares[place]))
        for place in named
    ]
    if np.count_nonzero(shares) > len(named):
        listed.append(Reason(None, "others", 1.0 - sum(reason.share for reason in listed)))
    return tuple(listed)
