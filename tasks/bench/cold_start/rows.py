"""The rows of a cold-start protocol's table."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from models.evaluation.bootstrap import interval, ratio_interval
from models.evaluation.protocols import Protocol
from tasks.bench.quality.table_rows import Measured, difference_numbers, named, numbers

Row = dict[str, Any]


@dataclass(frozen=True)
class Base:
    """A recommender that others are compared with, over the same replicates.

    Attributes:
        name: in the tables.
        curves: its figures.
    """

    name: str
    curves: Mapping[str, np.ndarray]


@dataclass(frozen=True)
class Rows:
    """Makes the rows of one protocol.

    Attributes:
        dataset: its name.
        protocol: decides what is cold.
        clients: number of clients in training.
        metrics: to show, in this order.
    """

    dataset: str
    protocol: Protocol
    clients: int
    metrics: Sequence[str]

    def of(
        self,
        family: str,
        arm: str,
        curves: Mapping[str, np.ndarray],
        *,
        naive: Base | None = None,
        known: Base | None = None,
        more: Mapping[str, Any] | None = None,
    ) -> Iterator[Row]:
        """Yield one row per metric: dataset, protocol, clients, family, arm, metric, value, low, high, seeds.

        Args:
            family, arm: what was measured.
            curves: its figures.
            naive: each row contains the ratio to it as "ratio".
            known: the model when nothing is new. Each row contains the ratio to it as "kept".
            more: further values of all rows.
        """
        for metric in self.metrics:
            runs = curves[metric]
            row = self._row(family, arm, metric) | numbers(interval(runs)) | {"seeds": len(runs)}
            for what, to, base in (("ratio", "ratio_to", naive), ("kept", "kept_of", known)):
                # No ratio if the other figure is 0, in the data or in a replicate.
                if base is not None and base.curves[metric].mean(axis=0).all():
                    ratio = ratio_interval(runs, base.curves[metric])
                    row |= {to: base.name} | {f"{what}{name}": value for name, value in named(ratio)}
            yield row | dict(more or {})

    def differences(
        self, family: str, arm: str, metric: str, one: Measured, other: Measured
    ) -> Iterator[Row]:
        """Yield the difference between the two for each client, paired over its users."""
        for client_id, curves in one.parts.items():
            difference = curves[metric] - other.parts[client_id][metric]
            if figures := difference_numbers(difference):
                yield self._row(family, arm, metric) | {"client": client_id} | figures

    def _row(self, family: str, arm: str, metric: str) -> Row:
        return {
            "dataset": self.dataset,
            "protocol": self.protocol.name,
            "clients": self.clients,
            "family": family,
            "arm": arm,
            "metric": f"{self.protocol.name}:{metric}",
        }
