"""The settings of noise and its budget: what they need, and what they refuse beside them."""

from __future__ import annotations

import json
from typing import Any

import pytest

from flows.settings.parameters import differing
from flows.settings.settings_file import validated
from flows.settings.training_config import TrainingConfig, parse_config
from models.errors import InvalidConfig
from tests.worlds.postprocessors import Times

NOBODY = {"unit": None, "epsilon": None, "budget": None}


def private(**sections: Any) -> dict[str, Any]:
    """Return a configuration with noise; `sections` override it key by key."""
    raw: dict[str, Any] = {
        "name": "job",
        "model_name": "model",
        "data": {"dir": "/partition"},
        "train": {"family": "dp_items"},
        "federation": {"rounds": 2},
        "privacy": {"unit": "user", "epsilon": 1.0, "budget": 3.0},
    }
    for name, section in sections.items():
        raw[name] = {**raw.get(name, {}), **section} if isinstance(section, dict) else section
    return raw


def test_the_families_that_bound_a_users_part_are_named_with_the_settings_for_it() -> None:
    with pytest.raises(InvalidConfig) as caught:
        parse_config(private(train={"family": "ials"}), "the file")
    assert "ease with train.user_norm: unit" in caught.value.next_step
    assert "dp_items" in caught.value.next_step
    chosen = private(train={"family": "ease", "user_norm": "unit"}, federation={"rounds": 1})
    assert parse_config(chosen, "the file").privacy.unit == "user"


def test_a_job_with_noise_makes_no_models_of_silos_alone_and_stays_so_when_it_is_read_again() -> None:
    config = parse_config(private(), "the file")
    assert not config.evaluation.silo_only
    again = parse_config(json.loads(config.model_dump_json()), "the flow")
    assert again == config
    plain = parse_config({**private(), "privacy": {}}, "the file")
    assert plain.evaluation.silo_only
    # A deployment's form validates the type alone.
    assert not validated(TrainingConfig, private(), "the form").evaluation.silo_only


def test_a_finer_step_than_the_family_s_keeps_the_promise() -> None:
    finer = {"pairs": {"lowest": -9, "highest": 9, "step": 2.0**-13}}
    assert parse_config(private(fixed_point=finer), "the file").fixed_point["pairs"].step == 2.0**-13


@pytest.mark.parametrize(
    ("sections", "key", "what"),
    [
        ({"privacy": {"unit": None}}, "privacy.unit", "epsilon 1 does not say who is protected"),
        ({"privacy": {"epsilon": None}}, "privacy.epsilon", "does not say how much may be learned"),
        ({"privacy": {"budget": None}}, "privacy.budget", "does not say how much all jobs together"),
        ({"train": {"family": "ease"}}, "train.family", "'ease' bounds no user's part"),
        ({"federation": {"robust": {"method": "median"}}}, "federation.robust.method", "single vectors"),
        ({"postprocessors": [{"name": Times.name}]}, "postprocessors", "after its users' parts"),
        ({"federation": {"cohort_share": 0.5}}, "federation.cohort_share", "0.5 leaves clients out"),
        ({"evaluation": {"silo_only": True}}, "evaluation.silo_only", "models without noise"),
        ({"evaluation": {"pooling_allowed": True}}, "evaluation.pooling_allowed", "models without noise"),
        ({"privacy": {"budget": 0.5}}, "privacy.budget", "0.5 is below privacy.epsilon 1"),
        ({"privacy": {"delta": 0.5}}, "privacy.delta", "with a probability of 0.5 the promise may fail"),
        ({"privacy": {"delta": 0.00101}}, "privacy.delta", "expected at most 0.001"),
        (
            {"train": {"family": "ease", "user_norm": "unit"}, "evaluation": {"every": 2}},
            "federation.rounds",
            "the same statistics in each of 2 rounds",
        ),
        (
            {"fixed_point": {"pairs": {"lowest": -9, "highest": 9, "step": 2.0**-11}}},
            "fixed_point.pairs",
            "coarser than the family's 0.00024",
        ),
        (
            {"evaluation": {"every": 1}},
            "evaluation.every",
            "1 evaluates more than once in 2 rounds",
        ),
    ],
)
def test_a_setting_that_breaks_the_promise_names_the_key_and_the_way_out(
    sections: dict[str, Any], key: str, what: str
) -> None:
    assert parse_config(private(), "the file")
    with pytest.raises(InvalidConfig, match=what) as error:
        parse_config(private(**sections), "the file")
    assert error.value.key == key
    assert error.value.what.startswith(f"the file: {key}: ")
    assert error.value.next_step


