"""A whole chain of Bayesian matrix factorisation over clients, in one process."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TypeVar

import numpy as np

from models.errors import InvalidInput
from models.federation.contribution import Contribution, Summation
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


class RatingClient:
    """The client's half of the chain: its data, and its state between rounds.

    Args:
        ratings: the training ratings of its users.
        keys: (users,), as from `user_keys`.
        users, items: (pairs,), rows of the pairs to predict.
        spec: the settings.
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
        """Run one sweep: draw the users again and, after the burn-in, count the predictions."""
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
        """Return the predicted ratings of the pairs, averaged over the samples so far."""
        return self._sums.predicted(self._spec)


class Federation:
    """Clients that answer round by round, and the bytes of that.

    Args:
        clients: client id -> client, at least one.

    Attributes:
        rounds: number of rounds so far.
        bytes_up, bytes_down: bytes that one client sent and received in all rounds so far.
    """

    def __init__(self, clients: Mapping[str, RatingClient]) -> None:
        self.clients = clients
        self.rounds = self.bytes_up = self.bytes_down = 0

    def ask(self, answer: Callable[[RatingClient], Group], *sent: ArrayGroup) -> Group:
        """Return the sum of all answers in float64, in the order of the clients' ids.

        Args:
            answer: returns a client's answer.
            *sent: the arrays that each client receives for that.
        """
        self.rounds += 1
        self.bytes_down += sum(map(_size, sent))
        running: Summation[Group] | None = None
        for name in sorted(self.clients):
            part = answer(self.clients[name])
            running = running or Summation(part)
            running.add(name, Contribution(part))
        if running is None:
            raise InvalidInput("A federation needs at least one client.")
        self.bytes_up += _size(part)
        return running.result().total


@dataclass(frozen=True)
class Chain:
    """The server's state after the last round.

    Attributes:
        directions: the directions that all clients received.
        samples: the kept samples of the items.
    """

    directions: Directions
    samples: tuple[Sample, ...]


def find_directions(
    federation: Federation, spec: BayesianMfSpec, seed: int
) -> tuple[RatingCounts, Directions]:
    """Run the first rounds: one for counting, then those that find the directions of co-rating."""
    counts = federation.ask(lambda client: RatingCounts.of(client.ratings))
    n_items = len(counts.item_ratings)
    wanted = min(spec.directions, n_items)
    found = co_ratings.initial_directions(counts, co_ratings.columns_for(wanted, n_items), seed)
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
    """Run all rounds over all clients. Afterwards the clients can return their predictions.

    Args:
        federation: of the clients.
        content: (items, features) of the items; may have no column.
        spec: the model.
        seed: the chain's.
        keep: number of samples to return, evenly spread over those after the burn-in.
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
    # The directions no longer change, so a client receives them once.
    sent = (sample, directions) if number == 0 else (sample,)
    return federation.ask(lambda client: client.sweep(sample, directions, number), *sent)


def _size(group: ArrayGroup) -> int:
    return sum(array.nbytes for _, array in group.named())
