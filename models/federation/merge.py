"""Merge rules: how the updates of a round become the next global model.

Every rule is a sum over clients followed by one step on the server, so that secure aggregation, which reveals
nothing but a sum, can carry any of them. The server half of a rule (`empty / add / finish`) holds one running
sum and never two updates at once; the rules for differences have a client half, too (`prepare`).
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Generic, Literal, TypeVar

import numpy as np

from models.errors import CatalogMismatch, InvalidInput, StaleUpdate
from models.federation.model import ClientUpdate, GlobalModel, ItemArrays, ItemModel
from models.kernel.arrays import ArrayGroup, FloatArray, RunningSum

MergeRuleName = Literal["adagrad_sum", "sum", "mean", "weighted_mean", "fedadagrad", "fedadam", "fedyogi"]


Model = TypeVar("Model", bound=ItemModel)
Contribution = TypeVar("Contribution", bound=ArrayGroup)


class MergeRule(ABC, Generic[Model, Contribution]):
    """A way to merge. Subclasses say what a contribution looks like, and how it is weighted and applied."""

    @abstractmethod
    def zero(self, base: Model) -> Contribution:
        """Arrays (float32) of the form that a contribution has, and of any values."""

    def weight(self, update: ClientUpdate) -> float:
        """The weight of an update in the sum."""
        return 1.0

    @abstractmethod
    def step(self, base: Model, state: RunningSum[Contribution]) -> Model:
        """The parameters after the server's step from `base` (float64) by the sum in `state` (float64)."""

    def empty(self, base: GlobalModel) -> RunningSum[Contribution]:
        """The sum of no updates."""
        return RunningSum.zero(self.zero(base.items))  # type: ignore[arg-type]  # a job has models of one kind

    def add(
        self, state: RunningSum[Contribution], base: GlobalModel, update: ClientUpdate
    ) -> RunningSum[Contribution]:
        """The sum with one more update.

        Raises:
            InvalidInput: out of order, or a client twice.
            StaleUpdate: the update was made from another round.
            CatalogMismatch: its rows are numbered by another catalogue.
        """
        if update.base_round != base.round:
            raise StaleUpdate(
                f"The update of client {update.client_id!r} starts from round {update.base_round}, "
                f"expected round {base.round}."
            )
        if update.catalog_digest != base.catalog_digest:
            raise CatalogMismatch(
                f"The update of client {update.client_id!r} numbers items by catalogue "
                f"{update.catalog_digest[:12]}, expected {base.catalog_digest[:12]}."
            )
        return state.plus(update.client_id, update.deltas, self.weight(update))  # type: ignore[arg-type]

    def finish(self, state: RunningSum[Contribution], base: GlobalModel) -> GlobalModel:
        """The next global model (float32).

        Raises:
            InvalidInput: no update was added, or all weights are zero.
        """
        if not state.clients:
            raise InvalidInput(f"Round {base.round + 1} has no update to merge.")
        if not state.weight > 0.0:
            raise InvalidInput(
                f"The weights of the {len(state.clients)} updates of round {base.round + 1} sum to "
                f"{state.weight}; a mean needs a positive sum."
            )
        stepped = self.step(base.items.map(_f64), state)  # type: ignore[arg-type]
        return GlobalModel(
            round=base.round + 1,
            catalog_digest=base.catalog_digest,
            items=stepped.map(lambda array: array.astype(np.float32)),
        )


class DeltaRule(MergeRule[ItemArrays, ItemArrays]):
    """A rule for LightFM, whose contributions are differences of what it trained."""

    def zero(self, base: ItemArrays) -> ItemArrays:
        return base

    def prepare(self, base: ItemArrays, trained: ItemArrays) -> ItemArrays:
        """The contribution (float32) of a client that trained `base` into `trained`: their difference."""
        return trained.map(lambda new, old: new - old, base)


