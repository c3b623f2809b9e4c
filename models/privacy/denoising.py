"""What is left of a noisy symmetric matrix: its eigenvalues beyond those of the noise.

Noise whose off-diagonal values have the standard deviation s, and the diagonal ones sqrt 2 s, has eigenvalues
up to about e = 2 s sqrt d in d dimensions. An eigenvalue w > e of the noisy matrix belongs to one of
(w + sqrt(w² - e²)) / 2 of the matrix without noise, whose eigenvector is only partly the same. The estimate
with the smallest squared error shrinks it to sqrt(w² - e²) (Shabalin and Nobel 2013, "Reconstruction of a
low-rank matrix in the presence of Gaussian noise"; Gavish and Donoho 2017, "Optimal shrinkage of singular
values").
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from models.kernel.histories import Float64Array

_NOTHING = 1e-9


@dataclass(frozen=True)
class Spectrum:
    """A positive semidefinite matrix V diag(values) V'.

    Attributes:
        vectors: (items, kept).
        values: (kept,), positive.
    """

    vectors: Float64Array
    values: Float64Array

    @property
    def diagonal(self) -> Float64Array:
        """Return the diagonal of the matrix, (items,)."""
        return np.asarray(np.square(self.vectors) @ self.values)


def denoised(noisy: Float64Array, deviation: float, *, margin: float = 1.1, least: int = 0) -> Spectrum:
    """Return the part of a noisy symmetric matrix (d, d) that stands out from the noise.

    Args:
        noisy: the matrix.
        deviation: standard deviation of the noise on the diagonal; 0 without noise.
        margin: is multiplied with e. The largest eigenvalues of noise lie a little beyond e, by chance. With
            1.1 few of them are kept.
        least: number of the largest eigenvalues that are kept even if they do not stand out, as tiny ones.
    """
    values, vectors = np.linalg.eigh(noisy)
    limit = margin * 2.0 * deviation / math.sqrt(2.0) * math.sqrt(len(noisy))
    kept = values > max(limit, _NOTHING)
    kept[len(values) - least :] = True
    squares = np.square(np.maximum(values[kept], 0.0)) - limit**2
    return Spectrum(vectors[:, kept], np.sqrt(np.maximum(squares, _NOTHING**2)))
