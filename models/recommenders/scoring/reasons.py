"""Reasons for a recommendation: the parts of history items and popularity in its score."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from models.recommenders.scoring.fold_in import Float64Array, FoldedUser, ItemSide, Rows


@dataclass(frozen=True)
class Reason:
    """One reason for a recommended item.

    Attributes:
        row: row of an item of the history; None for the other kinds.
        kind: "history" for that item, "popularity" for the part that needs no history, and "others" for all
            reasons that are not listed.
        share: its share of everything that raises the item's score; above 0, at most 1.
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
    """Return the reasons for each recommended row, the strongest first, with shares that add up to 1.

    A score is a sum: the item's bias, and its product with the part of each item of the history. Each is
    taken relative to the average item, since a part common to all items explains none. Negative parts have no
    share.

    Args:
        rows: (k,) of the recommended items.
        history_rows: (history,) rows that `user` was folded in from.
        user: the user vector in parts.
        side: the items.
        mean_embedding: (dims,) mean of all items.
        most: maximal number of reasons for an item. The rest is one more, "others", together with the part
            that no item of the history explains.
    """
    above = side.embeddings[np.asarray(rows)].astype(np.float64) - mean_embedding
    popularity = side.biases[np.asarray(rows)].astype(np.float64) - side.bias_mean
    lifts = np.column_stack([above @ user.parts.T, popularity])
    rest = np.zeros(len(above)) if user.rest is None else above @ user.rest
    return shares_of(lifts, rest, history_rows, most)


def shares_of(
    lifts: Float64Array, rest: Float64Array, history_rows: Sequence[int], most: int
) -> list[tuple[Reason, ...]]:
    """Return the reasons for each item, the strongest first, with shares that add up to 1.

    Args:
        lifts: (k, history + 1), the part of each item of the history and, last, of popularity.
        rest: (k,), the part that no single item of the history explains.
        history_rows: (history,) their rows.
        most: maximal number of reasons for an item. The rest is one more, "others".
    """
    for_it, unnamed = np.maximum(lifts, 0.0), np.maximum(rest, 0.0)
    totals = for_it.sum(axis=1) + unnamed
    shares = for_it / np.where(totals > 0.0, totals, 1.0)[:, np.newaxis]
    order = np.argsort(-shares, axis=1, kind="stable")[:, :most]
    named = zip(
        order.tolist(),
        np.take_along_axis(shares, order, axis=1).tolist(),
        (np.count_nonzero(shares, axis=1) + (unnamed > 0.0)).tolist(),
        strict=True,
    )
    return [_reasons(list(history_rows), places, largest, count) for places, largest, count in named]


def _reasons(
    history_rows: list[int], places: list[int], shares: list[float], count: int
) -> tuple[Reason, ...]:
    """Return the reasons from the places of the largest shares and the number of all shares."""
    if not count:
        # No part raises it above the average item.
        return (Reason(None, "popularity", 1.0),)
    listed = [
        Reason(history_rows[place], "history", share)
        if place < len(history_rows)
        else Reason(None, "popularity", share)
        for place, share in zip(places, shares, strict=True)
        if share > 0.0
    ]
    if count > len(listed):
        listed.append(Reason(None, "others", 1.0 - sum(reason.share for reason in listed)))
    return tuple(listed)
