"""Where a model ranks each held-out item, and the metrics that follow from the ranks alone."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from models.evaluation.split import PADDING, IntArray
from models.kernel.metric import Metric

Ranks = npt.NDArray[np.int64]
FloatArray = npt.NDArray[np.floating]
# User rows (n,) -> their scores (n, items), higher is better.
Scores = Callable[[IntArray], FloatArray]

# In the order in which tables show them.
METRICS = ("hr@10", "ndcg@10", "recall@20", "loo_hr@10", "loo_ndcg@10")
_USERS_AT_ONCE = 256
_SCORES_AT_ONCE = 1 << 24  # 64 MB of float32, however many items there are


@dataclass(frozen=True)
class HeldOutRanks:
    """The rank of each case's item, 0 being the best.

    Attributes:
        full: (n_cases,), among all items but the user's training items.
        sampled: (n_cases,), among the case's sampled negatives.
    """

    full: Ranks
    sampled: Ranks


def rank_of_target(
    scores: FloatArray, target: IntArray, masked_cases: IntArray, masked_items: IntArray
) -> Ranks:
    """(cases,): how many items stand before each case's target; 0 is the best rank.

    Doubt counts against the model: an item with the target's score stands before it, so does an item whose
    score is NaN, and a target whose own score is NaN stands behind all.

    Args:
        scores: (cases, items), higher is better.
        target: (cases,), the column of each case's held-out item.
        masked_cases: (n_masked,), row of each pair that takes no part in the ranking.
        masked_items: (n_masked,), column of the same pair.
    """
    cases = np.arange(len(target))
    # "Not less" instead of "greater or equal", because every comparison with NaN is false.
    before = ~(scores < scores[cases, target][:, np.newaxis])
    before[masked_cases, masked_items] = False
    before[cases, target] = False
    ranks: Ranks = before.sum(axis=1, dtype=np.int64)
    return ranks


def product_scores(
    user_embeddings: FloatArray, item_embeddings: FloatArray, item_biases: FloatArray
) -> Scores:
    """The products of users (users, dims) and items (items, dims), plus the items' biases (items,).

    A user's bias moves all of that user's scores alike, so it cannot change a rank and is not asked for.
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
    """The ranks of a client's held-out items; only training items are masked.

    Args:
        scores: of the client's users.
        n_items: number of items.
        case_users, case_items: (n_cases,), the held-out interactions.
        train_users, train_items: (n_train,), sorted by user, as in `Split`.
        negatives: (n_cases, n), as drawn by `sample_negatives`; -1 is padding.
        users_at_once: how many cases are scored together, fewer where there are very many items.
    """
    step = max(1, min(users_at_once, _SCORES_AT_ONCE // n_items))
    full, sampled = np.empty(len(case_users), np.int64), np.empty(len(case_users), np.int64)
    for start in range(0, len(case_users), step):
        part = slice(start, start + step)
        users, target = case_users[part], case_items[part]
        with np.errstate(invalid="ignore", over="ignore"):  # values that are not finite rank last
            found = scores(users)
        full[part] = rank_of_target(found, target, *_pairs_of(users, train_users, train_items))
        # The target as one more column after its negatives; padding reads some score and is masked.
        rivals = np.concatenate([negatives[part], target[:, np.newaxis]], axis=1)
        few = np.take_along_axis(found, rivals.astype(np.int64), axis=1)
        last = np.full(len(target), negatives.shape[1])
        sampled[part] = rank_of_target(few, last, *np.nonzero(rivals == PADDING))
    return HeldOutRanks(full, sampled)


def hits(ranks: Ranks, k: int) -> npt.NDArray[np.float64]:
    """(cases,): 1 where the held-out item is among the first k. With one relevant item HR@k = Recall@k."""
    return (ranks < k).astype(np.float64)


def ndcg(ranks: Ranks, k: int) -> npt.NDArray[np.float64]:
    """(cases,): 1 / log2(rank + 2) among the first k, else 0.

    This is NDCG (Järvelin & Kekäläinen 2002) for one relevant item, whose ideal gain is 1; so used for
    leave-one-out by He et al. 2017 (Neural Collaborative Filtering, section 4.1).
    """
    return np.where(ranks < k, 1 / np.log2(ranks + 2.0), 0.0)


def ranking_metrics(ranks: HeldOutRanks) -> dict[str, Metric]:
    """The sums over the cases of every metric of `METRICS`; all that a client tells of its users."""
    return {
        name: Metric(float(values.sum()), float(len(values)))
        for name, values in zip(METRICS, case_values(ranks).T, strict=True)
    }


def case_values(ranks: HeldOutRanks) -> npt.NDArray[np.float64]:
    """(cases, metrics): every metric of `METRICS`, case by case; never leaves the client."""
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


def _pairs_of(users: IntArray, train_users: IntArray, train_items: IntArray) -> tuple[IntArray, IntArray]:
    """The training items of these users as (place in `users`, item) pairs."""
    first = np.searchsorted(train_users, users, side="left")
    counts = np.searchsorted(train_users, users, side="right") - first
    places = np.repeat(np.arange(len(users)), counts)
    # Within each user's run the index goes up from that user's first training row.
    runs = np.arange(len(places)) - np.repeat(np.cumsum(counts) - counts, counts)
    return places, train_items[np.repeat(first, counts) + runs]
