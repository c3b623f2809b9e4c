"""The rows of a cold-start protocol's table."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from models.evaluation.bootstrap import interval, ratio_interval
from models.evaluation.protocols import Protocol
from tasks.bench.quality.table_rows import Measured, named, numbers

Row = dict[str, Any]


@dataclass(frozen=True)
class Base:
    """What a figure is compared with, over the same replicates.

    Attributes:
        name: as in tables.
        curves: its figures.
    """

    name: str
    curves: Mapping[str, np.ndarray]


@dataclass(frozen=True)
class Rows:
    """Makes the rows of one protocol.

    Attributes:
        dataset: its name.
        protocol: what is cold.
        clients: their number in training.
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
        """One row a metric: dataset, protocol, clients, family, arm, metric, value, low, high, seeds.

        Args:
            family, arm: what was measured.
            curves: its figures.
            naive: a row holds the ratio to it as "ratio".
            known: a row holds the ratio to it, what the model would be worth were nothing new, as "kept".
            more: further values of all rows.
        """
        for metric in self.metrics:
            runs = curves[metric]
            row = self._row(family, arm, metric) | numbers(interval(runs)) | {"seeds": len(runs)}
            for what, to, base in (("ratio", "ratio_to", naive), ("kept", "kept_of", known)):
                # There is no ratio to a figure that is 0, in the data or in a replicate.
                if base is not None and base.curves[metric].mean(axis=0).all():
                    ratio = ratio_interval(runs, base.curves[metric])
                    row |= {to: base.name} | {f"{what}{name}": value for name, value in named(ratio)}
            yield row | dict(more or {})

    def differences(
        self, family: str, arm: str, metric: str, one: Measured, other: Measured
    ) -> Iterator[Row]:
        """By how much one is better than the other for the users of each client, paired over them."""
        for client_id, curves in one.parts.items():
            difference = curves[metric] - other.parts[client_id][metric]
            # A replicate may count none of a small client's users.
            kept = difference[:, np.isfinite(difference).all(axis=0)]
            if kept.shape[1] > 2:  # noqa: PLR2004 - the data and the two that an interval needs
                yield self._row(family, arm, metric) | {"client": client_id} | numbers(interval(kept))

    def _row(self, family: str, arm: str, metric: str) -> Row:
        return {
            "dataset": self.dataset,
            "protocol": self.protocol.name,
            "clients": self.clients,
            "family": family,
            "arm": arm,
            "metric": f"{self.protocol.name}:{metric}",
        }
