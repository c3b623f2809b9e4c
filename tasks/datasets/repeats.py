"""Merges repeated interactions of one user with one item."""

from __future__ import annotations

from typing import Literal, get_args

import numpy as np

from tasks.datasets.interaction_tables import Interactions

Repeats = Literal["latest", "first", "sum"]
REPEATS: tuple[Repeats, ...] = get_args(Repeats)


def merged_repeats(rows: Interactions, how: Repeats) -> Interactions:
    """Return one interaction of each pair of user and item, in the order of the source.

    Of equal times, and without timestamps, the later row is the later interaction.

    Args:
        rows: the interactions, with repeated pairs.
        how: "latest" or "first" keeps that interaction with its rating. "sum" keeps the latest with the sum
            of the ratings; without ratings, the rating is the number of interactions.
    """
    pairs = rows.user_codes * len(rows.items) + rows.item_codes
    places = np.arange(len(pairs))
    times = places if rows.timestamps is None else rows.timestamps
    order = np.lexsort((places, times, pairs))
    _, starts, codes, counts = np.unique(
        pairs[order], return_index=True, return_inverse=True, return_counts=True
    )
    kept = order[starts if how == "first" else starts + counts - 1]
    ratings = None if rows.ratings is None else rows.ratings[kept]
    if how == "sum":
        weights = None if rows.ratings is None else rows.ratings[order]
        ratings = np.bincount(codes, weights=weights).astype(np.float64)
    by_source = np.argsort(kept)
    kept = kept[by_source]
    return Interactions(
        users=rows.users,
        items=rows.items,
        user_codes=rows.user_codes[kept],
        item_codes=rows.item_codes[kept],
        ratings=None if ratings is None else ratings[by_source],
        timestamps=None if rows.timestamps is None else rows.timestamps[kept],
    )
