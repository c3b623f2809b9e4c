"""The rank of each held-out item, and the metrics that depend on the ranks only."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from models.evaluation.split import PADDING, IntArray, places_within
from models.kernel.metric import Metric

Ranks = npt.NDArray[np.int64]
FloatArray = npt.NDArray[np.floating]
# User rows (n,) -> their scores (n, items), higher is better.
Scores = Callable[[IntArray], FloatArray]

# In the order of the tables.
METRICS = ("hr@10", "ndcg@10", "recall@20", "loo_hr@10", "loo_ndcg@10")
_USERS_AT_ONCE = 256
_SCORES_AT_ONCE = 1 << 24  # 64 MB of float32, however many items there are


@dataclass(frozen=True)
class HeldOutRanks:
    """The rank of each case's item, 0 for the best.

    Attributes:
        full: (n_cases,), among all items but the user's training items. The cases of one user have different
            ranks.
        sampled: (n_cases,), among the case's sampled negatives.
    """

    full: Ranks
    sampled: Ranks


def rank_of_target(
    scores: FloatArray, target: IntArray, masked_cases: IntArray, masked_items: IntArray
) -> Ranks:
    """Return the number of items ranked before each case's target, (cases,); 0 is the best rank.

    Ties and NaN count against the model. Items with the target's score and items with a NaN score are ranked
    before the target, and a target with a NaN score is ranked last.

    Args:
        scores: (cases, items), higher is better.
        target: (cases,), the column of each case's held-out item.
        masked_cases: (n_masked,), row of each pair that is left out of the ranking.
        masked_items: (n_masked,), column of the same pair.
    """
    cases = np.arange(len(target))
    # `~(a < b)` instead of `a >= b`, because every comparison with NaN is false.
    before = ~(scores < scores[cases, target][:, np.newaxis])
    before[masked_cases, masked_items] = False
    before[cases, target] = False
    ranks: Ranks = before.sum(axis=1, dtype=np.int64)
    return ranks


def product_scores(
    user_embeddings: FloatArray, item_embeddings: FloatArray, item_biases: FloatArray
) -> Scores:
    """Return the products of users (users, dims) and items (items, dims), plus the items' biases (items,).

    There is no parameter for user biases: one shifts all scores of its user equally, which changes no rank.
    """

    def scores(users: IntArray) -> FloatArray:
        return np.asarray(user_embeddings[users] @ item_embeddings.T + item_biases)

    return scores


def held_out_ranks(
    scores: Scores,
    n_items: int,
    *,
    case_users: IntArray,
    case_items: IntArray,
    train_users: IntArray,
    train_items: IntArray,
    negatives: IntArray,
    users_at_once: int = _USERS_AT_ONCE,
) -> HeldOutRanks:
    """Return the ranks of a client's held-out items. Only training items are masked.

    A tie with any other item counts against the model. A tie among held-out items of one user does not: they
    follow each other behind the items that are not held out, in any order, as no metric tells them apart.

    Args:
        scores: scores of the client's users.
        n_items: number of items.
        case_users, case_items: (n_cases,), the held-out interactions, in any order. A user may have several.
        train_users, train_items: (n_train,), the training interactions.
        negatives: (n_cases, n), from `sample_negatives`; -1 is padding.
        users_at_once: maximal number of cases scored together; lower if `n_items` is very large.
    """
    step = max(1, min(users_at_once, _SCORES_AT_ONCE // n_items))
    # The other items ahead of each case are counted first, then the user's own cases with fewer of them.
    left_out_users = np.concatenate([train_users, case_users])
    by_user = np.argsort(left_out_users, kind="stable")
    left_out = left_out_users[by_user], np.concatenate([train_items, case_items])[by_user]
    others, sampled = np.empty(len(case_users), np.int64), np.empty(len(case_users), np.int64)
    for start in range(0, len(case_users), step):
        part = slice(start, start + step)
        users, target = case_users[part], case_items[part]
        with np.errstate(invalid="ignore", over="ignore"):  # values that are not finite rank last
            found = scores(users)
        others[part] = rank_of_target(found, target, *_pairs_of(users, *left_out))
        # The target becomes the last column, after its negatives. Padding reads any score and is masked.
        rivals = np.concatenate([negatives[part], target[:, np.newaxis]], axis=1)
        few = np.take_along_axis(found, rivals.astype(np.int64), axis=1)
        last = np.full(len(target), negatives.shape[1])
        sampled[part] = rank_of_target(few, last, *np.nonzero(rivals == PADDING))
    return HeldOutRanks(others + places_within(case_users, np.lexsort((others, case_users))), sampled)


def hits(ranks: Ranks, k: int) -> npt.NDArray[np.float64]:
    """Return 1 for each case whose held-out item is among the first k, else 0, (cases,).

    With one relevant item, HR@k equals Recall@k.
    """
    return (ranks < k).astype(np.float64)


def ndcg(ranks: Ranks, k: int) -> npt.NDArray[np.float64]:
    """Return 1 / log2(rank + 2) for each case whose rank is among the first k, else 0, (cases,).

    This is NDCG (Järvelin & Kekäläinen 2002) for one relevant item, whose ideal gain is 1. He et al. 2017
    (Neural Collaborative Filtering, section 4.1) use it so for leave-one-out.
    """
    return np.where(ranks < k, 1 / np.log2(ranks + 2.0), 0.0)


def ranking_metrics(ranks: HeldOutRanks) -> dict[str, Metric]:
    """Return the sum of each of `METRICS` over the cases. A client reports only these sums."""
    return {
        name: Metric(float(values.sum()), float(len(values)))
        for name, values in zip(METRICS, case_values(ranks).T, strict=True)
    }


def case_values(ranks: HeldOutRanks) -> npt.NDArray[np.float64]:
    """Return the values of `METRICS` in each case, (cases, metrics). They never leave the client."""
    return np.stack(
        [
            hits(ranks.full, 10),
            ndcg(ranks.full, 10),
            hits(ranks.full, 20),
            hits(ranks.sampled, 10),
            ndcg(ranks.sampled, 10),
        ],
        axis=1,
    )


def _pairs_of(users: IntArray, owners: IntArray, items: IntArray) -> tuple[IntArray, IntArray]:
    """Return the items of these users as (position in `users`, item) pairs; `owners` is ascending."""
    first = np.searchsorted(owners, users, side="left")
    counts = np.searchsorted(owners, users, side="right") - first
    places = np.repeat(np.arange(len(users)), counts)
    # Within each user's run, the index counts up from the user's first row.
    runs = np.arange(len(places)) - np.repeat(np.cumsum(counts) - counts, counts)
    return places, items[np.repeat(first, counts) + runs]
