"""The data of several clients in one place, where pooling is allowed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np

from models.evaluation.ranking import Scores, ranking_metrics
from models.kernel.histories import Histories
from models.kernel.metric import Metric, total
from models.recommenders.lightfm.training import TrainingSet
from models.recommenders.rating.gibbs import RatedData
from models.recommenders.rating.ratings import Ratings
from tasks.clients.client_data import SiloData
from tasks.clients.evaluate import rank_cases


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

    def metrics(self, scores: Scores, split_name: str) -> dict[str, Metric]:
        """The sums over all clients' validation or test cases, by the scores of all users."""
        return total(
            ranking_metrics(rank_cases(silo, partial(_shifted, scores, first), split_name))
            for silo, first in zip(self.silos, _first_rows(self.silos), strict=False)
        )


def _first_rows(silos: Sequence[SiloData]) -> list[int]:
    """The pooled row of each client's first user, and after them the number of all users."""
    return [0, *np.cumsum([len(silo.user_ids) for silo in silos]).tolist()]


def _shifted(scores: Scores, first: int, users: np.ndarray) -> np.ndarray:
    """The scores of one client's users, whose pooled rows begin at `first`."""
    return scores(users + first)
