"""The exposure alarm: items that a candidate recommends far more often than any earlier version did.

Liars among the clients lift an item into many users' lists, while the metrics of quality hardly change. The
share of lists that hold the item shows it. Honest retraining moves shares, too. How far is measured on the
earlier versions themselves: each is compared with the others, as the candidate is with all of them.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass

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
        least: largest jump that never is too far, as a share of the lists. Two trainings of LightFM on
            MovieLens-100K that differ in their seeds or in a twentieth of the data differ by up to .14.
            Earlier versions may differ less, such as rounds of one job, and say little about the next one.
        factor: how many times farther than honest versions an item must jump. An honest candidate jumps
            farther than all of n earlier versions with a probability of about 1 / (n + 1), so 1 is too low.
        most: jump that always is too far, even if earlier versions differ more.
        lists: largest number of lists in which items are counted.
    """

    least: float = 0.2
    factor: float = 2.0
    most: float = 0.5
    lists: int = 2000

    def __post_init__(self) -> None:
        if 0.0 < self.most < self.least < 1.0:
            raise InvalidInput(
                f"The limit least={self.least:g} of the exposure gate is above most={self.most:g}, and no "
                "jump is both allowed in any case and too far in any case.",
                next_step=f"Raise most, too: --exposure least={self.least:g} --exposure most={self.least:g}.",
            )
        if not (0.0 < self.least <= self.most < 1.0 and self.factor >= 1.0 and self.lists >= 1):
            raise InvalidInput(
                "An exposure policy needs jumps between 0 and 1, the least at most the most, a factor of at "
                f"least 1 and at least one list, got {asdict(self)}.",
                next_step="Use the defaults, or values in these ranges.",
            )

    @classmethod
    def of(cls, values: Mapping[str, float]) -> ExposurePolicy:
        """Return the policy with these values by name, and defaults for the others.

        Raises:
            InvalidInput: a name is unknown, or a value is out of range or not a number.
        """
        known = asdict(cls())
        unknown = sorted(values.keys() - known.keys())
        endless = sorted(name for name, value in values.items() if not math.isfinite(value))
        if unknown or endless:
            raise InvalidInput(
                f"The exposure gate has no setting {', '.join(unknown)}."
                if unknown
                else f"The exposure gate's {', '.join(endless)} must be a finite number.",
                next_step=f"Its settings are {', '.join(known)}.",
            )
        return cls(**{name: type(known[name])(value) for name, value in values.items()})


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

        min( most, max( least, factor * the largest jump of an item in an earlier version beyond the others ))

    A new item, or one in fashion, may jump as well. So this asks for a person's look, and proves no attack.
    Without history there is nothing to compare with, and the result is empty.

    Args:
        candidate: of the version to judge.
        history: of earlier versions that were looked at or served, for the same probe set.
        policy: the limits.

    Raises:
        InvalidInput: the versions have catalogues of different sizes.
    """
    _require_one_catalogue(candidate, history)
    if not history:
        return ()
    before, limit = _before(history), largest_honest_jump(history, policy or ExposurePolicy())
    jumps = candidate.shares - before
    found = np.flatnonzero(jumps > limit)
    return tuple(
        Jump(int(item), float(candidate.shares[item]), float(before[item]), limit)
        for item in found[np.argsort(-jumps[found], kind="stable")]
    )


def farthest_jump(
    candidate: Exposure, history: Sequence[Exposure], policy: ExposurePolicy | None = None
) -> Jump:
    """Return the largest jump of an item, whether it is too far or not; of equal ones that of the lower row.

    Args:
        candidate, policy: as in `exposure_jumps`.
        history: at least one version.
    """
    _require_one_catalogue(candidate, history)
    before, limit = _before(history), largest_honest_jump(history, policy or ExposurePolicy())
    item = int(np.argmax(candidate.shares - before))
    return Jump(item, float(candidate.shares[item]), float(before[item]), limit)


def largest_honest_jump(history: Sequence[Exposure], policy: ExposurePolicy) -> float:
    """Return the limit of `exposure_jumps` for these earlier versions, of which there is at least one."""
    if len(history) == 1:
        return policy.least
    shares = np.stack([each.shares for each in history])
    honest = max(
        float((own - np.delete(shares, place, axis=0).max(axis=0)).max()) for place, own in enumerate(shares)
    )
    return min(policy.most, max(policy.least, policy.factor * honest))


def probe_items(catalogues: Sequence[Sequence[str]], most: int) -> tuple[str, ...]:
    """Return the items, at most `most`, for each of which a history is made up. All catalogues have them.

    They are those with the lowest SHA-256 of their ids. So a catalogue that grows keeps most of them.

    Args:
        catalogues: the item ids of each version.
        most: largest number of items, at least 1.
    """
    shared = set[str].intersection(*(set(each) for each in catalogues))
    return tuple(sorted(shared, key=lambda each: hashlib.sha256(each.encode()).digest())[:most])


def _before(history: Sequence[Exposure]) -> Float64Array:
    """Return the largest share (items,) of each item in an earlier version."""
    return np.asarray(np.max([each.shares for each in history], axis=0))


def _require_one_catalogue(candidate: Exposure, history: Sequence[Exposure]) -> None:
    sizes = {len(each.counts) for each in (candidate, *history)}
    if len(sizes) > 1:
        raise InvalidInput(
            f"Exposures of catalogues of {sorted(sizes)} items cannot be compared.",
            next_step="Compare versions of one catalogue, item by item.",
        )
