"""The training flow on a small federation: what it returns, what it stores, and that it is repeatable."""

from __future__ import annotations

import hashlib
import json
import shutil
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from flows.jobs.job import opened
from flows.settings.training_config import TrainingConfig
from flows.terminal.progress import Event, listening
from models.errors import InvalidConfig, InvalidInput
from models.evaluation.ranking import ranking_metrics
from models.evaluation.rating_metrics import INSIDE_90, RATING_METRICS
from models.kernel.metric import as_json, total, values
from models.recommenders.families.registry import history_scores, spec_of
from models.recommenders.lightfm.family import LightFMFamily
from models.recommenders.lightfm.merge_rules import merge_rule
from models.recommenders.lightfm.simulation import Simulation
from models.recommenders.lightfm.spec import LightFMSpec
from tasks.bench.quality.evaluate_version import evaluate_version
from tasks.datasets.client_assignment import ByChance
from tasks.datasets.partition import make_partition
from tasks.datasets.partition_reader import open_partition
from tasks.exchange.codec import encode_model
from tasks.jobs.journal import Journal
from tasks.local.home import Home
from tasks.messages.job_opening import EarlierState
from tasks.messages.job_result import JobResult
from tasks.tracking import registry
from tasks.tuning.trial import open_clients
from tests.conftest import small_tables
from tests.worlds.mlflow_home import put_database
from tests.worlds.small_jobs import small_job

METRICS = {"hr@10", "ndcg@10", "recall@20", "loo_hr@10", "loo_ndcg@10"}
CLIENTS = ["ash", "birch", "cedar"]


