"""The updates contract: what a profile holds, and for each expectation profiles that break it alone."""

import warnings
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd
import pytest

from data_contracts.updates import (
    PROFILE_COLUMNS,
    UpdateLimits,
    breaches_of,
    check_updates,
    profile_update,
    rejected_clients,
    update_rules,
)
from models.errors import ContractViolation
from models.federation.contribution import Contribution
from models.federation.fixed_point import rounded
from models.federation.model import ClientUpdate, GlobalModel, ItemArrays
from models.kernel.arrays import ArrayGroup
from models.kernel.ranges import Range
from models.recommenders.additive.ease import EaseStatistics
from models.recommenders.items.item_weights import ItemWeights

DIGEST, CATALOG = "d" * 64, "c" * 64


def arrays(embeddings: Any, biases: Any, accumulators: Any = 0.0, dtype: str = "float32") -> ItemArrays:
    embeddings = np.array(embeddings, dtype=dtype)
    return ItemArrays(
        embeddings,
        np.array(biases, dtype=dtype),
        np.full(len(embeddings), accumulators, dtype=dtype),
        np.full(len(embeddings), accumulators, dtype=dtype),
    )


BASE = GlobalModel(6, CATALOG, arrays([[1, 0], [0, 1], [1, 1]], [0, 0, 0], 1.0))
DELTAS = arrays([[3, 0], [0, 4], [0, 0]], [0, 0, -2], 0.5)


def update(
    client_id: str = "a",
    deltas: ArrayGroup = DELTAS,
    interactions: Any = 100,
    weight: float = 1.0,
    **changes: Any,
) -> ClientUpdate:
    contribution = Contribution(deltas, weight, interactions)
    return replace(ClientUpdate(client_id, 6, DIGEST, CATALOG, contribution), **changes)


def profiles(**changes: Any) -> pd.DataFrame:
    """Return three good profiles, the middle one with changes."""
    frame = pd.DataFrame([profile_update(update(name), BASE, DIGEST) for name in ("a", "b", "c")])
    for column, value in changes.items():
        frame[column] = [value if row == 1 else old for row, old in enumerate(frame[column])]
    return frame


def test_a_profile_holds_the_updates_facts() -> None:
    # The Frobenius norm of diag(3, 4) is 5.
    assert profile_update(update(), BASE, DIGEST) == {
        "client_id": "a",
        "base_round": 6,
        "base_digest": DIGEST,
        "catalog_digest": CATALOG,
        "n_interactions": 100,
        "interactions_ok": True,
        "weight_ok": True,
        "ranges_ok": True,
        "shape_ok": True,
        "dtype_ok": True,
        "finite": True,
        "accumulators_nonnegative": True,
        "embedding_norm": 5.0,
        "bias_norm": 2.0,
    }


def test_norms_are_those_before_weighting_and_a_weight_is_the_rules() -> None:
    weighted = update(deltas=DELTAS.map(lambda array: array * np.float32(100)), weight=100.0)
    profile = profile_update(weighted, BASE, DIGEST, weight_of=float)
    assert (profile["weight_ok"], profile["embedding_norm"], profile["bias_norm"]) == (True, 5.0, 2.0)
    # A weight of its own choice neither counts nor hides a size.
    profile = profile_update(weighted, BASE, DIGEST)
    assert (profile["weight_ok"], profile["embedding_norm"], profile["bias_norm"]) == (False, 500.0, 200.0)
    unheard = profile_update(update(interactions=0, weight=0.0), BASE, DIGEST, weight_of=float)
    assert (unheard["weight_ok"], unheard["embedding_norm"]) == (True, 5.0)


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_a_profile_of_values_that_are_not_finite_has_infinite_norms(bad: float) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        profile = profile_update(update(deltas=arrays([[bad, 0], [0, 4], [0, 0]], [0, 0, 0])), BASE, DIGEST)
    assert profile["finite"] is False
    assert profile["embedding_norm"] == np.inf
    assert profile["bias_norm"] == 0.0


def test_a_norm_is_computed_in_float64() -> None:
    # 1e30 squared exceeds float32, not float64.
    profile = profile_update(update(deltas=arrays([[1e30, 0], [0, 0], [0, 0]], [0, 0, 0])), BASE, DIGEST)
    assert profile["embedding_norm"] == pytest.approx(1e30)


def test_a_profile_of_another_shape_or_type_says_so() -> None:
    smaller = profile_update(update(deltas=arrays([[1.0]], [0])), BASE, DIGEST)
    assert (smaller["shape_ok"], smaller["dtype_ok"]) == (False, True)
    for dtype in ("float64", "int32", "bool"):
        other = profile_update(
            update(deltas=arrays(DELTAS.embeddings, DELTAS.biases, dtype=dtype)), BASE, DIGEST
        )
        assert (other["shape_ok"], other["dtype_ok"]) == (True, False)
    nonsense = profile_update(update(deltas=arrays([["x", "y"]] * 3, ["z"] * 3, "w", "U1")), BASE, DIGEST)
    assert (nonsense["finite"], nonsense["dtype_ok"]) == (False, False)


