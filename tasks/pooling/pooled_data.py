"""The data of several clients in one place, where pooling is allowed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from models.federation.model import ItemModel
from models.kernel.histories import Histories
from models.kernel.metric import Metric, total
from models.recommenders.base.data import Part
from models.recommenders.base.family import Family
from models.recommenders.base.ratings import RatedData, Ratings
from models.recommenders.base.training_set import TrainingSet
from models.recommenders.base.users import UserArrays
from tasks.clients.client_data import SiloData


@dataclass(frozen=True)
class PooledSilos:
    """All users' training data, the users of one client below those of the one before.

    Attributes:
        silos: the clients.
        training, histories: of all users, in the two forms that families read.
    """

    silos: tuple[SiloData, ...]
    training: TrainingSet
    histories: Histories

    @classmethod
    def of(cls, silos: Sequence[SiloData]) -> PooledSilos:
        """These clients' data together."""
        rows = _first_rows(silos)
        users = np.concatenate(
            [silo.split.train_users + first for silo, first in zip(silos, rows, strict=False)]
        )
        items = np.concatenate([silo.split.train_items for silo in silos])
        histories = Histories.pooled([silo.histories for silo in silos])
        training = TrainingSet(users, items, (len(histories), histories.n_items))
        return cls(tuple(silos), training, histories)

    @property
    def rated(self) -> RatedData:
        """The training ratings of all users.

        Raises:
            InvalidInput: a client has none.
        """
        parts = [silo.rated for silo in self.silos]
        users = [
            part.ratings.users + first for part, first in zip(parts, _first_rows(self.silos), strict=False)
        ]
        ratings = Ratings.of(
            np.concatenate(users),
            np.concatenate([part.ratings.items for part in parts]),
            np.concatenate([part.ratings.values for part in parts]),
            (len(self.histories), self.histories.n_items),
        )
        return RatedData(ratings, tuple(user_id for part in parts for user_id in part.user_ids))

    def judged(
        self, family: Family, items: ItemModel, users: UserArrays | None, part: Part
    ) -> dict[str, Metric]:
        """Return the sums over all clients' held-out cases of what a model of the pooled data is worth.

        Args:
            family: the model's.
            items: the model.
            users: of all clients, where the family keeps users.
            part: which cases.
        """
        bounds = pairwise(_first_rows(self.silos))
        return total(
            family.judge(items, None if users is None else users.rows(first, last), silo, part).metrics
            for silo, (first, last) in zip(self.silos, bounds, strict=True)
        )


def _first_rows(silos: Sequence[SiloData]) -> list[int]:
    """The pooled row of each client's first user, and after them the number of all users."""
    return [0, *np.cumsum([len(silo.user_ids) for silo in silos]).tolist()]
