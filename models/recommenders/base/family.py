"""The interface of a family of recommenders: a client half, a server half, and scoring.

A family defines a client's contribution to a round, how the sum of contributions becomes the next model, how
a model scores items for a user, and how good the scores are. Jobs, contracts, bundles and gates use nothing
else.

`models.recommenders.families.registry` lists the families. A new family registers itself there.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Protocol, TypeAlias

import numpy as np
import numpy.typing as npt

from models.errors import InvalidInput
from models.evaluation.judgement import RANKINGS, Judgement
from models.evaluation.ranking import Scores, ndcg, ranking_metrics
from models.federation.contribution import Contribution
from models.federation.error_feedback import Rounding
from models.federation.merge import MergeRule
from models.federation.model import GlobalModel, ItemModel
from models.kernel.arrays import ArrayGroup
from models.kernel.histories import Histories, IntArray
from models.kernel.metric import Metric
from models.kernel.packed import PackedArrays
from models.privacy.noise_plan import NoisePlan
from models.recommenders.base.data import HeldOutData, LocalData, Part
from models.recommenders.base.users import UserArrays
from models.recommenders.items.features import ItemFeatures
from models.recommenders.scoring.scorer import Scorer

if TYPE_CHECKING:
    import scipy.sparse as sp

# (items, features) of 0 and 1: the catalogue's features of each item. Computed when called.
Features: TypeAlias = "Callable[[], sp.csr_matrix]"
# The catalogue's features by column. Computed when called.
CatalogFeatures: TypeAlias = "Callable[[], ItemFeatures]"


class FamilySpec(Protocol):
    """The settings of a family: a frozen dataclass whose fields all have defaults."""

    @property
    def family(self) -> str:
        """Return the family's name."""


@dataclass(frozen=True)
class LocalRound:
    """Identifies one client's training in one round. All of its randomness follows from this.

    Attributes:
        client_id: the client.
        round: number of the model that the round makes.
        seed: the job's seed.
    """

    client_id: str
    round: int
    seed: int


@dataclass(frozen=True)
class Judged:
    """The metrics of a model on a client's held-out cases.

    Attributes:
        metrics: sums over the cases.
        worth: (cases,), higher is better: NDCG@10, or the negative squared error of a rating.
    """

    metrics: dict[str, Metric]
    worth: npt.NDArray[np.float64]


