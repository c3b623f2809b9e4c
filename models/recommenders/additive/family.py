"""The common part of families whose statistics are sums over users."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar, Generic, TypeVar

from models.federation.contribution import RunningSum
from models.federation.merge import MergeRule
from models.federation.model import ItemModel, require
from models.kernel.arrays import ArrayGroup
from models.kernel.histories import Histories
from models.kernel.ranges import Range
from models.recommenders.base.data import LocalData
from models.recommenders.base.family import Family, LocalRound
from models.recommenders.base.users import UserArrays

Model = TypeVar("Model", bound=ItemModel)
Statistics = TypeVar("Statistics", bound=ArrayGroup)


class AdditiveFamily(Family, Generic[Model, Statistics]):
    """A family whose statistics are sums over users, so that federated and pooled training are the same."""

    is_additive: ClassVar[bool] = True

    @property
    def ranges(self) -> Mapping[str, Range]:
        """Return array name -> the range of its values in statistics; see `MergeRule.ranges`."""
        return {}

    @abstractmethod
    def nothing(self, n_items: int) -> Statistics:
        """Return the statistics (float32) of no users."""

    @abstractmethod
    def statistics(self, base: Model, histories: Histories) -> Statistics:
        """Return the statistics (float32) of these users: the client half of a round."""

    @abstractmethod
    def solve(self, total: Statistics, n_items: int) -> Model:
        """Return the model for the statistics (float64) of all users: the server half of a round."""

    def solved(self, state: RunningSum[Statistics], n_items: int) -> Model:
        """Return the model for a round's sum. A family with noise in it overrides this."""
        return self.solve(state.total, n_items)

    def rule(self, done: float = 0.0, seed: int = 0) -> SolvedSum[Model, Statistics]:
        return SolvedSum(self)

    def train(
        self, base: ItemModel, users: UserArrays | None, data: LocalData, at: LocalRound
    ) -> tuple[ArrayGroup, UserArrays | None]:
        require(base, self.model_type)
        return self.statistics(base, data.histories), None  # type: ignore[arg-type]  # required above


@dataclass(frozen=True)
class SolvedSum(MergeRule[Model, Statistics]):
    """Solves for the next model, given the sum of the clients' statistics.

    Attributes:
        family: the family that solves.
    """

    family: AdditiveFamily[Model, Statistics]

    @property
    def ranges(self) -> Mapping[str, Range]:
        return self.family.ranges

    def zero(self, base: Model) -> Statistics:
        return self.family.nothing(len(base))

    def step(self, base: Model, state: RunningSum[Statistics]) -> Model:
        return self.family.solved(state, len(base))
