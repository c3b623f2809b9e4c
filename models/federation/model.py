"""The values that clients and server exchange: the item side of a model, and updates of it."""

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

# The initial value of LightFM's Adagrad sums of squared gradients. A trained item has a larger value.
INITIAL_ACCUMULATOR = 1.0


class ItemModel(ArrayGroup):
    """The parameters that all clients share. They belong to items, never to users.

    Attributes:
        ZERO_IS_UNTRAINED: whether an item that no client's data contain has a vector of zeros.
        RECOMPUTED: names of the arrays that a job recomputes even if it starts from an earlier model.
    """

    ZERO_IS_UNTRAINED: ClassVar[bool] = True
    RECOMPUTED: ClassVar[frozenset[str]] = frozenset()

    def __len__(self) -> int:
        """Return the number of items."""
        return self.size_of("items")

    @property
    @abstractmethod
    def vectors(self) -> FloatArray:
        """Return each item's vector, (items, width)."""

    @property
    def item_biases(self) -> FloatArray:
        """Return the bias of each item, which is added to its score for every user, (items,)."""
        return np.zeros(len(self), dtype=np.float32)

    @property
    def accumulators(self) -> FloatArray:
        """Return the sums that only increase from round to round, (items, n); n may be 0."""
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
    """One value for each item-side parameter of LightFM: parameters, differences or gradients.

    Attributes:
        embeddings: (items, dims).
        biases: (items,).
        embedding_accumulators: (items,), Adagrad's sums of squared gradients (Duchi et al. 2011), as the mean
            over the dimensions. One for each dimension would double a model's size and not improve it.
        bias_accumulators: (items,), the same for the biases.

    All four have one dtype.
    """

    AXES: ClassVar[Mapping[str, str]] = {
        "embeddings": "items dims",
        "biases": "items",
        "embedding_accumulators": "items",
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
        """Return the accumulators of embeddings and bias, (items, 2)."""
        return np.column_stack([self.embedding_accumulators, self.bias_accumulators])

    @property
    def trained(self) -> npt.NDArray[np.bool_]:
        """Return whether a gradient has ever reached the item, (items,)."""
        return np.asarray((self.accumulators > INITIAL_ACCUMULATOR).any(axis=1))


@dataclass(frozen=True)
class Moments(ArrayGroup):
    """The state of LightFM's adaptive server optimisers, named as the arrays that it belongs to.

    Attributes:
        embeddings: (items, dims), first moments of the embeddings.
        biases: (items,), first moments of the biases.
        embedding_accumulators: (items, dims), second moments of the embeddings.
        bias_accumulators: (items,), second moments of the biases.
    """

    AXES: ClassVar[Mapping[str, str]] = {
        "embeddings": "items dims",
        "biases": "items",
        "embedding_accumulators": "items dims",
        "bias_accumulators": "items",
    }

    embeddings: FloatArray
    biases: FloatArray
    embedding_accumulators: FloatArray
    bias_accumulators: FloatArray


@dataclass(frozen=True)
class GlobalModel:
    """The model that all clients share. It contains only items, never users.

    Attributes:
        round: number of merges so far; 0 is the initial model.
        catalog_digest: digest of the item catalogue that numbers its rows.
        items: the parameters, float32.
        moments: the state of LightFM's adaptive server optimisers; None for other rules. It is part of the
            model, so that a resumed job continues with the same bytes.
    """

    round: int
    catalog_digest: str
    items: ItemModel
    moments: Moments | None = None


@dataclass(frozen=True)
class ClientUpdate:
    """A client's update of one round: its contribution, and the model that it started from.

    Attributes:
        client_id: the client.
        base_round: round of the model from which local training started.
        base_digest: SHA-256 of that model's artefact.
        catalog_digest: digest of the item catalogue that numbers the rows.
        contribution: the summand in the round's sum.
    """

    client_id: str
    base_round: int
    base_digest: str
    catalog_digest: str
    contribution: Contribution[ArrayGroup]


def relative_drift(new: ItemModel, old: ItemModel) -> float:
    """Return the Frobenius norm of the item vectors' change, divided by their old norm; 0 if that is 0."""
    before = float(np.linalg.norm(old.vectors.astype(np.float64)))
    moved = float(np.linalg.norm(new.vectors.astype(np.float64) - old.vectors))
    return moved / before if before else 0.0


Kind = TypeVar("Kind", bound=ItemModel)


def require(items: ItemModel, kind: type[Kind]) -> Kind:
    """Return the model as one of this kind.

    Raises:
        InvalidInput: it is a model of another family.
    """
    if not isinstance(items, kind):
        raise InvalidInput(
            f"The model holds {type(items).__name__}, expected {kind.__name__}: it is another family's."
        )
    return items
