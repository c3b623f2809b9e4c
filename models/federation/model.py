"""What travels in a federation: the item side of a model, and differences of it."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar, TypeVar

import numpy as np
import numpy.typing as npt

from models.errors import InvalidInput
from models.federation.contribution import Contribution
from models.kernel.arrays import ArrayGroup, FloatArray

# Where LightFM starts Adagrad's sums of squared gradients: an item above it has been trained.
INITIAL_ACCUMULATOR = 1.0


class ItemModel(ArrayGroup):
    """The parameters that all clients share: of items, never of users.

    Attributes:
        ZERO_IS_UNTRAINED: whether an item that no client's data contain has a vector of zeros.
        ANEW: names of the arrays that a job computes again, also where it starts from an earlier model.
    """

    ZERO_IS_UNTRAINED: ClassVar[bool] = True
    ANEW: ClassVar[frozenset[str]] = frozenset()

    def __len__(self) -> int:
        """Return the number of items."""
        return self.size_of("items")

    @property
    @abstractmethod
    def vectors(self) -> FloatArray:
        """Return each item's vector, (items, width)."""

    @property
    def item_biases(self) -> FloatArray:
        """Return what each item scores higher for every user, (items,)."""
        return np.zeros(len(self), dtype=np.float32)

    @property
    def accumulators(self) -> FloatArray:
        """Return sums that only grow from round to round, (items, n); n may be 0."""
        return np.zeros((len(self), 0), dtype=np.float32)

    @property
    def trained(self) -> npt.NDArray[np.bool_]:
        """Return whether any client's data contain the item, (items,)."""
        return np.asarray((self.vectors != 0.0).any(axis=1))

    @property
    def shape(self) -> tuple[int, int]:
        """Return (number of items, width of their vectors)."""
        items, width = self.vectors.shape
        return items, width


@dataclass(frozen=True)
class ItemArrays(ItemModel):
    """One value for every item-side parameter of LightFM: parameters, differences or gradients.

    Attributes:
        embeddings: (items, dims).
        biases: (items,).
        embedding_accumulators: (items, dims), Adagrad's sums of squared gradients (Duchi et al. 2011).
        bias_accumulators: (items,), the same for the biases.

    All four have one dtype.
    """

    AXES: ClassVar[Mapping[str, str]] = {
        "embeddings": "items dims",
        "biases": "items",
        "embedding_accumulators": "items dims",
        "bias_accumulators": "items",
    }
    GROWING: ClassVar[frozenset[str]] = frozenset({"embedding_accumulators", "bias_accumulators"})
    ZERO_IS_UNTRAINED: ClassVar[bool] = False

    embeddings: FloatArray
    biases: FloatArray
    embedding_accumulators: FloatArray
    bias_accumulators: FloatArray

    @property
    def vectors(self) -> FloatArray:
        """Return the embeddings, (items, dims)."""
        return self.embeddings

    @property
    def item_biases(self) -> FloatArray:
        """Return the biases, (items,)."""
        return self.biases

    @property
    def accumulators(self) -> FloatArray:
        """Return the accumulators of embeddings and bias, (items, dims + 1)."""
        return np.column_stack([self.embedding_accumulators, self.bias_accumulators])

    @property
    def trained(self) -> npt.NDArray[np.bool_]:
        """Return whether a gradient has ever reached the item, (items,)."""
        return np.asarray((self.accumulators > INITIAL_ACCUMULATOR).any(axis=1))


@dataclass(frozen=True)
class GlobalModel:
    """The model that all clients share: items only, never users.

    Attributes:
        round: number of merges behind it; 0 is the initial model.
        catalog_digest: which catalogue numbers its rows.
        items: the parameters, float32.
        moments: the state of LightFM's server optimisers that keep one: first moments in place of the
            parameters, second moments in place of their accumulators. It is part of the model, so that a
            resumed job goes on with the same bytes.
    """

    round: int
    catalog_digest: str
    items: ItemModel
    moments: ItemArrays | None = None


@dataclass(frozen=True)
class ClientUpdate:
    """What a client sends in a round: its contribution, and from which model it was made.

    Attributes:
        client_id: whose update it is.
        base_round: round of the model that local training started from.
        base_digest: SHA-256 of that model's artefact.
        catalog_digest: which catalogue numbers the rows.
        contribution: what is added to those of other clients.
    """

    client_id: str
    base_round: int
    base_digest: str
    catalog_digest: str
    contribution: Contribution[ArrayGroup]


def relative_drift(new: ItemModel, old: ItemModel) -> float:
    """Return the Frobenius norm of the item vectors' difference over their norm before; 0 from zeros."""
    before = float(np.linalg.norm(old.vectors.astype(np.float64)))
    moved = float(np.linalg.norm(new.vectors.astype(np.float64) - old.vectors))
    return moved / before if before else 0.0


Kind = TypeVar("Kind", bound=ItemModel)


def require(items: ItemModel, kind: type[Kind]) -> Kind:
    """Return the model as one of this kind.

    Raises:
        InvalidInput: it is another family's.
    """
    if not isinstance(items, kind):
        raise InvalidInput(
            f"The model holds {type(items).__name__}, expected {kind.__name__}: it is another family's."
        )
    return items
