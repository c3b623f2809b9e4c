"""Metrics as sums and weights, which can be added over clients."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass


@dataclass(frozen=True)
class Metric:
    """A sum and its weight. The mean over all clients is the ratio of the sums, taken only for display.

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
        """Return the mean, or NaN without cases."""
        return self.total / self.weight if self.weight else float("nan")


# Sums of squares, displayed as the root of their mean.
ROOTS = frozenset({"rmse"})
# For all other metrics higher is better.
LOWER_IS_BETTER = frozenset({"rmse", "mae"})


# What a client may name a metric: MLflow refuses other names, and a journal or report would show them.
_NAME = re.compile(r"[A-Za-z0-9_@.-]{1,64}")
# So large a sum over so many clients stays finite, and so does its mean.
_LARGEST, _LIGHTEST = 1e15, 1e-9


def metric_from_client(name: str, total: float, weight: float, *, is_noisy: bool = False) -> Metric:
    """Return a metric that a client sent.

    Args:
        name: of the metric.
        total, weight: its sums.
        is_noisy: whether the client added noise, which may make the weight negative.

    Raises:
        ValueError: its name or its values would spoil the sum over all clients, or what is made of it.
    """
    if not _NAME.fullmatch(name):
        raise ValueError(f"a metric named {name!r}")
    lowest = 0.0 if name in ROOTS else -_LARGEST
    # Comparisons with NaN are false, so NaN is refused as well.
    size = abs(weight) if is_noisy else weight
    if not (lowest <= total <= _LARGEST and (weight == 0.0 or _LIGHTEST <= size <= _LARGEST)):
        raise ValueError(f"a metric {name!r} of {total!r} over {weight!r}")
    return Metric(float(total), float(weight))


def display_value(name: str, mean: float) -> float:
    """Return a metric's mean in the form that is displayed and compared."""
    return math.sqrt(mean) if name in ROOTS else mean


def total(parts: Iterable[Mapping[str, Metric]]) -> dict[str, Metric]:
    """Return the sum of each metric over the parts."""
    sums: dict[str, Metric] = {}
    for metrics in parts:
        for name, metric in metrics.items():
            sums[name] = sums.get(name, Metric(0.0, 0.0)) + metric
    return sums


def as_json(metrics: Mapping[str, Metric]) -> dict[str, dict[str, float]]:
    """Return the metrics as JSON values that keep sum and weight."""
    return {name: {"total": metric.total, "weight": metric.weight} for name, metric in metrics.items()}


def values(metrics: Mapping[str, Mapping[str, float]]) -> dict[str, float]:
    """Return the displayed value of each metric that `as_json` wrote, except metrics without cases.

    Noise may leave less than no case.
    """
    return {
        name: display_value(name, pair["total"] / pair["weight"])
        for name, pair in metrics.items()
        if pair["weight"] > 0.0
    }
