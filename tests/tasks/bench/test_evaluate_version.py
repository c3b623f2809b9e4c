"""`fedrec evaluate` ranks held-out items by a registered version, and only by one of the same data."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import yaml
from click.testing import CliRunner, Result

from flows.cli import cli
from models.errors import CorruptArtifact, InvalidInput, NotFound
from models.evaluation.split import sampled_users
from models.evaluation.trained_pairs import item_keys, pair_keys
from models.federation.model import GlobalModel
from models.recommenders.families.registry import family_of
from models.recommenders.rating.spec import RatingSpec
from tasks.bench.quality.evaluate_version import evaluate_version
from tasks.clients.trained_pairs import note_trained
from tasks.datasets.client_assignment import ByChance
from tasks.datasets.partition import make_partition
from tasks.datasets.partition_reader import Partition
from tasks.messages.earlier_training import EarlierJob, EarlierTraining
from tasks.messages.job_result import FinalMetrics
from tasks.tracking import registry
from tests.worlds.records import job_result
from tests.worlds.registered import CATALOG, ITEMS, World, evaluation_of


@pytest.fixture
def partition(tmp_path: Path) -> Partition:
    """Return users who each stay on their own side of the four items, which the world's model knows."""
    tables = {name: tmp_path / f"{name}.csv" for name in ("items", "interactions")}
    ITEMS.to_csv(tables["items"], index=False)
    sides = (["1", "50", "12"], ["12", "100", "1"])
    # Two items of one side are training and validation. The last, from the other side, is the test.
    rows = [
        (f"u{user}", item, 10 * user + place)
        for user in range(8)
        for place, item in enumerate(sides[user % 2])
    ]
    pd.DataFrame(rows, columns=["user_id", "item_id", "timestamp"]).to_csv(
        tables["interactions"], index=False
    )
    return make_partition(tables["interactions"], tmp_path / "data", ByChance(2, 0), items=tables["items"])


def evaluated(world: World, partition: Partition, part, version: str = "1", users_share: float = 1.0):
    return evaluate_version(
        world.home,
        str(partition.root),
        "movies",
        version,
        part,
        seed=0,
        negatives=99,
        users_share=users_share,
    )


def test_a_share_of_the_users_is_evaluated(world: World, partition: Partition):
    world.register(1, None, data_digest=partition.digest)
    sample = int(sampled_users([f"u{user}" for user in range(8)], 0.5, 0).sum())
    assert 0 < sample < 8
    found = evaluated(world, partition, "test", users_share=0.5)
    assert (found["users"], found["users_share"]) == (sample, 0.5)
    # After an item the other one of its side comes first, for every user.
    assert evaluated(world, partition, "validation", users_share=0.5)["metrics"]["ndcg@10"]["value"] == 1.0


def test_a_version_ranks_by_what_its_model_knows(world: World, partition: Partition):
    world.register(1, None, data_digest=partition.digest)
    found = evaluated(world, partition, "validation")
    assert (found["version"], found["clients"], found["users"]) == (1, 2, 8)
    # After an item the other one of its side comes first: rank 0 of the remaining three.
    assert found["metrics"]["ndcg@10"] == {"value": 1.0, "low": 1.0, "high": 1.0}
    assert found["metrics"]["loo_hr@10"]["value"] == 1.0
    # The test item lies on the other side, so it ranks below the validation item.
    assert evaluated(world, partition, "test")["metrics"]["ndcg@10"]["value"] < 1.0


def finish(world: World, version: int, **changes) -> None:
    """Put the result of the version's job into MLflow, as the last step of a job does."""
    sha256 = registry.load_record(world.client, "movies", version).model_sha256
    result = job_result(**{"model_sha256": sha256} | changes)
    (world.artifacts / "result.json").write_text(json.dumps(result.to_json()))


def test_the_jobs_own_figures_stand_beside_and_say_how_it_scored_users(world: World, partition: Partition):
    world.register(1, evaluation_of(0.25), data_digest=partition.digest)
    # Until the job is finished, only the round's own evaluation is known.
    validation = {"ndcg@10": pytest.approx(0.25), "loo_hr@10": pytest.approx(0.6)}
    own = {"user_vectors": None, "metrics": validation}
    assert evaluated(world, partition, "validation")["job"] == own
    assert evaluated(world, partition, "test")["job"] is None
    final = FinalMetrics(federated={"ndcg@10": 0.5})
    finish(world, 1, user_vectors="trained", final=final)
    found = evaluated(world, partition, "test")
    assert found["user_vectors"] == "folded_in"
    assert found["job"] == {"user_vectors": "trained", "metrics": {"ndcg@10": 0.5}}
    assert evaluated(world, partition, "validation")["job"] == own | {"user_vectors": "trained"}
    # The test figures of a job belong to its last model.
    finish(world, 1, model_sha256="0" * 64, user_vectors="trained", final=final)
    assert evaluated(world, partition, "test")["job"] is None


def test_a_damaged_result_is_named(world: World, partition: Partition):
    world.register(1, None, data_digest=partition.digest)
    (world.artifacts / "result.json").write_text("{")
    with pytest.raises(CorruptArtifact, match=r"The job of version 1 of 'movies': .*result.json is not JSON"):
        evaluated(world, partition, "test")


