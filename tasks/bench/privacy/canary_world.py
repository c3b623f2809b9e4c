"""Small worlds with canaries: made-up users who are as visible in the sums as a user can be."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from models.kernel.histories import Histories
from models.kernel.seeds import generator_for
from models.recommenders.items.features import ItemFeatures
from models.recommenders.private.family import DpItemsFamily
from models.recommenders.private.spec import DpItemsSpec
from tasks.bench.privacy.noisy_sums import Learners
from tasks.bench.quality.cases import Learner

Rows = npt.NDArray[np.int64]

_SILOS = 3
_TASTES = 6


@dataclass(frozen=True)
class CanaryWorld:
    """Silos of users, and canaries that may join them.

    Attributes:
        family: the private item model with features of the items.
        users: silo -> the items of each of its users.
        canaries: the items of each canary.
        n_items: number of items.
    """

    family: DpItemsFamily
    users: Mapping[str, Sequence[Rows]]
    canaries: Sequence[Rows]
    n_items: int

    def learners(self, present: Sequence[int] = ()) -> Learners:
        """Return the silos with these canaries. A canary that is named twice joins as two users."""
        joined = {name: list(lists) for name, lists in self.users.items()}
        names = sorted(joined)
        for canary in present:
            joined[names[canary % len(names)]].append(self.canaries[canary])
        return {name: self.learner(lists) for name, lists in joined.items()}

    def pooled(self, present: Sequence[int] = ()) -> Learner:
        """Return all users together, with these canaries."""
        everyone = [items for lists in self.users.values() for items in lists]
        return self.learner([*everyone, *(self.canaries[canary] for canary in present)])

    def learner(self, lists: Sequence[Rows]) -> Learner:
        """Return users with these items."""
        lengths = [len(items) for items in lists]
        starts = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64)
        histories = Histories(np.concatenate(lists), starts, self.n_items)
        return Learner(tuple(str(user) for user in range(len(lists))), histories)


def small_world(*, items_of_taste: int = 10, users: int = 150, seed: int = 1) -> CanaryWorld:
    """Return a world whose users have one taste each, and one canary.

    The canary used the most popular item of each of four tastes, which nobody else used together. So all its
    pairs are its own, and its items are among those whose pairs are counted. Only some of all items are.
    """
    random = generator_for(seed, "small world")
    n_items = _TASTES * items_of_taste
    tastes = np.repeat(np.arange(_TASTES), items_of_taste)
    popularity = 1.0 / np.arange(1.0, items_of_taste + 1.0)
    popularity /= popularity.sum()
    lists = [
        random.integers(_TASTES) * items_of_taste
        + random.choice(items_of_taste, random.integers(2, 7), replace=False, p=popularity)
        for _ in range(users)
    ]
    features = ItemFeatures(
        items=n_items,
        columns=("taste", "year", "length"),
        labels={"taste": {str(taste): np.flatnonzero(tastes == taste) for taste in range(_TASTES)}},
        numbers={name: random.uniform(0.0, 1.0, n_items) for name in ("year", "length")},
    )
    return CanaryWorld(
        family=DpItemsFamily(DpItemsSpec(paired_items=n_items // 2)).with_features(lambda: features),
        users=_in_silos(lists),
        canaries=(np.arange(4) * items_of_taste,),
        n_items=n_items,
    )


def wide_world(canaries: int, *, users: int = 300, seed: int = 1) -> CanaryWorld:
    """Return a world with two items for each canary, which no other canary used.

    Their parts of the popularity and of the pairs have nothing in common, so each is as visible as if it were
    alone. All items' pairs are counted. Profiles of contents are shortened to half of their usual length, so
    that those of the canaries reach it.
    """
    random = generator_for(seed, "wide world")
    n_items = 2 * canaries
    lists = [random.choice(n_items, random.integers(2, 7), replace=False) for _ in range(users)]
    names = [f"number {each}" for each in range(10)]
    features = ItemFeatures(
        items=n_items,
        columns=tuple(names),
        labels={},
        numbers={name: random.uniform(0.0, 1.0, n_items) for name in names},
    )
    spec = replace(DpItemsSpec(), paired_items=n_items, content_norm=0.2)
    return CanaryWorld(
        family=DpItemsFamily(spec).with_features(lambda: features),
        users=_in_silos(lists),
        canaries=tuple(np.array([first, first + canaries]) for first in range(canaries)),
        n_items=n_items,
    )


def _in_silos(lists: Sequence[Rows]) -> dict[str, Sequence[Rows]]:
    return {f"silo {each}": lists[each::_SILOS] for each in range(_SILOS)}
