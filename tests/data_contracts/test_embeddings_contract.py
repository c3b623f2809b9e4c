"""The embeddings contract: one good model, and for each expectation a model that breaks it alone."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from data_contracts.embeddings import EmbeddingLimits, check_embeddings, embedding_rules, profile_embeddings
from models.federation.model import GlobalModel, ItemArrays
from models.recommenders.items.item_weights import ItemWeights

CATALOG = "c" * 64
LIMITS = EmbeddingLimits(
    min_norm=0.01,
    max_norm=10.0,
    min_mean_norm=0.5,
    max_mean_norm=6.1,
    max_bias=2.0,
    max_drift=1.5,
    row_quantile=0.75,
    max_row_drift=4.0,
    min_coverage=0.5,
)


def model(
    round_: int, embeddings: Any, biases: Any = None, sums: Any = 1.0, catalog: str = CATALOG
) -> GlobalModel:
    table = np.array(embeddings, dtype=np.float32)
    flat = np.zeros(len(table), dtype=np.float32) if biases is None else np.array(biases, dtype=np.float32)
    grown = np.broadcast_to(np.asarray(sums, dtype=np.float32), (len(table),))
    return GlobalModel(round_, catalog, ItemArrays(table, flat, grown.copy(), grown.copy()))


# Five items of length 5: the whole matrix has the Frobenius norm 5 * sqrt(5) = 11.18.
PREVIOUS = model(1, [[3, 4], [4, 3], [5, 0], [0, 5], [3, -4]], sums=2.0)


def changed(row: int, values: Any) -> GlobalModel:
    table = np.array(PREVIOUS.items.embeddings)
    table[row] = values
    return model(2, table, sums=3.0)


def untrained(embeddings: Any) -> GlobalModel:
    """Return a model whose accumulators say that no item was ever trained."""
    return model(1, embeddings, sums=1.0)


# Expectation -> (previous model, a model that breaks it alone, the items in breach).
BREACHES = {
    "row_count_matches": (PREVIOUS, model(2, PREVIOUS.items.embeddings[:4], sums=3.0), ()),
    "dims_match": (
        PREVIOUS,
        model(2, np.hstack([PREVIOUS.items.embeddings, np.zeros((5, 1))]), sums=3.0),
        tuple("01234"),
    ),
    "catalog_matches": (
        PREVIOUS,
        replace(model(2, PREVIOUS.items.embeddings, sums=3.0), catalog_digest="e" * 64),
        tuple("01234"),
    ),
    "values_finite": (PREVIOUS, changed(2, [np.nan, 0]), ("2",)),
    "norm_in_range": (PREVIOUS, changed(1, [8, 6.1]), ("1",)),
    "mean_norm_in_range": (PREVIOUS, model(2, PREVIOUS.items.embeddings * 1.25, sums=3.0), ()),
    "bias_in_range": (PREVIOUS, model(2, PREVIOUS.items.embeddings, [0, 0, -2.5, 0, 0], 3.0), ("2",)),
    "accumulators_grow": (PREVIOUS, model(2, PREVIOUS.items.embeddings, sums=[2, 2, 2, 1.9, 2]), ("3",)),
    # All five rows move by 3.75: 3.75 times the tiny start, but each by less than 4.
    "drift_in_range": (
        model(1, [[0, 1], [0, 1], [0, 1], [0, 1], [0, 1]], sums=2.0),
        model(2, [[0, 4.75]] * 5, sums=3.0),
        (),
    ),
    # Two of five rows are reversed (10 each): sqrt(200) / sqrt(125) = 1.26, but the .75 quantile is 10.
    "row_drift_in_range": (
        PREVIOUS,
        model(2, PREVIOUS.items.embeddings * np.array([[-1], [-1], [1], [1], [1]]), sums=3.0),
        (),
    ),
    "coverage_in_range": (
        untrained(PREVIOUS.items.embeddings),
        model(2, PREVIOUS.items.embeddings, sums=[1, 1, 1, 1.5, 1]),
        (),
    ),
}


def test_a_good_model_passes_every_expectation() -> None:
    outcome = check_embeddings(changed(0, [3, 5]), PREVIOUS, LIMITS)
    assert (outcome.contract, outcome.subject, outcome.passed) == ("embeddings", "round-2", True)
    assert outcome.evaluated == len(BREACHES) == len(outcome.result["results"])


def test_every_expectation_has_a_model_that_breaks_it() -> None:
    assert [rule.name for rule in embedding_rules(5, 2, CATALOG, LIMITS)] == list(BREACHES)


@pytest.mark.parametrize("name", BREACHES)
def test_a_model_breaks_exactly_one_expectation(name: str) -> None:
    previous, merged, items = BREACHES[name]
    outcome = check_embeddings(merged, previous, LIMITS)
    assert [breach.expectation for breach in outcome.breaches] == [name]
    assert outcome.breaches[0].keys == items
    assert outcome.breaches[0].count == len(items)
    assert not outcome.passed


def test_an_emptied_item_is_too_small() -> None:
    outcome = check_embeddings(changed(4, [0, 0]), PREVIOUS, replace(LIMITS, max_row_drift=6.0))
    assert [(b.expectation, b.keys) for b in outcome.breaches] == [("norm_in_range", ("4",))]


def test_a_profile_measures_drift_by_hand() -> None:
    # Row 0 moves by (0, 2) and row 2 by (-1, 0): sqrt(4 + 1) / sqrt(125) = 0.2.
    table = np.array(PREVIOUS.items.embeddings)
    table[0, 1], table[2, 0] = 6, 4
    profile = profile_embeddings(model(2, table, sums=2.0), PREVIOUS, 0.75)
    assert profile["relative_drift"].tolist() == pytest.approx([0.2] * 5)
    assert profile["row_drift_quantile"].tolist() == pytest.approx([1.0] * 5)  # of 0, 0, 0, 1, 2
    assert profile["norm"].tolist() == pytest.approx([np.sqrt(45), 5, 4, 5, 5])


def test_coverage_counts_items_that_moved_in_this_round_or_before() -> None:
    previous = untrained([[1, 0], [1, 0], [1, 0], [1, 0]])
    merged = model(2, [[1, 0], [2, 0], [1, 0], [1, 0]], [0, 0, 0.5, 0], [1.5, 1, 1, 1])
    assert profile_embeddings(merged, previous, 0.5)["covered"].tolist() == [1.0, 1.0, 1.0, 0.0]


def test_drift_from_a_zero_model_is_zero_or_infinite() -> None:
    zeros = model(0, np.zeros((3, 2)))
    assert profile_embeddings(model(1, np.zeros((3, 2))), zeros, 0.9)["relative_drift"].tolist() == [0.0] * 3
    assert profile_embeddings(model(1, np.ones((3, 2))), zeros, 0.9)["relative_drift"].tolist() == [1e30] * 3


# The defaults are there so that a model passes as training leaves it, and ruined ones do not.
RNG = np.random.default_rng(0)
INITIAL = model(0, (RNG.random((200, 32)) - 0.5) / 32)
TRAINED = model(1, RNG.normal(scale=0.35, size=(200, 32)), RNG.normal(size=200), 5.0)


def test_default_limits_allow_the_first_round_from_tiny_values() -> None:
    # Norms of about 2 after norms of about 0.05: a relative drift of about 40.
    assert profile_embeddings(TRAINED, INITIAL, 0.99)["relative_drift"][0] > 30
    assert check_embeddings(TRAINED, INITIAL).passed


@pytest.mark.parametrize(
    ("ruined", "names"),
    [
        (np.zeros((200, 32)), ["norm_in_range", "mean_norm_in_range"]),
        (
            TRAINED.items.embeddings * 1e4,
            ["norm_in_range", "mean_norm_in_range", "drift_in_range", "row_drift_in_range"],
        ),
        (np.full((200, 32), np.nan), ["values_finite", "mean_norm_in_range", "coverage_in_range"]),
        (np.full((200, 32), np.inf), ["values_finite", "mean_norm_in_range", "coverage_in_range"]),
    ],
)
def test_default_limits_refuse_emptied_and_exploded_models(ruined: np.ndarray, names: list[str]) -> None:
    outcome = check_embeddings(model(2, ruined, sums=6.0), TRAINED)
    assert [breach.expectation for breach in outcome.breaches] == names


def test_an_empty_model_breaks_the_row_count() -> None:
    outcome = check_embeddings(model(2, np.zeros((0, 2))), PREVIOUS, LIMITS)
    assert "row_count_matches" in [breach.expectation for breach in outcome.breaches]


def test_unused_items_of_a_model_that_begins_at_zero_break_no_rule() -> None:
    weights = np.zeros((4, 4))
    weights[0, 1] = weights[1, 0] = 0.5
    nothing = GlobalModel(0, CATALOG, ItemWeights.zero(4))
    solved = GlobalModel(1, CATALOG, ItemWeights.of(weights, 0.0, np.array([1, 1, 0, 0])))
    assert check_embeddings(solved, nothing).passed
    profile = profile_embeddings(solved, nothing, 0.9)
    assert profile["covered"].tolist() == [1, 1, 0, 0]
    assert profile["norm"].isna().tolist() == [False, False, True, True]
    assert profile["relative_drift"].tolist() == [0.0] * 4
    # Later rounds start from values that can drift.
    again = GlobalModel(2, CATALOG, ItemWeights.of(2 * weights, 0.0, np.array([1, 1, 0, 0])))
    assert profile_embeddings(again, solved, 0.9)["relative_drift"].tolist() == pytest.approx([1.0] * 4)
