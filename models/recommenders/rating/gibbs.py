"""Ratings as a family: a job's rounds are one Gibbs chain, and a client keeps no state between them.

`models.recommenders.rating.chain` runs the same chain at once. There a client keeps the noise of its users
from sweep to sweep. Here it draws the noise again in each round, alternating with the users' factors. A few
turns are enough, as the two hardly depend on each other. So a round needs only the previous model.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields, replace

import numpy as np

from models.federation.contribution import RunningSum
from models.federation.merge import MergeRule
from models.kernel.arrays import ArrayGroup, FloatArray
from models.kernel.histories import Float64Array, IntArray
from models.kernel.ranges import Range
from models.kernel.streams import user_keys
from models.recommenders.base.ratings import RatedData, Ratings
from models.recommenders.items.rating_model import PredictedRatings, RatingModel
from models.recommenders.rating import co_ratings
from models.recommenders.rating.bayesian_mf import (
    Sample,
    Statistics,
    draw_users,
    first_sample,
    next_sample,
    statistics,
    user_conditional,
)
from models.recommenders.rating.co_ratings import Directions, Products, RatingCounts
from models.recommenders.rating.gaussian import Normals
from models.recommenders.rating.predicted_ratings import PredictionSums, predictions_of
from models.recommenders.rating.side_features import (
    item_features,
    user_feature_blocks,
    user_features,
)
from models.recommenders.rating.spec import RatingSpec
from models.recommenders.scoring.rating_scorer import TURNS

# Of a client with up to 2**16 raters of an item, whose sums are about as large as their number.
_COUNT, _SUM, _FEW = Range.counting(24), Range.symmetric(2.0**16, 27), Range.symmetric(2.0**25, 40)
_RANGES: Mapping[str, Range] = {
    "item_ratings": _COUNT,
    "rating_sum": _FEW,
    "users": _COUNT,
    "products": Range.symmetric(1.0, 26),
    "item_grams": _SUM,
    "item_targets": _SUM,
    "item_squares": Range.counting(26, 2.0**-10),
    "user_features": _FEW,
    "user_targets": _FEW,
    "user_gram": _FEW,
}
_DRAWN = tuple(one.name for one in fields(Sample))


def initial_model(n_items: int, spec: RatingSpec, seed: int, content: Float64Array) -> RatingModel:
    """Return the model of round 0, which uses no rating.

    Args:
        n_items: number of items of the catalogue.
        spec: the settings.
        seed: the job's seed.
        content: (items, contents) such as genres and years; may have no column.
    """
    columns = _columns(n_items, spec)
    directions = Directions(np.zeros((n_items, columns)), np.zeros(columns), np.zeros(n_items), np.zeros(1))
    wanted = replace(directions, items=directions.items[:, : _wanted(n_items, spec)])
    items, n_user_features = item_features(wanted, content), 2 + _wanted(n_items, spec)
    first = first_sample(0.0, items, n_user_features, spec.chain, seed)
    factors = 1 + spec.dims
    model = RatingModel(
        scale=np.array([spec.lowest, spec.highest]),
        noise_freedom=np.array([spec.noise_freedom]),
        progress=np.zeros(1),
        **dict(first.named()),
        content=content,
        direction_items=directions.items,
        direction_strengths=directions.strengths,
        item_ratings=directions.item_ratings,
        users=directions.users,
        kept=np.zeros(1),
        kept_items=np.zeros((spec.draws, n_items, factors)),
        kept_item_noise=np.ones((spec.draws, n_items)),
        kept_noise=np.ones(spec.draws),
        kept_user_coefficients=np.zeros((spec.draws, n_user_features, factors)),
        kept_user_precision=np.zeros((spec.draws, factors, factors)),
    )
    return model.map(lambda array: array.astype(np.float32))


def contribution(model: RatingModel, data: RatedData, spec: RatingSpec, seed: int) -> ArrayGroup:
    """Return the client half of a round: the sums (float32) over these users that this round needs."""
    sweep = _sweep(model, spec)
    if _progress(model) == 0:
        return RatingCounts.of(data.ratings).map(_f32)
    directions = directions_of(model)
    if sweep < 0:
        return co_ratings.products(directions, data.ratings)
    sample, features = newest_of(model), user_features(directions, data.ratings)
    keys = user_keys(seed, "bayesian_mf", data.user_ids)
    noise: FloatArray = np.ones(len(data.ratings))
    for turn in range(TURNS):
        conditional = user_conditional(sample, data.ratings, features, noise, spec.chain)
        number = TURNS * sweep + turn
        drawn = draw_users(sample, conditional, data.ratings, keys, number, spec.chain)
        noise = drawn.noise
    return statistics(sample, drawn, data.ratings, features, spec.chain)


@dataclass(frozen=True)
class RatingRule(MergeRule[RatingModel, ArrayGroup]):
    """The server half: the next step of the chain, given sums over all users.

    Attributes:
        spec: the settings.
        seed: the job's seed, from which the server's draws follow.
    """

    spec: RatingSpec
    seed: int

    @property
    def ranges(self) -> Mapping[str, Range]:
        return _RANGES

    def zero(self, base: RatingModel) -> ArrayGroup:
        n_items = len(base)
        if _progress(base) == 0:
            zeros = RatingCounts(np.zeros(n_items), np.zeros(1), np.zeros(1))
            return zeros.map(_f32)
        if _sweep(base, self.spec) < 0:
            return Products(np.zeros_like(base.direction_items, dtype=np.float32))
        return Statistics.zero(n_items, len(base.user_ridge), self.spec.chain)

    def step(self, base: RatingModel, state: RunningSum[ArrayGroup]) -> RatingModel:
        total, model = state.total, replace(base, progress=base.progress + 1)
        if isinstance(total, RatingCounts):
            return self._counted(model, total)
        if isinstance(total, Products):
            return self._turned(model, total, is_last=_sweep(base, self.spec) == -1)
        return self._swept(model, total, _sweep(base, self.spec))  # type: ignore[arg-type]  # as `zero` says

    def _counted(self, model: RatingModel, counts: RatingCounts) -> RatingModel:
        k = model.direction_items.shape[1]
        directions = co_ratings.initial_directions(counts, k, self.seed)
        return replace(_with(model, directions), mean=np.array([counts.mean]))

    def _turned(self, model: RatingModel, total: Products, *, is_last: bool) -> RatingModel:
        directions = directions_of(model)
        if is_last:
            wanted = _wanted(len(model), self.spec)
            return _with(model, co_ratings.singular_directions(directions, total, wanted))
        return _with(model, co_ratings.next_directions(directions, total))

    def _swept(self, model: RatingModel, total: Statistics, sweep: int) -> RatingModel:
        directions = directions_of(model)
        items, blocks = (
            item_features(directions, model.content.astype(np.float64)),
            user_feature_blocks(directions),
        )
        sample = next_sample(total, newest_of(model), items, blocks, self.spec.chain, self.seed, sweep)
        drawn = replace(model, **dict(sample.named()))
        after = sweep - self.spec.burn_in
        if after < 0 or after % self.spec.thinning:
            return drawn
        return _keeping(drawn, after // self.spec.thinning % self.spec.draws)


def directions_of(model: RatingModel, columns: int | None = None) -> Directions:
    """Return the directions of co-rating, float64: all columns, or the first `columns`."""
    return Directions(
        model.direction_items[:, :columns].astype(np.float64),
        model.direction_strengths[:columns].astype(np.float64),
        model.item_ratings.astype(np.float64),
        model.users.astype(np.float64),
    )


def newest_of(model: RatingModel) -> Sample:
    """Return the newest draw, float64."""
    return Sample(**{name: getattr(model, name).astype(np.float64) for name in _DRAWN})


def samples_of(model: RatingModel) -> list[Sample]:
    """Return the kept draws for predictions, or the newest draw if none was kept yet."""
    newest = newest_of(model)
    return [
        replace(
            newest,
            items=model.kept_items[draw].astype(np.float64),
            item_noise=model.kept_item_noise[draw].astype(np.float64),
            noise=model.kept_noise[draw : draw + 1].astype(np.float64),
            user_coefficients=model.kept_user_coefficients[draw].astype(np.float64),
            user_precision=model.kept_user_precision[draw].astype(np.float64),
        )
        for draw in range(model.draws)
    ] or [newest]


def predicted(
    model: RatingModel, ratings: Ratings, users: IntArray, items: IntArray, spec: RatingSpec
) -> PredictedRatings:
    """Return the predicted ratings of these pairs, given their users' ratings. Nothing is drawn.

    `models.recommenders.scoring.rating_scorer` does the same for a single user.

    Args:
        model: the model of any round.
        ratings: the ratings of the client's users.
        users, items: (pairs,), rows.
        spec: the settings with which the model was trained.
    """
    # During the search there are more directions than features.
    features = user_features(directions_of(model, model.n_directions), ratings)
    sums = PredictionSums.zero(len(users))
    for sample in samples_of(model):
        noise: FloatArray = np.ones(len(ratings))
        conditional = user_conditional(sample, ratings, features, noise, spec.chain)
        for _ in range(TURNS):
            noise = _expected_noise(sample, conditional, ratings, spec)
            conditional = user_conditional(sample, ratings, features, noise, spec.chain)
        sums = sums.plus(predictions_of(sample, conditional, noise, users, items, spec.chain))
    return sums.predicted(spec.chain)


def _expected_noise(sample: Sample, conditional: Normals, ratings: Ratings, spec: RatingSpec) -> Float64Array:
    """Return (users,): t_u at its mean, given the distribution of the user's factors (mean field)."""
    loadings = sample.items[ratings.items].astype(np.float64)
    biases = loadings[:, 0].copy()
    loadings[:, 0] = 1.0
    given = (ratings.values - sample.mean[0]) / spec.chain.unit - biases
    errors = given - np.einsum("nd,nd->n", conditional.means[ratings.users], loadings)
    squares = errors**2 + conditional.variances(ratings.users, loadings)
    weights = sample.noise[0] * sample.item_noise[ratings.items] * squares
    summed = np.bincount(ratings.users, weights=weights, minlength=len(ratings))
    return np.asarray((spec.noise_freedom + ratings.counts) / (spec.noise_freedom + summed))


