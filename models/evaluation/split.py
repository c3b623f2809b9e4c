"""Leave-one-out without leaks: the held-out interactions and the items that they are ranked against."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields

import numpy as np
import numpy.typing as npt

from models.errors import InvalidInput
from models.kernel.seeds import seed_for
from models.kernel.splitmix import GOLDEN, Keys, mix
from models.kernel.streams import uniforms, user_keys

IntArray = npt.NDArray[np.integer]
Rows = npt.NDArray[np.int32]

# One interaction to test on, one to validate on, and at least one to learn from.
FEWEST_INTERACTIONS = 3
PADDING = -1
_CASES_AT_ONCE = 4096


@dataclass(frozen=True)
class Split:
    """A client's interactions in three disjoint parts. The arrays are int32 and read-only.

    Attributes:
        train_users, train_items: (n_train,), the training interactions, sorted by user, then item.
        train_places: (n_train,), position of each in its user's history, 0 for the earliest.
        validation_users, validation_items: (n_cases,), one case per user, sorted by user; for choices.
        test_users, test_items: (n_cases,), one case for each of the same users; for reported figures.
    """

    train_users: Rows
    train_items: Rows
    train_places: Rows
    validation_users: Rows
    validation_items: Rows
    test_users: Rows
    test_items: Rows

    def __post_init__(self) -> None:
        for field in fields(self):
            getattr(self, field.name).flags.writeable = False


def split_leave_one_out(
    users: IntArray,
    items: IntArray,
    timestamps: IntArray | None,
    n_users: int,
    seed: int,
    numbers: Keys | None = None,
) -> Split:
    """Split interactions: each user's latest is the test case, the second latest is validation.

    All other interactions are for training. Among a user's interactions with equal timestamps, the later row
    is the later interaction; otherwise the order of the rows does not matter. Without timestamps, each user's
    order is a random permutation that depends only on the seed, the user's number and its own rows. Users
    with fewer than three interactions have all of them in training and are not evaluated.

    Args:
        users: (n,), user rows.
        items: (n,), item rows.
        timestamps: (n,), any unit, or None if the data have none.
        n_users: number of users of the client.
        seed: the split's seed; used only without timestamps.
        numbers: (n_users,), the number of each user; None for its row, which changes with other users.

    Raises:
        InvalidInput: `user_order` raises it.
    """
    order = user_order(users, items, timestamps, n_users, seed, numbers)
    counts = np.bincount(users, minlength=n_users)
    owner = users[order]
    steps_from_last = np.cumsum(counts)[owner] - 1 - np.arange(len(order))
    evaluated = counts[owner] >= FEWEST_INTERACTIONS
    test = order[evaluated & (steps_from_last == 0)]
    validation = order[evaluated & (steps_from_last == 1)]
    train = order[~evaluated | (steps_from_last > 1)]
    train = train[np.lexsort((items[train], users[train]))]
    places = np.empty(len(order), dtype=np.int32)
    places[order] = counts[owner] - 1 - steps_from_last
    held_out = (column[rows] for rows in (validation, test) for column in (users, items))
    columns = (users[train], items[train], places[train], *held_out)
    return Split(*(column.astype(np.int32) for column in columns))


def user_order(
    users: IntArray,
    items: IntArray,
    timestamps: IntArray | None,
    n_users: int,
    seed: int,
    numbers: Keys | None = None,
) -> npt.NDArray[np.int64]:
    """Return the rows sorted by user and then by time, (n,). Without timestamps a user's order is random.

    The arguments are those of `split_leave_one_out`.

    Raises:
        InvalidInput: the arrays differ in length, a user row is out of range, or a pair occurs twice. If one
            copy of a pair were held out, the other copy would leak it into training.
    """
    _require_pairs(users, items, n_users)
    least, most = int(items.min(initial=0)), int(items.max(initial=0))
    pairs = np.sort(users.astype(np.int64) * (most - least + 1) + (items - least))
    repeated = pairs[1:][pairs[1:] == pairs[:-1]]
    if len(repeated):
        user, item = divmod(int(repeated[0]), most - least + 1)
        raise InvalidInput(
            f"User row {user} and item row {item + least} occur together more than once; if one "
            "copy were held out, the other would leak it into training.",
            next_step="Keep one interaction of each user with each item.",
        )
    if timestamps is None:
        return np.lexsort((items, pair_keys(_numbers_of(users, numbers), items, seed), users))
    if len(timestamps) != len(users):
        raise InvalidInput(f"Got {len(timestamps)} timestamps for {len(users)} interactions.")
    return np.lexsort((timestamps, users))


def places_within(users: IntArray, order: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
    """Return the position of each row among its user's rows, (n,); 0 for the first in `order`.

    Args:
        users: (n,), the user of each row.
        order: (n,), the rows sorted by user.
    """
    counts = np.bincount(users)
    places = np.empty(len(order), dtype=np.int64)
    places[order] = np.arange(len(order)) - (np.cumsum(counts) - counts)[users[order]]
    return places


def sampled_users(user_ids: Sequence[str], share: float, seed: int) -> npt.NDArray[np.bool_]:
    """Return (users,): whether each user is in a random sample of about this share of all users.

    It depends on the user's id alone, so a user is in it wherever the user's data are. A sample of a larger
    share contains it.

    Args:
        user_ids: the users.
        share: share of the users, in (0, 1].
        seed: of the sample.
    """
    if share >= 1.0:
        return np.ones(len(user_ids), dtype=np.bool_)
    drawn = uniforms(user_keys(seed, "evaluated users", user_ids), 0, 1)[:, 0]
    return np.asarray(drawn < share)


def user_numbers(user_ids: Sequence[str], seed: int) -> Keys:
    """Return a number for each user that depends on its id alone, (users,), for splits and negatives.

    With these, one user more or less changes nothing that others hold out. Privacy needs that: noise hides
    what one user changes, and no more.
    """
    return user_keys(seed, "held out", user_ids)


def sample_negatives(
    case_users: IntArray,
    users: IntArray,
    items: IntArray,
    n_items: int,
    *,
    n: int = 99,
    seed: int,
    client_id: str,
    split_name: str,
    numbers: Keys | None = None,
) -> Rows:
    """Draw items that each case's user never used, (n_cases, n), uniformly and without replacement.

    If a user has fewer than `n` such items, the case gets all of them and -1 in the remaining columns. A
    case's items depend on seed, client, split name, the user's number and the user's own items, not on other
    users.

    Args:
        case_users: (n_cases,), the user row of each case; at most one case per user.
        users: (n,), user rows of *all* interactions: training, validation and test.
        items: (n,), item rows of the same interactions.
        n_items: number of items of the catalogue.
        n: number of negatives per case.
        seed: the job's seed.
        client_id: the client that the users belong to.
        split_name: "validation" or "test", which draw separately.
        numbers: (users,), the number of each user; None for its row, which changes with other users.

    Raises:
        InvalidInput: the arrays differ in length, or a row is out of range.
    """
    n_users = int(max(users.max(initial=-1), case_users.max(initial=-1))) + 1
    _require_pairs(users, items, n_users)
    if len(items) and not 0 <= items.min() <= items.max() < n_items:
        raise InvalidInput(f"Item rows range from {items.min()} to {items.max()}, expected 0..{n_items - 1}.")
    gaps = _Gaps.of(users, items, n_users, n_items)
    base = np.uint64(seed_for(seed, "negatives", client_id, split_name))
    drawn = np.empty((len(case_users), n), dtype=np.int32)
    for start in range(0, len(case_users), _CASES_AT_ONCE):
        part = case_users[start : start + _CASES_AT_ONCE].astype(np.int64)
        keys = mix(base + GOLDEN * (_numbers_of(part, numbers) + np.uint64(1)))
        positions = _draw_positions(keys, n_items - gaps.counts[part], n)
        drawn[start : start + _CASES_AT_ONCE] = gaps.items_at(part, positions)
    return drawn


@dataclass(frozen=True)
class _Gaps:
    """The items that each user never used, addressed by position without listing them.

    With a user's used items u_0 < u_1 < ..., the unused item at position p is p plus the number of j with
    u_j - j <= p.
    """

    counts: npt.NDArray[np.int64]
    first: npt.NDArray[np.int64]
    thresholds: npt.NDArray[np.int64]
    stride: int

    @classmethod
    def of(cls, users: IntArray, items: IntArray, n_users: int, n_items: int) -> _Gaps:
        stride = n_items + 1
        used = np.unique(users.astype(np.int64) * stride + items)
        counts = np.bincount(used // stride, minlength=n_users)
        first = np.cumsum(counts) - counts
        # One ascending array holds the thresholds of all users: a user's values start at user * stride.
        thresholds = used - (np.arange(len(used)) - np.repeat(first, counts))
        return cls(counts, first, thresholds, stride)

    def items_at(self, users: npt.NDArray[np.int64], positions: npt.NDArray[np.int64]) -> Rows:
        """Return the items at (cases, n) positions of the (cases,) users; padding stays padding."""
        place = users[:, np.newaxis] * self.stride + positions
        below = np.searchsorted(self.thresholds, place, side="right") - self.first[users, np.newaxis]
        return np.where(positions == PADDING, PADDING, positions + below).astype(np.int32)


def _draw_positions(keys: Keys, sizes: npt.NDArray[np.int64], n: int) -> npt.NDArray[np.int64]:
    """Draw distinct uniform numbers below each case's size, (cases, n) (Floyd's algorithm; Bentley 1987).

    With j = size - n + k, step k of n draws a random t in 0..j, and takes j instead if t is already taken. A
    number is taken if an earlier step drew it, or if it is the j of an earlier step that took its j. If a
    size is below n, j is negative in the first steps, which become the padding of the last columns.
    """
    steps = np.arange(n)
    lasts = (sizes - n)[:, np.newaxis] + steps
    counters = GOLDEN * np.arange(1, n + 1, dtype=np.uint64)
    uniform = (mix(keys[:, np.newaxis] + counters) >> np.uint64(11)) * 2.0**-53
    # Steps without a number to draw get different negative ones, so that none of them is drawn twice.
    drawn = np.where(lasts < 0, PADDING - steps, (uniform * (lasts + 1)).astype(np.int64))
    order = np.argsort(drawn, axis=1, kind="stable")
    ordered = np.take_along_axis(drawn, order, axis=1)
    again = np.zeros(drawn.shape, dtype=np.bool_)
    np.put_along_axis(again, order[:, 1:], ordered[:, 1:] == ordered[:, :-1], axis=1)
    # The step whose j is the number drawn. Each step depends on an earlier one, so the loop ends.
    of_step = drawn - (sizes - n)[:, np.newaxis]
    is_earlier = (of_step >= 0) & (of_step < steps)
    of_step = np.where(is_earlier, of_step, 0)
    taken, before = again, None
    while before is None or (taken != before).any():
        taken, before = again | (is_earlier & np.take_along_axis(taken, of_step, axis=1)), taken
    found: npt.NDArray[np.int64] = np.where(lasts < 0, PADDING, np.where(taken, lasts, drawn))
    return found[:, ::-1]


def pair_keys(users: IntArray, items: IntArray, seed: int) -> Keys:
    """Return a random number for each (user, item) pair, (n,), independent of all other pairs."""
    base = np.uint64(seed_for(seed, "leave_one_out"))
    user_keys = mix(base + GOLDEN * (users.astype(np.uint64) + np.uint64(1)))
    return mix(user_keys + GOLDEN * (items.astype(np.uint64) + np.uint64(1)))


def _numbers_of(users: IntArray, numbers: Keys | None) -> Keys:
    return users.astype(np.uint64) if numbers is None else numbers[users]


def _require_pairs(users: IntArray, items: IntArray, n_users: int) -> None:
    if len(users) != len(items):
        raise InvalidInput(f"Got {len(items)} item rows for {len(users)} user rows.")
    if len(users) and not 0 <= users.min() <= users.max() < n_users:
        raise InvalidInput(f"User rows range from {users.min()} to {users.max()}, expected 0..{n_users - 1}.")
