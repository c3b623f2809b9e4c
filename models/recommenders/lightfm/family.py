"""LightFM as a family."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from models.errors import InvalidInput
from models.evaluation.ranking import Scores, product_scores
from models.federation.contribution import Contribution
from models.federation.error_feedback import Rounding, with_feedback
from models.federation.model import ItemArrays, ItemModel, require
from models.kernel.arrays import ArrayGroup
from models.kernel.histories import Histories
from models.kernel.packed import PackedArrays
from models.recommenders.base.data import LocalData
from models.recommenders.base.family import Family, FamilySpec, Features, LocalRound
from models.recommenders.base.users import UserArrays
from models.recommenders.items.cold_items import placed_by_features
from models.recommenders.lightfm.delta_rules import DeltaRule
from models.recommenders.lightfm.merge_rules import merge_rule
from models.recommenders.lightfm.spec import PLANNED_EPOCHS, LightFMSpec, cooled_down
from models.recommenders.scoring.fold_in import ItemSide, fold_in
from models.recommenders.scoring.scorer import Factors, Scorer


@dataclass(frozen=True)
class LightFMFamily(Family):
    """LightFM. Users are trained together with the items, and stay with their client.

    Attributes:
        spec: the settings of clients and server.
    """

    spec_type: ClassVar[type[FamilySpec]] = LightFMSpec
    model_type: ClassVar[type[ItemModel]] = ItemArrays
    contribution_types: ClassVar[tuple[type[ArrayGroup], ...]] = (ItemArrays,)
    scorer_type: ClassVar[type[Scorer]] = Factors
    keeps_users: ClassVar[bool] = True

    spec: LightFMSpec

    @property
    def answers_by_history(self) -> bool:
        return self.spec.user_vectors == "folded_in"

    def planned(self, given: Collection[str]) -> tuple[LightFMSpec, int]:
        spec = self.spec.planned(given)
        return spec, int(spec.rounds_of(PLANNED_EPOCHS))

    def check_rounds(self, rounds: int) -> None:
        self.spec.check_rounds(rounds)

    def initial(self, n_items: int, seed: int) -> ItemArrays:
        from models.recommenders.lightfm.training import initial_items

        return initial_items(n_items, self.spec.dims, seed)

    def initial_users(self, n_users: int, *, seed: int, client_id: str) -> UserArrays:
        from models.recommenders.lightfm.training import initial_users

        return initial_users(n_users, self.spec.dims, seed, client_id)

    def rule(self, done: float = 0.0, seed: int = 0) -> DeltaRule:
        rate = cooled_down(self.spec.server_learning_rate, self.spec.cooldown_share, done)
        return merge_rule(self.spec.merge_rule, rate, self.spec.sent_bits)

    def train(
        self, base: ItemModel, users: UserArrays | None, data: LocalData, at: LocalRound
    ) -> tuple[ArrayGroup | PackedArrays[Any], UserArrays | None]:
        if users is None:
            raise InvalidInput(f"Client {at.client_id!r} needs its user arrays to train LightFM, got none.")
        from models.recommenders.lightfm.training import train_round

        items = require(base, ItemArrays)
        trained, trained_users = train_round(
            items, users, data.training, self.spec, seed=at.seed, round_=at.round, client_id=at.client_id
        )
        return self.rule().prepare_packed(items, trained), trained_users

    @property
    def feeds_back(self) -> bool:
        return self.spec.feeds_back

    def sent(
        self,
        contribution: Contribution[Any],
        residual: ArrayGroup | None,
        rounding: Rounding[Any],
    ) -> tuple[Contribution[Any], ArrayGroup | None]:
        if not self.feeds_back:
            return super().sent(contribution, residual, rounding)
        return with_feedback(contribution, residual, self.spec.sent_rows, rounding)

    def trained_alone(
        self, data: LocalData, *, rounds: int, seed: int, client_id: str
    ) -> tuple[ItemModel, UserArrays | None]:
        """Return plain LightFM on these data, trained for as many epochs as the rounds contain."""
        from models.recommenders.lightfm.training import train_alone

        epochs = max(1, int(self.spec.epochs_of(rounds)))
        return train_alone(data.training, self.spec, epochs=epochs, seed=seed, client_id=client_id)

    @classmethod
    def scorer(cls, items: ItemModel, features: Features | None = None) -> Factors:
        model = require(items, ItemArrays)
        trained, embeddings, biases = model.trained, model.embeddings, model.biases
        if features is not None and trained.any() and not trained.all():
            embeddings, biases = placed_by_features(embeddings, biases, trained, features())
        return Factors.of(ItemSide.of(embeddings, biases))

    @classmethod
    def history_scores(cls, items: ItemModel, histories: Histories) -> Scores:
        model = require(items, ItemArrays)
        side = ItemSide.of(model.embeddings, model.biases)
        users = np.stack([fold_in(used, side).vector for used in histories])
        return product_scores(users, side.embeddings, side.biases)

    def scores(self, items: ItemModel, users: UserArrays | None, data: LocalData) -> Scores:
        """Return the scores from the users' trained vectors, or from their histories if the spec says so."""
        if users is None or self.answers_by_history:
            return super().scores(items, None, data)
        return product_scores(users.embeddings, items.vectors, items.item_biases)
