"""Scores of item-to-item weights for many histories at once."""

from __future__ import annotations

import numpy as np

from models.evaluation.ranking import Scores
from models.kernel.histories import Float64Array, Histories, IntArray
from models.recommenders.items.item_weights import ItemWeights, remembered


def weight_scores(model: ItemWeights, histories: Histories) -> Scores:
    """Return the scores of a model for users' histories, summed over the memories."""

    def scores(users: IntArray) -> Float64Array:
        found = np.zeros((len(users), histories.n_items))
        for weights, forgetting in zip(model.weights, model.forgetting.tolist(), strict=True):
            memory = histories.matrix(remembered(histories.steps_back, forgetting))
            found += memory[users] @ weights.astype(np.float64)
        return found

    return scores
