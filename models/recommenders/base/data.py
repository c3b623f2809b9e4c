"""What a client's data look like to a family: for training, and for judging it."""

from __future__ import annotations

from typing import Literal, Protocol

from models.evaluation.ranking import HeldOutRanks, Scores
from models.kernel.histories import Histories
from models.recommenders.base.ratings import RatedData, Ratings
from models.recommenders.base.training_set import TrainingSet

# Choices look at validation cases; the figures that are reported come from test cases.
Part = Literal["validation", "test"]


class LocalData(Protocol):
    """What a client trains on, in the forms that families read."""

    @property
    def training(self) -> TrainingSet:
        """The training positives."""

    @property
    def histories(self) -> Histories:
        """The same, user by user and oldest first."""

    @property
    def rated(self) -> RatedData:
        """The training ratings.

        Raises:
            InvalidInput: the data have no ratings.
        """


class HeldOutData(LocalData, Protocol):
    """What a client trains on, and the cases that are kept from it."""

    def ranks(self, scores: Scores, part: Part) -> HeldOutRanks:
        """Return the ranks of the held-out interactions by the scores of the client's users."""

    def held_out_ratings(self, part: Part) -> Ratings:
        """Return the held-out ratings.

        Raises:
            InvalidInput: the data have no ratings.
        """
