"""The robust merge of a job: the laws of what takes the place of the sum."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as npst

from models.errors import InvalidConfig, InvalidInput, QuorumNotReached
from models.federation.contribution import Contribution, RunningSum, Summation
from models.federation.model import ItemArrays
from models.federation.robust_merge import Method, RobustMerge
from models.federation.rounds import Rejection, RoundPlan, require_vectors
from models.kernel.metric import Metric
from models.kernel.packed import packed
from models.recommenders.lightfm.merge_rules import merge_rule

ITEMS, DIMS, CLIENTS = 6, 2, 9
RULE = merge_rule("adagrad_sum")
METHODS: tuple[Method, ...] = ("trimmed_mean", "median", "krum", "norm_bound")
every_method = pytest.mark.parametrize("method", METHODS)
VALUES = st.floats(-4, 4, width=32)


def contribution(values: np.ndarray) -> Contribution[ItemArrays]:
    """Return a rounded contribution of these values (items, dims + 3), with a row of zeros."""
    growing = np.abs(values)
    values[2] = growing[2] = 0.0
    arrays = ItemArrays(values[:, :DIMS], values[:, DIMS], growing[:, DIMS + 1], growing[:, DIMS + 2])
    return RULE.rounded(RULE.contribution(arrays, 10, {"users": Metric(2.0, 1.0)}))


TABLES = npst.arrays(np.float32, (CLIENTS, ITEMS, DIMS + 3), elements=VALUES)
HONEST = TABLES.map(
    lambda tables: {f"client-{number}": contribution(each) for number, each in enumerate(tables)}
)


def plain_sum(contributions: dict[str, Contribution[ItemArrays]]) -> RunningSum[ItemArrays]:
    summation = Summation(next(iter(contributions.values())).arrays)
    for name, each in contributions.items():
        summation.add(name, each)
    return summation.result()


def vectors_of(contributions: dict[str, Contribution[ItemArrays]]) -> dict[str, object]:
    """Return the clients' arrays, every second without its rows of zeros."""
    return {
        name: packed(each.arrays) if number % 2 else each.arrays
        for number, (name, each) in enumerate(contributions.items())
    }


def bytes_of(state: RunningSum[ItemArrays]) -> list[bytes]:
    return [array.tobytes() for _, array in state.total.named()]


@given(HONEST)
def test_without_a_share_a_trimmed_mean_is_the_plain_sum(found: dict[str, Contribution[ItemArrays]]) -> None:
    plain = plain_sum(found)
    assert bytes_of(RobustMerge("trimmed_mean", share=0.0).total(plain, vectors_of(found))) == bytes_of(plain)
    assert RobustMerge().total(plain, {}) is plain


@every_method
@given(HONEST, st.permutations(range(CLIENTS)))
def test_the_order_of_arrival_changes_no_byte(
    method: Method, found: dict[str, Contribution[ItemArrays]], order: list[int]
) -> None:
    robust, names = RobustMerge(method, share=0.2), sorted(found)
    vectors = vectors_of(found)
    reordered = {names[place]: vectors[names[place]] for place in order}
    plain = plain_sum(found)
    assert bytes_of(robust.total(plain, vectors)) == bytes_of(robust.total(plain, reordered))


@every_method
@given(HONEST)
def test_only_the_arrays_are_estimated(method: Method, found: dict[str, Contribution[ItemArrays]]) -> None:
    plain = plain_sum(found)
    state = RobustMerge(method, share=0.2).total(plain, vectors_of(found))
    assert (state.weight, state.interactions, state.clients) == (CLIENTS, 10 * CLIENTS, tuple(sorted(found)))
    assert state.metrics["users"] == Metric(2.0 * CLIENTS, CLIENTS)
    assert [array.shape for _, array in state.total.named()] == [
        array.shape for _, array in plain.total.named()
    ]


