"""The blend is its two parts, weighted, for any clients."""

from __future__ import annotations

import numpy as np
import pytest

from models.federation.arrays import RunningSum
from models.recommenders import blend, ease, next_item
from models.recommenders.histories import Histories

ITEMS = 12
SPEC = blend.BlendSpec(
    next_item=next_item.NextItemSpec(forgetting=0.6, regularisation=3.0),
    ease=ease.EaseSpec(regularisation=4.0),
    lasting_forgetting=0.0,
    lasting_weight=0.4,
)


def users(rows: range) -> Histories:
    random = np.random.default_rng(5)
    histories = [random.permutation(ITEMS)[: random.integers(2, 8)] for _ in range(20)]
    chosen = [histories[row] for row in rows]
    return Histories(
        np.concatenate(chosen), np.concatenate([[0], np.cumsum([len(each) for each in chosen])]), ITEMS
    )


EVERYONE = users(range(20))


def model_of(clients: list[Histories]) -> blend.BlendWeights:
    parts = [blend.statistics(each, SPEC) for each in clients]
    total = RunningSum.zero(parts[0])
    for number, part in enumerate(parts):
        total = total.plus(f"{number:02}", part)
    return blend.solve(total.total, ITEMS, SPEC)


@pytest.mark.parametrize("size", [20, 7, 1])
def test_federated_it_is_the_weighted_sum_of_both_models_on_pooled_data(size):
    clients = [users(range(first, min(first + size, 20))) for first in range(0, 20, size)]
    following = next_item.solve(next_item.statistics(EVERYONE, SPEC.next_item), ITEMS, SPEC.next_item)
    lasting = ease.solve(ease.statistics(EVERYONE), ITEMS, SPEC.ease)
    # Without forgetting EASE's input is the history itself.
    expected = next_item.scores(following, EVERYONE, SPEC.next_item) + 0.4 * ease.scores(lasting, EVERYONE)
    found = blend.scores(model_of(clients), EVERYONE, SPEC)
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-6)


def test_what_is_forgotten_counts_less():
    item = np.array([3])
    only = Histories(np.array([3, 5]), np.array([0, 2]), ITEMS)
    weights = np.zeros((ITEMS, ITEMS), dtype=np.float32)
    weights[item, 7] = 1.0
    model = blend.BlendWeights(np.zeros_like(weights), weights)
    spec = blend.BlendSpec(lasting_forgetting=0.5, lasting_weight=1.0)
    # Item 3 was used two places before what comes next.
    assert blend.scores(model, only, spec)[0, 7] == pytest.approx(2**-0.5)
