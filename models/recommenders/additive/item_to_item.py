"""The common part of families whose models are item-to-item weights."""

from __future__ import annotations

from typing import ClassVar

from models.evaluation.ranking import Scores
from models.federation.model import ItemModel, require
from models.kernel.histories import Histories
from models.recommenders.additive.family import AdditiveFamily, Statistics
from models.recommenders.base.family import Features
from models.recommenders.items.cold_items import placed_weights
from models.recommenders.items.item_weights import ItemWeights
from models.recommenders.items.weight_scores import weight_scores
from models.recommenders.scoring.additive_scorers import WeightsScorer
from models.recommenders.scoring.scorer import Scorer


class ItemToItemFamily(AdditiveFamily[ItemWeights, Statistics]):
    """A family whose models are item-to-item weights. One round trains it, independent of the model before.

    Attributes:
        memories: number of weight matrices in a model.
        client_pair_bytes: bytes that a client takes for each pair of items while it trains.
        merge_pair_bytes: bytes that a job takes for each pair of items while it merges, checks and registers.
            Both are measured (docs/size.md).
    """

    model_type: ClassVar[type[ItemModel]] = ItemWeights
    scorer_type: ClassVar[type[Scorer]] = WeightsScorer
    is_iterative: ClassVar[bool] = False
    memories: ClassVar[int] = 1
    client_pair_bytes: ClassVar[int] = 35
    merge_pair_bytes: ClassVar[int] = 80

    def pair_bytes(self, clients_at_once: int) -> int:
        return max(self.merge_pair_bytes, clients_at_once * self.client_pair_bytes)

    def initial(self, n_items: int, seed: int) -> ItemWeights:
        return ItemWeights.zero(n_items, self.memories)

    @classmethod
    def scorer(cls, items: ItemModel, features: Features | None = None) -> WeightsScorer:
        model = require(items, ItemWeights)
        return WeightsScorer.of(model if features is None else placed_weights(model, features()))

    @classmethod
    def history_scores(cls, items: ItemModel, histories: Histories) -> Scores:
        return weight_scores(require(items, ItemWeights), histories)
