"""A round's sum makes the same model bytes from the model before as the server's step did."""

from __future__ import annotations

import tracemalloc
import zlib
from dataclasses import replace
from typing import Any, get_args

import numpy as np
import pytest

from models.errors import CorruptArtifact
from models.federation.contribution import RunningSum
from models.federation.model import GlobalModel, ItemArrays
from models.recommenders.additive.ease import EaseFamily, EaseSpec
from models.recommenders.lightfm.family import LightFMFamily
from models.recommenders.lightfm.spec import LightFMSpec, MergeRuleName
from models.recommenders.lightfm.training import initial_items
from tasks.exchange.codec import encode, encode_model
from tasks.exchange.model_steps import encode_step, model_after

ITEMS, DIMS = 50, 4


def family_with(rule: MergeRuleName, **settings: Any) -> LightFMFamily:
    return LightFMFamily(LightFMSpec(dims=DIMS, merge_rule=rule, **settings))


def summed(rule: Any, model: GlobalModel, clients: int = 3) -> RunningSum[Any]:
    random = np.random.default_rng(clients)
    state = rule.summation(model)
    for number in range(clients):
        parts = [random.normal(size=(ITEMS, DIMS)), random.normal(size=ITEMS)]
        grown = [random.uniform(0, 3, ITEMS), random.uniform(0, 3, ITEMS)]
        arrays = ItemArrays(*(part.astype(np.float32) for part in (*parts, *grown)))
        state.add(f"client-{number}", rule.rounded(rule.contribution(arrays, 10 + number)))
    return state.result()


@pytest.mark.parametrize("name", get_args(MergeRuleName))
@pytest.mark.parametrize("bits", [6, 16])
def test_the_sum_makes_the_bytes_of_the_model(name, bits):
    settings = {"cooldown_share": 0.0 if name in ("mean", "weighted_mean") else 0.5}
    family = family_with(name, sent_bits=bits, **settings)
    model = GlobalModel(0, "catalogue", initial_items(ITEMS, DIMS, 1))
    for round_ in range(4):
        done = round_ / 4
        rule = family.rule(done, 1)
        state = summed(rule, model, 3 + round_)
        data = encode_step(rule, rule.ranges, state, done)
        after = rule.finish(state, model)
        assert data is not None
        assert encode_model(model_after(data, model, family, 1, "step")) == encode_model(after)
        model = after


def test_the_sum_of_small_updates_is_much_smaller_than_the_model():
    family = LightFMFamily(LightFMSpec(dims=32, sent_bits=8))
    rule, items = family.rule(), initial_items(500, 32, 1)
    few = np.zeros((500, 32))
    few[:100] = np.random.default_rng(1).normal(0, 0.1, (100, 32))
    zeros = np.zeros(500)
    state = RunningSum(ItemArrays(np.round(few * 16) / 16, zeros, zeros.copy(), zeros.copy()), 1.0, ("ash",))
    data = encode_step(rule, rule.ranges, state, 0.0)
    assert data is not None
    assert len(data) < 0.1 * len(encode_model(GlobalModel(1, "", items)))


def test_there_is_no_step_of_a_sum_that_is_not_in_whole_steps_or_too_large():
    rule = family_with("sum").rule()
    model = GlobalModel(0, "", initial_items(ITEMS, DIMS, 1))
    state = summed(rule, model)
    for value in (2.0**-14, 2.0**30, np.nan, np.inf):
        biases = state.total.biases.copy()
        biases[3] = value
        changed = replace(state, total=replace(state.total, biases=biases))
        assert encode_step(rule, rule.ranges, changed, 0.0) is None, value


def test_families_that_solve_have_no_steps():
    family = EaseFamily(EaseSpec())
    rule = family.rule()
    state = rule.empty(GlobalModel(0, "", family.initial(ITEMS, 1)))
    assert encode_step(rule, rule.ranges, state, 0.0) is None


def good_step() -> tuple[bytes, GlobalModel, LightFMFamily]:
    family = family_with("sum")
    model = GlobalModel(0, "", initial_items(ITEMS, DIMS, 1))
    data = encode_step(family.rule(), family.rule().ranges, summed(family.rule(), model), 0.0)
    assert data is not None
    return data, model, family


def planes(size: int) -> np.ndarray:
    return np.zeros((1, size), np.uint8)


GOOD = {
    "embeddings": planes(ITEMS * DIMS),
    "biases": planes(ITEMS),
    "embedding_accumulators": planes(ITEMS),
    "bias_accumulators": planes(ITEMS),
}
FACTS = {"kind": "model_step", "done": 0.0, "weight": 1.0, "steps": dict.fromkeys(GOOD, 1.0)}


@pytest.mark.parametrize(
    ("arrays", "facts", "fault"),
    [
        (GOOD, {**FACTS, "kind": "client_update"}, "holds a 'client_update'"),
        ({**GOOD, "users": planes(3)}, FACTS, "its arrays are"),
        ({**GOOD, "biases": planes(ITEMS + 1)}, FACTS, "wrong form"),
        ({**GOOD, "biases": np.zeros(ITEMS, np.uint8)}, FACTS, "not in planes"),
        ({**GOOD, "biases": np.zeros((1, ITEMS), np.int8)}, FACTS, "not in planes"),
        ({**GOOD, "biases": np.zeros((3, ITEMS), np.uint8)}, FACTS, "wrong form"),
        (GOOD, {**FACTS, "steps": {}}, "lacks a part"),
        (GOOD, {**FACTS, "weight": "1"}, "weight"),
        (GOOD, {**FACTS, "weight": 0.0}, "weights"),
        (GOOD, {**FACTS, "done": None}, "share of the training"),
        (GOOD, {**FACTS, "done": 2.0}, "share of the training"),
        (GOOD, {**FACTS, "done": -0.5}, "share of the training"),
    ],
)
def test_a_file_that_is_no_step_is_refused(arrays, facts, fault):
    _, model, family = good_step()
    with pytest.raises(CorruptArtifact, match=fault):
        model_after(encode(arrays, facts), model, family, 1, "The step")


def test_damaged_bytes_are_refused():
    data, model, family = good_step()
    with pytest.raises(CorruptArtifact):
        model_after(data[:-3], model, family, 1, "The step")


def test_a_small_sum_cannot_fill_the_memory():
    _, model, family = good_step()
    # Noise in a part of it, so that it is less than 64 times as large as its compressed bytes.
    biases = np.zeros((1, 10_000_000), np.uint8)
    biases[0, :200_000] = np.random.default_rng(1).integers(0, 256, 200_000)
    data = encode({**GOOD, "biases": biases}, FACTS)
    smaller = encode({"zlib": np.frombuffer(zlib.compress(data), np.uint8)}, {"kind": "compressed"})
    assert len(smaller) * 64 > len(data) > 10_000_000
    tracemalloc.start()
    with pytest.raises(CorruptArtifact, match="do not end where they should"):
        model_after(smaller, model, family, 1, "The step")
    assert tracemalloc.get_traced_memory()[1] < 5_000_000
    tracemalloc.stop()
