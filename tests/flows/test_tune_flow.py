"""A search as a flow: stored, tracked, and continued."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from flows.settings.training_config import TrainingConfig, parse_config
from flows.settings.tuning_config import TuningConfig
from flows.tune import open_search, run_locally, tune
from models.errors import InvalidConfig
from tasks.local.home import Home
from tasks.tracking.registry import client as registry_client
from tests.worlds.postprocessors import Times


def config(partition_dir: Path, **sections: Any) -> TrainingConfig:
    raw = {
        "name": "small",
        "model_name": "small",
        "data": {"dir": str(partition_dir)},
        "train": {"dims": 4},
        "evaluation": {"negatives": 9, "pooling_allowed": True},
    }
    return parse_config(raw | sections, "The test")


def search(**changes: Any) -> TuningConfig:
    raw = {
        "epochs": 2,
        "evaluations": 2,
        "metrics": ["loo_ndcg@10"],
        "both": {"train.learning_rate": {"low": 0.01, "high": 0.5, "log": True}},
        "federated": {"train.merge_rule": {"choices": ["adagrad_sum", "fedadam"]}},
    }
    return TuningConfig.model_validate(raw | changes)


@pytest.mark.parametrize("arm", ["federated", "centralised"])
def test_more_trials_are_added_to_the_finished_ones(
    home: Path, partition_dir: Path, prefect_server: None, arm: Any
) -> None:
    given = config(partition_dir), search(), arm
    two = tune(*given, 2)
    four = tune(*given, 4)
    assert four["study"] == two["study"]
    assert four["trials"][:2] == two["trials"]
    assert [trial["trial"] for trial in four["trials"]] == [0, 1, 2, 3]
    assert four["trials"][0]["values"]["train.learning_rate"] == 0.05  # the configuration's own
    assert four["best"]["objective"] == max(trial["objective"] for trial in four["trials"])
    assert four["best"]["objective"] == four["best"]["metrics"]["loo_ndcg@10"]
    assert (four["best"]["rounds"] > 0) == (arm == "federated")
    client = registry_client(Home(home))
    assert client.get_run(four["mlflow_run_id"]).info.status == "FINISHED"
    experiment = client.get_experiment_by_name("small-tuning")
    below = f"tags.`mlflow.parentRunId` = '{four['mlflow_run_id']}'"
    runs = client.search_runs([experiment.experiment_id], below)
    tracked = {
        run.data.params["train.learning_rate"]: max(
            point.value for point in client.get_metric_history(run.info.run_id, "quality/objective")
        )
        for run in runs
    }
    assert tracked == {
        str(trial["values"]["train.learning_rate"]): pytest.approx(trial["objective"])
        for trial in four["trials"]
    }


def test_a_trial_that_diverges_is_stored_as_failed(
    home: Path, partition_dir: Path, prefect_server: None
) -> None:
    wild = search(both={"train.learning_rate": {"choices": [1e30]}})
    result = tune(config(partition_dir), wild, "federated", 1)
    assert result["best"] is None
    assert result["trials"][0]["objective"] is None
    assert "not finite" in result["trials"][0]["diverged"]


@pytest.mark.parametrize(
    ("changes", "arm", "message"),
    [
        ({"both": {"train.dim": {"choices": [3]}}}, "federated", "Did you mean train.dims"),
        ({"both": {"train.dims": {"choices": [4, 0]}}}, "federated", "train.dims"),
        ({"federated": {"train.merge_rule": {"choices": ["median"]}}}, "federated", "merge_rule"),
        ({"both": {"train.kos_k": {"choices": [2, 3]}}}, "federated", "train.kos_k, which has no effect"),
    ],
)
def test_an_unknown_key_or_value_is_reported_before_the_search(
    partition_dir: Path, changes: dict[str, Any], arm: Any, message: str
) -> None:
    with pytest.raises(InvalidConfig, match=message):
        open_search(config(partition_dir), search(**changes), arm)


def test_a_drawn_value_without_effect_beside_the_others_is_left_at_its_default(partition_dir: Path) -> None:
    rates = {"train.server_learning_rate": {"low": 0.1, "high": 1.0}}
    rules = {"train.merge_rule": {"choices": ["sum", "mean"]}}
    opened = open_search(config(partition_dir), search(federated=rates | rules), "federated")
    drawn = {"train.server_learning_rate": 0.5}
    assert opened.with_values(drawn | {"train.merge_rule": "sum"}).train.server_learning_rate == 0.5
    assert opened.with_values(drawn | {"train.merge_rule": "mean"}).train.server_learning_rate == 1.0


def test_a_search_refuses_postprocessors_because_its_trials_have_none(partition_dir: Path) -> None:
    processed = config(partition_dir, postprocessors=[{"name": Times.name, "factor": 2}])
    with pytest.raises(InvalidConfig, match="simulates the clients without postprocessors") as caught:
        open_search(processed, search(), "federated")
    assert caught.value.facts["key"] == "postprocessors"


@pytest.mark.parametrize(
    ("sections", "key", "message"),
    [
        ({"train": {"family": "ease"}}, "train.family", "only searches settings of LightFM"),
        (
            {
                "train": {"family": "dp_items"},
                "evaluation": {"negatives": 9},
                "privacy": {"unit": "user", "epsilon": 4.0, "budget": 8.0},
            },
            "privacy.unit",
            "simulates the clients without noise",
        ),
        (
            {"federation": {"robust": {"method": "median"}}},
            "federation.robust.method",
            "robust.method is 'median'",
        ),
    ],
)
def test_what_no_trial_does_is_refused_before_the_search(
    home: Path, partition_dir: Path, sections: dict[str, Any], key: str, message: str
) -> None:
    with pytest.raises(InvalidConfig, match=message) as caught:
        run_locally(config(partition_dir, **sections), search(), "federated", 1)
    assert caught.value.facts["key"] == key
    # No study, no run, and no server of Prefect's.
    assert not home.exists() or not any(path.is_file() for path in home.rglob("*"))


def test_a_robust_merge_does_not_matter_where_nothing_is_merged(partition_dir: Path) -> None:
    robust = config(partition_dir, federation={"robust": {"method": "median"}})
    assert open_search(robust, search(), "centralised").arm == "centralised"


def test_data_are_pooled_only_if_that_is_allowed(partition_dir: Path) -> None:
    guarded = config(partition_dir, evaluation={"negatives": 9, "pooling_allowed": False})
    assert open_search(guarded, search(), "federated").arm == "federated"
    with pytest.raises(InvalidConfig, match="pooling_allowed is false"):
        open_search(guarded, search(), "centralised")
