"""The families of recommenders that a federation can train."""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import dataclass
from typing import Any, ClassVar, Generic, TypeVar

import numpy as np
import numpy.typing as npt

from models.errors import InvalidInput
from models.evaluation.ranking import Scores, product_scores
from models.federation.contribution import Contribution, RunningSum
from models.federation.merge import MergeRule
from models.federation.model import GlobalModel, ItemArrays, ItemModel, require
from models.kernel.arrays import ArrayGroup
from models.kernel.histories import Histories
from models.recommenders.additive import blend, ease, ials, next_item
from models.recommenders.families.family import Family, LocalData
from models.recommenders.families.specs import AdditiveSpec, FamilySpec
from models.recommenders.items.item_factors import ItemFactors
from models.recommenders.items.item_weights import ItemWeights
from models.recommenders.lightfm.delta_rules import DeltaRule
from models.recommenders.lightfm.merge_rules import merge_rule
from models.recommenders.lightfm.spec import LightFMSpec, cooled_down
from models.recommenders.lightfm.training import (
    UserArrays,
    initial_items,
    train_alone,
    train_round,
)
from models.recommenders.rating import gibbs as rating_family
from models.recommenders.rating.gibbs import RatingRule
from models.recommenders.rating.model import RatingModel
from models.recommenders.rating.spec import RatingSpec


