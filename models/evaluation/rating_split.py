"""Which ratings are held out: each pair by its own random number, in whatever client its user is."""

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
    """Parts of a client's ratings, as masks (n,) over its rows.

    Attributes:
        train: what a model may learn from.
        held_out: what it is judged on.
    """

    train: npt.NDArray[np.bool_]
    held_out: npt.NDArray[np.bool_]


def split_ratings(
    keys: Keys, users: IntArray, items: IntArray, *, validation: bool, test_share: float = 0.3
) -> RatingSplit:
    """A random split for figures, or one inside its training part for choices.

    Any rating is a test rating with probability `test_share`, whatever happens to others. The validation
    split leaves the test ratings out altogether and holds out a fifth of the others.

    Args:
        keys: (users,), as from `user_keys` with the split's seed.
        users, items: (n,), rows.
        validation: whether the split is for choices.
        test_share: 0.3 for 70/30.
    """
    drawn = uniforms(keys[users], items, 2)
    test = drawn[:, 0] < test_share
    if not validation:
        return RatingSplit(~test, test)
    chosen = ~test & (drawn[:, 1] < _VALIDATION_SHARE)
    return RatingSplit(~test & ~chosen, chosen)
