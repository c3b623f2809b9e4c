"""Laws that every merge rule obeys, one test for each."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from typing import get_args

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as npst

from models.errors import CatalogMismatch, InvalidInput, StaleUpdate
from models.federation.contribution import Contribution, RunningSum
from models.federation.merge import MergeRule
from models.federation.model import ClientUpdate, GlobalModel, ItemArrays
from models.kernel.metric import Metric
from models.kernel.ranges import ANY_RANGE
from models.recommenders.lightfm.delta_rules import Mean
from models.recommenders.lightfm.merge_rules import merge_rule
from models.recommenders.lightfm.server_optimisers import ServerOptimiser
from models.recommenders.lightfm.spec import MergeRuleName

ITEMS, DIMS = 3, 2
SHAPES = {
    "embeddings": (ITEMS, DIMS),
    "biases": (ITEMS,),
    "embedding_accumulators": (ITEMS,),
    "bias_accumulators": (ITEMS,),
}
every_rule = pytest.mark.parametrize(
    "rule", [merge_rule(name) for name in get_args(MergeRuleName)], ids=get_args(MergeRuleName)
)
# A server that adapts its own step does not take the clients' step unchanged.
TAKING_THE_STEP = [
    name for name in get_args(MergeRuleName) if not isinstance(merge_rule(name), ServerOptimiser)
]


def item_arrays(parameters: tuple[float, float], accumulators: tuple[float, float]) -> st.SearchStrategy:
    def floats(name: str) -> st.SearchStrategy[np.ndarray]:
        low, high = accumulators if "accumulators" in name else parameters
        return npst.arrays(np.float32, SHAPES[name], elements=st.floats(low, high, width=32))

    return st.fixed_dictionaries({name: floats(name) for name in SHAPES}).map(lambda a: ItemArrays(**a))


BASES = item_arrays((-2, 2), (1, 8)).map(lambda items: GlobalModel(4, "cat", items))
# What training adds: parameters move either way, accumulators only grow.
MOVES = item_arrays((-1, 1), (0, 4))
CLIENTS = st.lists(st.tuples(MOVES, st.integers(1, 1000)), min_size=1, max_size=4)


def trained(base: GlobalModel, move: ItemArrays) -> ItemArrays:
    return base.items.map(lambda old, step: old + step, move)


def update_of(
    rule: MergeRule, base: GlobalModel, move: ItemArrays, interactions: int = 1, client_id: str = "a"
) -> ClientUpdate:
    contribution = rule.contribution(rule.prepare(base.items, trained(base, move)), interactions)
    return ClientUpdate(client_id, base.round, "base", base.catalog_digest, contribution)


def updates_of(rule: MergeRule, base: GlobalModel, clients) -> list[ClientUpdate]:
    return [
        update_of(rule, base, move, interactions, f"client-{number}")
        for number, (move, interactions) in enumerate(clients)
    ]


def rounded(rule: MergeRule, update: ClientUpdate) -> ClientUpdate:
    return replace(update, contribution=rule.rounded(update.contribution))


def added(rule: MergeRule, base: GlobalModel, parts: list[Contribution]) -> Contribution:
    """Return the sum of these parts as one contribution."""
    state = rule.empty(base)
    for number, part in enumerate(parts):
        state = state.plus(str(number), part)
    return Contribution(state.total, state.weight, state.interactions, state.metrics)


def merged(rule: MergeRule, base: GlobalModel, updates: Iterable[ClientUpdate]) -> GlobalModel:
    state = rule.empty(base)
    for update in updates:
        state = rule.add(state, base, update)
    return rule.finish(state, base)


def as_bytes(model: GlobalModel) -> bytes:
    return b"".join(array.tobytes() for _, array in model.items.named())


def assert_close(one: ItemArrays, other: ItemArrays, tolerance: float = 1e-5) -> None:
    for (name, a), (_, b) in zip(one.named(), other.named(), strict=True):
        np.testing.assert_allclose(a, b, rtol=tolerance, atol=tolerance, err_msg=name)


@every_rule
@settings(max_examples=25)
@given(base=BASES, clients=CLIENTS, random=st.randoms(use_true_random=False))
def test_neither_order_nor_grouping_changes_a_byte(rule, base, clients, random):
    updates = [rounded(rule, update) for update in updates_of(rule, base, clients)]
    expected = merged(rule, base, updates)
    arrived = random.sample(updates, len(updates))
    assert as_bytes(merged(rule, base, arrived)) == as_bytes(expected)
    # Sums of some clients are added as if each were one client, in any nesting.
    parts = [update.contribution for update in arrived]
    while len(parts) > 1:
        size = random.randint(2, len(parts))
        random.shuffle(parts)
        parts = [added(rule, base, parts[:size]), *parts[size:]]
    state = rule.empty(base).plus("everyone", parts[0])
    assert as_bytes(rule.finish(state, base)) == as_bytes(expected)


@every_rule
@settings(max_examples=10)
@given(base=BASES, moves=st.tuples(MOVES, MOVES))
def test_a_client_that_comes_twice_is_refused(rule, base, moves):
    first, second = (update_of(rule, base, move, 1, name) for move, name in zip(moves, "ab", strict=True))
    state = rule.add(rule.add(rule.empty(base), base, second), base, first)
    for update in (first, second):
        with pytest.raises(InvalidInput, match=f"'{update.client_id}' came twice"):
            rule.add(state, base, update)
    assert state.clients == ("a", "b")


@every_rule
@settings(max_examples=25)
@given(base=BASES, n=st.integers(1, 4))
def test_updates_of_zero_leave_the_model_unchanged(rule, base, n):
    still = base.items.map(np.zeros_like)
    model = merged(rule, base, updates_of(rule, base, [(still, 5)] * n))
    assert model.round == base.round + 1
    for (_, new), (_, old) in zip(model.items.named(), base.items.named(), strict=True):
        assert np.array_equal(new, old)


@every_rule
@settings(max_examples=25)
@given(base=BASES, clients=CLIENTS)
def test_a_rule_uses_nothing_but_the_sum(rule, base, clients):
    # A secure sum reveals one contribution: that of all clients together.
    state = rule.empty(base)
    for update in updates_of(rule, base, clients):
        state = rule.add(state, base, update)
    everyone = Contribution(state.total, state.weight, state.interactions, state.metrics)
    one = rule.finish(rule.empty(base).plus("everyone", everyone), base)
    assert as_bytes(one) == as_bytes(rule.finish(state, base))


def test_a_sum_holds_the_sum_of_everything_in_float64():
    clients = [
        Contribution(a_base().items, 2.0, 5, {"users": Metric(3.0, 1.0)}),
        Contribution(a_base().items, 0.5, 7, {"users": Metric(4.0, 1.0), "loss": Metric(0.5, 2.0)}),
    ]
    state = RunningSum.zero(a_base().items)
    for number, contribution in enumerate(clients):
        state = state.plus(f"client-{number}", contribution)
    assert (state.weight, state.interactions) == (2.5, 12)
    assert state.metrics == {"users": Metric(7.0, 2.0), "loss": Metric(0.5, 2.0)}
    for name, array in state.total.named():
        assert array.dtype == np.float64
        assert np.array_equal(array, np.full(SHAPES[name], 2.0)), name


@every_rule
def test_a_client_applies_its_weight(rule):
    arrays = a_base().items.map(lambda array: array * np.float32(0.3))
    contribution = rule.contribution(arrays, 7)
    assert contribution.weight == rule.weight_of(7) == (7.0 if rule == merge_rule("weighted_mean") else 1.0)
    for (name, got), (_, plain) in zip(contribution.arrays.named(), arrays.named(), strict=True):
        assert got.dtype == np.float32
        expected = (contribution.weight * plain.astype(np.float64)).astype(np.float32)
        assert np.array_equal(got, expected), name


@pytest.mark.parametrize("name", TAKING_THE_STEP)
@settings(max_examples=25)
@given(base=BASES, move=MOVES, interactions=st.integers(1, 1000))
def test_a_client_alone_gives_its_own_trained_model(name, base, move, interactions):
    rule = merge_rule(name)
    model = merged(rule, base, [update_of(rule, base, move, interactions)])
    assert_close(model.items, trained(base, move))


@every_rule
@settings(max_examples=25)
@given(base=BASES, clients=CLIENTS, factor=st.integers(2, 1000))
def test_only_the_ratios_of_the_weights_count(rule, base, clients, factor):
    heavier = updates_of(rule, base, [(move, interactions * factor) for move, interactions in clients])
    updates = updates_of(rule, base, clients)
    assert_close(merged(rule, base, heavier).items, merged(rule, base, updates).items)


@every_rule
@settings(max_examples=25)
@given(base=BASES, clients=CLIENTS)
def test_identical_clients_give_the_model_of_one_of_them_under_a_mean(rule, base, clients):
    # Under a mean, copies of one client give its model. Under a sum each copy takes its own step.
    move, interactions = clients[0]
    copies = len(clients)
    model = merged(rule, base, updates_of(rule, base, [(move, interactions)] * copies))
    grown = 1 if isinstance(rule, Mean) else copies
    accumulators = base.items.embedding_accumulators + grown * move.embedding_accumulators
    np.testing.assert_allclose(model.items.embedding_accumulators, accumulators, rtol=1e-5)


@every_rule
def test_a_stale_update_is_refused(rule):
    base = a_base()
    for round_ in (base.round - 1, base.round + 1):
        update = replace(update_of(rule, base, base.items), base_round=round_)
        with pytest.raises(StaleUpdate, match=f"starts from round {round_}, expected round 4"):
            rule.add(rule.empty(base), base, update)


@every_rule
def test_an_update_of_another_catalogue_is_refused(rule):
    base = a_base()
    update = replace(update_of(rule, base, base.items), catalog_digest="dog")
    with pytest.raises(CatalogMismatch, match="'a' numbers items by catalogue dog, expected cat"):
        rule.add(rule.empty(base), base, update)


@every_rule
def test_a_merge_of_no_updates_is_refused(rule):
    base = a_base()
    with pytest.raises(InvalidInput, match="Round 5 has no update to merge"):
        rule.finish(rule.empty(base), base)


@every_rule
def test_clients_without_interactions_have_no_weight_if_interactions_are_weights(rule):
    base = a_base()
    update = update_of(rule, base, base.items, interactions=0)
    state = rule.add(rule.empty(base), base, update)
    if rule == merge_rule("weighted_mean"):
        with pytest.raises(InvalidInput, match=r"weights of the 1 updates of round 5 sum to 0\.0"):
            rule.finish(state, base)
    elif not isinstance(rule, ServerOptimiser):
        assert_close(rule.finish(state, base).items, trained(base, base.items))


@settings(max_examples=100)
@given(base=BASES, clients=CLIENTS, rate=st.sampled_from([1.0, 0.5]))
def test_adagrad_sum_equals_its_formula(base, clients, rate):
    rule = merge_rule("adagrad_sum", rate)
    model = merged(rule, base, updates_of(rule, base, clients)).items
    for weights, sums in (("embeddings", "embedding_accumulators"), ("biases", "bias_accumulators")):
        # w + rate * sum(d_i * sqrt(G + dG_i)) / sqrt(G + sum(dG_i)), with what training made in float32.
        w, g = (getattr(base.items, name).astype(np.float64) for name in (weights, sums))
        ends = [trained(base, move) for move, _ in clients]
        # Transposed, because the dimensions of an embedding share one accumulator.
        steps = [(getattr(end, weights) - w).T for end in ends]
        growths = [getattr(end, sums) - g for end in ends]
        numerator = sum(d * np.sqrt(g + dg) for d, dg in zip(steps, growths, strict=True))
        expected = w + (rate * numerator / np.sqrt(g + sum(growths))).T
        np.testing.assert_allclose(getattr(model, weights), expected, rtol=1e-5, atol=1e-5)
        np.testing.assert_allclose(getattr(model, sums), g + sum(growths), rtol=1e-6)


def a_base() -> GlobalModel:
    return GlobalModel(4, "cat", ItemArrays(**{name: np.ones(s, np.float32) for name, s in SHAPES.items()}))


class Unbounded(Mean):
    """A rule that names no ranges."""

    ranges = MergeRule.ranges


def test_arrays_of_a_rule_without_ranges_have_the_widest_one():
    rule, base = Unbounded(), a_base()
    contribution = rule.rounded(rule.contribution(base.items))
    assert set(contribution.ranges.values()) == {ANY_RANGE}
    assert set(contribution.ranges) == set(SHAPES)
