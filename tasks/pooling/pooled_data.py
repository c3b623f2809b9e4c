"""The data of several clients in one place, if pooling is allowed."""

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
from tasks.clients.silo_data import SiloData


@dataclass(frozen=True)
class PooledSilos:
    """The training data of all users, with the clients' user rows one after the other.

    Attributes:
        silos: the clients.
        training, histories: the data of all users, in the two forms that families read.
    """

    silos: tuple[SiloData, ...]
    training: TrainingSet
    histories: Histories

    @classmethod
    def of(cls, silos: Sequence[SiloData]) -> PooledSilos:
        """Return the pooled data of these clients."""
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
        """Return the training ratings of all users.

        Raises:
            InvalidInput: a client has no ratings.
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
        """Return the metrics of a model of the pooled data, as sums over all clients' held-out cases.

        Args:
            family: the model's family.
            items: the model.
            users: the users of all clients; None if the family keeps no users.
            part: validation or test cases.
        """
        bounds = pairwise(_first_rows(self.silos))
        return total(
            family.judge(items, None if users is None else users.rows(first, last), silo, part).metrics
            for silo, (first, last) in zip(self.silos, bounds, strict=True)
        )


def _first_rows(silos: Sequence[SiloData]) -> list[int]:
    """Return the pooled row of each client's first user, followed by the number of all users."""
    return [0, *np.cumsum([len(silo.user_ids) for silo in silos]).tolist()]
