"""A map of items: the plane in which their vectors differ most, and one label for each to colour it by."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from models.errors import InvalidInput
from models.kernel.arrays import FloatArray
from models.recommenders.scoring.fold_in import Float64Array

_AXES = 2


@dataclass(frozen=True)
class Plane:
    """The first two principal components of some vectors.

    Attributes:
        places: (n, 2), where the vectors lie in it, around their mean.
        explained: (2,), the share of their variance along each axis.
    """

    places: Float64Array
    explained: Float64Array


def principal_plane(vectors: FloatArray) -> Plane:
    """Return the plane in which n vectors (n, width) differ most: principal components (Hotelling 1933).

    Taken from the (n, n) products of the vectors, as in classical scaling (Torgerson 1952), because there may
    be far more columns than rows. The sign of an axis is free: its farthest vector lies on the positive side.

    Raises:
        InvalidInput: fewer than two vectors span no plane.
    """
    n = len(vectors)
    if n < _AXES:
        raise InvalidInput(f"A plane needs at least {_AXES} vectors, got {n}.")
    centred = vectors.astype(np.float64) - vectors.mean(axis=0, dtype=np.float64)
    products = centred @ centred.T
    from scipy.linalg import eigh

    variances, axes = eigh(products, subset_by_index=(n - _AXES, n - 1))
    # Descending. Rounding may bring a zero variance just below zero.
    variances, axes = np.clip(variances[::-1], 0.0, None), axes[:, ::-1]
    places = axes * np.sqrt(variances)
    farthest = np.abs(places).argmax(axis=0)
    places *= np.where(places[farthest, np.arange(_AXES)] < 0.0, -1.0, 1.0)
    total = float(products.trace())
    return Plane(places, variances / total if total else np.zeros(_AXES))


def main_labels(
    labels: Mapping[str, npt.NDArray[np.int64]], n_items: int, most: int
) -> tuple[list[str], npt.NDArray[np.int64]]:
    """Return one label for each item, out of the few most frequent ones.

    An item with several of them gets its rarest, which says most about it.

    Args:
        labels: label -> rows of the items that carry it.
        n_items: how many items there are.
        most: how many labels to keep.

    Returns:
        The labels kept, the most frequent first, and (items,) the place of each item's in that list; -1 where
        it has none of them.
    """
    kept: Sequence[str] = sorted(labels, key=lambda label: (-len(labels[label]), label))[:most]
    places = np.full(n_items, -1, dtype=np.int64)
    for place, label in enumerate(kept):
        places[labels[label]] = place
    return list(kept), places
