"""A client's contribution to a round, and the sum of contributions over clients."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import reduce
from typing import Generic, TypeVar

import numpy as np

from models.errors import InvalidInput
from models.kernel.arrays import ArrayGroup, FloatArray
from models.kernel.metric import Metric, total
from models.kernel.packed import PackedArrays, selection_of
from models.kernel.ranges import Range

Arrays = TypeVar("Arrays", bound=ArrayGroup)


@dataclass(frozen=True)
class Contribution(Generic[Arrays]):
    """One client's summand in a round. The server adds every part of it, and uses no part alone.

    Attributes:
        arrays: differences or additive statistics, times `weight`; float32, perhaps without rows of zeros.
        weight: the client's weight in a mean.
        interactions: number of training interactions that the client holds.
        metrics: sums that describe the local training, without values of single users.
        ranges: array name -> the range to whose values its array is rounded (`fixed_point.rounded`); empty
            before.
    """

    arrays: Arrays | PackedArrays[Arrays]
    weight: float = 1.0
    interactions: int = 0
    metrics: Mapping[str, Metric] = field(default_factory=dict)
    ranges: Mapping[str, Range] = field(default_factory=dict)


@dataclass(frozen=True)
class RunningSum(Generic[Arrays]):
    """A sum of contributions in float64.

    Attributes:
        total: sum of the clients' arrays.
        weight: sum of their weights.
        clients: ids added, in ascending order.
        interactions: sum of their training interactions.
        metrics: sum of their metrics.
    """

    total: Arrays
    weight: float
    clients: tuple[str, ...]
    interactions: int = 0
    metrics: Mapping[str, Metric] = field(default_factory=dict)

    @classmethod
    def zero(cls, like: Arrays) -> RunningSum[Arrays]:
        """Return the sum of no contributions, with arrays of these shapes."""
        return Summation(like).result()

    @classmethod
    def joined(cls, parts: Sequence[RunningSum[Arrays]]) -> RunningSum[Arrays]:
        """Return the sum of one or more sums over different clients."""
        first, *others = parts
        return cls(
            total=first.total.map(lambda *arrays: reduce(np.add, arrays), *(each.total for each in others)),
            weight=sum(each.weight for each in parts),
            clients=tuple(sorted(name for each in parts for name in each.clients)),
            interactions=sum(each.interactions for each in parts),
            metrics=total(each.metrics for each in parts),
        )

    def plus(self, client_id: str, contribution: Contribution[Arrays]) -> RunningSum[Arrays]:
        """Return the sum with one more client, as `Summation.add` does."""
        found = Summation.of(self)
        found.add(client_id, contribution)
        return found.result()


class Summation(Generic[Arrays]):
    """Adds contributions up in float64, one after another, in place.

    Args:
        like: arrays of the shapes of a contribution.
    """

    def __init__(self, like: Arrays) -> None:
        self._kind = type(like)
        self._total: dict[str, FloatArray] = {
            name: np.zeros(array.shape, dtype=np.float64) for name, array in like.named()
        }
        self._weight, self._interactions = 0.0, 0
        self._metrics: Mapping[str, Metric] = {}
        self._clients: set[str] = set()

    @classmethod
    def of(cls, state: RunningSum[Arrays]) -> Summation[Arrays]:
        """Return a summation that continues from `state`, which stays as it is."""
        found = cls(state.total)
        found._total = {name: array.copy() for name, array in state.total.named()}
        found._weight, found._interactions, found._metrics = state.weight, state.interactions, state.metrics
        found._clients = {*state.clients}
        return found

    @property
    def clients(self) -> tuple[str, ...]:
        """Return the ids added, in ascending order."""
        return tuple(sorted(self._clients))

    def add(self, client_id: str, contribution: Contribution[Arrays]) -> None:
        """Add one more client.

        Sums of rounded contributions are exact, so clients may come in any order. Sums of others depend on
        the order in the last bits.

        Raises:
            InvalidInput: the client was added before.
        """
        if client_id in self._clients:
            raise InvalidInput(f"Each client's update is added once, but {client_id!r} came twice.")
        arrays = contribution.arrays
        for name, values in arrays.named():
            self._total[name][selection_of(arrays, name)] += values
        self._weight += contribution.weight
        self._interactions += contribution.interactions
        self._metrics = total((self._metrics, contribution.metrics))
        self._clients.add(client_id)

    def result(self) -> RunningSum[Arrays]:
        """Return the sum. Its arrays are read-only from then on, so nothing more can be added."""
        return RunningSum(
            total=self._kind(**self._total),
            weight=self._weight,
            clients=self.clients,
            interactions=self._interactions,
            metrics=self._metrics,
        )