@pytest.fixture
def enter(tmp_path: Path, prefect_server: None, empty_database: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Return a function that makes a fresh home and makes the environment name it."""

    def entered(name: str) -> Home:
        home = Home(tmp_path / name)
        put_database(home, empty_database)
        monkeypatch.setenv("FEDREC_HOME", str(home.root))
        monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{home.mlflow / 'mlflow.db'}")
        return home

    return entered


def run(config: TrainingConfig) -> dict[str, Any]:
    from flows.train import run_locally

    result, exit_code = run_locally(config)
    return result.to_json() | {"exit_code": exit_code}


def _check_explanation(client: Any, result: dict[str, Any]) -> None:
    for folder, name in (("drift", "clients"), ("items", "moved"), ("items", "neighbours")):
        path = f"{folder}/{name}.json"
        assert path in [artifact.path for artifact in client.list_artifacts(result["run_id"], folder)]
    for each in result["rounds"]:
        assert list(each["client_drift"]) == CLIENTS
        parts = [drift["norm"] * drift["cosine"] for drift in each["client_drift"].values()]
        assert sum(parts) == pytest.approx(1.0)
    # Eight users are too few for another offer.
    assert {each["offer"] for each in result["clients"]} == {"global"}
    assert all(isinstance(each["validation_benefit"], float) for each in result["clients"])


def _check_texts(one: Any, result: dict[str, Any]) -> None:
    """Check what MLflow says of a finished job."""
    assert one.info.run_name == f"lightfm, 4 dims, 3 rounds ({result['job_id'].removeprefix('small-')})"
    outcome, _, about = one.data.tags["mlflow.note.content"].partition("\n\n")
    assert outcome.startswith(
        f"Federated training reached NDCG@10 of {result['final']['federated']['ndcg@10']:.4f}"
    )
    assert about.startswith(f"Job {result['job_id']}: lightfm, 4 dims, 3 rounds. Not by default: ")
    assert result["experiment_id"] == one.info.experiment_id


def test_a_whole_job_returns_and_stores_its_results(enter: Any, partition_dir: Path) -> None:
    from mlflow.tracking import MlflowClient

    home = enter("home")
    config = small_job(
        partition_dir,
        federation={"rounds": 3},
        evaluation={"silo_only": True, "pooling_allowed": True, "every": 2},
    )
    began = time.perf_counter()
    result = run(config)
    took = time.perf_counter() - began

    assert json.loads(json.dumps(result, allow_nan=False)) == result
    assert result["status"] == "finished"
    assert [each["round"] for each in result["rounds"]] == [1, 2, 3]
    assert [each["version"] for each in result["rounds"]] == [1, 2, 3]
    assert all(each["accepted"] == CLIENTS and each["rejected"] == [] for each in result["rounds"])
    assert all(isinstance(each["metrics"], dict) for each in result["rounds"])
    # Validation is due in round 2 and at the end.
    assert ["validation/ndcg@10" in each["metrics"] for each in result["rounds"]] == [False, True, True]
    assert result["model_sha256"] == result["rounds"][-1]["model_sha256"]
    assert set(result["final"]) == {"federated", "centralised", "silo_only"}
    for side in result["final"].values():
        assert set(side) == METRICS
        assert all(0.0 <= value <= 1.0 for value in side.values())
    assert [each["client_id"] for each in result["clients"]] == CLIENTS

    timings = result["timings"]
    parts = ("startup", "train", "merge", "contracts", "tracking", "evaluate", "baselines", "report")
    assert sum(timings[f"{part}_s"] for part in (*parts, "orchestration")) == pytest.approx(
        timings["total_s"], abs=0.01
    )
    assert all(timings[f"{part}_s"] >= 0 for part in (*parts, "orchestration"))
    assert timings["total_s"] - timings["startup_s"] < took

    client = MlflowClient()
    (one,) = client.search_runs([client.get_experiment_by_name("small").experiment_id])
    assert one.info.run_id == result["run_id"]
    assert one.info.status == "FINISHED"
    assert one.data.params["train.dims"] == "4"
    _check_texts(one, result)
    assert len(one.inputs.dataset_inputs) == len(CLIENTS)
    final = result["final"]["federated"]
    assert one.data.metrics["quality/test/ndcg_at_10"] == pytest.approx(final["ndcg@10"])
    steps = client.get_metric_history(result["run_id"], "round/drift")
    assert [(point.step, point.value) for point in steps] == [
        (each["round"], each["drift"]) for each in result["rounds"]
    ]
    versions = client.search_model_versions("name = 'small-model'")
    assert {int(each.version): each.tags["fedrec.sha256"] for each in versions} == {
        each["version"]: each["model_sha256"] for each in result["rounds"]
    }
    for each in versions:
        assert each.tags["fedrec.job"] == result["job_id"]
        assert each.tags["fedrec.round"] == str(each.version)
        assert each.tags["fedrec.contracts"] == "passed"
        assert each.run_id == result["run_id"]

    passed = {(each["contract"], each["subject"]) for each in result["contracts"] if each["passed"]}
    assert passed == {
        *(("interactions", client_id) for client_id in CLIENTS),
        *((contract, f"round-{round_}") for contract in ("updates", "embeddings") for round_ in (1, 2, 3)),
    }
    for name in ("report.html", "explanation.json", "data_docs/index.html"):
        assert (home.jobs / result["job_id"] / "report" / name).stat().st_size > 0
        assert Path(client.download_artifacts(result["run_id"], name)).stat().st_size > 0
    _check_explanation(client, result)
    logged = json.loads(Path(client.download_artifacts(result["run_id"], "result.json")).read_text())
    assert logged["model_sha256"] == result["model_sha256"]
    journal = Journal(home.jobs / result["job_id"])
    assert journal.result() == JobResult.of_json(result, "the command's result")
    assert not list(home.exchange.glob("*/updates"))


def test_one_seed_gives_one_model(enter: Any, partition_dir: Path, tmp_path: Path) -> None:
    """Threads, the home and the place of the data make no difference."""
    enter("one")
    config = small_job(partition_dir, federation={"rounds": 2, "cohort_share": 0.6}, seed=5)
    one = run(config.model_copy(update={"runner": config.runner.model_copy(update={"threads": 1})}))
    # Two of three clients (0.6 of 3, rounded up) are selected.
    assert [len(each["accepted"]) for each in one["rounds"]] == [2, 2]
    assert all(each["rejected"] == [] for each in one["rounds"])

    enter("two")
    shutil.copytree(partition_dir, tmp_path / "copy")
    moved = config.model_copy(
        update={
            "data": config.data.model_copy(update={"dir": str(tmp_path / "copy")}),
            "runner": config.runner.model_copy(update={"threads": 4}),
        }
    )
    two = run(moved)
    assert [each["model_sha256"] for each in two["rounds"]] == [
        each["model_sha256"] for each in one["rounds"]
    ]
    other = run(config.model_copy(update={"seed": 6}))
    assert other["model_sha256"] != one["model_sha256"]


def test_a_job_makes_the_models_of_its_simulation(enter: Any, partition_dir: Path) -> None:
    home = enter("home")
    federation = {"rounds": 4, "cohort_share": 0.6}
    train = {
        "dims": 4,
        "cooldown_share": 0.75,
        "server_learning_rate": 0.8,
        "user_vectors": "folded_in",
    }
    config = small_job(partition_dir, federation=federation, train=train)
    partition = open_partition(str(partition_dir))
    silos = open_clients(partition, config.evaluation.seed, config.evaluation.negatives)
    simulation = Simulation(
        {name: silo.training for name, silo in silos.items()},
        LightFMSpec(dims=4),
        lambda round_: merge_rule("adagrad_sum", [0.8, 0.8, 0.8 * 2 / 3, 0.8 / 3][round_ - 1]),
        seed=config.seed,
        cohort_share=0.6,
    )
    for _ in range(4):
        simulation.run_round()
    model = replace(simulation.model, catalog_digest=partition.catalog.digest)
    metrics = total(
        ranking_metrics(silo.ranks(history_scores(model.items, silo.histories), "test"))
        for silo in silos.values()
    )

    result = run(config)

    assert result["model_sha256"] == hashlib.sha256(encode_model(model)).hexdigest()
    assert result["final"]["federated"] == pytest.approx(values(as_json(metrics)))
    # `fedrec evaluate` folds the users in as well, so it has the same figures.
    assert result["user_vectors"] == "folded_in"
    evaluation = {"seed": config.evaluation.seed, "negatives": config.evaluation.negatives}
    found = evaluate_version(home, str(partition_dir), "small-model", "4", "test", **evaluation)
    assert found["job"] == {"user_vectors": "folded_in", "metrics": result["final"]["federated"]}
    again = {name: found["metrics"][name]["value"] for name in result["final"]["federated"]}
    assert again == pytest.approx(result["final"]["federated"])


def test_a_job_of_small_updates_makes_the_models_of_its_simulation(enter: Any, partition_dir: Path) -> None:
    enter("home")
    train = {"dims": 4, "sent_rows": 0.3, "sent_bits": 6}
    config = small_job(partition_dir, federation={"rounds": 4, "cohort_share": 0.6}, train=train)
    partition = open_partition(str(partition_dir))
    silos = open_clients(partition, config.evaluation.seed, config.evaluation.negatives)
    spec = LightFMSpec(dims=4, sent_rows=0.3, sent_bits=6)
    simulation = Simulation(
        {name: silo.training for name, silo in silos.items()},
        spec,
        lambda _: LightFMFamily(spec).rule(),
        seed=config.seed,
        cohort_share=0.6,
    )
    for _ in range(4):
        simulation.run_round()
    model = replace(simulation.model, catalog_digest=partition.catalog.digest)
    assert run(config)["model_sha256"] == hashlib.sha256(encode_model(model)).hexdigest()


def test_a_job_can_start_from_the_champion(enter: Any, partition_dir: Path) -> None:
    """Such a job starts from the champion's model and from the users that belong to it."""
    from mlflow.tracking import MlflowClient

    home = enter("home")
    first = run(small_job(partition_dir, federation={"rounds": 2}, evaluation={"every": 1}))
    MlflowClient().set_registered_model_alias("small-model", "champion", "2")
    second = run(small_job(partition_dir, start_from="champion"))
    assert second["job_id"] != first["job_id"]
    assert first["user_vectors"] == "trained"
    opening = Journal(home.jobs / second["job_id"]).opening
    assert opening.starting_points == dict.fromkeys(CLIENTS, EarlierState(first["job_id"], 2))
    assert second["rounds"][0]["rejected"] == []
    # An embedding that has been trained for two rounds moves less than one that begins at random.
    assert second["rounds"][0]["drift"] < first["rounds"][0]["drift"]
    assert second["rounds"][0]["version"] == 3

    # Its baselines have as many rounds as the model has had in all, as those of a fresh job of three rounds.
    compared = {"negatives": 9, "silo_only": True, "pooling_allowed": True}
    third = run(small_job(partition_dir, start_from="champion", evaluation=compared))
    whole = run(small_job(partition_dir, federation={"rounds": 3}, evaluation=compared))
    for side in ("silo_only", "centralised"):
        assert third["final"][side] == whole["final"][side]
    assert (third["earlier"]["version"], third["earlier"]["rounds"]) == (2, 2)
    assert [each["job_id"] for each in third["earlier"]["jobs"]] == [first["job_id"]]
    assert third.get("left_out") is None

    # An interrupted job that started from another champion is not continued, so it is named.
    other = small_job(partition_dir, start_from="champion", seed=9)
    with opened(other) as left:
        pass
    MlflowClient().set_registered_model_alias("small-model", "champion", "1")
    told: list[Event] = []
    with listening(told.append), opened(other) as job:
        assert job.journal.job_id != left.journal.job_id
    (named,) = (event.text for event in told if left.journal.job_id in event.text)
    assert "started from version 2" in named


def test_a_job_from_a_champion_leaves_out_what_that_was_trained_on(
    enter: Any, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Without times, next week's data hold out other interactions, of which the champion knows some."""
    from mlflow.tracking import MlflowClient

    from tasks.promotion.promote import facts_of

    home = enter("home")
    paths = small_tables(tmp_path / "tables", liked=12)
    rows = pd.read_csv(paths["interactions"])
    weeks = {"week-1": rows[rows.groupby("user_id").cumcount() < 10], "week-2": rows}
    for name, each in weeks.items():
        source = tmp_path / f"{name}.csv"
        each.drop(columns="timestamp").to_csv(source, index=False)
        # The users of the second week are with other clients.
        make_partition(source, tmp_path / name, ByChance(3, seed=len(each)), items=paths["items"])
    config = small_job(tmp_path / "week-1", evaluation={"every": 1})
    run(config)
    client = MlflowClient()
    client.set_registered_model_alias("small-model", "champion", "1")
    compared = {"negatives": 9, "silo_only": True, "pooling_allowed": True}
    second = run(small_job(tmp_path / "week-2", start_from="champion", evaluation=compared))

    trained = _pairs(tmp_path / "week-1", "train")
    expected = {
        name: number
        for part in ("validation", "test")
        for name, number in (
            (part, len(_pairs(tmp_path / "week-2", part) & trained)),
            (f"{part}_cases", 24),
        )
    }
    assert second["left_out"] == expected
    assert 0 < expected["test"] < 24
    assert sum(each["cases"] for each in second["clients"]) == 24 - expected["test"]
    assert second["earlier"]["rounds"] == 1
    assert second["final"]["silo_only"] and second["final"]["centralised"]
    validation, test = expected["validation"], expected["test"]
    said = f"{validation} of 24 validation cases and {test} of 24 test cases do not count"
    assert f"{validation / 24:.0%} of the validation cases left out" in caplog.text
    run_of_second = client.get_run(second["run_id"])
    assert said in run_of_second.data.tags["mlflow.note.content"]
    assert run_of_second.data.metrics["quality/test/left_out"] == expected["test"] / 24
    assert run_of_second.data.metrics["quality/validation/left_out"] == expected["validation"] / 24
    assert said in Path(second["report"], "report.html").read_text()
    assert f"({validation} of 24 left out" in client.get_model_version("small-model", "2").description
    found = facts_of(registry.client(home), "small-model", 2).evaluation
    assert found is not None
    assert found.metrics["left_out"].total == expected["validation"]
    assert found.metrics["ndcg@10"].weight == 24 - expected["validation"]
    shown = evaluate_version(home, str(tmp_path / "week-2"), "small-model", "2", "test", seed=0, negatives=9)
    assert (shown["users"], shown["left_out"]) == (24 - expected["test"], expected["test"])


def _pairs(partition: Path, part: str) -> set[tuple[str, str]]:
    """Return the pairs of a part of the split, of all clients."""
    opened = open_partition(partition)
    ids = opened.catalog.ids
    return {
        (data.user_ids[user], ids[item])
        for data in open_clients(opened, 0, 9).values()
        for user, item in zip(
            getattr(data.split, f"{part}_users"), getattr(data.split, f"{part}_items"), strict=True
        )
    }


def test_ials_can_start_from_a_champion_of_its_own_family(enter: Any, partition_dir: Path) -> None:
    from mlflow.tracking import MlflowClient

    enter("home")
    ials = {"family": "ials", "dims": 3}
    config = small_job(partition_dir, federation={"rounds": 3}, evaluation={"every": 1})
    first = run(config.model_copy(update={"train": spec_of(ials)}))
    MlflowClient().set_registered_model_alias("small-model", "champion", "2")
    going_on = config.model_copy(update={"train": spec_of(ials), "start_from": "champion"})
    second = run(going_on)
    # No users are kept, so its first round equals the third of the previous job, to the last byte.
    assert second["rounds"][0]["drift"] == first["rounds"][2]["drift"]
    with pytest.raises(InvalidConfig, match=r"holds ItemFactors, but.*makes ItemArrays") as caught:
        run(config.model_copy(update={"start_from": "champion"}))
    assert caught.value.facts["key"] == "train.family"


def test_ratings_train_through_the_same_flow(
    enter: Any, rated_partition_dir: Path, partition_dir: Path
) -> None:
    enter("home")
    train = {"family": "bayesian_mf", "dims": 2, "directions": 3, "direction_rounds": 1}
    train |= {"burn_in": 2, "thinning": 2, "draws": 4}
    # Ratings are not ranked against sampled items.
    evaluation = {"every": 1, "silo_only": True, "pooling_allowed": True, "negatives": 99}
    config = small_job(rated_partition_dir, federation={"rounds": 14}, evaluation=evaluation)
    result = run(config.model_copy(update={"train": spec_of(train)}))
    assert (result["status"], result["exit_code"]) == ("finished", 0)
    final = result["final"]
    assert set(final["federated"]) == {*RATING_METRICS, INSIDE_90}
    # The chain over silos equals the chain on pooled data, up to their float32 sums.
    assert final["federated"] == pytest.approx(final["centralised"], abs=1e-2)
    first, last = (result["rounds"][place]["metrics"]["validation/rmse"] for place in (0, -1))
    # Ratings range from 2 to 5. A user's usual rating and taste explain them all.
    assert last < 0.5 * first
    assert all(one["accepted"] == CLIENTS for one in result["rounds"])
    assert all(client["benefit"] is not None for client in result["clients"])
    assert "reached RMSE of" in Path(result["report"], "report.html").read_text()

    unrated = config.model_copy(update={"data": config.data.model_copy(update={"dir": str(partition_dir)})})
    unrated = unrated.model_copy(update={"train": spec_of(train)})
    with pytest.raises(InvalidInput, match="have no ratings to learn from") as refused:
        run(unrated)
    assert "column 'rating'" in refused.value.next_step


@pytest.mark.parametrize(
    ("loss", "rule"),
    [("bpr", "sum"), ("logistic", "mean"), ("warp-kos", "weighted_mean")],
)
def test_a_job_trains_with_every_kind_of_loss_and_merge_rule(
    enter: Any, partition_dir: Path, loss: str, rule: str
) -> None:
    enter("home")
    result = run(small_job(partition_dir, train={"loss": loss, "merge_rule": rule}))
    assert result["exit_code"] == 0
    assert result["rounds"][0]["accepted"] == CLIENTS
    assert result["rounds"][0]["drift"] > 0
    assert set(result["final"]["federated"]) == METRICS
