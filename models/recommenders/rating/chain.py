"""A whole chain of Bayesian matrix factorisation over clients: which half happens where, in which order."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TypeVar

import numpy as np

from models.errors import InvalidInput
from models.federation.contribution import Contribution, RunningSum
from models.kernel.arrays import ArrayGroup, FloatArray
from models.kernel.histories import Float64Array, IntArray
from models.kernel.splitmix import Keys
from models.recommenders.base.ratings import Ratings
from models.recommenders.items.rating_model import PredictedRatings
from models.recommenders.rating import co_ratings
from models.recommenders.rating.bayesian_mf import (
    BayesianMfSpec,
    Sample,
    Statistics,
    draw_users,
    first_sample,
    next_sample,
    statistics,
    user_conditional,
)
from models.recommenders.rating.co_ratings import Directions, Products, RatingCounts
from models.recommenders.rating.predicted_ratings import PredictionSums, predictions_of
from models.recommenders.rating.side_features import (
    SideFeatures,
    item_features,
    user_feature_blocks,
    user_features,
)

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


class Federation:
    """Clients asked round by round, and what that sends over the wire.

    Args:
        clients: by id, at least one.

    Attributes:
        rounds: how often all were asked.
        bytes_up, bytes_down: what one client sent and got in all rounds so far.
    """

    def __init__(self, clients: Mapping[str, RatingClient]) -> None:
        self.clients = clients
        self.rounds = self.bytes_up = self.bytes_down = 0

    def ask(self, answer: Callable[[RatingClient], Group], *sent: ArrayGroup) -> Group:
        """The sum of all answers in float64, in the order of the clients' ids.

        Args:
            answer: what a client answers.
            *sent: what it gets for that.
        """
        self.rounds += 1
        self.bytes_down += sum(map(_size, sent))
        running: RunningSum[Group] | None = None
        for name in sorted(self.clients):
            part = answer(self.clients[name])
            running = (running or RunningSum.zero(part)).plus(name, Contribution(part))
        if running is None:
            raise InvalidInput("A federation needs at least one client.")
        self.bytes_up += _size(part)
        return running.total


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
    federation: Federation, spec: BayesianMfSpec, seed: int
) -> tuple[RatingCounts, Directions]:
    """The first rounds: one that counts, then those that find the directions of co-rating."""
    counts = federation.ask(lambda client: RatingCounts.of(client.ratings))
    n_items = len(counts.item_ratings)
    wanted = min(spec.directions, n_items)
    found = co_ratings.initial_directions(counts, min(wanted + _OVERSAMPLING, n_items), seed)
    for _ in range(spec.direction_rounds - 1):
        found = co_ratings.next_directions(found, _multiplied(federation, found))
    return counts, co_ratings.singular_directions(found, _multiplied(federation, found), wanted)


def run_chain(
    federation: Federation,
    content: Float64Array,
    spec: BayesianMfSpec,
    seed: int,
    keep: int = 0,
    after_sweep: Callable[[int], None] = lambda number: None,
) -> Chain:
    """All rounds over all clients; the clients then know what they predict.

    Args:
        federation: of the clients.
        content: (items, features) of the items; may have no column.
        spec: the model.
        seed: the chain's.
        keep: how many samples to hand back, evenly spread over those after the burn-in.
        after_sweep: called with the number of each sweep once it is done.
    """
    counts, directions = find_directions(federation, spec, seed)
    items = item_features(directions, content)
    user_blocks = user_feature_blocks(directions)
    sample = first_sample(counts.mean, items, len(user_blocks), spec, seed)
    kept = np.linspace(spec.sweeps - 1, spec.burn_in, keep).round()
    samples = []
    for number in range(spec.sweeps):
        if number in kept:
            samples.append(sample)
        total = _swept(federation, sample, directions, number)
        sample = next_sample(total, sample, items, user_blocks, spec, seed, number)
        after_sweep(number)
    return Chain(directions, tuple(samples))


def _multiplied(federation: Federation, directions: Directions) -> Products:
    return federation.ask(lambda client: co_ratings.products(directions, client.ratings), directions)


def _swept(federation: Federation, sample: Sample, directions: Directions, number: int) -> Statistics:
    # The directions no longer change, so a client gets them once.
    sent = (sample, directions) if number == 0 else (sample,)
    return federation.ask(lambda client: client.sweep(sample, directions, number), *sent)


def _size(group: ArrayGroup) -> int:
    return sum(array.nbytes for _, array in group.named())
