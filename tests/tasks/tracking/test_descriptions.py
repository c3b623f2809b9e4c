"""What MLflow calls a run and a version: what is trained, what is special about it, and what came out."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from models.kernel.metric import Metric
from models.promotion.evidence import RoundEvaluation
from tasks.messages.job_opening import JobOpening
from tasks.tracking.descriptions import run_description, run_name, version_description
from tests.worlds.records import evaluation, opening, rejection, round_record

CONFIG: dict[str, Any] = {
    "name": "shop",
    "model_name": "shop-model",
    "seed": 2,
    "train": {"family": "ials", "dims": 64, "regularisation": 0.1},
    "federation": {"rounds": 8, "cohort_share": 0.5},
    "postprocessors": [{"name": "clip", "bound": 1.0}, {"name": "noise"}],
    "evaluation": {"pooling_allowed": True},
    "runner": {"exchange": None},
}


def shop(*differing: str, **changes: Any) -> JobOpening:
    return opening(config=CONFIG | changes, differing=differing)


def test_a_name_says_family_dims_rounds_and_what_is_special_and_ends_with_the_id() -> None:
    assert run_name(shop(), "shop-3f9c1a2b-1") == "ials, 64 dims, 8 rounds (3f9c1a2b-1)"
    special = shop("train.family", "train.dims", "train.regularisation", "federation.rounds", "seed")
    assert run_name(special, "shop-3f9c1a2b-2") == (
        "ials, 64 dims, 8 rounds, regularisation 0.1, seed 2 (3f9c1a2b-2)"
    )


def test_a_name_stays_short_and_leaves_out_what_changes_no_model() -> None:
    many = shop(
        "train.regularisation",
        "federation.cohort_share",
        "evaluation.pooling_allowed",
        "postprocessors",
        "seed",
    )
    said = run_name(many, "shop-a-1")
    assert said.startswith("ials, 64 dims, 8 rounds, regularisation 0.1, cohort_share 0.5, ")
    assert said.endswith(", postprocessors clip + noise, 1 more (a-1)")


def test_a_family_without_dims_and_a_job_of_an_older_version_have_a_name() -> None:
    ease = shop(train={"family": "ease"}, federation={"rounds": 1})
    assert run_name(ease, "shop-a-1") == "ease, 1 round (a-1)"
    assert run_name(opening(), "films-1") == "lightfm, 4 dims (1)"


def test_a_description_begins_with_the_outcome_and_names_job_and_settings() -> None:
    special = shop("train.regularisation", "evaluation.pooling_allowed")
    assert run_description(special, "shop-a-1", "It went well.") == (
        "It went well.\n\nJob shop-a-1: ials, 64 dims, 8 rounds. "
        "Not by default: train.regularisation 0.1, evaluation.pooling_allowed true."
    )
    assert run_description(shop(), "shop-a-1", "Done.").endswith("8 rounds. All else is by default.")


def test_a_long_reason_fits_into_a_tag_of_mlflow() -> None:
    assert len(run_description(shop(), "shop-a-1", "x" * 100_000)) < 8000


@pytest.mark.parametrize(
    ("found", "text"),
    [
        (None, "not evaluated; 2 clients accepted, 1 rejected."),
        (evaluation(ash=(1.0, 3.0), birch=(0.5, 3.0)), "NDCG@10 0.2500 on the validation cases; 2 clients"),
        (evaluation(ash=(0.0, 0.0)), "not evaluated; 2 clients"),
        # The sum of squared errors is 8 over 2 cases: the root of 4.
        (
            RoundEvaluation("validation", {"rmse": Metric(8.0, 2.0)}, {}),
            "RMSE 2.0000 on the validation cases",
        ),
    ],
)
def test_a_version_is_described_by_round_metric_and_clients(found: RoundEvaluation | None, text: str) -> None:
    record = round_record(3, "ash", "birch", rejected=(rejection("elm", "it is late"),))
    said = version_description(record.with_evaluation(found))
    assert said.startswith(f"Round 3 of job films-1: {text}")


def test_a_version_says_how_many_cases_do_not_count() -> None:
    found = evaluation(ash=(1.0, 4.0))
    metrics = {**found.metrics, "left_out": Metric(3.0, 7.0)}
    said = version_description(round_record(3, "ash").with_evaluation(replace(found, metrics=metrics)))
    assert "NDCG@10 0.2500 on the validation cases (3 of 7 left out, because earlier trainings" in said
    assert "left out" not in version_description(round_record(3, "ash").with_evaluation(found))
