"""The parameters with which `fedrec run` starts a run."""

from __future__ import annotations

from typing import Any
from uuid import UUID

import pytest

from flows.deployments.run_parameters import find_deployment, run_parameters
from models.errors import InvalidConfig, NotFound
from tasks.orchestration.deployments import Deployment

TRAINING = {
    "config": {
        "name": "shops",
        "model_name": "shops",
        "data": {"dir": "$FEDREC_HOME/data"},
        "federation": {"rounds": 30, "quorum_share": 0.7},
    }
}


def deployment(flow: str = "train.federated_training", name: str = "a", **changes: Any) -> Deployment:
    names = ["config"] if flow.startswith("train") else ["model_name", "version", "tolerance", "reason"]
    parts: dict[str, Any] = {
        "entrypoint": f"flows.{flow}",
        "parameters": TRAINING if flow.startswith("train") else {"model_name": "shops", "reason": "weekly"},
        "parameter_schema": {"properties": {key: {} for key in names}},
    }
    return Deployment(flow, name, description="d", tags=(), work_pool="p", **parts | changes)


def test_one_value_changes_and_the_others_stay() -> None:
    found = run_parameters(deployment(), ["federation.rounds=2", "train.dims=8"])

    federation = {"rounds": 2, "quorum_share": 0.7}
    assert found == {"config": TRAINING["config"] | {"federation": federation, "train": {"dims": 8}}}
    # The deployment's own parameters are as they were.
    assert TRAINING["config"]["federation"] == {"rounds": 30, "quorum_share": 0.7}


def test_the_parameter_may_be_named_too() -> None:
    assert run_parameters(deployment(), ["config.federation.rounds=2"]) == run_parameters(
        deployment(), ["federation.rounds=2"]
    )


def test_parameters_of_a_promotion_are_values() -> None:
    found = run_parameters(deployment("promote.promotion"), ["tolerance=0.1", "version=7"])

    assert found == {"tolerance": 0.1, "version": 7}
    assert run_parameters(deployment("promote.promotion"), []) == {}


@pytest.mark.parametrize(
    ("flow", "override", "words"),
    [
        ("train.federated_training", "federation.round=2", "Did you mean federation.rounds?"),
        ("train.federated_training", "federatoin.rounds=2", "Did you mean federation?"),
        ("train.federated_training", "federation.rounds=0", "greater than or equal to 1"),
        ("train.federated_training", "federation.rounds", "--set needs key=value"),
        ("train.federated_training", "name.x=2", "'name' is a value"),
        ("promote.promotion", "tolerence=2", "Did you mean tolerance?"),
        ("promote.promotion", "tolerance=much", "valid number"),
    ],
)
def test_a_wrong_key_or_value_is_refused_with_the_nearest(flow: str, override: str, words: str) -> None:
    with pytest.raises(InvalidConfig) as caught:
        run_parameters(deployment(flow), [override])

    assert words in str(caught.value)
    assert caught.value.exit_code == 2


def test_a_run_needs_what_has_no_default() -> None:
    with pytest.raises(InvalidConfig, match="needs 'config'"):
        run_parameters(deployment(parameters={}), [])


def test_the_parameters_of_a_foreign_flow_are_left_to_prefect() -> None:
    foreign = deployment(
        entrypoint="flow.py:train", parameters={"x": 1}, parameter_schema={"properties": {"x": {}}}
    )

    assert run_parameters(foreign, ["x=2"]) == {"x": 2}


def test_a_deployment_is_found_by_its_full_name_or_by_an_only_name() -> None:
    found = {
        each.full_name: (UUID(int=number), each)
        for number, each in enumerate(
            [
                deployment(name="a"),
                deployment("promote.promotion", name="a"),
                deployment("promote.promotion", name="b"),
            ]
        )
    }

    assert find_deployment(found, "train.federated_training/a")[0] == UUID(int=0)
    assert find_deployment(found, "b")[0] == UUID(int=2)
    with pytest.raises(NotFound, match=r"2 deployments have the name 'a'.*promotion/a, train"):
        find_deployment(found, "a")
    with pytest.raises(NotFound, match=r"no deployment 'promote.promotion/c'. It has: promote"):
        find_deployment(found, "promote.promotion/c")
    with pytest.raises(NotFound, match="fedrec deploy"):
        find_deployment({}, "a")
