"""A ratio that stays addable across clients."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
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


# Sums of squares: what is shown is the root of their mean.
ROOTS = frozenset({"rmse"})
# Of all others more is better.
LOWER_IS_BETTER = frozenset({"rmse", "mae"})


def shown(name: str, mean: float) -> float:
    """A metric's mean as it is shown and compared."""
    return math.sqrt(mean) if name in ROOTS else mean


def total(parts: Iterable[Mapping[str, Metric]]) -> dict[str, Metric]:
    """The sum over clients, metric by metric."""
    sums: dict[str, Metric] = {}
    for metrics in parts:
        for name, metric in metrics.items():
            sums[name] = sums.get(name, Metric(0.0, 0.0)) + metric
    return sums


def as_json(metrics: Mapping[str, Metric]) -> dict[str, dict[str, float]]:
    """Metrics as JSON values that still add."""
    return {name: {"total": metric.total, "weight": metric.weight} for name, metric in metrics.items()}


def values(metrics: Mapping[str, Mapping[str, float]]) -> dict[str, float]:
    """What is shown of what `as_json` wrote, without what had no case."""
    return {
        name: shown(name, each["total"] / each["weight"]) for name, each in metrics.items() if each["weight"]
    }
