"""What a client reports of an evaluation: sums over its users, in every bootstrap replicate."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from models.evaluation.ranking import Ranks, ndcg
from models.evaluation.split import IntArray
from models.kernel.arrays import ArrayGroup, FloatArray
from models.kernel.histories import Histories

Float64Array = npt.NDArray[np.float64]

SHARE_METRICS = ("ndcg@10", "recall@20", "map")
LIST_METRICS = ("coverage@10", "popularity@10", "gini@10")
TOP = 10


@dataclass(frozen=True)
class UserSums(ArrayGroup):
    """Sums over the users of a client, or of all clients once added up.

    Attributes:
        totals: (1 + replicates, metrics), of a metric's values.
        users: (1 + replicates,), how many users they are sums over.
        recommended: (1 + replicates, items), how often each item was among a user's first ten.
    """

    totals: Float64Array
    users: Float64Array
    recommended: Float64Array

    @classmethod
    def of(cls, values: Float64Array, top: IntArray, n_items: int, weights: IntArray) -> UserSums:
        """The sums over these users.

        Args:
            values: (users, metrics), the values of each evaluated user.
            top: (users, k), the items recommended to each.
            n_items: number of items of the catalogue.
            weights: (1 + replicates, users), as drawn by `replicate_weights`.
        """
        shown = np.zeros((len(values), n_items))
        np.put_along_axis(shown, top.astype(np.int64), 1.0, axis=1)
        counted = weights.astype(np.float64)
        return cls(counted @ values, counted.sum(axis=1), counted @ shown)

    def __add__(self, other: UserSums) -> UserSums:
        return self.map(np.add, other)


def metric_curves(sums: UserSums, names: tuple[str, ...], item_users: FloatArray) -> dict[str, Float64Array]:
    """Each metric's value in every replicate, (1 + replicates,); the first is that of the data.

    coverage@10: share of the catalogue recommended to anyone. gini@10: how unequally the recommendations are
    spread over the items, 0 evenly to 1 (both: Shani & Gunawardana 2011, "Evaluating Recommendation Systems",
    section 3.3). popularity@10: mean share of the users who have a recommended item in training (the average
    recommendation popularity of Abdollahpouri et al. 2019, over the number of users).

    Args:
        sums: over all clients.
        names: of the columns of `sums.totals`.
        item_users: (items,), the share of the users that have each item in training; a sum over clients too.
    """
    # A replicate that counts none of a small client's users has no mean: NaN.
    with np.errstate(invalid="ignore"):
        curves = dict(zip(names, (sums.totals / sums.users[:, np.newaxis]).T, strict=True))
        popularity = sums.recommended @ item_users / sums.recommended.sum(axis=1)
        spread = _gini(sums)
    coverage = (sums.recommended > 0).mean(axis=1)
    return curves | dict(zip(LIST_METRICS, (coverage, popularity, spread), strict=True))


def top_items(scores: FloatArray, histories: Histories, k: int = TOP) -> npt.NDArray[np.int64]:
    """(users, k): the best items of each user that are not in its history; the lower row first in a tie."""
    free = np.where(np.isnan(scores), -np.inf, scores)
    owners = np.repeat(np.arange(len(histories)), np.diff(histories.starts))
    free[owners, histories.items] = -np.inf
    best: npt.NDArray[np.int64] = np.argsort(-free, axis=1, kind="stable")[:, :k]
    return best


def share_values(ranks: Ranks, users: IntArray) -> tuple[Float64Array, npt.NDArray[np.signedinteger]]:
    """The metrics of `SHARE_METRICS` of each user with held-out items, (users, metrics), and those users.

    Of one user with the set R held out: NDCG@10 with gain 1 for each of R, over that of R ranked first
    (Järvelin & Kekäläinen 2002); recall@20, the share of R among the first 20; average precision, the mean
    over R of the share of R among all items down to each (Manning et al. 2008, section 8.4).

    Args:
        ranks: (n_cases,), the rank of each held-out item among all but the training items.
        users: (n_cases,), the user of each, ascending.
    """
    owners, first, counts = np.unique(users.astype(np.int64), return_index=True, return_counts=True)
    order = np.lexsort((ranks, users))
    ranks = ranks[order]
    found = np.arange(len(ranks)) - np.repeat(first, counts) + 1.0
    ideal = np.concatenate([[0.0], np.cumsum(ndcg(np.arange(TOP), TOP))])[np.minimum(counts, TOP)]
    values = (
        np.add.reduceat(ndcg(ranks, TOP), first) / ideal,
        np.add.reduceat((ranks < 2 * TOP).astype(np.float64), first) / counts,
        np.add.reduceat(found / (ranks + 1.0), first) / counts,
    )
    return np.stack(values, axis=1), owners


def _gini(sums: UserSums) -> Float64Array:
    counts = np.sort(sums.recommended, axis=1)
    n = counts.shape[1]
    places = 2.0 * np.arange(1, n + 1) - n - 1
    return np.asarray(counts @ places / (n * counts.sum(axis=1)))
