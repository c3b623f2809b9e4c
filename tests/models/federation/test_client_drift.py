"""The direction of a client relative to the sum of all, by hand arithmetic."""

from __future__ import annotations

import numpy as np
import pytest

from models.federation.client_drift import ClientDrift, MergedDirection
from models.federation.contribution import Contribution, RunningSum
from models.federation.model import ItemArrays
from models.recommenders.additive.blend import BlendFamily, BlendSpec


def delta(embedding: list[float], bias: float = 0.0, growth: float = 0.0) -> ItemArrays:
    """Return the difference of one item. Only embedding and bias have a direction."""
    grown = np.full(1, growth, np.float32)
    return ItemArrays(np.array([embedding], np.float32), np.array([bias], np.float32), grown, grown)


def test_norm_and_cosine_are_those_of_embeddings_and_biases_together():
    direction = MergedDirection.of(delta([6, 0], 8, growth=5))  # of length 10
    assert direction.drift_of(delta([6, 0], 8, growth=9)) == ClientDrift(1.0, 1.0)
    assert direction.drift_of(delta([3, 0], 4)) == ClientDrift(0.5, 1.0)
    assert direction.drift_of(delta([18, 0], 24)) == ClientDrift(3.0, 1.0)
    assert direction.drift_of(delta([0, 7], 0)) == ClientDrift(0.7, 0.0)
    assert direction.drift_of(delta([-6, 0], -8)) == ClientDrift(1.0, -1.0)
    # 5 * 6 / (5 * 10)
    assert direction.drift_of(delta([5, 0])) == ClientDrift(0.5, 0.6)


def test_a_zero_update_has_no_direction():
    nothing, something = delta([0, 0]), delta([1, 2], 3)
    assert MergedDirection.of(something).drift_of(nothing) == ClientDrift(0.0, 0.0)
    assert MergedDirection.of(nothing).drift_of(something) == ClientDrift(0.0, 0.0)


def test_rounding_does_not_take_a_cosine_out_of_its_range():
    random = np.random.default_rng(5)
    for _ in range(50):
        one = delta(random.standard_normal(7).tolist(), float(random.standard_normal()))
        cosine = MergedDirection.of(one.map(lambda array: array * np.float32(3))).drift_of(one).cosine
        assert cosine <= 1.0
        assert cosine == pytest.approx(1.0)


def test_the_parts_of_all_clients_add_up_to_one():
    random = np.random.default_rng(2)
    nothing = BlendFamily(BlendSpec()).nothing(4)
    clients = [
        nothing.map(lambda array: random.poisson(2.0, array.shape).astype(np.float32)) for _ in range(3)
    ]
    state = RunningSum.zero(nothing)
    for number, statistics in enumerate(clients):
        state = state.plus(f"client-{number}", Contribution(statistics))
    direction = MergedDirection.of(state.total)
    drifts = [direction.drift_of(statistics) for statistics in clients]
    assert sum(each.norm * each.cosine for each in drifts) == pytest.approx(1.0)
    assert all(each.cosine > 0 for each in drifts)