@dataclass(frozen=True)
class Sum(DeltaRule):
    """Sum of deltas, for parameters and Adagrad accumulators alike.

    Attributes:
        server_learning_rate: factor on the summed parameter deltas; accumulators are never scaled.
    """

    server_learning_rate: float = 1.0

    def step(self, base: ItemArrays, state: RunningSum[ItemArrays]) -> ItemArrays:
        rate, total = self.server_learning_rate, state.total
        return ItemArrays(
            embeddings=base.embeddings + rate * total.embeddings,
            biases=base.biases + rate * total.biases,
            embedding_accumulators=base.embedding_accumulators + total.embedding_accumulators,
            bias_accumulators=base.bias_accumulators + total.bias_accumulators,
        )


@dataclass(frozen=True)
class AdagradSum(DeltaRule):
    """Sum of gradients under one federated Adagrad state.

    A client's Adagrad (Duchi et al. 2011, eq. 1) sees only its own squared gradients, so the plain sum of the
    clients' steps is too long wherever many of them moved one item. Here a client undoes its own
    preconditioner, contributing u_i = delta_i * sqrt(G + dG_i) for parameters delta_i and accumulator
    increments dG_i, and the server applies the one of all clients:
    w + rate * sum_i(u_i) / sqrt(G + sum_i(dG_i)).
    With a single client this is that client's own model.

    Attributes:
        server_learning_rate: factor on the step; accumulators are never scaled.
    """

    server_learning_rate: float = 1.0

    def prepare(self, base: ItemArrays, trained: ItemArrays) -> ItemArrays:
        delta = super().prepare(base, trained)
        return ItemArrays(
            embeddings=_scaled(delta.embeddings, trained.embedding_accumulators),
            biases=_scaled(delta.biases, trained.bias_accumulators),
            embedding_accumulators=delta.embedding_accumulators,
            bias_accumulators=delta.bias_accumulators,
        )

    def step(self, base: ItemArrays, state: RunningSum[ItemArrays]) -> ItemArrays:
        rate, total = self.server_learning_rate, state.total
        embedding_accumulators = base.embedding_accumulators + total.embedding_accumulators
        bias_accumulators = base.bias_accumulators + total.bias_accumulators
        return ItemArrays(
            embeddings=base.embeddings + rate * total.embeddings / np.sqrt(embedding_accumulators),
            biases=base.biases + rate * total.biases / np.sqrt(bias_accumulators),
            embedding_accumulators=embedding_accumulators,
            bias_accumulators=bias_accumulators,
        )


@dataclass(frozen=True)
class Mean(DeltaRule):
    """Mean of the clients' models (McMahan et al. 2017), each client counting alike."""

    def step(self, base: ItemArrays, state: RunningSum[ItemArrays]) -> ItemArrays:
        return base.map(lambda old, total: old + total / state.weight, state.total)


@dataclass(frozen=True)
class WeightedMean(Mean):
    """Mean weighted by the clients' interactions: FedAvg (McMahan et al. 2017, algorithm 1)."""

    def weight(self, update: ClientUpdate) -> float:
        return float(update.n_interactions)


def merge_rule(name: MergeRuleName, server_learning_rate: float = 1.0) -> DeltaRule:
    """The merge rule of this name."""
    # They build on the rules above, so they can be imported only once these exist.
    from models.federation.server_optimisers import FedAdagrad, FedAdam, FedYogi

    rules: dict[MergeRuleName, DeltaRule] = {
        "adagrad_sum": AdagradSum(server_learning_rate),
        "sum": Sum(server_learning_rate),
        "mean": Mean(),
        "weighted_mean": WeightedMean(),
        "fedadagrad": FedAdagrad(server_learning_rate),
        "fedadam": FedAdam(server_learning_rate),
        "fedyogi": FedYogi(server_learning_rate),
    }
    return rules[name]


def _f64(array: FloatArray) -> FloatArray:
    return array.astype(np.float64)


def _scaled(delta: FloatArray, accumulators: FloatArray) -> FloatArray:
    roots = np.sqrt(accumulators, dtype=np.float64)
    return np.multiply(delta, roots, out=roots).astype(np.float32)