@pytest.mark.parametrize("method", ["trimmed_mean", "median"])
@given(HONEST, st.sampled_from([-1.0, 1.0]))
def test_a_liar_at_the_end_of_the_ranges_stays_within_the_honest_values(
    method: Method, honest: dict[str, Contribution[ItemArrays]], sign: float
) -> None:
    far = ItemArrays(
        *(
            np.full(array.shape, sign * 1e9, np.float32)
            for array in (np.zeros((ITEMS, DIMS)), *[np.zeros(ITEMS)] * 3)
        )
    )
    found = honest | {"liar": RULE.rounded(RULE.contribution(far, 10))}
    state = RobustMerge(method, share=0.1).total(plain_sum(found), vectors_of(found))
    for name, array in state.total.named():
        values = np.stack([dict(each.arrays.named())[name] for each in honest.values()])
        mean = array / (CLIENTS + 1)
        assert (mean >= values.min(axis=0) - 1e-9).all(), name
        assert (mean <= values.max(axis=0) + 1e-9).all(), name


def test_a_seed_deals_a_cohort_in_one_way() -> None:
    robust, names = RobustMerge("median", group=3), [f"client-{number:02d}" for number in range(20)]
    first, second = (robust.groups(names, seed) for seed in (7, 8))
    assert robust.groups(names[::-1], 7) == first != second
    assert {len(group) for group in first} == {3, 4}
    assert RobustMerge().groups(names[::-1], 7) == (tuple(names),)
    assert robust.groups([], 7) == ((),)


@pytest.mark.parametrize(
    ("robust", "fewest"),
    [
        (RobustMerge(), 0),
        (RobustMerge("median"), 3),
        (RobustMerge("norm_bound"), 3),
        # floor(n / 10) of n vectors are left out at each end.
        (RobustMerge("trimmed_mean"), 10),
        (RobustMerge("trimmed_mean", share=0.4), 3),
        # Of 5 vectors one may lie, and 2 + 3 are needed.
        (RobustMerge("krum", share=0.2), 5),
        # Of 3 vectors one may lie, which needs 5, and of 5 to 7 two, which need 7.
        (RobustMerge("krum", share=0.4), 7),
    ],
    ids=str,
)
def test_a_method_needs_as_many_vectors_as_it_withstands_a_liar_among(
    robust: RobustMerge, fewest: int
) -> None:
    robust.require(fewest)
    for few in range(fewest):
        with pytest.raises(InvalidInput, match=rf"{robust.method} .*\b{few}\b"):
            robust.require(few)


def test_settings_out_of_range_name_their_key() -> None:
    for key, value in {"share": 0.5, "group": 0}.items():
        with pytest.raises(InvalidConfig) as refused:
            RobustMerge("krum", **{key: value})  # type: ignore[arg-type]  # one of two keys
        assert refused.value.facts["key"] == key


@given(HONEST, st.integers(1, CLIENTS))
def test_sums_over_different_clients_are_joined_to_the_sum_over_all(
    found: dict[str, Contribution[ItemArrays]], size: int
) -> None:
    names = sorted(found)
    parts = [
        plain_sum({name: found[name] for name in names[start : start + size]})
        for start in range(0, CLIENTS, size)
    ]
    joined, expected = RunningSum.joined(parts[::-1]), plain_sum(found)
    assert bytes_of(joined) == bytes_of(expected)
    assert replace(joined, total=expected.total) == expected


def test_a_round_of_too_few_vectors_names_who_is_missing() -> None:
    plan, late = RoundPlan(3, 7, ("ash", "birch", "cedar"), 2), Rejection("birch", "deadline", "late")
    robust = RobustMerge("median")
    require_vectors(plan, robust, 3, plan.cohort, ())
    with pytest.raises(QuorumNotReached, match="Round 3 cannot be merged: median needs at least 3") as few:
        require_vectors(plan, robust, 2, ("cedar", "ash"), (late,))
    facts = few.value.facts
    assert (facts["accepted"], facts["rejected"], facts["quorum"]) == (["ash", "cedar"], (late,), 2)