@dataclass(frozen=True)
class Family(ABC):
    """A family: how clients train, how the server merges, and how a model scores.

    The scoring methods are class methods, because a stored version has a model and no spec. Families with the
    same type of model share them.

    Attributes:
        spec: the settings.
        spec_type: the class of its specs. The default of the field `family` is the family's name.
        model_type: the class of its models.
        contribution_types: the classes of a client's contributions. They may differ between rounds of a job.
        scorer_type: the class of its scorers.
        keeps_users: whether a client keeps trained users between rounds.
        is_iterative: whether a round continues from the previous model. If not, a job cannot use the model of
            an earlier job.
        is_additive: whether contributions are sums over users, so that federated training equals training on
            the pooled data, up to rounding.
        judgement: the metrics that judge its models.
        bounding: settings with which it bounds each user's part, if it does not by default. Privacy needs
            them (`unit_noise`).
    """

    spec_type: ClassVar[type[FamilySpec]]
    model_type: ClassVar[type[ItemModel]]
    contribution_types: ClassVar[tuple[type[ArrayGroup], ...]]
    scorer_type: ClassVar[type[Scorer]]
    keeps_users: ClassVar[bool] = False
    is_iterative: ClassVar[bool] = True
    is_additive: ClassVar[bool] = False
    judgement: ClassVar[Judgement] = RANKINGS
    bounding: ClassVar[Mapping[str, Any]] = {}

    spec: FamilySpec

    @classmethod
    def name(cls) -> str:
        """Return the family's name."""
        return str(cls.spec_type.family)

    @property
    def answers_by_history(self) -> bool:
        """Return whether all users are served from their histories alone, even trained users."""
        return True

    def planned(self, given: Collection[str]) -> tuple[FamilySpec, int] | None:
        """Return the settings and the number of merges of a fresh job that leaves its rounds to the family.

        Most families have no plan and return None.

        Args:
            given: names of the settings that the job decides itself.
        """
        return None

    def check_rounds(self, rounds: int) -> None:  # noqa: B027 - most families have no such setting
        """Raise `InvalidConfig` if a setting has no effect in a job of `rounds` merges; `key` names it."""

    def unit_noise(self, round_: int) -> Mapping[str, float] | None:
        """Return how much noise hides one user in the sum of a round: array name -> standard deviation.

        The deviations are those of a noise multiplier of 1, in the units of each array. All rounds of a job
        together then cost as much privacy as one Gaussian mechanism of this multiplier. Most families do not
        bound a user's part in a contribution and return None: no noise can hide their users.

        Args:
            round_: number of the round, from 1 on.
        """
        return None

    def pair_bytes(self, clients_at_once: int) -> int:
        """Return the bytes that a job's process takes for each pair of items at its peak; 0 without pairs.

        Args:
            clients_at_once: number of clients that the process trains at once.
        """
        return 0

    def with_features(self, features: CatalogFeatures) -> Family:
        """Return the family with the catalogue's item features. Most families ignore them."""
        return self

    def with_features_of(self, items: ItemModel) -> Family:
        """Return the family with the item features in a model of the job. Most families ignore them."""
        return self

    def with_noise(self, noise: NoisePlan) -> Family:
        """Return the family of a job whose clients add this noise. Most families ignore it."""
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
            done: share of the training before this round, in [0, 1).
            seed: the job's seed, for families whose server draws at random.
        """

    def shared_rounds(self, rounds: int, more: int, seed: int = 0) -> int:
        """Return the number of first rounds that are the same in jobs of `rounds` and of `more` merges.

        The length of a job reaches a round only through `rule`. So the rounds before the first one with
        another rule are the same. Rules that do not compare as equal count as others, which is always safe.
        """
        fewest = min(rounds, more)
        return next(
            (
                done
                for done in range(fewest)
                if not _are_equal(self.rule(done / rounds, seed), self.rule(done / more, seed))
            ),
            fewest,
        )

    @abstractmethod
    def train(
        self, base: ItemModel, users: UserArrays | None, data: LocalData, at: LocalRound
    ) -> tuple[ArrayGroup | PackedArrays[Any], UserArrays | None]:
        """Return the client half of a round: the contribution (float32), and the users if they are kept.

        Raises:
            DivergedUpdate: a trained value is NaN or infinite.
            InvalidInput: the base model is from another family.
        """

    @property
    def feeds_back(self) -> bool:
        """Return whether a client keeps what its updates leave out, and adds it to later ones."""
        return False

    def sent(
        self,
        contribution: Contribution[Any],
        residual: ArrayGroup | None,
        rounding: Rounding[Any],
    ) -> tuple[Contribution[Any], ArrayGroup | None]:
        """Return what leaves the client, and what it keeps as its residual: by default nothing.

        Args:
            contribution: of the round, after all postprocessors.
            residual: what earlier rounds kept; None before the first one.
            rounding: rounds a contribution to the job's ranges.
        """
        return rounding(contribution), None

    def trained_alone(
        self, data: LocalData, *, rounds: int, seed: int, client_id: str
    ) -> tuple[ItemModel, UserArrays | None]:
        """Return a model of these data alone, by default trained in the rounds of a single client."""
        base = GlobalModel(0, "", self.initial(data.histories.n_items, seed))
        users = None
        for done in range(rounds):
            part, users = self.train(base.items, users, data, LocalRound(client_id, done + 1, seed))
            rule = self.rule(done / rounds, seed)
            state = rule.summation(base)
            state.add(client_id, rule.rounded(rule.contribution(part)))
            base = rule.finish(state.result(), base)
        return base.items, users

    @classmethod
    @abstractmethod
    def scorer(cls, items: ItemModel, features: Features | None = None) -> Scorer:
        """Return a scorer of histories for a model.

        Args:
            items: the model.
            features: item features by which untrained items are placed; None leaves them as they are.

        Raises:
            InvalidInput: the model is another family's.
        """

    @classmethod
    def history_scores(cls, items: ItemModel, histories: Histories) -> Scores:
        """Return the scores of a model for users of whom only the history is known.

        By default the scorer scores one history after another.

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
        """Return the scores of a model for a client's users; without `users`, from their histories."""
        return self.history_scores(items, data.histories)

    def judge(self, items: ItemModel, users: UserArrays | None, data: HeldOutData, part: Part) -> Judged:
        """Return the metrics of a model on one part of a client's held-out cases."""
        ranks = data.ranks(self.scores(items, users, data), part)
        return Judged(ranking_metrics(ranks), ndcg(ranks.full, 10))


def _are_equal(rule: MergeRule[Any, Any], other: MergeRule[Any, Any]) -> bool:
    try:
        return bool(rule == other)
    except ValueError:  # a dataclass with an array as a field does not compare
        return False
