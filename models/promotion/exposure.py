"""The exposure alarm: items that a candidate recommends far more often than any earlier version did.

Liars among the clients lift an item into many users' lists, while the metrics of quality hardly change. The
share of lists that hold the item shows it. Honest retraining moves shares, too. How far is measured on the
earlier versions themselves: each is compared with the others, as the candidate is with all of them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from models.errors import InvalidInput

Float64Array = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Exposure:
    """How often a version recommends each item to the users, or for the histories, of a fixed probe set.

    Attributes:
        counts: (items,), number of lists that hold the item.
        lists: number of lists.

    Raises:
        InvalidInput: there is no list, or an item is in more lists than there are.
    """

    counts: npt.NDArray[np.integer]
    lists: int

    def __post_init__(self) -> None:
        if (
            self.lists < 1
            or self.counts.ndim != 1
            or not ((self.counts >= 0) & (self.counts <= self.lists)).all()
        ):
            raise InvalidInput(
                f"Counts of recommendations must be one number for each item, from 0 to the number "
                f"of lists ({self.lists}).",
                next_step="Count each list once, and each item once in a list.",
            )

    @property
    def shares(self) -> Float64Array:
        """Return the share of lists that hold each item, (items,)."""
        return np.asarray(self.counts / self.lists, dtype=np.float64)


@dataclass(frozen=True)
class ExposurePolicy:
    """When an item's share of lists has jumped beyond its history.

    Attributes:
        least: smallest jump that counts, as a share of the lists. Fewer users hardly notice.
        factor: how many times farther than honest versions an item must jump. An honest candidate jumps
            farther than all of n earlier versions with a probability of about 1 / (n + 1), so 1 is too low.
        most: jump that always is too far, even if earlier versions differ more.
        unmeasured: the limit while fewer than two earlier versions tell how far honest ones jump. Two
            trainings of LightFM on MovieLens-100K that differ in their seeds differ by up to .09.
    """

    least: float = 0.05
    factor: float = 2.0
    most: float = 0.5
    unmeasured: float = 0.2

    def __post_init__(self) -> None:
        jumps = (self.least, self.most, self.unmeasured)
        if not (0.0 < self.least <= self.most < 1.0 and 0.0 < self.unmeasured < 1.0 and self.factor >= 1.0):
            raise InvalidInput(
                "An exposure policy needs jumps between 0 and 1, the least at most the most, and a factor of "
                f"at least 1, got least, most and unmeasured {jumps} and factor {self.factor}.",
                next_step="Use the defaults, or values in these ranges.",
            )


@dataclass(frozen=True)
class Jump:
    """An item whose share of lists jumped too far.

    Attributes:
        item: its row.
        share: share of the candidate's lists that hold it.
        before: its largest share in an earlier version.
        limit: the largest jump that counts as honest.
    """

    item: int
    share: float
    before: float
    limit: float


def exposure_jumps(
    candidate: Exposure, history: Sequence[Exposure], policy: ExposurePolicy | None = None
) -> tuple[Jump, ...]:
    """Return the items that the candidate recommends too much more than each earlier version, largest first.

    An item's jump is its share minus its largest share in the history. It is too far beyond

        min( most, max( least, factor * the largest jump of an item from one earlier version to the others ) )

    A new item, or one in fashion, may jump as well. So this asks for a person's look, and proves no attack.
    Without history there is nothing to compare with, and the result is empty.

    Args:
        candidate: of the version to judge.
        history: of earlier versions that were looked at or served, for the same probe set.
        policy: the limits.

    Raises:
        InvalidInput: the versions have catalogues of different sizes.
    """
    policy = policy or ExposurePolicy()
    sizes = {len(each.counts) for each in (candidate, *history)}
    if len(sizes) > 1:
        raise InvalidInput(
            f"Exposures of catalogues of {sorted(sizes)} items cannot be compared.",
            next_step="Compare versions of one catalogue, item by item.",
        )
    if not history:
        return ()
    shares = np.stack([each.shares for each in history])
    before, limit = shares.max(axis=0), _limit(shares, policy)
    jumps = candidate.shares - before
    found = np.flatnonzero(jumps > limit)
    return tuple(
        Jump(int(item), float(candidate.shares[item]), float(before[item]), limit)
        for item in found[np.argsort(-jumps[found], kind="stable")]
    )


def _limit(shares: Float64Array, policy: ExposurePolicy) -> float:
    """Return the largest honest jump, by the shares (versions, items) of honest versions."""
    if len(shares) == 1:
        return policy.unmeasured
    honest = max(
        float((own - np.delete(shares, place, axis=0).max(axis=0)).max()) for place, own in enumerate(shares)
    )
    return min(policy.most, max(policy.least, policy.factor * honest))