def test_a_profile_of_no_items_raises_no_error() -> None:
    profile = profile_update(update(deltas=arrays(np.zeros((0, 2)), [])), BASE, DIGEST)
    assert (profile["shape_ok"], profile["embedding_norm"]) == (False, 0.0)


@pytest.mark.parametrize("value", ["100", None, 1.5, True, 2**80, [1]])
def test_a_count_that_is_not_a_whole_number_becomes_minus_one(value: object) -> None:
    profile = profile_update(update(interactions=value, base_round=value), BASE, DIGEST)
    assert (profile["n_interactions"], profile["base_round"]) == (-1, -1)


@pytest.mark.parametrize(
    ("reported", "is_ok"), [(None, True), (100, True), (101, True), (99, False), (0, False)]
)
def test_a_client_has_no_more_interactions_than_it_reported(reported: int | None, is_ok: bool) -> None:
    assert profile_update(update(), BASE, DIGEST, reported=reported)["interactions_ok"] is is_ok


def test_values_are_rounded_to_the_ranges_of_the_job() -> None:
    coarse, fine = (dict.fromkeys(ItemArrays.names(), Range(-100, 100, step)) for step in (1.0, 0.5))
    sent = update()
    sent = replace(sent, contribution=rounded(sent.contribution, coarse))
    for ranges, is_ok in ((coarse, True), (fine, False), ({}, False), (None, True)):
        assert profile_update(sent, BASE, DIGEST, ranges=ranges)["ranges_ok"] is is_ok
    # Whole numbers of steps that were never declared as such.
    assert profile_update(update(), BASE, DIGEST, ranges=coarse)["ranges_ok"] is False


def test_a_shrinking_accumulator_is_noticed() -> None:
    shrinking = replace(DELTAS, bias_accumulators=np.array([0, -1e-6, 0], dtype=np.float32))
    assert profile_update(update(deltas=shrinking), BASE, DIGEST)["accumulators_nonnegative"] is False


# Expectation -> (profiles that break it alone, the clients in breach).
BREACHES = {
    "any_update": (profiles().iloc[:0], ()),
    "client_once": (profiles(client_id="c"), ("c", "c")),
    "base_round_matches": (profiles(base_round=5), ("b",)),
    "base_digest_matches": (profiles(base_digest="e" * 64), ("b",)),
    "catalog_matches": (profiles(catalog_digest="e" * 64), ("b",)),
    "weight_matches": (profiles(weight_ok=False), ("b",)),
    "ranges_match": (profiles(ranges_ok=False), ("b",)),
    "shape_matches": (profiles(shape_ok=False), ("b",)),
    "dtype_matches": (profiles(dtype_ok=False), ("b",)),
    "values_finite": (profiles(finite=False), ("b",)),
    "accumulators_grow": (profiles(accumulators_nonnegative=False), ("b",)),
    "enough_interactions": (profiles(n_interactions=0), ("b",)),
    "interactions_reported": (profiles(interactions_ok=False), ("b",)),
    "embedding_norm_in_range": (profiles(embedding_norm=np.inf), ("b",)),
    "bias_norm_in_range": (profiles(bias_norm=1e6), ("b",)),
}


def test_good_updates_pass_every_expectation() -> None:
    outcome = check_updates(profiles(), BASE, DIGEST)
    assert (outcome.contract, outcome.subject, outcome.passed) == ("updates", "round-7", True)
    assert outcome.evaluated == len(BREACHES) == len(outcome.result["results"])
    assert rejected_clients(outcome) == {}


def test_every_expectation_has_profiles_that_break_it() -> None:
    assert [rule.name for rule in update_rules(6, DIGEST, CATALOG, UpdateLimits())] == list(BREACHES)


@pytest.mark.parametrize("name", BREACHES)
def test_profiles_break_exactly_one_expectation(name: str) -> None:
    frame, clients = BREACHES[name]
    outcome = check_updates(frame, BASE, DIGEST, subject="round-x")
    assert [breach.expectation for breach in outcome.breaches] == [name]
    assert outcome.breaches[0].keys == clients
    assert outcome.breaches[0].count == len(clients)
    assert not outcome.passed
    assert outcome.subject == "round-x"
    if clients:
        assert list(rejected_clients(outcome)) == sorted(set(clients))


def test_reasons_name_every_rule_that_a_client_breaks() -> None:
    frame = profiles(embedding_norm=np.inf, finite=False)
    frame.loc[2, "base_round"] = 4
    reasons = rejected_clients(check_updates(frame, BASE, DIGEST, UpdateLimits(max_norm=10.0)))
    assert reasons == {
        "b": "The update breaks its contract, which requires finite values only; "
        "an embedding norm between 0 and 10 (got inf).",
        "c": "The update breaks its contract, which requires base round 6 (got 4).",
    }


def test_reasons_without_values_name_the_rules_only() -> None:
    outcome = check_updates(profiles(embedding_norm=156345.4), BASE, DIGEST)
    assert "(got 156345.4)" in rejected_clients(outcome)["b"]
    assert rejected_clients(outcome, with_values=False) == {
        "b": "The update breaks its contract, which requires an embedding norm between 0 and 100000."
    }


