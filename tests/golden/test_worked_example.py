"""A worked example of federated averaging, digit by digit, through the real merge.

Three clients hold 1000, 800 and 600 samples. All start from w and compute the gradients -0.5, -0.3 and -0.2.
With the learning rate 0.1 their steps are +0.05, +0.03 and +0.02.
"""

from __future__ import annotations

import numpy as np
import pytest

from models.federation.model import ClientUpdate, GlobalModel, ItemArrays
from models.recommenders.lightfm.merge_rules import merge_rule

SAMPLES = {"a": 1000, "b": 800, "c": 600}
GRADIENTS = {"a": -0.5, "b": -0.3, "c": -0.2}
LEARNING_RATE = 0.1
START = 0.25


def model_at(w: float) -> ItemArrays:
    """Return one item with one dimension: embedding and bias are both w, and no accumulator moves."""
    return ItemArrays(
        embeddings=np.array([[w]], dtype=np.float32),
        biases=np.array([w], dtype=np.float32),
        embedding_accumulators=np.ones(1, dtype=np.float32),
        bias_accumulators=np.ones(1, dtype=np.float32),
    )


def test_the_clients_steps_are_those_of_the_example():
    base, rule = model_at(START), merge_rule("sum")
    steps = [
        float(rule.prepare(base, model_at(START - LEARNING_RATE * gradient)).biases[0])
        for gradient in GRADIENTS.values()
    ]
    assert steps == pytest.approx([0.05, 0.03, 0.02], abs=1e-7)


@pytest.mark.parametrize(
    ("name", "moved"),
    [
        ("sum", 0.1),  # 0.05 + 0.03 + 0.02
        ("mean", 0.0333333),  # 0.1 / 3
        ("weighted_mean", 0.0358333),  # (1000 * 0.05 + 800 * 0.03 + 600 * 0.02) / 2400 = 86 / 2400
        ("adagrad_sum", 0.1),  # accumulators of one divide by one
    ],
)
def test_the_merged_model_moves_as_in_the_example(name, moved):
    rule = merge_rule(name)
    base = GlobalModel(round=0, catalog_digest="catalogue", items=model_at(START))
    state = rule.empty(base)
    for client_id, samples in SAMPLES.items():
        trained = model_at(START - LEARNING_RATE * GRADIENTS[client_id])
        update = ClientUpdate(
            client_id=client_id,
            base_round=0,
            base_digest="base",
            catalog_digest="catalogue",
            contribution=rule.contribution(rule.prepare(base.items, trained), samples),
        )
        state = rule.add(state, base, update)
    model = rule.finish(state, base)
    assert model.round == 1
    assert float(model.items.embeddings[0, 0]) - START == pytest.approx(moved, abs=1e-6)
    assert float(model.items.biases[0]) - START == pytest.approx(moved, abs=1e-6)
    assert model.items.embedding_accumulators[0] == 1.0
    assert model.items.bias_accumulators[0] == 1.0
