"""Merging a secure sum: the coordinator judges the sum, because it sees no update."""

from __future__ import annotations

import hashlib
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from data_contracts.updates import UpdateLimits
from models.errors import ContractViolation, QuorumNotReached
from models.federation.contribution import Contribution, RunningSum
from models.federation.model import ClientUpdate, GlobalModel, ItemArrays
from models.federation.robust_merge import PLAIN, RobustMerge
from models.federation.rounds import Rejection, RoundPlan
from models.kernel.metric import Metric
from models.recommenders.lightfm.merge_rules import merge_rule
from models.recommenders.lightfm.spec import LightFMSpec
from models.recommenders.lightfm.training import initial_items
from tasks.coordinator.merge_round import Merged
from tasks.coordinator.merge_sum import merge_sum
from tasks.exchange.codec import decode_model, encode_model
from tasks.exchange.store import ArtifactRef
from tasks.messages.orders import JobContext
from tests.worlds.postprocessors import Times

NAMES = ("ash", "birch", "cedar")
RULE = merge_rule("adagrad_sum")
LIMITS = UpdateLimits(max_norm=10.0, min_interactions=10)


@pytest.fixture
def job(tmp_path: Path) -> JobContext:
    url = (tmp_path / "exchange").as_uri()
    return JobContext("job-1", 7, LightFMSpec(), url, "data", "", "silos", 5, 20, update_limits=LIMITS)


BASE = GlobalModel(3, "cat", initial_items(5, 2, 7))


def contribution(value: float = 1.0, interactions: int = 10) -> Contribution[ItemArrays]:
    moved = BASE.items.map(lambda array: np.full(array.shape, value, np.float32))
    return RULE.rounded(RULE.contribution(moved, interactions, {"users": Metric(2.0, 1.0)}))


def summed(contributions: dict[str, Contribution[ItemArrays]]) -> RunningSum[ItemArrays]:
    state = RULE.summation(BASE)
    for name, each in contributions.items():
        state.add(name, each)
    return state.result()


def merge(
    job: JobContext,
    *sums: RunningSum[Any],
    quorum: int = 1,
    missing: tuple[Rejection, ...] = (),
    robust: RobustMerge = PLAIN,
) -> Merged:
    base: ArtifactRef = job.exchange.put("job-1/models", encode_model(BASE))
    return merge_sum.fn(job, RoundPlan(4, 7, NAMES, quorum), RULE, base, sums, missing, 77, robust)


def test_the_model_is_that_of_the_plain_updates(job: JobContext) -> None:
    contributions = {name: contribution(1.0 + place) for place, name in enumerate(NAMES)}
    merged = merge(job, summed(contributions))
    plain = RULE.empty(BASE)
    for name, each in contributions.items():
        plain = RULE.add(plain, BASE, ClientUpdate(name, 3, "", "cat", each))
    expected = encode_model(RULE.finish(plain, BASE))
    assert merged.model.sha256 == hashlib.sha256(expected).hexdigest()
    assert merged.accepted == NAMES
    assert merged.training["users"] == Metric(6.0, 3.0)
    assert (merged.update_bytes, merged.client_drift, merged.rejected) == (77, {}, ())
    assert merged.outcome.passed


def test_the_server_halves_of_postprocessors_run_on_the_sum(job: JobContext) -> None:
    state = summed({name: contribution(2.0) for name in NAMES})
    halved = replace(job, postprocessors=(Times(2.0),))
    plain = summed({name: contribution(1.0) for name in NAMES})
    found = decode_model(job.exchange.get(merge(halved, state).model)).items
    for (name, got), (_, expected) in zip(found.named(), RULE.finish(plain, BASE).items.named(), strict=True):
        np.testing.assert_array_equal(got, expected, err_msg=name)


def test_the_missing_are_named_and_sorted(job: JobContext) -> None:
    missing = (Rejection("cedar", "deadline", "late"), Rejection("birch", "update", "no"))
    merged = merge(job, summed({"ash": contribution()}), missing=missing)
    assert [each.client_id for each in merged.rejected] == ["birch", "cedar"]
    assert merged.accepted == ("ash",)


def test_a_sum_under_the_quorum_is_not_merged(job: JobContext) -> None:
    with pytest.raises(QuorumNotReached):
        merge(job, summed({"ash": contribution(), "birch": contribution()}), quorum=3)
    assert not job.exchange.listed("job-1/models")[1:]


def test_the_mean_is_held_to_the_limits_of_an_update(job: JobContext) -> None:
    # Three updates in one direction, of 5 x 2 embeddings of one value each: sqrt(10) times it is the norm.
    value = float(np.sqrt(10.0)) - 1e-3
    merge(job, summed({name: contribution(value) for name in NAMES}))
    with pytest.raises(ContractViolation, match="sum of round 4 was refused") as caught:
        merge(job, summed({name: contribution(value + 1e-2) for name in NAMES}))
    assert "embedding norm between 0 and 10" in str(caught.value)
    few = {name: contribution(interactions=10 - (name == "ash")) for name in NAMES}
    with pytest.raises(ContractViolation, match="interaction count of at least 10"):
        merge(job, summed(few))


def test_a_sum_whose_squares_shrink_is_refused(job: JobContext) -> None:
    state = summed({name: contribution() for name in NAMES})
    shrinking = replace(state.total, bias_accumulators=np.array([3, 3, -1, 3, 3], np.float64))
    with pytest.raises(ContractViolation, match="do not shrink"):
        merge(job, replace(state, total=shrinking))


def grouped(*values: float) -> list[RunningSum[ItemArrays]]:
    """Return the sums of groups of three clients, each of which sends this value."""
    return [
        summed({f"client-{place}-{number}": contribution(value) for number in range(3)})
        for place, value in enumerate(values)
    ]


def test_the_median_of_sums_of_groups_takes_the_place_of_their_sum(job: JobContext) -> None:
    merged = merge(job, *grouped(1.0, 2.0, 3.0), robust=RobustMerge("median", group=3))
    # The median is a group of twos. Three times it is the sum of nine clients that send 2.
    (expected,) = (merge(job, summed({f"client-{each}": contribution(2.0) for each in range(9)})),)
    assert merged.model == expected.model
    assert len(merged.accepted) == 9
    assert merged.training["users"] == Metric(18.0, 9.0)


def test_a_group_whose_sum_breaks_its_contract_is_refused_and_the_others_merge(job: JobContext) -> None:
    robust, good = RobustMerge("median", group=3), grouped(1.0, 2.0, 3.0)
    (bad,) = grouped(4.0)
    bad = replace(bad, clients=("liar-1", "liar-2", "liar-3"))
    merged = merge(job, *good[:2], bad, good[2], robust=robust)
    assert merged.model == merge(job, *good, robust=robust).model
    assert [(each.client_id, each.stage) for each in merged.rejected] == [
        (f"liar-{number}", "update") for number in (1, 2, 3)
    ]
    assert "sum of its group was refused. The update breaks its contract" in merged.rejected[0].reason
    assert not merged.outcome.passed
    with pytest.raises(QuorumNotReached, match="needs at least 3 vectors, and there are 2"):
        merge(job, *good[:2], bad, robust=robust)
