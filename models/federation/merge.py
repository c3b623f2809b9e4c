"""Merge rules: they turn the updates of a round into the next global model.

Every rule is a sum over clients followed by one step on the server. Secure aggregation reveals nothing but a
sum, so it can carry every rule. The client half of a rule (`contribution`) applies the client's weight. The
server half (`empty / add / finish`) adds contributions and uses only their sum.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, ClassVar, Generic, TypeVar

import numpy as np

from models.errors import CatalogMismatch, InvalidInput, StaleUpdate
from models.federation.contribution import Contribution, RunningSum, Summation
from models.federation.fixed_point import ranges_for, rounded
from models.federation.model import ClientUpdate, GlobalModel, ItemModel
from models.kernel.arrays import ArrayGroup, FloatArray
from models.kernel.metric import Metric
from models.kernel.packed import PackedArrays, kind_of
from models.kernel.ranges import Range

Model = TypeVar("Model", bound=ItemModel)
Arrays = TypeVar("Arrays", bound=ArrayGroup)


class MergeRule(ABC, Generic[Model, Arrays]):
    """A merge rule. Subclasses define the form of contributions, their weights and the server's step.

    Attributes:
        is_weighted: whether `weight_of` may return another weight than 1.
        is_elementwise: whether the server's step works value by value, so that all machines quickly get the
            same bytes from one sum.
    """

    is_weighted: ClassVar[bool] = False
    is_elementwise: ClassVar[bool] = False

    @abstractmethod
    def zero(self, base: Model) -> Arrays:
        """Return arrays (float32) with the names and shapes of a contribution, and any values."""

    @property
    def ranges(self) -> Mapping[str, Range]:
        """Return array name -> the range of its values in contributions, before they are weighted."""
        return {}

    def weight_of(self, interactions: int) -> float:
        """Return the weight of a client with this number of training interactions, a whole number."""
        return 1.0

    def contribution(
        self,
        arrays: Arrays | PackedArrays[Arrays],
        interactions: int = 0,
        metrics: Mapping[str, Metric] | None = None,
    ) -> Contribution[Arrays]:
        """Return a client's contribution: its arrays (float32) times its weight, and its other sums."""
        weight = self.weight_of(interactions)
        if weight != 1.0:
            arrays = arrays.map(lambda array: np.multiply(array, weight, dtype=np.float64).astype(np.float32))
        return Contribution(arrays, weight, interactions, metrics or {})

    def rounded(
        self, contribution: Contribution[Arrays], own_ranges: Mapping[str, Range] = MappingProxyType({})
    ) -> Contribution[Arrays]:
        """Return the contribution rounded to the ranges of its values, as it leaves a client.

        Args:
            contribution: of a client, after all postprocessors.
            own_ranges: array name -> the job's range of its values, in place of the rule's.
        """
        return rounded(contribution, ranges_for(kind_of(contribution.arrays), self.ranges, own_ranges))

    @abstractmethod
    def step(self, base: Model, state: RunningSum[Arrays]) -> Model:
        """Return the parameters after the server's step from `base` by the sum in `state`, all float64."""

    def empty(self, base: GlobalModel) -> RunningSum[Arrays]:
        """Return the sum of no updates."""
        return self.summation(base).result()

    def summation(self, base: GlobalModel) -> Summation[Arrays]:
        """Return the sum of no updates, to which updates are added in place."""
        return Summation(self.zero(base.items))  # type: ignore[arg-type]  # a job has models of one kind

    def add(self, state: RunningSum[Arrays], base: GlobalModel, update: ClientUpdate) -> RunningSum[Arrays]:
        """Return the sum with one more update.

        Raises:
            InvalidInput, StaleUpdate, CatalogMismatch: as `add_update`.
        """
        summation = Summation.of(state)
        add_update(summation, base, update)
        return summation.result()

    def finish(self, state: RunningSum[Arrays], base: GlobalModel) -> GlobalModel:
        """Return the next global model (float32).

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


def add_update(summation: Summation[Any], base: GlobalModel, update: ClientUpdate) -> None:
    """Add an update to a sum in place, if it belongs to this model.

    Raises:
        StaleUpdate: the update starts from another round.
        CatalogMismatch: its item rows are from another catalogue.
        InvalidInput: the client was added before.
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
    summation.add(update.client_id, update.contribution)


def _f64(array: FloatArray) -> FloatArray:
    return array.astype(np.float64)