def test_the_largest_delta_is_one_of_a_thousand() -> None:
    assert parse_config(private(privacy={"delta": 1e-3}), "the file").privacy.delta == 1e-3


def test_a_family_without_bounds_names_those_that_have_them() -> None:
    with pytest.raises(InvalidConfig) as error:
        parse_config(private(train={"family": "ease"}), "the file")
    assert "dp_items" in error.value.next_step
    assert "lightfm" not in error.value.next_step


@pytest.mark.parametrize("every", [2, 9])
def test_one_evaluation_in_all_rounds_is_accepted(every: int) -> None:
    raw = private(evaluation={"every": every})
    assert parse_config(raw, "the file").evaluation.every == every


@pytest.mark.parametrize(
    ("key", "value", "beside", "other"),
    [
        ("privacy.delta", 1e-6, NOBODY, "privacy.unit"),
        ("privacy.budget", 4.0, NOBODY, "privacy.unit"),
        ("privacy.period", "year", NOBODY, "privacy.unit"),
        ("privacy.account", "staff", NOBODY, "privacy.unit"),
        ("privacy.figures_share", 0.5, NOBODY, "privacy.unit"),
        ("contracts.updates.min_interactions", 2, {}, "privacy.unit"),
        ("evaluation.every", 9, {"figures_share": 0}, "privacy.figures_share"),
        ("evaluation.negatives", 9, {"figures_share": 0}, "privacy.figures_share"),
        ("evaluation.users_share", 0.5, {"figures_share": 0}, "privacy.figures_share"),
    ],
)
def test_a_setting_without_effect_is_refused_and_its_default_is_not(
    key: str, value: Any, beside: dict[str, Any], other: str
) -> None:
    plain = private(privacy=beside)
    assert parse_config(plain, "the file")
    section, *parents, name = key.split(".")
    inner: dict[str, Any] = {name: value}
    for parent in reversed(parents):
        inner = {parent: inner}
    changed = {**plain, section: {**plain.get(section, {}), **inner}}
    with pytest.raises(InvalidConfig, match=f"has no effect with {other}") as error:
        parse_config(changed, "the file")
    assert error.value.key == key


def test_nothing_is_written_as_a_file_has_it() -> None:
    with pytest.raises(InvalidConfig) as error:
        parse_config(private(privacy={"unit": None, "epsilon": None}), "the file")
    assert "has no effect with privacy.unit null" in error.value.what
    assert error.value.next_step == "Leave privacy.budget at null, or change privacy.unit."
    with pytest.raises(InvalidConfig, match=r"privacy.delta: .* got null\."):
        parse_config(private(privacy={"delta": None}), "the file")


def test_a_robust_merge_with_noise_is_refused_before_its_groups() -> None:
    robust = private(federation={"robust": {"method": "median"}}, privacy={"secure_sum": True})
    with pytest.raises(InvalidConfig, match="only the sum over all has the noise"):
        parse_config(robust, "the file")


def test_other_rounds_than_the_familys_are_named_by_their_own_key() -> None:
    with pytest.raises(
        InvalidConfig, match=r"^the file: federation\.rounds: train\.family 'dp_items'"
    ) as error:
        parse_config(private(federation={"rounds": 3}), "the file")
    assert error.value.key == "federation.rounds"


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("unit", "interaction"),
        ("epsilon", 0),
        ("epsilon", 101),
        ("delta", 0),
        ("delta", 1),
        ("budget", 0),
        ("period", "week"),
        ("account", "../users"),
        ("account", ""),
        ("figures_share", -0.1),
        ("figures_share", 1),
        ("epsilon", True),
    ],
)
def test_a_value_out_of_range_names_the_key(name: str, value: Any) -> None:
    with pytest.raises(InvalidConfig) as error:
        parse_config(private(privacy={name: value}), "the file")
    assert error.value.key == f"privacy.{name}"


def test_the_budget_decides_nothing_of_the_result_and_the_noise_does() -> None:
    """A finished job whose budget was raised since is the same job, and is not trained and paid again."""
    plain = parse_config(private(), "the file")
    richer = parse_config(private(privacy={"budget": 8.0, "period": "year", "account": "staff"}), "the file")
    assert richer.deciding() == plain.deciding()
    for name, value in (("epsilon", 2.0), ("delta", 1e-6), ("figures_share", 0.2)):
        other = parse_config(private(privacy={name: value}), "the file")
        assert other.deciding() != plain.deciding(), name
    assert "privacy.epsilon" in differing(plain)
