"""What a family of recommenders is: a client half, a server half, and an answer.

A family says what a client contributes to a round, how the sum of it becomes the next model, and what a model
answers to a user. Jobs, contracts, registry and gates know no more of it than this interface.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any, ClassVar, Protocol

import numpy as np
import numpy.typing as npt

from models.evaluation.ranking import Scores, product_scores
from models.federation.merge import MergeRule
from models.federation.model import ItemArrays, ItemModel, require
from models.kernel.arrays import ArrayGroup
from models.kernel.histories import Histories
from models.recommenders.additive import ials
from models.recommenders.items.item_factors import ItemFactors
from models.recommenders.items.item_weights import ItemWeights, remembered
from models.recommenders.lightfm.training import TrainingSet, UserArrays
from models.recommenders.rating.gibbs import RatedData
from models.recommenders.scoring.fold_in import ItemSide, fold_in


class LocalData(Protocol):
    """What a client trains on, in the two forms that families read."""

    @property
    def training(self) -> TrainingSet:
        """The training positives."""

    @property
    def histories(self) -> Histories:
        """The same, user by user and oldest first."""

    @property
    def rated(self) -> RatedData:
        """The training ratings, where the data have any.

        Raises:
            InvalidInput: they have none.
        """


class Family(ABC):
    """How clients train and how the server merges.

    Attributes:
        keeps_users: whether a client keeps trained users between rounds.
    """

    keeps_users: ClassVar[bool] = False

    @property
    def answers_by_history(self) -> bool:
        """Whether all users are answered by their histories alone, also those that were trained."""
        return True

    @abstractmethod
    def initial(self, n_items: int, seed: int) -> ItemModel:
        """The model of round 0."""

    @abstractmethod
    def rule(self, done: float = 0.0, seed: int = 0) -> MergeRule[Any, Any]:
        """The server half of a round.

        Args:
            done: how much of the training is done before it, in [0, 1).
            seed: the job's, for families whose server draws at random.
        """

    @abstractmethod
    def train(
        self,
        base: ItemModel,
        users: UserArrays | None,
        data: LocalData,
        *,
        seed: int,
        round_: int,
        client_id: str,
    ) -> tuple[ArrayGroup, UserArrays | None]:
        """The client half: the contribution to a round (float32), and the users where they are kept.

        Raises:
            DivergedUpdate: a trained value is NaN or infinite.
            InvalidInput: the base model is another family's.
        """

    @abstractmethod
    def trained_alone(
        self, data: LocalData, *, rounds: int, seed: int, client_id: str
    ) -> tuple[ItemModel, UserArrays | None]:
        """What the family learns from these data alone, without any federation, in as much training."""

    def alone(self, data: LocalData, *, rounds: int, seed: int, client_id: str) -> Scores:
        """What is answered by what is learned from these data alone."""
        items, users = self.trained_alone(data, rounds=rounds, seed=seed, client_id=client_id)
        return self.scores(items, users, data)

    def scores(self, items: ItemModel, users: UserArrays | None, data: LocalData) -> Scores:
        """What a model answers to a client's users; to users that were never trained, by their histories."""
        return history_scores(items, data.histories)


def history_scores(items: ItemModel, histories: Histories) -> Scores:
    """What a model answers to users of whom nothing but the history is known.

    Raises:
        InvalidInput: nobody knows how this kind of model answers.
    """
    match items:
        case ItemWeights():
            return _remembering(items, histories)
        case ItemFactors():
            return product_scores(ials.user_embeddings(items, histories), items.embeddings, items.item_biases)
        case _:
            arrays = require(items, ItemArrays)
            side = ItemSide.of(arrays.embeddings, arrays.biases)
            users = np.stack([fold_in(used, side).vector for used in histories])
            return product_scores(users, side.embeddings, side.biases)


def _remembering(model: ItemWeights, histories: Histories) -> Scores:
    """What users' histories speak for, summed over the memories."""

    def scores(users: npt.NDArray[np.integer]) -> npt.NDArray[np.float64]:
        found = np.zeros((len(users), histories.n_items))
        for weights, forgetting in zip(model.weights, model.forgetting.tolist(), strict=True):
            memory = histories.matrix(remembered(histories.steps_back, forgetting))
            found += memory[users] @ weights.astype(np.float64)
        return found

    return scores
