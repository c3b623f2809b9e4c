"""Cold-start protocols: items, users and silos that a model was not trained on.

Items and users are drawn from a seed that all clients share, so clients need not exchange what they hold out.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from models.errors import InvalidInput
from models.evaluation.protocols import HeldOut, Protocol
from models.kernel.histories import Histories
from models.kernel.seeds import generator_for

Mask = npt.NDArray[np.bool_]

NEW_ITEMS = Protocol(
    "new_items",
    "a random fifth of the items is in no training set and in no history; those that a user used are the "
    "test, ranked among the cold items (cold_*), and among all items but those of training",
    "Gantner et al. 2010, Learning Attribute-to-Feature Mappings for Cold-Start Recommendations",
)
NEW_USERS = Protocol(
    "new_users",
    "a random fifth of the users is in no training set; what they use after their first 20 items is the "
    "test, ranked among all items but these 20, of which the model gets the latest few",
    "strong generalisation, Marlin 2004, Collaborative Filtering: A Machine Learning Perspective",
)
NEW_SILOS = Protocol(
    "new_silos",
    "each silo in turn is in no training set; its users' latest interactions are the test, as in "
    "leave-one-out",
    "strong generalisation by silo",
)
COLD_STARTS = {each.name: each for each in (NEW_ITEMS, NEW_USERS, NEW_SILOS)}
KNOWN_ITEMS = 20
_PARTS = 5


def fifths(n: int, seed: int, *scope: str) -> npt.NDArray[np.int64]:
    """Return a random part from 0 to 4 for each of `n` items or users, (n,)."""
    return generator_for(seed, "cold start", *scope).integers(_PARTS, size=n)


def of_users(histories: Histories, chosen: Mask) -> Histories:
    """Return the histories of the `chosen` (users,) only."""
    lengths = np.diff(histories.starts)
    return _kept(histories, np.repeat(chosen, lengths), lengths[chosen])


def without_items(histories: Histories, hidden: Mask) -> Histories:
    """Return the histories without the `hidden` (items,)."""
    kept = ~hidden[histories.items]
    return _kept(histories, kept, np.bincount(_owners(histories)[kept], minlength=len(histories)))


def latest(histories: Histories, n: int) -> Histories:
    """Return the `n` latest items of each history, or all items of a shorter one."""
    return _kept(histories, histories.steps_back < n, np.minimum(np.diff(histories.starts), n))


def hold_out_items(histories: Histories, cold: Mask) -> HeldOut:
    """Hold the `cold` (items,) out of all histories."""
    cases = cold[histories.items]
    return _held_out(without_items(histories, cold), _owners(histories)[cases], histories.items[cases])


def hold_out_after(histories: Histories, first: int) -> HeldOut:
    """Hold out all items after the `first` ones of each history.

    Raises:
        InvalidInput: no history has more than `first` items.
    """
    owners, lengths = _owners(histories), np.diff(histories.starts)
    known = np.arange(len(owners)) - histories.starts[owners] < first
    if known.all():
        raise InvalidInput(f"No history is longer than {first} items, so there is nothing to hold out.")
    training = _kept(histories, known, np.minimum(lengths, first))
    return _held_out(training, owners[~known], histories.items[~known])


def _held_out(histories: Histories, users: npt.NDArray[np.int64], items: npt.NDArray[np.int64]) -> HeldOut:
    return HeldOut(histories, users, items, np.empty((len(users), 0), dtype=np.int32))


def _owners(histories: Histories) -> npt.NDArray[np.int64]:
    """Return the user of each interaction, (n,)."""
    return np.repeat(np.arange(len(histories), dtype=np.int64), np.diff(histories.starts))


def _kept(histories: Histories, kept: Mask, lengths: npt.NDArray[np.integer]) -> Histories:
    starts = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64)
    return Histories(histories.items[kept], starts, histories.n_items)
