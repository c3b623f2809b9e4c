"""The interface of a client's data for families: for training and for evaluation."""

from __future__ import annotations

from typing import Literal, Protocol

from models.evaluation.ranking import HeldOutRanks, Scores
from models.kernel.histories import Histories
from models.recommenders.base.ratings import RatedData, Ratings
from models.recommenders.base.training_set import TrainingSet

# Choices use validation cases. Reported metrics come from test cases.
Part = Literal["validation", "test"]


class LocalData(Protocol):
    """A client's training data, in the forms that families read."""

    @property
    def training(self) -> TrainingSet:
        """Return the training positives as a sparse matrix."""

    @property
    def histories(self) -> Histories:
        """Return the training positives user by user, oldest first."""

    @property
    def rated(self) -> RatedData:
        """Return the training ratings.

        Raises:
            InvalidInput: the data have no ratings.
        """


class HeldOutData(LocalData, Protocol):
    """A client's training data and held-out cases."""

    def ranks(self, scores: Scores, part: Part) -> HeldOutRanks:
        """Return the ranks of the held-out interactions by the scores of the client's users."""

    def held_out_ratings(self, part: Part) -> Ratings:
        """Return the held-out ratings.

        Raises:
            InvalidInput: the data have no ratings.
        """
