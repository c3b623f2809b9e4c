"""The families of the quality table, each trained federated, on pooled data and by each client alone.

Federated training uses the real code: the clients' half and the server's half from `models`, with a running
sum in the order of the clients. Only the transport is missing.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any, ClassVar

import numpy as np

from models.federation.fixed_point import size_in_steps
from models.federation.model import GlobalModel, ItemArrays, ItemModel, require
from models.kernel.arrays import ArrayGroup
from models.kernel.histories import Histories
from models.kernel.packed import PackedArrays, whole
from models.recommenders.base.family import FamilySpec, LocalRound
from models.recommenders.families.registry import family_of, history_scores
from models.recommenders.lightfm.family import LightFMFamily
from models.recommenders.lightfm.simulation import Simulation
from models.recommenders.lightfm.spec import LightFMSpec
from models.recommenders.lightfm.training import train_alone
from tasks.bench.quality.cases import BenchClient, Learner, pooled

Scores = Callable[[BenchClient], np.ndarray]


@dataclass(frozen=True)
class Trained:
    """A trained recommender and what its training cost.

    Attributes:
        scores: returns a client's scores (users, items).
        rounds: number of merges.
        bytes_up, bytes_down: bytes of one client over all rounds, dense and uncompressed.
        model: the model that folds in users who were not trained; None if there is no such single model.
    """

    scores: Scores
    rounds: int = 0
    bytes_up: int = 0
    bytes_down: int = 0
    model: ItemModel | None = None


class BenchFamily(ABC):
    """A family of recommenders as the tables measure it.

    Attributes:
        seeded: whether its training is random. The table then shows the mean over several seeds.
    """

    seeded: ClassVar[bool] = False

    @property
    @abstractmethod
    def name(self) -> str:
        """The family's name in the tables."""

    @abstractmethod
    def federated(self, learners: Mapping[str, Learner], seed: int) -> Trained:
        """Train by federated rounds over these clients."""

    def centralised(self, learners: Mapping[str, Learner], seed: int) -> Trained:
        """Train on the pooled data of these clients."""
        return self.federated({"all": pooled(learners)}, seed)

    def silo_only(self, learners: Mapping[str, Learner], seed: int) -> Trained:
        """Train a model of each client on its own data; only one model at a time is in memory."""
        return Trained(lambda client: self._alone(client, learners[client.id], seed))

    def _alone(self, client: BenchClient, learner: Learner, seed: int) -> np.ndarray:
        return self.federated({client.id: learner}, seed).scores(client)


@dataclass(frozen=True)
class OwnFamily(BenchFamily):
    """A family of fedrec.

    Attributes:
        spec: the family and its settings.
    """

    spec: FamilySpec

    @property
    def name(self) -> str:
        return self.spec.family


@dataclass(frozen=True)
class Additive(OwnFamily):
    """A family whose clients send statistics that are added.

    Attributes:
        rounds: number of merges.
    """

    rounds: int = 1

    def federated(self, learners: Mapping[str, Learner], seed: int) -> Trained:
        family = family_of(self.spec)
        model, sent = GlobalModel(0, "", family.initial(_n_items(learners), seed)), 0
        for done in range(self.rounds):
            rule = family.rule(done / self.rounds, seed)
            state = rule.summation(model)
            for name in sorted(learners):
                part, _ = family.train(model.items, None, learners[name], LocalRound(name, done + 1, seed))
                state.add(name, rule.rounded(rule.contribution(part)))
            sent += size_in_steps(whole(part), rule.ranges)
            model = rule.finish(state.result(), model)
        received = self.rounds * _size(model.items)
        return Trained(scores_by_history(model.items), self.rounds, sent, received, model.items)


class ItemToItem(Additive):
    """An additive family in which an item that no user has used has no weights, and so the score 0."""

    def _alone(self, client: BenchClient, learner: Learner, seed: int) -> np.ndarray:
        # A small silo has few items. Leaving out the others only saves time.
        own = learner.histories
        used, rows = np.unique(own.items, return_inverse=True)
        few = Histories(rows.astype(np.int64), own.starts, len(used))
        held = replace(client.held_out, histories=few)
        found = self.federated({client.id: Learner(learner.user_ids, few)}, seed)
        scores = np.zeros((len(own), own.n_items))
        scores[:, used] = found.scores(replace(client, held_out=held))
        return scores


@dataclass(frozen=True)
class LightFM(OwnFamily):
    """LightFM, whose clients keep their users' vectors and send differences of the items' vectors.

    Attributes:
        spec: settings of the clients' training, and how their differences become the next model.
        rounds: number of merges.
        cohort_share: share of the clients selected in each round.
        pooled_spec, pooled_epochs: settings of training on pooled data and of each client alone.
    """

    seeded: ClassVar[bool] = True
    spec: LightFMSpec
    rounds: int
    pooled_spec: LightFMSpec
    pooled_epochs: int
    cohort_share: float = 1.0

    def federated(self, learners: Mapping[str, Learner], seed: int) -> Trained:
        data = {name: learner.training for name, learner in learners.items()}
        family = LightFMFamily(self.spec)
        simulation = Simulation(
            data,
            self.spec,
            lambda round_: family.rule((round_ - 1) / self.rounds),
            seed=seed,
            cohort_share=self.cohort_share,
        )
        for _ in range(self.rounds):
            simulation.run_round()
        users, model = simulation.users, simulation.model
        vectors = {
            user_id: vector
            for name, learner in learners.items()
            for user_id, vector in zip(learner.user_ids, users[name].embeddings, strict=True)
        }
        items = require(model.items, ItemArrays)
        sent = simulation.update_bytes / len(learners)
        # A client receives a model for each update that it sends.
        received = sent / size_in_steps(items, family.rule().ranges) * _size(items)
        return Trained(_scores(self.spec, vectors, items), self.rounds, round(sent), round(received), items)

    def centralised(self, learners: Mapping[str, Learner], seed: int) -> Trained:
        everyone = pooled(learners)
        items, users = train_alone(
            everyone.training,
            self.pooled_spec,
            epochs=self.pooled_epochs,
            seed=seed,
            client_id="all clients",
        )
        vectors = dict(zip(everyone.user_ids, users.embeddings, strict=True))
        return Trained(_scores(self.pooled_spec, vectors, items))

    def _alone(self, client: BenchClient, learner: Learner, seed: int) -> np.ndarray:
        return self.centralised({client.id: learner}, seed).scores(client)


def scores_by_history(model: ItemModel) -> Scores:
    """Return a function that scores a client's users by their histories."""
    return lambda client: history_scores(model, client.histories)(np.arange(len(client.histories)))


def _scores(spec: LightFMSpec, vectors: Mapping[str, np.ndarray], items: ItemModel) -> Scores:
    """Return a function that scores a client's users by their trained vectors or by their histories."""
    if spec.user_vectors == "folded_in":
        return scores_by_history(items)
    arrays = require(items, ItemArrays)

    def scores(client: BenchClient) -> np.ndarray:
        users = np.stack([vectors[user_id] for user_id in client.user_ids])
        return users @ arrays.embeddings.T + arrays.biases

    return scores


def _n_items(learners: Mapping[str, Learner]) -> int:
    return next(iter(learners.values())).histories.n_items


def _size(group: ArrayGroup | PackedArrays[Any]) -> int:
    return sum(array.nbytes for _, array in group.named())