@dataclass(frozen=True)
class LightFMFamily(Family):
    """LightFM, whose users are trained with the items and stay with their client.

    Attributes:
        spec: how a client trains, and how the server merges.
    """

    keeps_users: ClassVar[bool] = True

    spec: LightFMSpec

    @property
    def answers_by_history(self) -> bool:
        return self.spec.user_vectors == "folded_in"

    def initial(self, n_items: int, seed: int) -> ItemArrays:
        return initial_items(n_items, self.spec.dims, seed)

    def rule(self, done: float = 0.0, seed: int = 0) -> DeltaRule:
        rate = cooled_down(self.spec.server_learning_rate, self.spec.cooldown_share, done)
        return merge_rule(self.spec.merge_rule, rate)

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
        if users is None:
            raise InvalidInput(f"Client {client_id!r} trains LightFM without its users.")
        items = require(base, ItemArrays)
        trained, trained_users = train_round(
            items, users, data.training, self.spec, seed=seed, round_=round_, client_id=client_id
        )
        return self.rule().prepare(items, trained), trained_users

    def trained_alone(
        self, data: LocalData, *, rounds: int, seed: int, client_id: str
    ) -> tuple[ItemModel, UserArrays | None]:
        epochs = max(1, rounds // self.spec.merges_per_epoch)
        return train_alone(data.training, self.spec, epochs=epochs, seed=seed, client_id=client_id)

    def scores(self, items: ItemModel, users: UserArrays | None, data: LocalData) -> Scores:
        if users is None or self.answers_by_history:
            return super().scores(items, None, data)
        return product_scores(users.embeddings, items.vectors, items.item_biases)


Model = TypeVar("Model", bound=ItemModel)
Statistics = TypeVar("Statistics", bound=ArrayGroup)


@dataclass(frozen=True)
class SolvedSum(MergeRule[Model, Statistics]):
    """The next model is the solution for the sum of the clients' statistics.

    Attributes:
        family: knows the statistics and solves for them.
    """

    family: AdditiveFamily[Model, Statistics]

    def zero(self, base: Model) -> Statistics:
        return self.family.nothing(len(base))

    def step(self, base: Model, state: RunningSum[Statistics]) -> Model:
        return self.family.solve(state.total, len(base))


class AdditiveFamily(Family, Generic[Model, Statistics]):
    """A family whose statistics are sums over users, so that federated it is what it is centralised."""

    kind: ClassVar[type[ItemModel]]

    @abstractmethod
    def nothing(self, n_items: int) -> Statistics:
        """The statistics of no users."""

    @abstractmethod
    def statistics(self, base: Model, histories: Histories) -> Statistics:
        """The statistics (float32) of these users."""

    @abstractmethod
    def solve(self, total: Statistics, n_items: int) -> Model:
        """The model for the statistics (float64) of all users."""

    def rule(self, done: float = 0.0, seed: int = 0) -> SolvedSum[Model, Statistics]:
        return SolvedSum(self)

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
        require(base, self.kind)
        return self.statistics(base, data.histories), None  # type: ignore[arg-type]  # required above

    def trained_alone(
        self, data: LocalData, *, rounds: int, seed: int, client_id: str
    ) -> tuple[ItemModel, UserArrays | None]:
        n_items = data.histories.n_items
        model = self.initial(n_items, seed)
        for _ in range(rounds):
            own = self.statistics(model, data.histories)  # type: ignore[arg-type]  # the initial one is of its kind
            model = self.solve(own.map(lambda array: array.astype(np.float64)), n_items)
        return model, None


@dataclass(frozen=True)
class IalsFamily(AdditiveFamily[ItemFactors, ials.IalsStatistics]):
    """Implicit ALS: one alternation a round."""

    kind: ClassVar[type[ItemModel]] = ItemFactors

    spec: ials.IalsSpec

    def initial(self, n_items: int, seed: int) -> ItemFactors:
        return ials.initial_factors(n_items, self.spec, seed)

    def nothing(self, n_items: int) -> ials.IalsStatistics:
        return ials.IalsStatistics.zero(n_items, self.spec)

    def statistics(self, base: ItemFactors, histories: Histories) -> ials.IalsStatistics:
        return ials.statistics(base, histories, self.spec)

    def solve(self, total: ials.IalsStatistics, n_items: int) -> ItemFactors:
        return ials.solve(total, self.spec)


class ItemToItemFamily(AdditiveFamily[ItemWeights, Statistics]):
    """A family whose model is weights from items to items, of which it knows none in round 0."""

    kind: ClassVar[type[ItemModel]] = ItemWeights
    memories: ClassVar[int] = 1

    def initial(self, n_items: int, seed: int) -> ItemWeights:
        return ItemWeights.zero(n_items, self.memories)


@dataclass(frozen=True)
class EaseFamily(ItemToItemFamily[ease.EaseStatistics]):
    """EASE: all is said after one round."""

    spec: ease.EaseSpec

    def nothing(self, n_items: int) -> ease.EaseStatistics:
        return ease.EaseStatistics.zero(n_items)

    def statistics(self, base: ItemWeights, histories: Histories) -> ease.EaseStatistics:
        return ease.statistics(histories)

    def solve(self, total: ease.EaseStatistics, n_items: int) -> ItemWeights:
        return ease.solve(total, n_items, self.spec)


@dataclass(frozen=True)
class NextItemFamily(ItemToItemFamily[next_item.NextItemStatistics]):
    """The next-item model: all is said after one round."""

    spec: next_item.NextItemSpec

    def nothing(self, n_items: int) -> next_item.NextItemStatistics:
        return next_item.NextItemStatistics.zero(n_items)

    def statistics(self, base: ItemWeights, histories: Histories) -> next_item.NextItemStatistics:
        return next_item.statistics(histories, self.spec)

    def solve(self, total: next_item.NextItemStatistics, n_items: int) -> ItemWeights:
        return next_item.solve(total, n_items, self.spec)


@dataclass(frozen=True)
class BlendFamily(ItemToItemFamily[blend.BlendStatistics]):
    """EASE and the next-item model blended: all is said after one round."""

    memories: ClassVar[int] = 2

    spec: blend.BlendSpec

    def nothing(self, n_items: int) -> blend.BlendStatistics:
        return blend.BlendStatistics.zero(n_items)

    def statistics(self, base: ItemWeights, histories: Histories) -> blend.BlendStatistics:
        return blend.statistics(histories, self.spec)

    def solve(self, total: blend.BlendStatistics, n_items: int) -> ItemWeights:
        return blend.solve(total, n_items, self.spec)


@dataclass(frozen=True)
class RatingFamily(Family):
    """Predicted ratings: each round is a step of one Gibbs chain.

    Attributes:
        spec: how to train.
        content: (items, contents), what the items are; None where that is not known.
    """

    spec: RatingSpec
    content: npt.NDArray[np.float64] | None = None

    def initial(self, n_items: int, seed: int) -> RatingModel:
        content = np.empty((n_items, 0)) if self.content is None else self.content
        return rating_family.initial_model(n_items, self.spec, seed, content)

    def rule(self, done: float = 0.0, seed: int = 0) -> RatingRule:
        return RatingRule(self.spec, seed)

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
        model = require(base, RatingModel)
        return rating_family.contribution(model, data.rated, self.spec, seed), None

    def trained_alone(
        self, data: LocalData, *, rounds: int, seed: int, client_id: str
    ) -> tuple[ItemModel, UserArrays | None]:
        base = GlobalModel(0, "", self.initial(data.rated.ratings.n_items, seed))
        rule = self.rule(seed=seed)
        for _ in range(rounds):
            part, _ = self.train(
                base.items, None, data, seed=seed, round_=base.round + 1, client_id=client_id
            )
            base = rule.finish(rule.empty(base).plus(client_id, Contribution(part)), base)
        return base.items, None


def additive_family_of(spec: AdditiveSpec) -> AdditiveFamily[Any, Any]:
    """The family whose statistics add that trains as `spec` says."""
    match spec:
        case ials.IalsSpec():
            return IalsFamily(spec)
        case ease.EaseSpec():
            return EaseFamily(spec)
        case next_item.NextItemSpec():
            return NextItemFamily(spec)
        case _:
            return BlendFamily(spec)


def family_of(spec: FamilySpec) -> Family:
    """Return the family that trains as `spec` says."""
    if isinstance(spec, LightFMSpec):
        return LightFMFamily(spec)
    if isinstance(spec, RatingSpec):
        return RatingFamily(spec)
    return additive_family_of(spec)
