"""The robust merge of a job: what takes the place of the sum over clients that may lie."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Literal, TypeVar

from models.errors import InvalidConfig, InvalidInput
from models.federation.contribution import RunningSum
from models.federation.flat import FlatArrays, as_group
from models.federation.robust import (
    Vectors,
    groups_of,
    krum_sum,
    median_sum,
    norm_bounded_sum,
    trimmed_sum,
    whole_share,
)
from models.kernel.arrays import ArrayGroup, FloatArray
from models.kernel.packed import PackedArrays
from models.kernel.seeds import seed_for

Arrays = TypeVar("Arrays", bound=ArrayGroup)
Method = Literal["none", "trimmed_mean", "median", "krum", "norm_bound"]

# Of two vectors nobody can say which one is the lie.
LEAST_VECTORS = 3
# A sum of two shows each of them the contribution of the other.
LEAST_IN_SUM = 3


@dataclass(frozen=True)
class RobustMerge:
    """How a job's rounds withstand clients that lie, by a robust estimate in place of the sum.

    Attributes:
        method: none for the plain sum, or trimmed_mean, median, krum, or norm_bound (the median norm).
        share: the share that a trimmed mean leaves out at each end; the share of liars that Krum withstands.
        group: least number of clients whose sum is one vector of the estimate. The deal is for the whole job.

    Raises:
        InvalidConfig: the share is not in [0, 0.5), or the group is below 1.
    """

    method: Method = "none"
    share: float = 0.1
    group: int = 1

    def __post_init__(self) -> None:
        if not 0.0 <= self.share < 0.5:  # noqa: PLR2004 - nobody withstands a half of liars
            raise InvalidConfig(
                f"A robust merge cannot withstand a share of {self.share}.",
                next_step="Choose a share from 0 up to, but below, 0.5.",
                key="share",
            )
        if self.group < 1:
            raise InvalidConfig(
                f"A group cannot have {self.group} clients.",
                next_step="Choose 1 for single clients, or more.",
                key="group",
            )

    @property
    def is_plain(self) -> bool:
        """Whether sums are merged as they are."""
        return self.method == "none"

    @property
    def has_share(self) -> bool:
        """Whether the method uses the share."""
        return self.method in ("trimmed_mean", "krum")

    def groups(self, members: Sequence[str], seed: int) -> tuple[tuple[str, ...], ...]:
        """Return the members of a round, dealt into the groups whose sums are the vectors of the estimate.

        The same members are dealt alike in all rounds. From sums of other groups in each round a coordinator
        could solve for what single members contribute. Plain sums have one group.

        Args:
            members: the clients that can take part, in any order.
            seed: the job's seed.
        """
        if self.is_plain or not members:
            return (tuple(sorted(members)),)
        return groups_of(members, self.group, seed_for(seed, "robust"))

    def require(self, vectors: int) -> None:
        """Raise `InvalidInput` unless the method withstands at least one liar among so many vectors."""
        if self.is_plain:
            return
        liars = whole_share(self.share, vectors) if self.has_share else 1
        needed = max(LEAST_VECTORS, 2 * liars + 3 if self.method == "krum" else 0)
        if vectors < needed:
            raise InvalidInput(
                f"{self.method} needs at least {needed} vectors, and there are {vectors}.",
                next_step="Let more clients take part, or choose smaller groups or a smaller share.",
            )
        if not liars:
            raise InvalidInput(
                f"{self.method} with a share of {self.share} withstands no liar among {vectors} vectors.",
                next_step=f"Choose a share of at least 1/{vectors}, or let more clients take part.",
            )

    def total(
        self, plain: RunningSum[Arrays], vectors: Mapping[str, Arrays | PackedArrays[Arrays]]
    ) -> RunningSum[Arrays]:
        """Return the sum with the estimate in place of its arrays. Weights, counts and metrics stay sums.

        A trimmed mean and a median work value by value. Norm bounds and Krum take all arrays of a vector
        together. There the arrays with the largest values decide, such as LightFM's accumulators: they hardly
        notice a lie in the others.

        Args:
            plain: the sum over all clients.
            vectors: name -> the arrays of one client, or the sum of those of a group. The names alone decide
                the order, so that it does not matter who came first.

        Raises:
            InvalidInput: there are too few vectors for Krum, or a value is not finite.
        """
        if self.is_plain:
            return plain
        estimates: dict[str, Callable[[Vectors], FloatArray]] = {
            "trimmed_mean": partial(trimmed_sum, share=self.share),
            "median": median_sum,
            "krum": partial(krum_sum, liars=whole_share(self.share, len(vectors))),
            "norm_bound": norm_bounded_sum,
        }
        found = estimates[self.method]([FlatArrays(vectors[name]) for name in sorted(vectors)])
        return replace(plain, total=as_group(found, plain.total))


# Sums are merged as they are.
PLAIN = RobustMerge()
