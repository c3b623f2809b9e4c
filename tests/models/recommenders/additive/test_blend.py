"""The blend is the weighted sum of its two parts, for any clients."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from models.federation.contribution import Contribution, RunningSum
from models.kernel.histories import Histories
from models.recommenders.additive.blend import BlendFamily, BlendSpec
from models.recommenders.additive.ease import EaseFamily, EaseSpec
from models.recommenders.additive.item_to_item import ItemToItemFamily
from models.recommenders.additive.next_item import NextItemFamily, NextItemSpec
from models.recommenders.items.item_weights import ItemWeights

ITEMS = 12
BLEND = BlendFamily(
    BlendSpec(
        forgetting=0.6,
        regularisation=3.0,
        lasting_regularisation=4.0,
        lasting_forgetting=0.0,
        lasting_weight=0.4,
    )
)


def users(rows: range) -> Histories:
    random = np.random.default_rng(5)
    histories = [random.permutation(ITEMS)[: random.integers(2, 8)] for _ in range(20)]
    chosen = [histories[row] for row in rows]
    return Histories(
        np.concatenate(chosen), np.concatenate([[0], np.cumsum([len(each) for each in chosen])]), ITEMS
    )


EVERYONE = users(range(20))


def model_of(family: ItemToItemFamily[Any], clients: list[Histories]) -> ItemWeights:
    base = family.initial(ITEMS, seed=1)
    total = RunningSum.zero(family.nothing(ITEMS))
    for number, each in enumerate(clients):
        total = total.plus(f"{number:02}", Contribution(family.statistics(base, each)))
    return family.solve(total.total, ITEMS)


def scores(model: ItemWeights, histories: Histories) -> np.ndarray:
    return BlendFamily.history_scores(model, histories)(np.arange(len(histories)))


@pytest.mark.parametrize("size", [20, 7, 1])
def test_the_federated_blend_is_the_weighted_sum_of_both_models_on_pooled_data(size):
    clients = [users(range(first, min(first + size, 20))) for first in range(0, 20, size)]
    following = model_of(NextItemFamily(NextItemSpec(0.6, 3.0)), [EVERYONE])
    lasting = model_of(EaseFamily(EaseSpec(4.0, forgetting=0.0)), [EVERYONE])
    expected = scores(following, EVERYONE) + 0.4 * scores(lasting, EVERYONE)
    np.testing.assert_allclose(scores(model_of(BLEND, clients), EVERYONE), expected, rtol=1e-4, atol=1e-6)


def test_forgotten_items_count_less():
    only = Histories(np.array([3, 5]), np.array([0, 2]), ITEMS)
    weights = np.zeros((2, ITEMS, ITEMS), dtype=np.float32)
    weights[1, 3, 7] = 1.0
    model = ItemWeights(weights, np.array([0.6, 0.5], np.float32), np.zeros(ITEMS, np.float32))
    # Item 3 was used two places before the next item.
    assert scores(model, only)[0, 7] == pytest.approx(2**-0.5)
