"""Adaptive server optimisers by hand arithmetic, after Reddi et al. 2021, algorithm 2."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from models.federation.contribution import Contribution
from models.federation.model import ClientUpdate, GlobalModel, ItemArrays
from models.recommenders.lightfm.merge_rules import merge_rule
from models.recommenders.lightfm.server_optimisers import ServerOptimiser

NAMES = ("fedadagrad", "fedadam", "fedyogi")


def arrays(embedding: float, bias: float, accumulators: float) -> ItemArrays:
    """Return one item of one dimension."""
    return ItemArrays(
        embeddings=np.array([[embedding]], dtype=np.float32),
        biases=np.array([bias], dtype=np.float32),
        embedding_accumulators=np.array([accumulators], dtype=np.float32),
        bias_accumulators=np.array([accumulators], dtype=np.float32),
    )


BASE = GlobalModel(4, "cat", arrays(1.0, 2.0, 1.0))


def merged(rule: ServerOptimiser, base: GlobalModel, *moves: ItemArrays) -> GlobalModel:
    state = rule.empty(base)
    for number, move in enumerate(moves):
        state = rule.add(
            state, base, ClientUpdate(f"c{number}", base.round, "base", "cat", Contribution(move))
        )
    return rule.finish(state, base)


def the_rule(name: str, rate: float = 1.0) -> ServerOptimiser:
    rule = merge_rule(name, rate)
    assert isinstance(rule, ServerOptimiser)
    # Round numbers for hand arithmetic: half of either moment stays.
    return replace(rule, beta1=0.5, beta2=0.5, tau=1.0)


@pytest.mark.parametrize(
    ("name", "first", "second"),
    [
        # The embedding moves by 4 and 8 of two clients: d = 6, m = 3, and v starts at tau^2 = 1.
        # Then by 2: m = 3/2 + 2/2 = 5/2, d^2 = 4.
        ("fedadagrad", 1 + 36, 1 + 36 + 4),
        ("fedadam", 0.5 * 1 + 0.5 * 36, 0.5 * 18.5 + 0.5 * 4),
        ("fedyogi", 1 + 0.5 * 36, 19 - 0.5 * 4),
    ],
)
def test_two_rounds_by_hand(name, first, second):
    rule = the_rule(name, rate=2.0)
    one = merged(rule, BASE, arrays(4, 0, 2), arrays(8, 0, 4))
    embedding = 1 + 2 * 3 / (first**0.5 + 1)
    assert one.round == 5
    assert one.items.embeddings[0, 0] == pytest.approx(embedding)
    assert one.moments.embeddings[0, 0] == 3
    assert one.moments.embedding_accumulators[0, 0] == first
    assert one.items.biases[0] == 2  # no client moved it
    assert one.items.embedding_accumulators[0] == 1 + 3  # the clients' own Adagrad, averaged
    two = merged(rule, one, arrays(2, 0, 0))
    assert two.moments.embeddings[0, 0] == 2.5
    assert two.moments.embedding_accumulators[0, 0] == second
    assert two.items.embeddings[0, 0] == pytest.approx(embedding + 2 * 2.5 / (second**0.5 + 1))


@pytest.mark.parametrize("name", NAMES)
def test_biases_move_by_the_same_formula_as_embeddings(name):
    model = merged(the_rule(name), replace(BASE, items=arrays(2.0, 2.0, 1.0)), arrays(-3, -3, 1))
    assert model.items.biases[0] == model.items.embeddings[0, 0] < 2
    assert model.moments.biases[0] == model.moments.embeddings[0, 0]
    assert model.moments.bias_accumulators[0] == model.moments.embedding_accumulators[0, 0]


@pytest.mark.parametrize("name", NAMES)
def test_the_papers_constants_are_the_defaults_and_all_arrays_are_float32(name):
    rule = merge_rule(name)
    assert isinstance(rule, ServerOptimiser)
    assert (rule.beta1, rule.beta2, rule.tau) == (0.9, 0.99, 1e-3)
    model = merged(rule, BASE, arrays(1, 1, 1))
    for group in (model.items, model.moments):
        assert {array.dtype for _, array in group.named()} == {np.dtype(np.float32)}


@pytest.mark.parametrize("name", NAMES)
def test_a_model_without_moments_starts_them_at_zero(name):
    rule = the_rule(name)
    at_rest = replace(BASE, moments=arrays(0, 0, 1.0))  # v = tau^2
    step = arrays(1, -1, 1)
    one, other = merged(rule, BASE, step), merged(rule, at_rest, step)
    for mine, theirs in ((one.items, other.items), (one.moments, other.moments)):
        for (_, a), (_, b) in zip(mine.named(), theirs.named(), strict=True):
            assert np.array_equal(a, b)
