"""The split of ratings. Each (user, item) pair has its own random number, whichever client the user is in."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from models.evaluation.split import IntArray
from models.kernel.splitmix import Keys
from models.kernel.streams import uniforms

_VALIDATION_SHARE = 0.2


@dataclass(frozen=True)
class RatingSplit:
    """A split of a client's ratings, as masks (n,) over its rows.

    Attributes:
        train: the ratings for training.
        held_out: the ratings for evaluation.
    """

    train: npt.NDArray[np.bool_]
    held_out: npt.NDArray[np.bool_]


def split_ratings(
    keys: Keys, users: IntArray, items: IntArray, *, validation: bool, test_share: float = 0.3
) -> RatingSplit:
    """Return a random test split, or a random validation split of the test split's training part.

    Each rating is a test rating with probability `test_share`, independent of the other ratings. The
    validation split leaves the test ratings out and holds out a fifth of the others.

    Args:
        keys: (users,), from `user_keys` with the split's seed.
        users, items: (n,), user and item rows.
        validation: whether to return the validation split.
        test_share: share of test ratings, 0.3 for 70/30.
    """
    drawn = uniforms(keys[users], items, 2)
    test = drawn[:, 0] < test_share
    if not validation:
        return RatingSplit(~test, test)
    chosen = ~test & (drawn[:, 1] < _VALIDATION_SHARE)
    return RatingSplit(~test & ~chosen, chosen)
