"""The evaluation protocols, which say which interactions are held out from training."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from models.errors import InvalidInput
from models.evaluation.ranking import FloatArray, HeldOutRanks, held_out_ranks
from models.evaluation.split import IntArray, places_within, user_order
from models.kernel.histories import Histories


@dataclass(frozen=True)
class Protocol:
    """An evaluation protocol from the literature.

    Attributes:
        name: name in tables.
        title: what is held out, and which items it is ranked among.
        source: the publication that proposes it.
    """

    name: str
    title: str
    source: str


LEAVE_ONE_OUT = Protocol(
    "leave_one_out",
    "each user's latest interaction is the test, the second latest is validation; both are ranked among 99 "
    "items drawn uniformly from those that the user never used (loo_*), and among all items but those of "
    "training",
    "He et al. 2017, Neural Collaborative Filtering, section 4.1; full ranking after Krichene & Rendle 2020, "
    "On Sampled Metrics for Item Recommendation",
)
RANDOM = Protocol(
    "random_70_30",
    "a random 30 % of each user's interactions are the test, ranked among all items but those of training",
    "user-wise random hold-out, Meng et al. 2020, Exploring Data Splitting Strategies for the Evaluation of "
    "Recommendation Models",
)
TEMPORAL = Protocol(
    "temporal_70_30",
    "the latest 30 % of each user's interactions are the test, ranked among all items but those of training",
    "temporal user split, Meng et al. 2020",
)
PROTOCOLS = {each.name: each for each in (LEAVE_ONE_OUT, RANDOM, TEMPORAL)}
HELD_OUT_SHARE = 0.3


@dataclass(frozen=True)
class HeldOut:
    """The training interactions of a client's users and their held-out cases, which are disjoint.

    Attributes:
        histories: the training interactions.
        users, items: (n_cases,) the held-out pairs, sorted by user. A user may have several.
        negatives: (n_cases, n) the sampled items for each case's second ranking; -1 is padding.
    """

    histories: Histories
    users: IntArray
    items: IntArray
    negatives: IntArray

    def ranks(self, scores: FloatArray) -> HeldOutRanks:
        """Return the ranks of the cases by `scores` (users, items). Only training items are masked."""
        histories = self.histories
        return held_out_ranks(
            lambda users: scores[users],
            histories.n_items,
            case_users=self.users,
            case_items=self.items,
            train_users=np.repeat(np.arange(len(histories)), np.diff(histories.starts)),
            train_items=histories.items,
            negatives=self.negatives,
        )


def hold_out_share(
    users: IntArray,
    items: IntArray,
    timestamps: IntArray | None,
    shape: tuple[int, int],
    *,
    share: float,
    by_time: bool,
    seed: int,
) -> HeldOut:
    """Hold out a share of each user's interactions, rounded down: the latest ones or random ones.

    The other interactions stay in order of time. Interactions with equal timestamps stay in row order.

    Args:
        users, items: (n,), user and item rows.
        timestamps: (n,), any unit, or None if the data have none.
        shape: (users, items) of the client's matrix.
        share: share of each user's interactions to hold out, in (0, 1).
        by_time: whether to hold out the latest interactions.
        seed: seed of the random choice.

    Raises:
        InvalidInput: `user_order` raises it, the share is out of range, or `by_time` is set without
            timestamps.
    """
    if not 0 < share < 1:
        raise InvalidInput(f"A held-out share must lie between 0 and 1, got {share}.")
    if by_time and timestamps is None:
        raise InvalidInput(
            "The latest interactions cannot be held out, because the data have no timestamps.",
            next_step="Use the protocol random_70_30.",
        )
    n_users = shape[0]
    order = user_order(users, items, timestamps, n_users, seed)
    counts = np.bincount(users, minlength=n_users)
    places = places_within(users, order)
    rank = places if by_time else places_within(users, user_order(users, items, None, n_users, seed))
    held = rank >= (counts - np.floor(counts * share).astype(np.int64))[users]
    cases = np.flatnonzero(held)[np.argsort(users[held], kind="stable")]
    histories = Histories.of(users[~held], items[~held], places[~held], shape)
    return HeldOut(histories, users[cases], items[cases], np.empty((len(cases), 0), dtype=np.int32))
