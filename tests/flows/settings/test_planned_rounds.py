"""A job that leaves its rounds out gets its family's plan, and every other job what it says."""

from __future__ import annotations

import json
from typing import Any

import pytest

from flows.settings.training_config import TrainingConfig, parse_config
from models.recommenders.lightfm.spec import LightFMSpec

NEEDED = {"name": "job", "model_name": "model", "data": {"dir": "/partition"}}


def config(**sections: Any) -> TrainingConfig:
    return parse_config(NEEDED | sections, "the test")


def test_lightfm_trains_thirty_epochs_with_early_merges_and_a_cooldown() -> None:
    found = config()
    assert found.train == LightFMSpec(early_epochs=5, early_merges=8, cooldown_share=0.5)
    assert found.federation.rounds == 5 * 8 + 25
    assert found.train.epochs_of(found.federation.rounds) == 30


def test_null_means_left_out() -> None:
    nulls = config(train={"early_epochs": None, "cooldown_share": None}, federation={"rounds": None})
    assert nulls == config()
    explicit = config(train={"early_epochs": None, "cooldown_share": None}, federation={"rounds": 3})
    assert explicit == config(federation={"rounds": 3})


def test_a_job_with_rounds_of_its_own_trains_what_it_says() -> None:
    """So jobs of earlier versions, whose records have all settings, continue with the same bytes."""
    found = config(federation={"rounds": 65})
    assert (found.train, found.federation.rounds) == (LightFMSpec(), 65)
    recorded = config(federation={"rounds": 30}).model_dump(mode="json")
    assert recorded["train"]["early_epochs"] == recorded["train"]["cooldown_share"] == 0


def test_a_planned_configuration_says_all_when_it_is_written() -> None:
    found = config()
    assert parse_config(json.loads(found.model_dump_json()), "the test") == found


@pytest.mark.parametrize(
    ("train", "early_epochs", "cooldown_share", "rounds"),
    [
        ({"early_epochs": 2}, 2, 0.5, 44),
        ({"early_epochs": 0}, 0, 0.5, 30),
        ({"early_epochs": 2, "early_merges": 4}, 2, 0.5, 36),
        ({"cooldown_share": 0.0}, 5, 0.0, 65),
        ({"merges_per_epoch": 2}, 5, 0.5, 90),
        ({"merges_per_epoch": 8}, 0, 0.5, 240),
        ({"merges_per_epoch": 16}, 0, 0.5, 480),
        ({"merge_rule": "mean"}, 5, 0.0, 65),
    ],
)
def test_the_plan_keeps_what_is_set_and_leaves_out_what_would_have_no_effect(
    train: dict[str, Any], early_epochs: int, cooldown_share: float, rounds: int
) -> None:
    found = config(train=train)
    assert found.train == LightFMSpec(
        **{**train, "early_epochs": early_epochs, "cooldown_share": cooldown_share}
    )
    assert found.federation.rounds == rounds


@pytest.mark.parametrize(
    "sections",
    [
        {"train": {"family": "ease"}},
        {"federation": {"cohort_share": 0.1}},
        {"start_from": "champion"},
    ],
)
def test_other_families_cohorts_and_later_trainings_have_no_plan(sections: dict[str, Any]) -> None:
    found = config(**sections)
    assert found.federation.rounds == 30
    assert found == config(**{**sections, "federation": {**sections.get("federation", {}), "rounds": 30}})
