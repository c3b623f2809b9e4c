"""A whole chain of Bayesian matrix factorisation over clients: which half happens where, in which order."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TypeVar

import numpy as np

from models.federation.arrays import ArrayGroup, FloatArray, RunningSum
from models.federation.streams import Keys
from models.recommenders import co_ratings
from models.recommenders.bayesian_mf import (
    BayesianMfSpec,
    Sample,
    Statistics,
    draw_users,
    first_sample,
    next_sample,
    statistics,
    user_conditional,
)
from models.recommenders.co_ratings import Directions, RatingCounts
from models.recommenders.histories import Float64Array, IntArray
from models.recommenders.predicted_ratings import PredictedRatings, PredictionSums, predictions_of
from models.recommenders.ratings import Ratings
from models.recommenders.side_features import SideFeatures, item_features, user_features

Group = TypeVar("Group", bound=ArrayGroup)

# Directions beyond those wanted make subspace iteration converge sooner (Halko et al. 2011, section 4.2).
_OVERSAMPLING = 10


class RatingClient:
    """A client's side of the chain: what it knows, and what it keeps between rounds.

    Args:
        ratings: of its users, in training.
        keys: (users,), as from `user_keys`.
        users, items: (pairs,), rows of the pairs whose ratings it wants to know.
        spec: the model.
    """

    def __init__(
        self, ratings: Ratings, keys: Keys, users: IntArray, items: IntArray, spec: BayesianMfSpec
    ) -> None:
        self.ratings = ratings
        self._keys = keys
        self._users, self._items = users, items
        self._spec = spec
        self._noise: FloatArray = np.ones(len(ratings))
        self._sums = PredictionSums.zero(len(users))
        self._features: SideFeatures | None = None

    def sweep(self, sample: Sample, directions: Directions, number: int) -> Statistics:
        """One sweep: the users are drawn anew and, after the burn-in, the predictions counted."""
        if self._features is None:
            self._features = user_features(directions, self.ratings)
        conditional = user_conditional(sample, self.ratings, self._features, self._noise, self._spec)
        if number >= self._spec.burn_in:
            part = predictions_of(sample, conditional, self._noise, self._users, self._items, self._spec)
            self._sums = self._sums.plus(part)
        drawn = draw_users(sample, conditional, self.ratings, self._keys, number, self._spec)
        self._noise = drawn.noise
        return statistics(sample, drawn, self.ratings, self._features, self._spec)

    def predicted(self) -> PredictedRatings:
        """The ratings of the wanted pairs, averaged over the samples so far."""
        return self._sums.predicted(self._spec)


@dataclass(frozen=True)
class Chain:
    """What the server holds at the end.

    Attributes:
        directions: as all clients got them.
        samples: the kept samples of the items.
    """

    directions: Directions
    samples: tuple[Sample, ...]


def find_directions(
    clients: Mapping[str, RatingClient], spec: BayesianMfSpec, seed: int
) -> tuple[RatingCounts, Directions]:
    """The first rounds: one that counts, then those that find the directions of co-rating."""
    counts = summed({name: RatingCounts.of(client.ratings) for name, client in clients.items()})
    wanted = min(spec.directions, len(counts.item_ratings))
    directions = co_ratings.initial_directions(
        counts, min(wanted + _OVERSAMPLING, len(counts.item_ratings)), seed
    )
    for number in range(spec.direction_rounds):
        total = summed(
            {name: co_ratings.products(directions, client.ratings) for name, client in clients.items()}
        )
        if number < spec.direction_rounds - 1:
            directions = co_ratings.next_directions(directions, total)
    return counts, co_ratings.singular_directions(directions, total, wanted)


def run_chain(
    clients: Mapping[str, RatingClient],
    content: Float64Array,
    spec: BayesianMfSpec,
    seed: int,
    keep: int = 0,
    after_sweep: Callable[[int], None] = lambda number: None,
) -> Chain:
    """All rounds over all clients; the clients then know what they predict.

    Args:
        clients: by id.
        content: (items, features) of the items; may have no column.
        spec: the model.
        seed: the chain's.
        keep: how many samples to hand back, evenly spread over those after the burn-in.
        after_sweep: called with the number of each sweep once it is done.
    """
    counts, directions = find_directions(clients, spec, seed)
    items = item_features(directions, content)
    user_blocks = user_features(directions, next(iter(clients.values())).ratings).blocks
    sample = first_sample(counts.mean, items, len(user_blocks), spec, seed)
    spaced = np.linspace(spec.sweeps - 1, spec.burn_in, keep).round().astype(int)
    samples = []
    for number in range(spec.sweeps):
        if number in spaced:
            samples.append(sample)
        total = summed({name: client.sweep(sample, directions, number) for name, client in clients.items()})
        sample = next_sample(total, sample, items, user_blocks, spec, seed, number)
        after_sweep(number)
    return Chain(directions, tuple(samples))


def summed(parts: Mapping[str, Group]) -> Group:
    """The sum over clients in float64, in the order of their ids."""
    running = RunningSum.zero(next(iter(parts.values())))
    for name in sorted(parts):
        running = running.plus(name, parts[name])
    return running.total