def test_all_clients_in_breach_are_rejected_however_many() -> None:
    frame = pd.DataFrame([profile_update(update(f"c{i:03}"), BASE, DIGEST) for i in range(60)])
    outcome = check_updates(frame.assign(finite=False), BASE, DIGEST)
    assert len(rejected_clients(outcome)) == len(outcome.breaches[0].keys) == 60


def test_limits_are_inclusive() -> None:
    assert check_updates(profiles(), BASE, DIGEST, UpdateLimits(max_norm=5.0, min_interactions=100)).passed
    names = [
        b.expectation
        for b in check_updates(
            profiles(), BASE, DIGEST, UpdateLimits(max_norm=1.9, min_interactions=101)
        ).breaches
    ]
    assert names == ["enough_interactions", "embedding_norm_in_range", "bias_norm_in_range"]


def test_a_breach_without_a_client_is_an_error_and_not_an_empty_rejection() -> None:
    with pytest.raises(ContractViolation, match="broken as a whole: any_update: requires at least 1 row"):
        rejected_clients(check_updates(profiles().iloc[:0], BASE, DIGEST))


@pytest.mark.parametrize("column", PROFILE_COLUMNS)
def test_a_missing_value_is_never_a_pass(column: str) -> None:
    with pytest.raises(ContractViolation, match=column):
        check_updates(profiles(**{column: None}), BASE, DIGEST)


def test_a_missing_column_is_never_a_pass() -> None:
    with pytest.raises(ContractViolation, match="column finite is missing"):
        check_updates(profiles().drop(columns="finite"), BASE, DIGEST)


def test_a_column_of_mixed_types_is_never_a_pass() -> None:
    with pytest.raises(ContractViolation, match="rule enough_interactions failed"):
        check_updates(profiles(n_interactions="many"), BASE, DIGEST)


def test_statistics_are_compared_with_the_form_of_their_own_family() -> None:
    base = GlobalModel(6, CATALOG, ItemWeights.zero(3))
    form, good = EaseStatistics.zero(3), EaseStatistics(np.array([3, 0, 0, 4, 0, 0], dtype=np.float32))
    profile = profile_update(update(deltas=good), base, DIGEST, form)
    assert (profile["shape_ok"], profile["accumulators_nonnegative"]) == (True, True)
    assert profile["bias_norm"] == 5.0
    shrunk = EaseStatistics(np.array([3, -1, 0, 4, 0, 0], dtype=np.float32))
    assert profile_update(update(deltas=shrunk), base, DIGEST, form)["accumulators_nonnegative"] is False
    noisy = profile_update(update(deltas=shrunk), base, DIGEST, form, noisy=True)
    assert noisy["accumulators_nonnegative"] is True
    assert profile_update(update(deltas=EaseStatistics.zero(2)), base, DIGEST, form)["shape_ok"] is False
    assert profile_update(update(), base, DIGEST, form)["shape_ok"] is False  # of another family


RULES = update_rules(6, DIGEST, CATALOG, UpdateLimits(max_norm=5.0, min_interactions=100))
# Values of a column at, beside and far from each limit.
VALUES = {
    "base_round": (6, 5, -1),
    "base_digest": (DIGEST, "e" * 64),
    "catalog_digest": (CATALOG, "e" * 64),
    "n_interactions": (100, 99, 101, -1, 2**62),
    **dict.fromkeys(
        (
            *("interactions_ok", "weight_ok", "ranges_ok", "shape_ok", "dtype_ok", "finite"),
            "accumulators_nonnegative",
        ),
        (True, False),
    ),
    "embedding_norm": (0.0, 5.0, np.nextafter(5.0, 6.0), 1e308, np.inf),
    "bias_norm": (0.0, 5.0, np.nextafter(5.0, 6.0), 1e308, np.inf),
}


def test_one_update_is_judged_as_great_expectations_judges_a_column() -> None:
    """A member of a secure sum judges its own update, without the library."""
    judged = {rule.name for rule in RULES if rule.columns and rule.columns[0] in VALUES}
    assert judged == set(BREACHES) - {"any_update", "client_once"}
    whole, least = profiles().iloc[0].to_dict(), UpdateLimits(max_norm=5.0, min_interactions=100)
    rows = [
        {**whole, column: value, "client_id": f"{column} {number}"}
        for column, values in VALUES.items()
        for number, value in enumerate(values)
    ]
    outcome = check_updates(pd.DataFrame(rows), BASE, DIGEST, least)
    required = {rule.name: rule.required for rule in RULES}
    for row in rows:
        broken = [each.expectation for each in outcome.breaches if row["client_id"] in each.keys]
        assert breaches_of(row, RULES) == [required[name] for name in broken], row["client_id"]


def test_a_good_update_breaks_nothing_and_a_bad_one_all_that_it_breaks() -> None:
    whole = profile_update(update(), BASE, DIGEST)
    assert breaches_of(whole, RULES) == []
    assert breaches_of({**whole, "finite": False, "bias_norm": np.inf}, RULES) == [
        "finite values only",
        "a bias norm between 0 and 5",
    ]
