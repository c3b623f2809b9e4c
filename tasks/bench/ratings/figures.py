"""The table that compares rating predictors, computed from the sums that silos would send."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import asdict, dataclass

import numpy as np

from models.evaluation.bootstrap import interval, replicate_weights
from models.evaluation.rating_metrics import RatingSums, rating_curves, rating_values
from tasks.bench.ratings.cases import SplitSilo


@dataclass(frozen=True)
class Arm:
    """A family of models and a way to train it.

    Attributes:
        clients: what a client is: "pooled", "user", or the column by which users were grouped.
        family: of models.
        arm: "federated", "centralised" or "silo_only".
    """

    clients: str
    family: str
    arm: str


@dataclass(frozen=True)
class Row(Arm):
    """A figure of the table.

    Attributes:
        dataset: its name.
        metric: its name.
        value: mean over the splits.
        low, high: its 95 % interval over users and splits.
    """

    dataset: str
    metric: str
    value: float
    low: float
    high: float


class RatingFigures:
    """The metrics of each arm on each split so far."""

    def __init__(self) -> None:
        self._curves: dict[Arm, list[dict[str, np.ndarray]]] = defaultdict(list)

    def add(self, arm: Arm, silos: Sequence[SplitSilo], predicted: np.ndarray) -> float:
        """Add one split of an arm.

        Args:
            arm: the arm.
            silos: of the partition, at least one.
            predicted: the predictions of all held-out ratings, silo by silo.

        Returns:
            This split's RMSE.
        """
        ends = np.cumsum([len(silo.held_out.values) for silo in silos])[:-1]
        parts = []
        for silo, own in zip(silos, np.split(predicted, ends), strict=True):
            # The same seed in all splits and arms, so that they are compared on the same replicates.
            weights = replicate_weights(len(silo.held_out), 0, silo.id)
            values = rating_values(own, silo.held_out.values)
            parts.append(RatingSums.of(values, silo.held_out.users, weights))
        curves = rating_curves(sum(parts[1:], start=parts[0]))
        self._curves[arm].append(curves)
        return float(curves["rmse"][0])

    def rows(self, dataset: str) -> list[Row]:
        """Return all figures, arm by arm."""
        rows = []
        for arm, splits in self._curves.items():
            for metric in splits[0]:
                found = interval(np.stack([each[metric] for each in splits]))
                rows.append(Row(**asdict(arm), dataset=dataset, metric=metric, **asdict(found)))
        return rows
