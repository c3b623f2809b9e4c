"""A client's report of an evaluation: sums over its users in every bootstrap replicate."""

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
    """Sums over the users of a client, or of all clients after addition.

    Attributes:
        totals: (1 + replicates, metrics), sum of each metric's values.
        users: (1 + replicates,), number of users in the sums.
        recommended: (1 + replicates, items), how often each item was among a user's first ten.
    """

    totals: Float64Array
    users: Float64Array
    recommended: Float64Array

    @classmethod
    def of(cls, values: Float64Array, top: IntArray, n_items: int, weights: IntArray) -> UserSums:
        """Return the sums over these users.

        Args:
            values: (users, metrics), the values of each evaluated user.
            top: (users, k), the items recommended to each user.
            n_items: number of items of the catalogue.
            weights: (1 + replicates, users), from `replicate_weights`.
        """
        import scipy.sparse as sp

        n_users, k = top.shape
        ones, ends = np.ones(top.size), np.arange(n_users + 1) * k
        shown = sp.csr_matrix((ones, top.ravel(), ends), shape=(n_users, n_items))
        counted = weights.astype(np.float64)
        recommended = np.ascontiguousarray((shown.T @ counted.T).T)
        return cls(counted @ values, counted.sum(axis=1), recommended)

    def __add__(self, other: UserSums) -> UserSums:
        return self.map(np.add, other)


def metric_curves(sums: UserSums, names: tuple[str, ...], item_users: FloatArray) -> dict[str, Float64Array]:
    """Return each metric's value in every replicate, (1 + replicates,); the first is the value on the data.

    - coverage@10: share of the catalogue that is recommended to at least one user (Shani & Gunawardana 2011,
      "Evaluating Recommendation Systems", section 3.3).
    - gini@10: inequality of the recommendations over the items, from 0 for equal shares to 1 (same source).
    - popularity@10: mean share of users who have a recommended item in training (the average recommendation
      popularity of Abdollahpouri et al. 2019, divided by the number of users).

    Args:
        sums: the sums over all clients.
        names: names of the columns of `sums.totals`.
        item_users: (items,), share of all clients' users that have each item in training.
    """
    # A replicate that counts no user of a small client has no mean, so its values are NaN.
    with np.errstate(invalid="ignore"):
        curves = dict(zip(names, (sums.totals / sums.users[:, np.newaxis]).T, strict=True))
        popularity = sums.recommended @ item_users / sums.recommended.sum(axis=1)
        spread = _gini(sums)
    coverage = (sums.recommended > 0).mean(axis=1)
    return curves | dict(zip(LIST_METRICS, (coverage, popularity, spread), strict=True))


def top_items(scores: FloatArray, histories: Histories, k: int = TOP) -> npt.NDArray[np.int64]:
    """Return the best items of each user outside the history, (users, k). In a tie the lower row is first."""
    free = np.where(np.isnan(scores), -np.inf, scores)
    owners = np.repeat(np.arange(len(histories)), np.diff(histories.starts))
    free[owners, histories.items] = -np.inf
    best = np.empty((len(free), min(k, free.shape[1])), dtype=np.int64)
    for row, low in zip(best, -free, strict=True):
        # All items that tie with the last one are sorted, so that the lower rows stay.
        near = np.flatnonzero(low <= np.partition(low, len(row) - 1)[len(row) - 1])
        row[:] = near[np.argsort(low[near], kind="stable")][: len(row)]
    return best


def share_values(ranks: Ranks, users: IntArray) -> tuple[Float64Array, npt.NDArray[np.signedinteger]]:
    """Return the values of `SHARE_METRICS` of users with held-out items, (users, metrics), and these users.

    For a user with the set R of held-out items:

    - NDCG@10: gain 1 for each item of R, divided by the gain of ranking R first (Järvelin & Kekäläinen 2002).
    - recall@20: the share of R among the first 20 items.
    - average precision: the mean, over the items of R, of the precision at the item's rank (Manning et al.
      2008, section 8.4).

    Args:
        ranks: (n_cases,), rank of each held-out item among all items except the training items; those of a
            user differ.
        users: (n_cases,), user of each case, ascending.
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
