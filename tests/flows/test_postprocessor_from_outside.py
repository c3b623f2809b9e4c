"""Postprocessors that this file defines and registers, in whole jobs: no other file knows of them."""

from __future__ import annotations

import json
import math
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest

from flows.settings.training_config import TrainingConfig, parse_config
from models.errors import InvalidConfig
from models.federation.client_drift import MergedDirection
from models.federation.contribution import Contribution, RunningSum
from models.federation.postprocessors import (
    Arrays,
    ClientContext,
    Postprocessor,
    RoundContext,
    register_postprocessor,
)
from models.recommenders.lightfm.merge_rules import merge_rule
from tasks.local.home import Home
from tasks.messages.job_result import JobResult
from tests.worlds.small_jobs import small_job

CLIENTS = ["ash", "birch", "cedar"]


@register_postprocessor
@dataclass(frozen=True)
class Scale(Postprocessor):
    """Multiplies each contribution on its client, and divides the sum on the server.

    Attributes:
        factor: a power of two, by which floating-point numbers scale exactly.
    """

    name: ClassVar[str] = "outside-scale"
    factor: float = 8.0

    def process_contribution(
        self, contribution: Contribution[Arrays], context: ClientContext
    ) -> Contribution[Arrays]:
        return times(contribution, self.factor)

    def process_sum(self, total: RunningSum[Arrays], context: RoundContext) -> RunningSum[Arrays]:
        return replace(total, total=total.total.map(lambda array: array / self.factor))


@register_postprocessor
@dataclass(frozen=True)
class Clip(Postprocessor):
    """Shortens each contribution to a largest norm.

    Attributes:
        max_norm: norm of all moving arrays together.
    """

    name: ClassVar[str] = "outside-clip"
    max_norm: float = 1.0

    def process_contribution(
        self, contribution: Contribution[Arrays], context: ClientContext
    ) -> Contribution[Arrays]:
        return times(contribution, min(1.0, self.max_norm / max(norm_of(contribution.arrays), 1e-30)))


# What passes `Record`: (half, round, client, norm, cohort).
SEEN: list[tuple[str, int, Any, float, int]] = []


@register_postprocessor
@dataclass(frozen=True)
class Record(Postprocessor):
    """Changes nothing, and notes what passes through it."""

    name: ClassVar[str] = "outside-record"

    def process_contribution(
        self, contribution: Contribution[Arrays], context: ClientContext
    ) -> Contribution[Arrays]:
        norm = norm_of(contribution.arrays)
        SEEN.append(("client", context.round, context.client_id, norm, context.cohort))
        return contribution

    def process_sum(self, total: RunningSum[Arrays], context: RoundContext) -> RunningSum[Arrays]:
        SEEN.append(("server", context.round, total.clients, norm_of(total.total), context.cohort))
        return total


def times(contribution: Contribution[Arrays], factor: float) -> Contribution[Arrays]:
    by = np.float32(factor)
    return replace(contribution, arrays=contribution.arrays.map(lambda array: array * by))


def norm_of(arrays: Any) -> float:
    return MergedDirection.of(arrays).length


def small(partition: Path, *postprocessors: dict[str, Any], **sections: Any) -> TrainingConfig:
    given = {"federation": {"rounds": 2}, "postprocessors": list(postprocessors)}
    return small_job(partition, **(given | sections))


@pytest.fixture
def run(prefect_server: None, mlflow_home: Home) -> Any:
    """Return a function that runs a job in this test's home and returns its result."""

    def ran(config: TrainingConfig) -> JobResult:
        from flows.train import run_locally

        SEEN.clear()
        result, exit_code = run_locally(config)
        assert exit_code == 0
        assert all(list(each.accepted) == CLIENTS for each in result.rounds)
        return result

    return ran


def models_of(result: JobResult) -> list[str]:
    return [each.model_sha256 for each in result.rounds]


