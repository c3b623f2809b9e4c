"""What a family of recommenders is: a client half, a server half, and an answer.

A family says what a client contributes to a round, how the sum of it becomes the next model, what a model
answers to a user, and how good its answers are. Jobs, contracts, bundles and gates know nothing else.

`models.recommenders.families.registry` lists the families. A new one registers itself there.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, ClassVar, Protocol

import numpy as np
import numpy.typing as npt
import scipy.sparse as sp

from models.errors import InvalidInput
from models.evaluation.judgement import RANKINGS, Judgement
from models.evaluation.ranking import Scores, ndcg, ranking_metrics
from models.federation.merge import MergeRule
from models.federation.model import GlobalModel, ItemModel
from models.kernel.arrays import ArrayGroup
from models.kernel.histories import Histories, IntArray
from models.kernel.metric import Metric
from models.recommenders.base.data import HeldOutData, LocalData, Part
from models.recommenders.base.users import UserArrays
from models.recommenders.scoring.scorer import Scorer

# (items, features) of 0 and 1: what the catalogue says of each item. Worked out when it is called.
Features = Callable[[], sp.csr_matrix]


class FamilySpec(Protocol):
    """How a family is to be trained: a frozen dataclass whose fields all have defaults."""

    @property
    def family(self) -> str:
        """The family's name."""


@dataclass(frozen=True)
class Judged:
    """What a model is worth on a client's held-out cases.

    Attributes:
        metrics: sums over the cases.
        worth: (cases,), more is better: NDCG@10, or the squared error of a rating with its sign turned.
    """

    metrics: dict[str, Metric]
    worth: npt.NDArray[np.float64]


@dataclass(frozen=True)
class Family(ABC):
    """How clients train, how the server merges, and how a model of it answers.

    The methods that answer are class methods: a stored version names its model, and no spec. Families whose
    models are of one type share them.

    Attributes:
        spec: how to train.
        spec_type: the class of its specs. The default of the field `family` is the family's name.
        model_type: the class of its models.
        contribution_types: the classes of what a client contributes; the rounds of a job may differ.
        scorer_type: the class of its scorers.
        keeps_users: whether a client keeps trained users between rounds.
        is_iterative: whether a round goes on from the model before it. A job of the others has no use for
            another job's model.
        is_additive: whether contributions are sums over users, so that federated training is training on the
            pooled data, up to rounding.
        judgement: the metrics that judge its models.
    """

    spec_type: ClassVar[type[FamilySpec]]
    model_type: ClassVar[type[ItemModel]]
    contribution_types: ClassVar[tuple[type[ArrayGroup], ...]]
    scorer_type: ClassVar[type[Scorer]]
    keeps_users: ClassVar[bool] = False
    is_iterative: ClassVar[bool] = True
    is_additive: ClassVar[bool] = False
    judgement: ClassVar[Judgement] = RANKINGS

    spec: FamilySpec

    @classmethod
    def name(cls) -> str:
        """Return the family's name."""
        return str(cls.spec_type.family)

    @property
    def answers_by_history(self) -> bool:
        """Whether all users are answered by their histories alone, also those that were trained."""
        return True

    def with_features(self, features: Features) -> Family:
        """Return the family with what the catalogue says of the items; most have no use for it."""
        return self

    def with_features_of(self, items: ItemModel) -> Family:
        """Return the family with what a model of the job knows of the items; most have no use for it."""
        return self

    @abstractmethod
    def initial(self, n_items: int, seed: int) -> ItemModel:
        """Return the model of round 0."""

    def initial_users(self, n_users: int, *, seed: int, client_id: str) -> UserArrays:
        """Return the users of a client that has not trained yet.

        Raises:
            InvalidInput: the family keeps no users.
        """
        raise InvalidInput(f"The family {self.name()!r} keeps no users.")

    @abstractmethod
    def rule(self, done: float = 0.0, seed: int = 0) -> MergeRule[Any, Any]:
        """Return the server half of a round.

        Args:
            done: share of the training that is done before it, in [0, 1).
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
        """Return the client half: the contribution to a round (float32), and the users where they are kept.

        Raises:
            DivergedUpdate: a trained value is NaN or infinite.
            InvalidInput: the base model is another family's.
        """

    def trained_alone(
        self, data: LocalData, *, rounds: int, seed: int, client_id: str
    ) -> tuple[ItemModel, UserArrays | None]:
        """Return what the family learns from these data alone: by default the rounds of one client."""
        base = GlobalModel(0, "", self.initial(data.histories.n_items, seed))
        users = None
        for done in range(rounds):
            part, users = self.train(base.items, users, data, seed=seed, round_=done + 1, client_id=client_id)
            rule = self.rule(done / rounds, seed)
            base = rule.finish(rule.empty(base).plus(client_id, rule.contribution(part)), base)
        return base.items, users

    @classmethod
    @abstractmethod
    def scorer(cls, items: ItemModel, features: Features | None = None) -> Scorer:
        """Return what answers histories by a model.

        Args:
            items: the model.
            features: place the items that nobody trained on; None leaves them where they are.

        Raises:
            InvalidInput: the model is another family's.
        """

    @classmethod
    def history_scores(cls, items: ItemModel, histories: Histories) -> Scores:
        """Return what a model answers to users of whom nothing but the history is known.

        By default the scorer answers one history after another.

        Raises:
            InvalidInput: the model is another family's.
        """
        scorer = cls.scorer(items)

        def scores(users: IntArray) -> npt.NDArray[np.floating]:
            bounds = zip(histories.starts[users], histories.starts[users + 1], strict=True)
            return np.stack(
                [scorer.score(histories.items[first:last].tolist()).scores for first, last in bounds]
            )

        return scores

    def scores(self, items: ItemModel, users: UserArrays | None, data: LocalData) -> Scores:
        """Return what a model answers to a client's users; without `users`, by their histories."""
        return self.history_scores(items, data.histories)

    def judge(self, items: ItemModel, users: UserArrays | None, data: HeldOutData, part: Part) -> Judged:
        """Return what a model is worth on one part of a client's held-out cases."""
        ranks = data.ranks(self.scores(items, users, data), part)
        return Judged(ranking_metrics(ranks), ndcg(ranks.full, 10))
