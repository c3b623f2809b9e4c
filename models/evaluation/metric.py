"""A ratio that stays addable across clients."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Metric:
    """A sum and its weight: the mean over all clients is the ratio of the sums, taken only when shown.

    Attributes:
        total: sum over the cases.
        weight: number (or weight) of the cases.
    """

    total: float
    weight: float

    def __add__(self, other: Metric) -> Metric:
        return Metric(self.total + other.total, self.weight + other.weight)

    @property
    def value(self) -> float:
        """The mean; NaN where there were no cases."""
        return self.total / self.weight if self.weight else float("nan")
