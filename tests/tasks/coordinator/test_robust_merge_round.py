"""Merging plain updates with a robust merge: what the contract lets pass is estimated, not added."""

from __future__ import annotations

import hashlib
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from data_contracts.updates import UpdateLimits
from models.errors import QuorumNotReached
from models.federation.contribution import RunningSum
from models.federation.model import ClientUpdate, GlobalModel, ItemArrays
from models.federation.robust_merge import RobustMerge
from models.federation.rounds import Rejection, RoundPlan
from models.kernel.packed import packed
from models.recommenders.lightfm.merge_rules import merge_rule
from models.recommenders.lightfm.spec import LightFMSpec
from models.recommenders.lightfm.training import initial_items
from tasks.coordinator.merge_round import Merged, merge_round
from tasks.exchange.codec import encode_model, encode_update
from tasks.messages.answers import Delivery
from tasks.messages.orders import JobContext

RULE = merge_rule("adagrad_sum")
BASE = GlobalModel(3, "cat", initial_items(6, 2, 1))
CLIENTS = ("ash", "birch", "cedar", "elm", "fir", "hazel")
MEDIAN = RobustMerge("median")


@pytest.fixture
def job(tmp_path: Path) -> JobContext:
    return JobContext("job-1", 7, LightFMSpec(), (tmp_path / "exchange").as_uri(), "data", "", "silos", 5, 20)


def arrays_of(client_id: str) -> ItemArrays:
    """Return a client's arrays, in which most rows are zeros."""
    random = np.random.default_rng(CLIENTS.index(client_id))
    used = random.permutation(6)[:3]

    def moved(array: np.ndarray) -> np.ndarray:
        found = np.zeros(array.shape, np.float32)
        found[used] = random.integers(1, 9, (3, *array.shape[1:])) / 8
        return found

    return BASE.items.map(moved)


def delivery(job: JobContext, client_id: str, arrays: ItemArrays, *, is_packed: bool = False) -> Delivery:
    contribution = RULE.rounded(RULE.contribution(packed(arrays) if is_packed else arrays, 10))
    update = ClientUpdate(client_id, 3, hashlib.sha256(encode_model(BASE)).hexdigest(), "cat", contribution)
    ref = job.exchange.put(f"job-1/updates/4/{client_id}", encode_update(update))
    return Delivery(client_id, ref, 0.0, 1.0, 0.5)


def deliveries(job: JobContext, *, is_packed: bool = False) -> list[Delivery]:
    return [delivery(job, each, arrays_of(each), is_packed=is_packed) for each in CLIENTS]


def merge(
    job: JobContext,
    arrived: list[Delivery],
    robust: RobustMerge,
    missing: tuple[Rejection, ...] = (),
    cohort: tuple[str, ...] = CLIENTS,
) -> Merged:
    plan, base = RoundPlan(4, 7, cohort, 1), job.exchange.put("job-1/models", encode_model(BASE))
    return merge_round.fn(job, plan, RULE, base, arrived, missing, UpdateLimits(), {}, robust)


def model_of(total: ItemArrays, clients: int) -> str:
    """Return the SHA-256 of the model that the merge rule makes of a sum."""
    state = RunningSum(total, float(clients), CLIENTS[:clients])
    return hashlib.sha256(encode_model(RULE.finish(state, BASE))).hexdigest()


def median_of(tables: list[ItemArrays]) -> ItemArrays:
    """Return the median times the number of the groups of arrays."""
    first, *others = (each.map(lambda array: array.astype(np.float64)) for each in tables)
    return first.map(lambda *each: np.median(np.stack(each), axis=0) * len(each), *others)


@pytest.mark.parametrize("is_packed", [False, True])
@pytest.mark.parametrize("held", [100, 2])
def test_the_median_takes_the_place_of_the_sum(
    job: JobContext, monkeypatch: pytest.MonkeyPatch, is_packed: bool, held: int
) -> None:
    monkeypatch.setattr("tasks.coordinator.update_intake.HELD_CLIENTS", held)
    arrived = deliveries(job, is_packed=is_packed)
    merged = merge(job, arrived, MEDIAN)
    assert merged.model.sha256 == model_of(median_of([arrays_of(each) for each in CLIENTS]), 6)
    assert merged.accepted == CLIENTS
    assert merge(job, arrived[::-1], MEDIAN).model == merged.model


def test_groups_are_dealt_among_all_whose_data_are_fit(job: JobContext) -> None:
    robust = RobustMerge("median", group=2)
    missing = (Rejection("oak", "interactions", "unfit"), Rejection("birch", "deadline", "late"))
    cohort = tuple(sorted((*CLIENTS, "oak")))
    arrived = [each for each in deliveries(job) if each.client_id != "birch"]
    groups = robust.groups(CLIENTS, 7)
    sums = []
    for group in groups:
        first, *others = (
            arrays_of(each).map(lambda array: array.astype(np.float64)) for each in group if each != "birch"
        )
        sums.append(first.map(lambda *each: np.sum(each, axis=0), *others))
    assert len(sums) == 3
    merged = merge(job, arrived, robust, missing, cohort)
    assert merged.model.sha256 == model_of(median_of(sums), 5)


def test_a_refused_update_is_not_among_the_vectors(job: JobContext) -> None:
    huge = arrays_of("birch").map(lambda array: np.full(array.shape, np.nan, np.float32))
    bad = ClientUpdate("birch", 3, "", "cat", replace(RULE.contribution(huge, 10), ranges={}))
    ref = job.exchange.put("job-1/updates/4/birch", encode_update(bad))
    good = [each for each in deliveries(job) if each.client_id != "birch"]
    merged = merge(job, [*good, Delivery("birch", ref, 0.0, 1.0, 0.5)], MEDIAN)
    assert [each.client_id for each in merged.rejected] == ["birch"]
    assert merged.model.sha256 == model_of(
        median_of([arrays_of(each) for each in CLIENTS if each != "birch"]), 5
    )


def test_too_few_vectors_stop_the_round_with_all_who_are_missing(job: JobContext) -> None:
    late = Rejection("hazel", "deadline", "late")
    robust = RobustMerge("trimmed_mean", share=0.17)
    assert merge(job, deliveries(job), robust).accepted == CLIENTS
    with pytest.raises(
        QuorumNotReached, match=r"Round 4 cannot be merged: .* no liar among 5 vectors"
    ) as few:
        merge(job, deliveries(job)[:5], robust, (late,))
    assert few.value.facts["rejected"] == (late,)
    assert few.value.next_step
