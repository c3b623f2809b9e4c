"""The draws of a Gibbs sampler of Gaussian factors."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from models.kernel.arrays import FloatArray
from models.kernel.histories import Float64Array


@dataclass(frozen=True)
class Normals:
    """Many multivariate normal distributions, given by their precisions.

    Attributes:
        means: (n, dims).
        factors: (n, dims, dims), the Cholesky factors L of the precisions L L'.
    """

    means: Float64Array
    factors: Float64Array

    @classmethod
    def of(cls, precisions: Float64Array, linear: Float64Array) -> Normals:
        """Return the distributions with log density -x'Px/2 + x'b and so the means P^-1 b.

        Args:
            precisions: (n, dims, dims), P, symmetric and positive definite.
            linear: (n, dims), b.
        """
        means = np.linalg.solve(precisions, linear[..., np.newaxis])[..., 0]
        return cls(np.asarray(means, np.float64), np.asarray(np.linalg.cholesky(precisions), np.float64))

    def at(self, noise: Float64Array) -> Float64Array:
        """Return (n, dims): the draws for these standard normal numbers (n, dims)."""
        upper = np.swapaxes(self.factors, -1, -2)
        return self.means + np.linalg.solve(upper, noise[..., np.newaxis])[..., 0]

    def variances(self, rows: np.ndarray, vectors: Float64Array) -> Float64Array:
        """Return (pairs,): the variance of x'v, x from the distribution of a row and v the vector beside it.

        Args:
            rows: (pairs,).
            vectors: (pairs, dims).
        """
        inverse = np.linalg.inv(self.factors)
        spread = np.einsum("pij,pj->pi", inverse[rows], vectors)
        return np.asarray((spread**2).sum(axis=1))


@dataclass(frozen=True)
class RegressionSums:
    """The sums that a multivariate regression of n rows w on features f needs.

    Attributes:
        rows: n.
        features: (f, f), the sum of f f'.
        targets: (f, dims), the sum of f w'.
        gram: (dims, dims), the sum of w w'.
    """

    rows: float
    features: FloatArray
    targets: FloatArray
    gram: FloatArray

    @classmethod
    def of(cls, features: Float64Array, rows: Float64Array) -> RegressionSums:
        """Return the sums over rows (n, dims) with these features (n, f)."""
        return cls(float(len(rows)), features.T @ features, features.T @ rows, rows.T @ rows)


@dataclass(frozen=True)
class Regression:
    """A prior of factors: each is normal around a linear function of its features.

    Attributes:
        coefficients: (f, dims); the factor of features f has the mean f'A.
        precision: (dims, dims), of the factors around it.
    """

    coefficients: Float64Array
    precision: Float64Array


def draw_regression(
    random: np.random.Generator, sums: RegressionSums, ridge: FloatArray, scale: float
) -> Regression:
    """Draw coefficients and precision given the factors.

    Simm et al. 2015 ("Macau"), section 3; Salakhutdinov and Mnih 2008, eq. 14, for a constant alone.

    The prior of the precision is Wishart with as many degrees of freedom as dimensions and mean 1 / scale;
    that of a coefficient row is normal around 0 with `ridge` times the precision.

    Args:
        random: drawn from in a fixed order.
        sums: sums over the factors and their features.
        ridge: (f,), above 0.
        scale: above 0; with a larger value, the prior lets factors be farther from the features' prediction.
    """
    dims = len(sums.gram)
    left = sums.features + np.diag(ridge)
    means = np.linalg.solve(left, sums.targets)
    rest = sums.gram - sums.targets.T @ means
    inverse = np.linalg.inv((rest + rest.T) / 2 + dims * scale * np.eye(dims))
    precision = draw_wishart(random, dims + sums.rows, (inverse + inverse.T) / 2)
    rows = np.linalg.cholesky(left).T
    columns = np.linalg.cholesky(np.linalg.inv(precision)).T
    noise = np.linalg.solve(rows, random.standard_normal(means.shape)) @ columns
    return Regression(means + noise, precision)


def draw_wishart(random: np.random.Generator, freedom: float, scale: Float64Array) -> Float64Array:
    """Return (dims, dims): a Wishart matrix with mean freedom * scale, by Bartlett's decomposition."""
    dims = len(scale)
    lower = np.tril(random.standard_normal((dims, dims)), -1)
    lower[np.diag_indices(dims)] = np.sqrt(random.chisquare(freedom - np.arange(dims)))
    root = np.linalg.cholesky(scale) @ lower
    return np.asarray(root @ root.T)


def draw_ridges(random: np.random.Generator, prior: Regression, blocks: np.ndarray) -> Float64Array:
    """Draw (f,): the ridge of each feature, given the coefficients; 1 for the constant.

    Features of one block share a ridge, whose prior is exponential with mean 1.

    Args:
        random: drawn from in a fixed order.
        prior: its first feature is the constant.
        blocks: (f,), the block of each feature; 0 for the constant, the others from 1 without gaps.
    """
    ridge = np.ones(len(blocks))
    sizes = np.einsum("fd,de,fe->f", prior.coefficients, prior.precision, prior.coefficients)
    dims = len(prior.precision)
    for block in range(1, int(blocks.max()) + 1):
        own = blocks == block
        ridge[own] = random.gamma(1.0 + own.sum() * dims / 2) / (1.0 + sizes[own].sum() / 2)
    return ridge
