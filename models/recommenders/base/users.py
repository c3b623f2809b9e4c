"""The user arrays that a client keeps between rounds."""

from __future__ import annotations

from dataclasses import dataclass, fields

from models.kernel.arrays import FloatArray


@dataclass(frozen=True)
class UserArrays:
    """The trained users of one client. They never leave the client.

    Attributes:
        embeddings: (users, dims) float32.
        biases: (users,) float32.
        embedding_accumulators: (users, dims) float32, Adagrad's sums of squared gradients.
        bias_accumulators: (users,) float32.
    """

    embeddings: FloatArray
    biases: FloatArray
    embedding_accumulators: FloatArray
    bias_accumulators: FloatArray

    def rows(self, first: int, last: int) -> UserArrays:
        """Return the users in the rows from `first` up to but without `last`."""
        return UserArrays(*(getattr(self, one.name)[first:last] for one in fields(self)))
