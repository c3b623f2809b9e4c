"""Weights from noisy sums: what stands out of them, with public features for all the rest.

The item weights are those of EASE (`models.recommenders.additive.ease`), of the estimated Gram matrix

    M = D + Q C Q' + R,      A = M^-1,      B_ij = -A_ij / A_jj

of users' vectors of length 1. D is diagonal and says how popular items are, C is what is left of the content
sums, and R what is left of the pairs. Items outside the pairs have a row of Q, so they are recommended by
what they are. Popular items are in both C and R: without the content in the pairs, what both have in common
would be lost in the noise, and the lists are worse.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from models.kernel.arrays import FloatArray
from models.kernel.histories import Float64Array
from models.privacy.denoising import Spectrum, denoised
from models.recommenders.private.spec import DpItemsSpec

# An item's popularity counts at least this share of the noise in it, and at least a twentieth of a user.
_FLOOR_OF_NOISE, _FLOOR = 0.5, 0.05
# Popular items have a little more weight in the basis of contents: a power of their popularity.
_BASIS_EXPONENT = 0.3
# Directions of the features whose singular value is a smaller share of the largest one are left out.
_LEAST_DIRECTION = 1e-3


@dataclass(frozen=True)
class Popularity:
    """What the first round's sums say of the items.

    Attributes:
        noisy: (items,), the sums.
        deviation: standard deviation of their noise; 0 without noise.
    """

    noisy: Float64Array
    deviation: float

    @classmethod
    def of(cls, noisy: FloatArray, deviation: float) -> Popularity:
        """Return what these sums (items,) say."""
        return cls(noisy.astype(np.float64), deviation)

    @property
    def shares(self) -> Float64Array:
        """Return each item's share of all uses, (items,), positive, with a sum of 1."""
        found = np.maximum(self.noisy, max(_FLOOR_OF_NOISE * self.deviation, _FLOOR))
        return np.asarray(found / found.sum())


def most_popular(popularity: FloatArray, most: int) -> npt.NDArray[np.int64]:
    """Return the rows of the `most` items of the highest popularity, ascending. Ties: the first rows."""
    order = np.argsort(-popularity.astype(np.float64), kind="stable")
    return np.sort(order[:most])


def basis_of(features: FloatArray, popularity: Popularity) -> Float64Array:
    """Return an orthonormal basis (items, contents) of the features (items, features).

    Features that depend on others add nothing, so there may be fewer contents.
    """
    shares = popularity.shares
    weights = (shares / shares.max()) ** _BASIS_EXPONENT
    vectors, values, _ = np.linalg.svd(features * weights[:, np.newaxis], full_matrices=False)
    return np.asarray(vectors[:, values > _LEAST_DIRECTION * values.max(initial=0.0)])


def content_spectrum(content: Float64Array, basis: FloatArray) -> Spectrum:
    """Return Q C Q'.

    There are few contents, so what is below the edge of the noise is worth having, too.

    Args:
        content: (contents, contents), the noisy sums.
        basis: (items, contents), Q.
    """
    found = denoised(content, 0.0)
    return Spectrum(basis @ found.vectors, found.values)


def pair_spectrum(
    pairs: Float64Array, paired: npt.NDArray[np.int64], items: int, deviation: float
) -> Spectrum:
    """Return R.

    Args:
        pairs: (popular items, popular items), the noisy sums.
        paired: rows of these items.
        items: number of all items.
        deviation: standard deviation of the noise of sqrt 2 times a value.
    """
    found = denoised(pairs, deviation)
    vectors = np.zeros((items, len(found.values)))
    vectors[paired] = found.vectors
    return Spectrum(vectors, found.values)


def weights_of(diagonal: Float64Array, parts: tuple[Spectrum, ...]) -> Float64Array:
    """Return B (items, items) for M = diag(diagonal) + parts, by the Woodbury identity."""
    vectors = np.concatenate([part.vectors for part in parts], axis=1)
    values = np.concatenate([part.values for part in parts])
    scaled = vectors / diagonal[:, np.newaxis]
    inner = np.diag(1.0 / values) + vectors.T @ scaled
    inverse = np.diag(1.0 / diagonal) - scaled @ np.linalg.solve(inner, scaled.T)
    weights = inverse / -np.diag(inverse)
    np.fill_diagonal(weights, 0.0)
    return np.asarray(weights)


def content_weights(popularity: Popularity, basis: FloatArray) -> Float64Array:
    """Return item weights (items, items) before anything is known of pairs: alike items go together.

    Args:
        popularity: the sums of the first round.
        basis: (items, contents), Q.
    """
    items, contents = basis.shape
    alike = Spectrum(basis.astype(np.float64), np.full(contents, 1.0 / contents))
    return weights_of(popularity.shares + 1.0 / items, (alike,))


def solved(
    spec: DpItemsSpec,
    popularity: Popularity,
    content: Float64Array,
    pairs: Float64Array,
    users: float,
    basis: FloatArray,
    paired: npt.NDArray[np.int64],
    deviation: float,
) -> Float64Array:
    """Return the item weights B, (items, items).

    Args:
        spec: the settings.
        popularity: the sums of the first round.
        content, pairs, users: the noisy sums of the second round.
        basis: (items, contents), Q.
        paired: rows of the items of the pairs.
        deviation: standard deviation of the noise of a pair as it is sent, so of sqrt 2 times a value.
    """
    diagonal = max(users, 1.0) * popularity.shares + spec.regularisation
    parts = (
        content_spectrum(content, basis),
        pair_spectrum(pairs, paired, len(basis), deviation),
    )
    return weights_of(diagonal, parts)
