"""Merge rules for LightFM, whose contributions are differences between a trained and a base model."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import ClassVar

import numpy as np
import numpy.typing as npt

from models.federation.contribution import RunningSum
from models.federation.merge import MergeRule
from models.federation.model import ItemArrays
from models.kernel.arrays import FloatArray
from models.kernel.packed import MOST_KEPT, PackedArrays, with_rows
from models.kernel.ranges import Range
from models.recommenders.lightfm.spec import WHOLE_BITS

# Measured on MovieLens-100K: 12 bits for the embeddings are as good as float32, and 16 leave room for others.
# Few accumulators travel, so their range is wide and fine.
_GROWN = Range.counting(25, 2.0**-12)
# With error feedback, what this rounds away comes later.
_GROWN_COARSE = Range.counting(14, 2.0**-1)


@dataclass(frozen=True)
class DeltaRule(MergeRule[ItemArrays, ItemArrays]):
    """A rule whose contributions are differences between a trained and a base model.

    Attributes:
        sent_bits: bits of an embedding's or a bias's value in a contribution.
    """

    is_elementwise: ClassVar[bool] = True
    # Ends of the embeddings' range, and of the biases'.
    _BOUNDS: ClassVar[tuple[float, float]] = (4.0, 32.0)

    sent_bits: int = field(default=WHOLE_BITS, kw_only=True)

    @property
    def ranges(self) -> Mapping[str, Range]:
        embeddings, biases = (Range.symmetric(bound, self.sent_bits) for bound in self._BOUNDS)
        grown = _GROWN if self.sent_bits == WHOLE_BITS else _GROWN_COARSE
        return {
            "embeddings": embeddings,
            "biases": biases,
            "embedding_accumulators": grown,
            "bias_accumulators": grown,
        }

    def zero(self, base: ItemArrays) -> ItemArrays:
        return base

    def prepare(self, base: ItemArrays, trained: ItemArrays) -> ItemArrays:
        """Return a client's arrays before weighting: `trained` minus `base` (float32).

        Rules work value by value, so rows that the client did not change contribute zeros.
        """
        return trained.map(lambda new, old: new - old, base)

    def prepare_packed(self, base: ItemArrays, trained: ItemArrays) -> ItemArrays | PackedArrays[ItemArrays]:
        """Return what `prepare` returns, packed if the client changed few rows."""
        changed = np.flatnonzero(_changed(base, trained)).astype(np.int32)
        if len(changed) > MOST_KEPT * len(base):
            return self.prepare(base, trained)
        old, new = (each.map(lambda array: array[changed]) for each in (base, trained))
        return with_rows(self.prepare(old, new), changed, len(base))


@dataclass(frozen=True)
class Sum(DeltaRule):
    """Sum of deltas, of parameters and of Adagrad accumulators.

    Attributes:
        server_learning_rate: factor on the summed parameter deltas. Accumulators are never scaled.
    """

    server_learning_rate: float = 1.0

    def step(self, base: ItemArrays, state: RunningSum[ItemArrays]) -> ItemArrays:
        rate, total = self.server_learning_rate, state.total
        return ItemArrays(
            embeddings=base.embeddings + rate * total.embeddings,
            biases=base.biases + rate * total.biases,
            embedding_accumulators=base.embedding_accumulators + total.embedding_accumulators,
            bias_accumulators=base.bias_accumulators + total.bias_accumulators,
        )


@dataclass(frozen=True)
class AdagradSum(DeltaRule):
    """Sum of gradients under one federated Adagrad state.

    A client's Adagrad (Duchi et al. 2011, eq. 1) sees only its own squared gradients, so the plain sum of the
    clients' steps is too long if many of them moved one item. Here a client undoes its own preconditioner: it
    contributes u_i = delta_i * sqrt(G + dG_i) for parameters delta_i and accumulator increments dG_i. The
    server applies the preconditioner of all clients:
    w + rate * sum_i(u_i) / sqrt(G + sum_i(dG_i)).
    The dimensions of an embedding share one accumulator, the mean of theirs.
    With a single client, the result is that client's own model.

    Attributes:
        server_learning_rate: factor on the step. Accumulators are never scaled.
    """

    # Of differences times the root of an accumulator.
    _BOUNDS: ClassVar[tuple[float, float]] = (8.0, 64.0)

    server_learning_rate: float = 1.0

    def prepare(self, base: ItemArrays, trained: ItemArrays) -> ItemArrays:
        delta = super().prepare(base, trained)
        return ItemArrays(
            embeddings=_scaled(delta.embeddings, trained.embedding_accumulators[:, np.newaxis]),
            biases=_scaled(delta.biases, trained.bias_accumulators),
            embedding_accumulators=delta.embedding_accumulators,
            bias_accumulators=delta.bias_accumulators,
        )

    def step(self, base: ItemArrays, state: RunningSum[ItemArrays]) -> ItemArrays:
        rate, total = self.server_learning_rate, state.total
        embedding_accumulators = base.embedding_accumulators + total.embedding_accumulators
        bias_accumulators = base.bias_accumulators + total.bias_accumulators
        return ItemArrays(
            embeddings=base.embeddings
            + rate * total.embeddings / np.sqrt(embedding_accumulators)[:, np.newaxis],
            biases=base.biases + rate * total.biases / np.sqrt(bias_accumulators),
            embedding_accumulators=embedding_accumulators,
            bias_accumulators=bias_accumulators,
        )


@dataclass(frozen=True)
class Mean(DeltaRule):
    """Mean of the clients' models (McMahan et al. 2017), in which every client has the same weight."""

    def step(self, base: ItemArrays, state: RunningSum[ItemArrays]) -> ItemArrays:
        return base.map(lambda old, total: old + total / state.weight, state.total)


@dataclass(frozen=True)
class WeightedMean(Mean):
    """Mean weighted by the clients' interactions: FedAvg (McMahan et al. 2017, algorithm 1)."""

    is_weighted: ClassVar[bool] = True

    def weight_of(self, interactions: int) -> float:
        return float(interactions)


def _changed(base: ItemArrays, trained: ItemArrays) -> npt.NDArray[np.bool_]:
    """Return whether any value of an item changed, (items,). With an item penalty, all items change."""
    found = np.zeros(len(base), dtype=np.bool_)
    for (_, old), (_, new) in zip(base.named(), trained.named(), strict=True):
        differs = old != new
        found |= differs.any(axis=1) if differs.ndim > 1 else differs
    return found


def _scaled(delta: FloatArray, accumulators: FloatArray) -> FloatArray:
    roots = np.sqrt(accumulators, dtype=np.float64)
    return np.multiply(delta, roots).astype(np.float32)
