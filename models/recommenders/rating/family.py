"""Predicted ratings as a family."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import ClassVar

import numpy as np
import numpy.typing as npt

from models.evaluation.judgement import RATINGS, Judgement
from models.evaluation.rating_metrics import INSIDE_90, inside_interval, rating_metrics, rating_values
from models.federation.model import ItemModel, require
from models.kernel.arrays import ArrayGroup
from models.recommenders.base.data import HeldOutData, LocalData, Part
from models.recommenders.base.family import CatalogFeatures, Family, FamilySpec, Features, Judged, LocalRound
from models.recommenders.base.users import UserArrays
from models.recommenders.items.rating_model import RatingModel
from models.recommenders.rating.bayesian_mf import Statistics
from models.recommenders.rating.co_ratings import Products, RatingCounts
from models.recommenders.rating.gibbs import RatingRule, contribution, initial_model, predicted
from models.recommenders.rating.spec import RatingSpec
from models.recommenders.scoring.rating_scorer import RatingScorer
from models.recommenders.scoring.scorer import Scorer


@dataclass(frozen=True)
class RatingFamily(Family):
    """Predicted ratings. Each round is a step of one Gibbs chain.

    Attributes:
        spec: the settings.
        content: (items, contents), content features of the items; None if unknown.
    """

    spec_type: ClassVar[type[FamilySpec]] = RatingSpec
    model_type: ClassVar[type[ItemModel]] = RatingModel
    contribution_types: ClassVar[tuple[type[ArrayGroup], ...]] = (RatingCounts, Products, Statistics)
    scorer_type: ClassVar[type[Scorer]] = RatingScorer
    is_additive: ClassVar[bool] = True
    judgement: ClassVar[Judgement] = RATINGS

    spec: RatingSpec
    content: npt.NDArray[np.float64] | None = None

    def with_features(self, features: CatalogFeatures) -> RatingFamily:
        return replace(self, content=features().matrix().toarray())

    def with_features_of(self, items: ItemModel) -> RatingFamily:
        return replace(self, content=require(items, RatingModel).content.astype(np.float64))

    def check_rounds(self, rounds: int) -> None:
        self.spec.check_rounds(rounds)

    def initial(self, n_items: int, seed: int) -> RatingModel:
        content = np.empty((n_items, 0)) if self.content is None else self.content
        return initial_model(n_items, self.spec, seed, content)

    def rule(self, done: float = 0.0, seed: int = 0) -> RatingRule:
        return RatingRule(self.spec, seed)

    def train(
        self, base: ItemModel, users: UserArrays | None, data: LocalData, at: LocalRound
    ) -> tuple[ArrayGroup, UserArrays | None]:
        return contribution(require(base, RatingModel), data.rated, self.spec, at.seed), None

    @classmethod
    def scorer(cls, items: ItemModel, features: Features | None = None) -> RatingScorer:
        """Return the scorer. It ignores `features`: the model itself has placed the unrated items by them."""
        return RatingScorer(require(items, RatingModel))

    def judge(self, items: ItemModel, users: UserArrays | None, data: HeldOutData, part: Part) -> Judged:
        """Return the errors of the predicted ratings on the held-out ones."""
        model, held, spec = require(items, RatingModel), data.held_out_ratings(part), self.spec
        found = predicted(model, data.rated.ratings, held.users, held.items, spec)
        values = rating_values(found.means, held.values, spec.lowest, spec.highest)
        metrics = rating_metrics(values)
        metrics[INSIDE_90] = inside_interval(found.means, found.deviations, held.values)
        return Judged(metrics, -values[:, 0])
