"""The private item model as a family: two rounds of sums, each of which may get noise."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace
from typing import ClassVar

import numpy as np

from models.errors import InvalidConfig
from models.evaluation.ranking import Scores
from models.federation.contribution import RunningSum
from models.federation.merge import MergeRule
from models.federation.model import ItemModel, require
from models.kernel.arrays import ArrayGroup, FloatArray
from models.kernel.histories import Histories
from models.kernel.ranges import Range
from models.privacy.noise_plan import NoisePlan
from models.recommenders.base.data import LocalData
from models.recommenders.base.family import CatalogFeatures, Family, FamilySpec, Features, LocalRound
from models.recommenders.base.users import UserArrays
from models.recommenders.items.unit_pairs import matrix_of
from models.recommenders.items.weight_scores import weight_scores
from models.recommenders.private.model import ContentWeights
from models.recommenders.private.near_pairs import near_matrix
from models.recommenders.private.solving import (
    Popularity,
    basis_of,
    content_weights,
    most_popular,
    solved,
)
from models.recommenders.private.spec import ROUNDS, DpItemsSpec
from models.recommenders.private.statistics import (
    PairSums,
    PopularitySums,
    no_pairs,
    pair_sums,
    popularity_sums,
)
from models.recommenders.scoring.additive_scorers import WeightsScorer
from models.recommenders.scoring.scorer import Scorer


@dataclass(frozen=True)
class DpItemsFamily(Family):
    """The private item model. Its first model knows popularity and features, its second one pairs of items.

    Attributes:
        spec: the settings.
        content: (items, contents), public features of the items; None if unknown.
        noise: the noise that clients add; None without noise.
    """

    spec_type: ClassVar[type[FamilySpec]] = DpItemsSpec
    model_type: ClassVar[type[ItemModel]] = ContentWeights
    contribution_types: ClassVar[tuple[type[ArrayGroup], ...]] = (PopularitySums, PairSums)
    scorer_type: ClassVar[type[Scorer]] = WeightsScorer
    is_additive: ClassVar[bool] = True

    spec: DpItemsSpec
    content: FloatArray | None = None
    noise: NoisePlan | None = None

    def planned(self, given: Collection[str]) -> tuple[DpItemsSpec, int]:
        return self.spec, ROUNDS

    def check_rounds(self, rounds: int) -> None:
        if rounds != ROUNDS:
            raise InvalidConfig(
                f"train.family 'dp_items' has {ROUNDS} rounds, one for the items' popularity and one for "
                f"their pairs, but federation.rounds is {rounds}.",
                next_step=f"Set federation.rounds to {ROUNDS}, or leave it out.",
                key="federation.rounds",
            )

    def with_features(self, features: CatalogFeatures) -> DpItemsFamily:
        return replace(self, content=features().smooth())

    def with_features_of(self, items: ItemModel) -> DpItemsFamily:
        return replace(self, content=require(items, ContentWeights).content)

    def with_noise(self, noise: NoisePlan) -> DpItemsFamily:
        return replace(self, noise=noise)

    def unit_noise(self, round_: int) -> Mapping[str, float]:
        first, later = self.spec.unit_noise
        return first if round_ == 1 else later

    def initial(self, n_items: int, seed: int) -> ContentWeights:
        content = np.ones((n_items, 1)) if self.content is None else self.content
        return ContentWeights(
            weights=np.zeros((1, n_items, n_items), dtype=np.float32),
            forgetting=np.array([self.spec.forgetting], dtype=np.float32),
            popularity=np.zeros(n_items, dtype=np.float32),
            content=content.astype(np.float32),
        )

    def rule(self, done: float = 0.0, seed: int = 0) -> PrivateSums:
        return PrivateSums(self.spec, self.noise)

    def train(
        self, base: ItemModel, users: UserArrays | None, data: LocalData, at: LocalRound
    ) -> tuple[ArrayGroup, UserArrays | None]:
        model = require(base, ContentWeights)
        if not model.is_started:
            return popularity_sums(data.histories), None
        paired = most_popular(model.popularity, self.spec.paired_items)
        return pair_sums(self.spec, data.histories, paired, model.content), None

    @classmethod
    def scorer(cls, items: ItemModel, features: Features | None = None) -> WeightsScorer:
        """Return the scorer. It ignores `features`: the model has placed all items by them."""
        return WeightsScorer.of(require(items, ContentWeights))

    @classmethod
    def history_scores(cls, items: ItemModel, histories: Histories) -> Scores:
        return weight_scores(require(items, ContentWeights), histories)


@dataclass(frozen=True)
class PrivateSums(MergeRule[ContentWeights, PopularitySums | PairSums]):
    """The server half of both rounds.

    Attributes:
        spec: the settings.
        noise: the noise that clients add; None without noise.
    """

    spec: DpItemsSpec
    noise: NoisePlan | None = None

    @property
    def ranges(self) -> Mapping[str, Range]:
        return {**PopularitySums.RANGES, **PairSums.RANGES}

    def zero(self, base: ContentWeights) -> PopularitySums | PairSums:
        if not base.is_started:
            return PopularitySums(np.zeros(len(base), dtype=np.float32))
        return no_pairs(base.content.shape[1], min(self.spec.paired_items, len(base)))

    def step(self, base: ContentWeights, state: RunningSum[PopularitySums | PairSums]) -> ContentWeights:
        deviations = self._deviations(len(state.clients))
        total = state.total
        if isinstance(total, PopularitySums):
            popularity = Popularity.of(total.popularity, deviations["popularity"])
            basis = basis_of(base.content, popularity)
            weights = content_weights(popularity, basis)
            return replace(base, weights=weights[np.newaxis], popularity=total.popularity, content=basis)
        paired = most_popular(base.popularity, self.spec.paired_items)
        weights = solved(
            self.spec,
            Popularity.of(base.popularity, deviations["popularity"]),
            content=matrix_of(total.content, base.content.shape[1]),
            pairs=near_matrix(total.pairs, len(paired)),
            users=float(total.users[0]),
            basis=base.content,
            paired=paired,
            deviation=deviations["pairs"],
        )
        return replace(base, weights=weights[np.newaxis])

    def _deviations(self, clients: int) -> dict[str, float]:
        """Return array name -> the standard deviation of the noise in a sum over so many clients."""
        first, later = self.spec.unit_noise
        units = first | later
        if self.noise is None:
            return dict.fromkeys(units, 0.0)
        return {name: each * clients**0.5 for name, each in self.noise.client_deviations(units).items()}
