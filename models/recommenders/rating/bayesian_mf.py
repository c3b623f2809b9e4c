"""Bayesian matrix factorisation of ratings. Its Gibbs sampler federates exactly.

A rating is, in steps of a quarter of the scale around the mean of all ratings,

    r_ui = b_u + b_i + p_u'q_i + e_ui,    e_ui ~ N(0, 1 / (a t_u k_i))

with (b_u, p_u) normal around a linear function of the user's features, (b_i, q_i) around one of the item's,
and t_u, k_i gamma distributed around 1, as some people and items are harder to predict. This is the model of
Salakhutdinov and Mnih 2008 ("Bayesian Probabilistic Matrix Factorization using MCMC") with biases, with the
side information of Simm et al. 2015 ("Macau") and the noise of Lakshminarayanan et al. 2011 ("Robust Bayesian
Matrix Factorisation").

Given the items, each user's conditional needs only that user's ratings, so the client draws it. Given the
users, an item's conditional needs sums over its raters of t w w', t w y and t y², with w = (1, p_u) and y =
r_ui - b_u; the prior of users needs sums of their factors and features. A client adds up its own users', the
server adds up the clients' and draws. A user's draws follow from that user's key, so the chain is the same,
up to rounding, for every distribution of users to clients. Factors, noise and predictions of users stay on
their clients.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, ClassVar

import numpy as np
import numpy.typing as npt
from annotated_types import Ge, Gt

from models.errors import InvalidInput
from models.kernel.arrays import ArrayGroup, FloatArray
from models.kernel.histories import Float64Array
from models.kernel.seeds import generator_for
from models.kernel.splitmix import Keys
from models.kernel.streams import gammas, normals
from models.recommenders.base.ratings import Ratings
from models.recommenders.items.symmetric import symmetric, triangle, triangle_size
from models.recommenders.rating.gaussian import Normals, RegressionSums, draw_regression, draw_ridges
from models.recommenders.rating.side_features import SideFeatures

# The start of the chain: factors near 0, with a strong prior on users until the data determine their spread.
_FIRST_SPREAD = 0.1
_FIRST_PRECISION = 10.0


@dataclass(frozen=True)
class BayesianMfSettings:
    """The common settings of a chain that runs at once and a job's chain.

    Attributes:
        lowest, highest: ends of the rating scale.
        dims: latent dimensions besides the bias.
        directions: number of co-rating directions (see `co_ratings`) among the features of users and items.
        direction_rounds: number of rounds that find them.
        noise_freedom: degrees of freedom of t_u and k_i; with fewer, users and items may differ more.
        prior_scale: mean of the inverse of the Wishart prior of both precisions.
    """

    lowest: float = 1.0
    highest: float = 5.0
    dims: Annotated[int, Ge(1)] = 10
    directions: Annotated[int, Ge(1)] = 40
    direction_rounds: Annotated[int, Ge(1)] = 8
    noise_freedom: Annotated[float, Gt(0)] = 40.0
    prior_scale: Annotated[float, Gt(0)] = 0.1

    def __post_init__(self) -> None:
        if not self.lowest < self.highest:
            raise InvalidInput(f"A rating scale needs two ends, got {self.lowest} to {self.highest}.")


@dataclass(frozen=True)
class BayesianMfSpec(BayesianMfSettings):
    """The settings of the model and the chain.

    Attributes:
        sweeps: number of sweeps, each of which draws everything once and is one round.
        burn_in: number of first sweeps that predictions are not averaged over.
    """

    sweeps: Annotated[int, Ge(1)] = 160
    burn_in: Annotated[int, Ge(0)] = 20

    def __post_init__(self) -> None:
        super().__post_init__()
        if not self.burn_in < self.sweeps:
            raise InvalidInput(f"Of {self.sweeps} sweeps, {self.burn_in} of burn-in leave none to average.")

    @property
    def unit(self) -> float:
        """Return a quarter of the scale: one star of five."""
        return (self.highest - self.lowest) / 4


@dataclass(frozen=True)
class Sample(ArrayGroup):
    """The server's draws, which all clients get. They contain nothing of single users.

    Attributes:
        mean: (1,), of all ratings, in their own scale.
        items: (items, 1 + dims), b_i and q_i.
        item_noise: (items,), k_i.
        noise: (1,), a.
        item_coefficients: (item features, 1 + dims).
        item_precision: (1 + dims, 1 + dims).
        item_ridge: (item features,).
        user_coefficients: (user features, 1 + dims).
        user_precision: (1 + dims, 1 + dims).
        user_ridge: (user features,).
    """

    mean: FloatArray
    items: FloatArray
    item_noise: FloatArray
    noise: FloatArray
    item_coefficients: FloatArray
    item_precision: FloatArray
    item_ridge: FloatArray
    user_coefficients: FloatArray
    user_precision: FloatArray
    user_ridge: FloatArray


@dataclass(frozen=True)
class UserSample(ArrayGroup):
    """A client's draws for its users, which stay on the client.

    Attributes:
        factors: (users, 1 + dims), b_u and p_u.
        noise: (users,), t_u.
    """

    factors: FloatArray
    noise: FloatArray


@dataclass(frozen=True)
class Statistics(ArrayGroup):
    """A client's sums over its users, float32 like every update.

    Attributes:
        item_grams: (items, triangle of 1 + dims), sum of t w w' over the raters of each item.
        item_targets: (items, 1 + dims), sum of t w y.
        item_squares: (items,), sum of t y².
        item_ratings: (items,), their number.
        user_features: (triangle of user features,), sum of f f' over all users.
        user_targets: (user features, 1 + dims), sum of f (b, p)'.
        user_gram: (triangle of 1 + dims,), sum of (b, p) (b, p)'.
        users: (1,), their number.
    """

    AXES: ClassVar[Mapping[str, str]] = {
        "item_grams": "items triangle",
        "item_targets": "items dims",
        "item_squares": "items",
        "item_ratings": "items",
        "user_features": "features-triangle",
        "user_targets": "features dims",
        "user_gram": "triangle",
        "users": "one",
    }
    GROWING: ClassVar[frozenset[str]] = frozenset({"item_squares", "item_ratings", "users"})

    item_grams: FloatArray
    item_targets: FloatArray
    item_squares: FloatArray
    item_ratings: FloatArray
    user_features: FloatArray
    user_targets: FloatArray
    user_gram: FloatArray
    users: FloatArray

    @classmethod
    def zero(cls, n_items: int, n_features: int, spec: BayesianMfSpec) -> Statistics:
        """Return the sums over no users."""
        dims, size = 1 + spec.dims, triangle_size(1 + spec.dims)
        shapes = (
            *((n_items, size), (n_items, dims), (n_items,), (n_items,)),
            *((triangle_size(n_features),), (n_features, dims), (size,), (1,)),
        )
        return cls(*(np.zeros(shape, dtype=np.float32) for shape in shapes))


def first_sample(
    mean: float, items: SideFeatures, n_user_features: int, spec: BayesianMfSpec, seed: int
) -> Sample:
    """Return the sample from which the chain starts.

    Args:
        mean: of all ratings, from `RatingCounts`.
        items: the features of all items.
        n_user_features: number of features of a user.
        spec: the settings.
        seed: the chain's seed.
    """
    n_items, n_features = items.values.shape
    dims = 1 + spec.dims
    random = generator_for(seed, "bayesian_mf", "first")
    return Sample(
        mean=np.array([mean]),
        items=random.normal(0.0, _FIRST_SPREAD, (n_items, dims)),
        item_noise=np.ones(n_items),
        noise=np.ones(1),
        item_coefficients=np.zeros((n_features, dims)),
        item_precision=_FIRST_PRECISION * np.eye(dims),
        item_ridge=np.ones(n_features),
        user_coefficients=np.zeros((n_user_features, dims)),
        user_precision=_FIRST_PRECISION * np.eye(dims),
        user_ridge=np.ones(n_user_features),
    )


def user_conditional(
    sample: Sample, ratings: Ratings, features: SideFeatures, noise: FloatArray, spec: BayesianMfSpec
) -> Normals:
    """Return the distribution of each user's factors given the items, the ratings and the user's noise.

    Args:
        sample: from the server.
        ratings: of the client's users, in training.
        features: of the same users.
        noise: (users,), t_u of the sweep before; ones in the first.
        spec: the model.
    """
    weights = np.asarray(
        sample.noise[0] * sample.item_noise[ratings.items] * noise[ratings.users], np.float64
    )
    item_biases, loadings = _split(sample.items)
    residuals = _in_units(ratings, sample, spec) - item_biases[ratings.items]
    rated = loadings[ratings.rated]
    grams = ratings.matrix(weights) @ _outer(rated)
    prior = features.values @ sample.user_coefficients @ sample.user_precision
    return Normals.of(
        symmetric(np.asarray(grams), 1 + spec.dims) + sample.user_precision,
        ratings.matrix(weights * residuals) @ rated + prior,
    )


def draw_users(
    sample: Sample, conditional: Normals, ratings: Ratings, keys: Keys, sweep: int, spec: BayesianMfSpec
) -> UserSample:
    """Draw factors and noise of each user, the first part of a sweep's client half.

    Args:
        sample: from the server.
        conditional: as from `user_conditional`.
        ratings: of the client's users, in training.
        keys: (users,), as from `user_keys`; the same in every sweep.
        sweep: number of the sweep, from 0.
        spec: the model.
    """
    factors = conditional.at(normals(keys, 2 * sweep, 1 + spec.dims))
    item_biases, loadings = _split(sample.items)
    user_biases, weights = _split(factors)
    errors = (
        _in_units(ratings, sample, spec)
        - user_biases[ratings.users]
        - item_biases[ratings.items]
        - _products(weights[:, 1:], ratings.users, loadings[:, 1:], ratings.items)
    )
    squares = sample.noise[0] * sample.item_noise[ratings.items] * errors**2
    summed = np.bincount(ratings.users, weights=squares, minlength=len(ratings))
    shapes = (spec.noise_freedom + ratings.counts) / 2
    return UserSample(factors, gammas(keys, 2 * sweep + 1, shapes) / ((spec.noise_freedom + summed) / 2))


def statistics(
    sample: Sample, users: UserSample, ratings: Ratings, features: SideFeatures, spec: BayesianMfSpec
) -> Statistics:
    """Return the sums over users that the server's draws need, the second part of a sweep's client half."""
    biases, loadings = _split(users.factors)
    residuals = _in_units(ratings, sample, spec) - biases[ratings.users]
    weights = np.asarray(users.noise[ratings.users], np.float64)
    weighted, targets = ratings.matrix(weights).T, ratings.matrix(weights * residuals).T
    squares = np.bincount(ratings.items, weights=weights * residuals**2, minlength=ratings.n_items)
    counts = np.bincount(ratings.items, minlength=ratings.n_items)
    sums = (
        ratings.spread(weighted @ _outer(loadings)),
        ratings.spread(targets @ loadings),
        squares,
        counts,
        triangle(features.values.T @ features.values),
        features.values.T @ users.factors,
        triangle(users.factors.T @ users.factors),
        [len(ratings)],
    )
    return Statistics(*(np.asarray(each, dtype=np.float32) for each in sums))


def next_sample(
    total: Statistics,
    sample: Sample,
    items: SideFeatures,
    user_blocks: npt.NDArray[np.int64],
    spec: BayesianMfSpec,
    seed: int,
    sweep: int,
) -> Sample:
    """Draw items, noise and both priors, given sums over users: the server half of a sweep.

    Args:
        total: the sum over all clients, float64.
        sample: of the sweep before.
        items: the features of all items.
        user_blocks: `SideFeatures.blocks` of users.
        spec: the model.
        seed: the chain's.
        sweep: number of the sweep, from 0.
    """
    random = generator_for(seed, "bayesian_mf", sweep)
    factors, item_noise, noise = _draw_items(random, total, sample, items, spec)
    item_sums = RegressionSums.of(items.values, factors)
    item_prior = draw_regression(random, item_sums, sample.item_ridge, spec.prior_scale)
    user_sums = RegressionSums(
        float(total.users[0]),
        symmetric(total.user_features, len(user_blocks)),
        total.user_targets,
        symmetric(total.user_gram, 1 + spec.dims),
    )
    user_prior = draw_regression(random, user_sums, sample.user_ridge, spec.prior_scale)
    return Sample(
        mean=sample.mean,
        items=factors,
        item_noise=item_noise,
        noise=noise,
        item_coefficients=item_prior.coefficients,
        item_precision=item_prior.precision,
        item_ridge=draw_ridges(random, item_prior, items.blocks),
        user_coefficients=user_prior.coefficients,
        user_precision=user_prior.precision,
        user_ridge=draw_ridges(random, user_prior, user_blocks),
    )


def _draw_items(
    random: np.random.Generator, total: Statistics, sample: Sample, items: SideFeatures, spec: BayesianMfSpec
) -> tuple[Float64Array, Float64Array, Float64Array]:
    grams = symmetric(total.item_grams, 1 + spec.dims)
    precisions = (sample.noise[0] * sample.item_noise)[:, np.newaxis]
    prior = items.values @ sample.item_coefficients @ sample.item_precision
    conditional = Normals.of(
        precisions[..., np.newaxis] * grams + sample.item_precision, precisions * total.item_targets + prior
    )
    factors = conditional.at(random.standard_normal(prior.shape))
    # The sum of t (y - w'q)² over an item's raters, computed from the sums alone.
    errors = (
        total.item_squares
        - 2 * (total.item_targets * factors).sum(axis=1)
        + np.einsum("id,ide,ie->i", factors, grams, factors)
    )
    errors = np.maximum(errors, 0.0)
    shapes = (spec.noise_freedom + total.item_ratings) / 2
    item_noise = random.gamma(shapes) / ((spec.noise_freedom + sample.noise[0] * errors) / 2)
    noise = random.gamma(1 + total.item_ratings.sum() / 2) / (1 + (item_noise * errors).sum() / 2)
    return factors, item_noise, np.array([noise])


def _split(factors: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Return the biases, and the factors with a 1 in their place, which multiplies the other side's bias."""
    loadings = factors.copy()
    loadings[:, 0] = 1.0
    return factors[:, 0], loadings


def _outer(loadings: FloatArray) -> FloatArray:
    """Return (n, triangle): each vector times itself."""
    return triangle(loadings[:, :, np.newaxis] * loadings[:, np.newaxis, :])


def _in_units(ratings: Ratings, sample: Sample, spec: BayesianMfSpec) -> Float64Array:
    return np.asarray((ratings.values - sample.mean[0]) / spec.unit)


def _products(left: FloatArray, rows: np.ndarray, right: FloatArray, columns: np.ndarray) -> Float64Array:
    return np.asarray(np.einsum("nd,nd->n", left[rows], right[columns]))
