"""What a data set offers to training and evaluation, as counts that are known before any training."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from models.evaluation.split import FEWEST_INTERACTIONS
from models.evaluation.time_units import TimesLike, times_like

Ints = npt.NDArray[np.integer]
Floats = npt.NDArray[np.float64]

_QUANTILES = (0.0, 0.25, 0.5, 0.75, 1.0)
# Fewer users than this are hard to hide in, and give figures that mean little.
FEW_USERS = 5
# Rows in no particular order have half of their neighbours in ascending order.
_SORTED, _FEWEST_PAIRS = 0.95, 20


@dataclass(frozen=True)
class DataReport:
    """What a data set offers.

    Attributes:
        clients, users, items, interactions: numbers of them; items are those of the catalogue.
        used_items: number of items that anybody used.
        density: share of all pairs of user and item that are interactions.
        history_quantiles: the least, first quartile, median, third quartile and greatest number of a user's
            interactions.
        evaluated_users: users with enough interactions to be evaluated.
        tied_users: those of them whose last interaction has the same time as the one before, so that the
            order of the rows decides which is tested; None without timestamps.
        ties_by_item: whether the rows of these ties are sorted by item.
        small_clients: number of clients with fewer than `FEW_USERS` users.
        unevaluated_clients: number of clients none of whose users is evaluated.
        ratings: the least and the greatest rating; None without ratings.
        times: the first and the last timestamp; None without timestamps.
        times_like: what every timestamp looks like, such as dates; None if they may be seconds.
        repeats: number of rows that were merged with another of the same user and item.
        alike_users, alike_items: number of ids that differ from another only in case, blanks or Unicode form.
        examples_of_users, examples_of_items: some of these ids, beside each other.
    """

    clients: int
    users: int
    items: int
    interactions: int
    used_items: int
    density: float
    history_quantiles: tuple[float, ...]
    evaluated_users: int
    tied_users: int | None
    ties_by_item: bool
    small_clients: int
    unevaluated_clients: int
    ratings: tuple[float, float] | None
    times: tuple[int, int] | None
    times_like: TimesLike | None = None
    repeats: int = 0
    alike_users: int = 0
    alike_items: int = 0
    examples_of_users: tuple[str, ...] = ()
    examples_of_items: tuple[str, ...] = ()


def alike_ids(ids: Iterable[str]) -> tuple[str, ...]:
    """Return the ids that differ from another one only in case, blanks or Unicode form, beside each other."""
    groups: dict[str, list[str]] = {}
    for id_ in sorted(ids):
        plain = unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", id_).casefold())
        groups.setdefault("".join(plain.split()), []).append(id_)
    return tuple(id_ for group in groups.values() if len(group) > 1 for id_ in group)


def report_on(
    users: Ints,
    items: Ints,
    clients: Ints,
    n_items: int,
    *,
    timestamps: Ints | None = None,
    ratings: Floats | None = None,
    repeats: int = 0,
) -> DataReport:
    """Return the report on interactions, at least one, each of another pair of user and item.

    Args:
        users: (n,) user rows from 0 on, without gaps.
        items: (n,) positions of the items in the sorted ids.
        clients: (users,) client rows from 0 on, without gaps.
        n_items: number of items of the catalogue.
        timestamps: (n,) seconds since 1970, or None.
        ratings: (n,), or None.
        repeats: as in `DataReport`.
    """
    lengths = np.bincount(users)
    evaluated = lengths >= FEWEST_INTERACTIONS
    tied, by_item = (None, False) if timestamps is None else _ties(users, items, timestamps, evaluated)
    return DataReport(
        clients=int(clients.max()) + 1,
        users=len(lengths),
        items=n_items,
        interactions=len(users),
        used_items=len(np.unique(items)),
        density=len(users) / (len(lengths) * n_items),
        history_quantiles=tuple(np.quantile(lengths, _QUANTILES).tolist()),
        evaluated_users=int(evaluated.sum()),
        tied_users=tied,
        ties_by_item=by_item,
        small_clients=int((np.bincount(clients) < FEW_USERS).sum()),
        unevaluated_clients=int((np.bincount(clients, weights=evaluated) == 0).sum()),
        ratings=None if ratings is None else (float(ratings.min()), float(ratings.max())),
        times=None if timestamps is None else (int(timestamps.min()), int(timestamps.max())),
        times_like=None if timestamps is None else times_like(timestamps),
        repeats=repeats,
    )


def _ties(users: Ints, items: Ints, timestamps: Ints, evaluated: npt.NDArray[np.bool_]) -> tuple[int, bool]:
    """Return how many evaluated users end with a tie, and whether the tied rows are sorted by item."""
    last = np.full(len(evaluated), np.iinfo(np.int64).min)
    np.maximum.at(last, users, timestamps)
    ends = np.flatnonzero((timestamps == last[users]) & evaluated[users])
    ends = ends[np.argsort(users[ends], kind="stable")]
    owners, ordered = users[ends], items[ends]
    neighbours = owners[1:] == owners[:-1]
    ascending = (ordered[1:] > ordered[:-1])[neighbours]
    share = ascending.mean() if len(ascending) else 0.5
    is_sorted = len(ascending) >= _FEWEST_PAIRS and (share >= _SORTED or share <= 1 - _SORTED)
    return len(np.unique(owners[1:][neighbours])), bool(is_sorted)
