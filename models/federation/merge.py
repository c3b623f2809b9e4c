"""Merge rules: how the updates of a round become the next global model.

Every rule is a sum over clients followed by one step on the server, so that secure aggregation, which reveals
nothing but a sum, can carry any of them. The server half of a rule (`empty / add / finish`) holds one running
sum and never two updates at once; the rules for differences have a client half, too (`prepare`).
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Generic, TypeVar

import numpy as np

from models.errors import CatalogMismatch, InvalidInput, StaleUpdate
from models.federation.model import ClientUpdate, GlobalModel, ItemModel
from models.kernel.arrays import ArrayGroup, FloatArray, RunningSum

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


def _f64(array: FloatArray) -> FloatArray:
    return array.astype(np.float64)
