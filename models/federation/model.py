"""What travels in a federation: the item side of a model, and differences of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np

from models.errors import InvalidInput
from models.evaluation.metric import Metric
from models.federation.arrays import ArrayGroup, FloatArray


@dataclass(frozen=True)
class ItemArrays(ArrayGroup):
    """One value for every item-side parameter of LightFM: parameters, differences or gradients.

    Attributes:
        embeddings: (items, dims).
        biases: (items,).
        embedding_accumulators: (items, dims), Adagrad's sums of squared gradients (Duchi et al. 2011).
        bias_accumulators: (items,), the same for the biases.

    All four have one dtype.
    """

    embeddings: FloatArray
    biases: FloatArray
    embedding_accumulators: FloatArray
    bias_accumulators: FloatArray

    def __post_init__(self) -> None:
        if self.embeddings.ndim != 2:  # noqa: PLR2004
            raise InvalidInput(
                f"Item array 'embeddings' has shape {self.embeddings.shape}, expected (items, dims)."
            )
        items, dims = self.embeddings.shape
        expected = {
            "embeddings": (items, dims),
            "biases": (items,),
            "embedding_accumulators": (items, dims),
            "bias_accumulators": (items,),
        }
        for name, array in self.named():
            if array.shape != expected[name]:
                raise InvalidInput(
                    f"Item array {name!r} has shape {array.shape}, "
                    f"expected {expected[name]} beside {items} items of {dims} dims."
                )
        super().__post_init__()

    @property
    def shape(self) -> tuple[int, int]:
        """(items, dims)."""
        items, dims = self.embeddings.shape
        return items, dims


@dataclass(frozen=True)
class GlobalModel:
    """The model that all clients share: items only, never users.

    Attributes:
        round: number of merges behind it; 0 is the initial model.
        catalog_digest: which catalogue numbers its rows.
        items: the parameters, float32.
        moments: the state of a server optimiser that keeps one (`models.federation.server_optimisers`): first
            moments in place of the parameters, second moments in place of their accumulators. It is a part of
            the model, so that a resumed job goes on with the same bytes.
    """

    round: int
    catalog_digest: str
    items: ItemArrays
    moments: ItemArrays | None = None


@dataclass(frozen=True)
class ClientUpdate:
    """What one client contributes to one round: differences, never a model.

    Attributes:
        client_id: whose update it is.
        base_round: round of the model that local training started from.
        base_digest: SHA-256 of that model's artefact.
        catalog_digest: which catalogue numbers the rows.
        deltas: the contribution, as the merge rule's client half prepared it, float32.
        n_interactions: training interactions that the client holds.
        metrics: sums that describe the local training, free of anything about single users.
    """

    client_id: str
    base_round: int
    base_digest: str
    catalog_digest: str
    deltas: ItemArrays
    n_interactions: int
    metrics: Mapping[str, Metric] = field(default_factory=dict)


def relative_drift(new: ItemArrays, old: ItemArrays) -> float:
    """How far the embeddings moved: Frobenius norm of the difference over the norm before; 0 from zeros."""
    before = float(np.linalg.norm(old.embeddings.astype(np.float64)))
    moved = float(np.linalg.norm(new.embeddings.astype(np.float64) - old.embeddings))
    return moved / before if before else 0.0