def test_postprocessors_from_outside_work_in_a_whole_job(run, partition_dir):
    plain = run(small(partition_dir))
    # Eight times as large contributions need eight times as wide ranges.
    ranges = {
        name: {"lowest": each.lowest, "highest": each.highest, "step": 8 * each.step}
        for name, each in merge_rule("adagrad_sum").ranges.items()
    }
    scaled = run(
        small(
            partition_dir,
            {"name": "outside-scale", "factor": 8},
            {"name": "outside-record"},
            fixed_point=ranges,
        ),
    )
    # The brackets cancel to the last bit, although eight times the sum passed through the exchange.
    assert models_of(scaled) == models_of(plain)
    assert [(half, round_) for half, round_, *_ in SEEN] == [
        *[("client", 1)] * 3, ("server", 1), *[("client", 2)] * 3, ("server", 2)
    ]  # fmt: skip
    assert {cohort for *_, cohort in SEEN} == {3}
    assert sorted(who for half, round_, who, *_ in SEEN if half == "client" and round_ == 1) == CLIENTS
    largest = max(norm for half, _, _, norm, _ in SEEN if half == "client")

    clipped = run(
        small(
            partition_dir,
            {"name": "outside-clip", "max_norm": largest / 80},
            {"name": "outside-record"},
        )
    )
    assert models_of(clipped) != models_of(plain)
    # An eighth of this norm arrived in the plain job, and a tenth is allowed here.
    norms = [norm for half, _, _, norm, _ in SEEN if half == "client"]
    assert max(norms) == pytest.approx(largest / 80, rel=1e-5)
    assert all(norm <= 3 * largest / 80 * (1 + 1e-5) for half, _, _, norm, _ in SEEN if half == "server")
    assert [each.drift for each in clipped.rounds] < [each.drift for each in plain.rounds]


def test_a_configuration_is_read_back_from_its_json(partition_dir):
    config = small(
        partition_dir, {"name": "outside-clip", "max_norm": 3}, {"name": "outside-scale", "factor": 2}
    )
    assert config.postprocessors == (Clip(3.0), Scale(2.0))
    raw = json.loads(config.model_dump_json())
    assert raw["postprocessors"] == [
        {"name": "outside-clip", "max_norm": 3.0},
        {"name": "outside-scale", "factor": 2.0},
    ]
    assert parse_config(raw, "the test") == config
    assert config.deciding()["postprocessors"] == raw["postprocessors"]


@pytest.mark.parametrize(
    ("postprocessors", "key", "fault"),
    [
        (
            [{"name": "outside-blur"}],
            ".0.name",
            "there is no postprocessor 'outside-blur', only .*outside-clip",
        ),
        (
            [{"name": "outside-record"}, {"max_norm": 3}],
            ".1",
            "a postprocessor needs a name, got {'max_norm': 3}",
        ),
        (["outside-clip"], ".0", "a postprocessor needs a name, got 'outside-clip'"),
        ("outside-clip", "", "expected a list of postprocessors"),
        ([{"name": "outside-clip", "max_norm": "long"}], ".0.max_norm", "valid number.* got 'long'"),
        ([{"name": "outside-clip", "max_norm": True}], ".0.max_norm", "expected a number, got true"),
        ([{"name": "outside-clip", "max_norm": ".inf"}], ".0.max_norm", "valid number"),
        (
            [{"name": "outside-clip", "max_norm": math.inf}],
            ".0.max_norm",
            "expected a finite number, got inf",
        ),
        (
            [{"name": "outside-clip", "max_norm": 3, "norm": 2}],
            ".0.norm",
            "'outside-clip' has no setting 'norm'.",
        ),
        ([{"name": "outside-record", "x": 1}], ".0.x", "'outside-record' has no setting 'x'."),
    ],
)
def test_a_wrong_list_is_an_error_with_its_place_and_reason(partition_dir, postprocessors, key, fault):
    with pytest.raises(InvalidConfig, match=fault) as caught:
        small(partition_dir, **{"postprocessors": postprocessors})
    assert caught.value.facts["key"] == f"postprocessors{key}"


def test_the_form_of_a_deployment_accepts_a_list(prefect_server, partition_dir):
    from flows.deployments.parameter_form import faults_of_parameters, parameter_form
    from flows.train import federated_training

    schema = parameter_form(federated_training)["definitions"]["TrainingConfig"]["properties"]
    assert schema["postprocessors"]["type"] == "array"
    assert schema["postprocessors"]["description"]
    assert schema["postprocessors"]["items"]["required"] == ["name"]
    good = small(partition_dir, {"name": "outside-clip", "max_norm": 3}).model_dump(mode="json")
    assert faults_of_parameters(federated_training, {"config": good}, complete=True) == []
    bad = good | {"postprocessors": [{"name": "outside-blur"}]}
    ((place, what),) = faults_of_parameters(federated_training, {"config": bad}, complete=True)
    assert place == ("config", "postprocessors", "0", "name")
    assert "there is no postprocessor 'outside-blur'" in what
