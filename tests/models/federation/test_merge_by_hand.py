"""Two clients, three items, one dimension: every merge rule by hand arithmetic."""

from __future__ import annotations

import numpy as np
import pytest

from models.federation.merge import MergeRule
from models.federation.model import ClientUpdate, GlobalModel, ItemArrays
from models.recommenders.lightfm.merge_rules import merge_rule


def arrays(embeddings, biases, embedding_accumulators, bias_accumulators) -> ItemArrays:
    def column(values):
        return np.array(values, dtype=np.float32)

    return ItemArrays(
        column(embeddings)[:, None],
        column(biases),
        column(embedding_accumulators),
        column(bias_accumulators),
    )


BASE = GlobalModel(4, "cat", arrays([1, 2, 3], [0, 1, 0], [4, 1, 1], [1, 1, 9]))
# Ash has one interaction: it moves item 0 and item 1's bias. Birch has three: it moves items 0 and 2.
ASH = arrays([1.5, 2, 3], [0, 2, 0], [9, 1, 1], [1, 4, 9])
BIRCH = arrays([0, 2, 5], [0, 1, -1], [11, 1, 4], [1, 1, 16])


def merged(rule: MergeRule) -> ItemArrays:
    state = rule.empty(BASE)
    for client_id, trained, interactions in (("ash", ASH, 1), ("birch", BIRCH, 3)):
        contribution = rule.contribution(rule.prepare(BASE.items, trained), interactions)
        state = rule.add(state, BASE, ClientUpdate(client_id, 4, "base", "cat", contribution))
    assert state.clients == ("ash", "birch")
    model = rule.finish(state, BASE)
    assert (model.round, model.catalog_digest) == (5, "cat")
    assert all(array.dtype == np.float32 for _, array in model.items.named())
    return model.items


def assert_is(found: ItemArrays, embeddings, biases, embedding_accumulators, bias_accumulators) -> None:
    expected = arrays(embeddings, biases, embedding_accumulators, bias_accumulators)
    for (name, got), (_, want) in zip(found.named(), expected.named(), strict=True):
        np.testing.assert_allclose(got, want, rtol=1e-6, err_msg=name)


def test_sum_adds_every_difference():
    # Item 0: 1 + 0.5 - 1; its accumulator 4 + 5 + 7.
    assert_is(merged(merge_rule("sum")), [0.5, 2, 5], [0, 2, -1], [16, 1, 4], [1, 4, 16])


def test_a_server_rate_of_a_half_halves_the_step_and_leaves_accumulators_unchanged():
    assert_is(merged(merge_rule("sum", 0.5)), [0.75, 2, 4], [0, 1.5, -0.5], [16, 1, 4], [1, 4, 16])


def test_mean_divides_by_the_two_clients():
    assert_is(merged(merge_rule("mean")), [0.75, 2, 4], [0, 1.5, -0.5], [10, 1, 2.5], [1, 2.5, 12.5])


def test_weighted_mean_counts_birch_three_times():
    # Item 0: 1 + (1 * 0.5 + 3 * -1) / 4 = 0.375; its accumulator 4 + (1 * 5 + 3 * 7) / 4 = 10.5.
    assert_is(
        merged(merge_rule("weighted_mean")),
        [0.375, 2, 4.5],
        [0, 1.25, -0.75],
        [10.5, 1, 3.25],
        [1, 1.75, 14.25],
    )


def test_adagrad_sum_takes_each_step_under_the_accumulators_of_all():
    # Item 0: ash sends 0.5 * sqrt(9), birch -1 * sqrt(11), the server divides by sqrt(4 + 5 + 7) = 4.
    item_0 = 1 + (1.5 - 11**0.5) / 4
    # Items 1 and 2 were moved by one client each, so they take its own steps: +1, +2, -1.
    assert_is(merged(merge_rule("adagrad_sum")), [item_0, 2, 5], [0, 2, -1], [16, 1, 4], [1, 4, 16])


def test_adagrad_sum_with_a_server_rate_of_a_half():
    item_0 = 1 + (1.5 - 11**0.5) / 8
    rule = merge_rule("adagrad_sum", 0.5)
    assert_is(merged(rule), [item_0, 2, 4], [0, 1.5, -0.5], [16, 1, 4], [1, 4, 16])


@pytest.mark.parametrize("name", ["mean", "weighted_mean"])
def test_means_have_no_server_rate(name):
    assert merge_rule(name, 0.5) == merge_rule(name)
