"""A client's contribution to a round, and the sum of contributions over clients."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Generic, TypeVar

import numpy as np

from models.errors import InvalidInput
from models.kernel.arrays import ArrayGroup
from models.kernel.metric import Metric, total

Arrays = TypeVar("Arrays", bound=ArrayGroup)


@dataclass(frozen=True)
class Contribution(Generic[Arrays]):
    """One client's summand in a round. The server adds every part of it, and uses no part alone.

    Attributes:
        arrays: differences or additive statistics, times `weight`; float32.
        weight: the client's weight in a mean.
        interactions: number of training interactions that the client holds.
        metrics: sums that describe the local training, without values of single users.
    """

    arrays: Arrays
    weight: float = 1.0
    interactions: int = 0
    metrics: Mapping[str, Metric] = field(default_factory=dict)


@dataclass(frozen=True)
class RunningSum(Generic[Arrays]):
    """A sum of contributions in float64.

    Attributes:
        total: sum of the clients' arrays.
        weight: sum of their weights.
        clients: ids added, in order.
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
        return cls(like.map(lambda array: np.zeros(array.shape, dtype=np.float64)), 0.0, ())

    def plus(self, client_id: str, contribution: Contribution[Arrays]) -> RunningSum[Arrays]:
        """Return the sum with one more client.

        Clients must come in ascending order: floating-point sums depend on their order, and a fixed order
        makes the result independent of the order of arrival.

        Raises:
            InvalidInput: a client comes out of order or twice.
        """
        if self.clients and client_id <= self.clients[-1]:
            raise InvalidInput(
                f"Updates must be added in ascending order of client id, each once: "
                f"{client_id!r} came after {self.clients[-1]!r}."
            )
        return RunningSum(
            total=self.total.map(
                lambda total, array: np.add(total, array, dtype=np.float64), contribution.arrays
            ),
            weight=self.weight + contribution.weight,
            clients=(*self.clients, client_id),
            interactions=self.interactions + contribution.interactions,
            metrics=total((self.metrics, contribution.metrics)),
        )
