"""The interactions that a model was trained on, as numbers that tell whether another one is among them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np
import numpy.typing as npt

from models.evaluation.split import IntArray
from models.kernel.splitmix import Keys, mix
from models.kernel.streams import user_keys

# Held-out cases that do not count, because an earlier training of the model has seen them, of all cases.
LEFT_OUT = "left_out"


def item_keys(item_ids: Sequence[str]) -> Keys:
    """Return a key for each item id, (items,), which does not depend on the item's row."""
    return user_keys(0, "trained item", item_ids)


def pair_keys(user_ids: Sequence[str], of_items: Keys, users: IntArray, items: IntArray) -> Keys:
    """Return a key for each pair of a user and an item, (n,). It is the same in every partition.

    Two of n pairs share a key with a probability of about n² / 2**65.

    Args:
        user_ids: id of each user row.
        of_items: (items,), from `item_keys`.
        users, items: (n,), user and item rows.
    """
    of_users = user_keys(0, "trained user", user_ids)
    return mix(of_users[users] + mix(of_items[items]))


def union(parts: Iterable[Keys]) -> Keys:
    """Return the different keys of all parts, sorted."""
    return np.unique(np.concatenate([np.empty(0, dtype=np.uint64), *parts]))


def among(keys: Keys, known: Keys) -> npt.NDArray[np.bool_]:
    """Return (n,): whether each key is one of the sorted keys `known`."""
    if len(known) == 0:
        return np.zeros(len(keys), dtype=np.bool_)
    at = np.minimum(np.searchsorted(known, keys), len(known) - 1)
    found: npt.NDArray[np.bool_] = known[at] == keys
    return found