def _keeping(model: RatingModel, slot: int) -> RatingModel:
    def put(kept: FloatArray, drawn: FloatArray) -> FloatArray:
        changed = kept.copy()
        changed[slot] = drawn
        return changed

    return replace(
        model,
        kept=model.kept + 1,
        kept_items=put(model.kept_items, model.items),
        kept_item_noise=put(model.kept_item_noise, model.item_noise),
        kept_noise=put(model.kept_noise, model.noise[0]),
        kept_user_coefficients=put(model.kept_user_coefficients, model.user_coefficients),
        kept_user_precision=put(model.kept_user_precision, model.user_precision),
    )


def _with(model: RatingModel, directions: Directions) -> RatingModel:
    return replace(
        model,
        direction_items=directions.items,
        direction_strengths=directions.strengths,
        item_ratings=directions.item_ratings,
        users=directions.users,
    )


def _progress(model: RatingModel) -> int:
    return int(model.progress[0])


def _sweep(model: RatingModel, spec: RatingSpec) -> int:
    """Return the next round's number as a sweep, from 0; below 0 before the directions are found."""
    return _progress(model) - 1 - spec.direction_rounds


def _wanted(n_items: int, spec: RatingSpec) -> int:
    return min(spec.directions, n_items)


def _columns(n_items: int, spec: RatingSpec) -> int:
    return co_ratings.columns_for(_wanted(n_items, spec), n_items)


def _f32(array: FloatArray) -> FloatArray:
    return array.astype(np.float32)