def test_a_version_of_other_data_is_refused(world: World, partition: Partition):
    world.register(1, None)
    with pytest.raises(InvalidInput, match="it may have been trained on interactions"):
        evaluated(world, partition, "test")


def test_a_version_s_own_seed_decides_what_is_held_out(world: World, partition: Partition):
    world.register(1, None, data_digest=partition.digest, evaluation_seed=3)
    found = evaluated(world, partition, "test")
    assert (found["seed"], found["given_seed"]) == (3, 0)
    # An older record lacks the seed. The configuration of its job has it, or nothing has.
    world.register(2, None, data_digest=partition.digest)
    assert evaluated(world, partition, "test", "2")["seed"] == 0
    (world.artifacts / "config.yaml").write_text(yaml.safe_dump({"evaluation": {"seed": 4}}))
    assert evaluated(world, partition, "test", "2")["seed"] == 4


def test_cases_that_earlier_trainings_saw_do_not_count(world: World, partition: Partition):
    ids = list(partition.catalog.ids)
    # Users u0 and u2 have the test item "12".
    seen = pair_keys(["u0", "u2"], item_keys(ids), np.array([0, 1]), np.array([ids.index("12")] * 2))
    note_trained(world.home.silos / "elsewhere", "job-0", lambda: seen)
    earlier = EarlierTraining(1, 4, (EarlierJob("job-0", None),))
    world.register(1, None, data_digest=partition.digest, earlier=earlier)
    found = evaluated(world, partition, "test")
    assert (found["users"], found["left_out"]) == (6, 2)
    assert evaluated(world, partition, "validation")["left_out"] == 0
    lost = replace(earlier, jobs=(*earlier.jobs, EarlierJob("job-of-another-home", None)))
    world.register(2, None, data_digest=partition.digest, earlier=lost)
    with pytest.raises(InvalidInput, match=r"None of the 8 test cases of version 2 of 'movies' counts"):
        evaluated(world, partition, "test", "2")


def test_a_version_that_predicts_ratings_is_not_evaluated_as_a_ranking(world: World, partition: Partition):
    items = family_of(RatingSpec(dims=2, directions=2)).initial(len(ITEMS), seed=1)
    world.register(1, None, data_digest=partition.digest, model=GlobalModel(1, CATALOG.digest, items))
    with pytest.raises(InvalidInput, match="predicts ratings"):
        evaluated(world, partition, "test")


def test_the_command_takes_data_and_model_from_the_configuration(
    tmp_path: Path, world: World, partition: Partition
):
    world.register(1, None, data_digest=partition.digest, evaluation_seed=3)
    finish(world, 1, user_vectors="trained", final=FinalMetrics(federated={"ndcg@10": 0.5}))
    config = tmp_path / "job.yaml"
    config.write_text(
        yaml.safe_dump({"name": "job", "model_name": "movies", "data": {"dir": str(partition.root)}})
    )
    command = [sys.executable, "-m", "flows", "evaluate", "--config", str(config), "--version", "1"]
    environ = os.environ | {"FEDREC_HOME": str(world.home.root)}
    done = subprocess.run([*command, "--json"], env=environ, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    result = json.loads(done.stdout)
    assert (result["model_name"], result["protocol"], result["part"]) == ("movies", "leave_one_out", "test")
    shown = subprocess.run(command, env=environ, capture_output=True, text=True, check=True).stdout
    assert "movies version 1, leave_one_out, test, 2 clients, 8 users" in shown
    assert "Its own evaluation.seed, 3, is used instead of the configuration's, 0, because" in shown
    assert "Users are folded in from their training histories, as in serving." in shown
    assert re.search(r"^ndcg@10 +0\.\d{4}  \(0\.\d{4} to 0\.\d{4}\)  job: 0\.5000$", shown, re.MULTILINE)
    assert "vectors that it trained with the items" in shown


def evaluate(*arguments: str) -> Result:
    return CliRunner().invoke(
        cli, ["evaluate", "--version", "1", *arguments, "--json"], standalone_mode=False
    )


def test_the_command_takes_the_configuration_that_is_stored_with_the_version(
    world: World, partition: Partition
):
    world.register(1, None, data_digest=partition.digest)
    stored = {"name": "job", "model_name": "movies", "data": {"dir": str(partition.root)}}
    (world.artifacts / "config.yaml").write_text(yaml.safe_dump(stored | {"evaluation": {"negatives": 2}}))
    found = json.loads(evaluate().stdout)
    expected = evaluate_version(world.home, str(partition.root), "movies", "1", "test", seed=0, negatives=2)
    assert found == expected


@pytest.mark.parametrize(
    ("stored", "error", "message"),
    [
        (None, NotFound, "config.yaml is missing"),
        ("- 1", CorruptArtifact, "contains no keys and values"),
        ("{", CorruptArtifact, "is not YAML"),
        (
            "{name: a, model_name: movies, runner: {kind: silos}, data: {items: /i.csv}}",
            InvalidInput,
            "with its silos",
        ),
    ],
)
def test_a_version_without_a_usable_configuration_is_an_error(world: World, stored, error, message):
    world.register(1, None)
    if stored is not None:
        (world.artifacts / "config.yaml").write_text(stored)
    found = evaluate().exception
    assert isinstance(found, error)
    assert message in str(found)
