"""The settings by which MLflow compares jobs: those of the job's own family, and what is special about it."""

from __future__ import annotations

from typing import Any

from flows.settings.parameters import differing, parameters_of
from flows.settings.training_config import TrainingConfig, parse_config


def config(**sections: Any) -> TrainingConfig:
    raw = {"name": "films", "model_name": "movies", "data": {"dir": "/data/films"}, **sections}
    return parse_config(raw, "the test")


def test_a_job_by_default_differs_in_nothing() -> None:
    assert differing(config()) == ()
    assert differing(config(train={"family": "ials"})) == ()
    assert differing(config(runner={"threads": 3})) == ()


def test_what_differs_is_listed_with_the_family_first() -> None:
    special = config(
        seed=3,
        train={"family": "ials", "regularisation": 0.5},
        federation={"rounds": 2},
        contracts={"embeddings": {"max_norm": 9.0}},
        postprocessors=[],
    )
    assert differing(special) == (
        "train.regularisation",
        "seed",
        "federation.rounds",
        "contracts.embeddings.max_norm",
    )


def test_the_parameters_are_those_of_the_own_family() -> None:
    ials = parameters_of(config(train={"family": "ials"}))
    assert [key for key in ials if key.startswith("train.")] == [
        "train.dims",
        "train.regularisation",
        "train.unobserved_weight",
        "train.frequency_exponent",
        "train.family",
    ]
    assert "train.loss" in parameters_of(config())
    # Predicted ratings are compared with no sampled negatives.
    assert "evaluation.negatives" in ials
    assert "evaluation.negatives" not in parameters_of(config(train={"family": "bayesian_mf"}))


def test_limits_are_parameters_only_if_they_are_special_and_places_never() -> None:
    assert not [key for key in parameters_of(config()) if key.startswith(("contracts.", "runner."))]
    special = config(contracts={"updates": {"max_norm": 9.0}}, runner={"threads": 2, "system_metrics": True})
    assert [key for key in parameters_of(special) if key.startswith(("contracts.", "runner."))] == [
        "contracts.updates.max_norm"
    ]


def test_a_setting_without_a_value_is_no_parameter() -> None:
    found = parameters_of(config())
    assert "data.dir" in found
    assert "data.items" not in found


def test_the_settings_of_planned_rounds_are_special_in_other_jobs_only() -> None:
    assert differing(config(federation={"rounds": 3})) == ("federation.rounds",)
    assert differing(config(train={"early_epochs": 2})) == (
        "train.early_epochs",
        "train.cooldown_share",
        "federation.rounds",
    )
