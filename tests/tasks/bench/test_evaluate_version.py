"""`fedrec evaluate` ranks held-out items by a registered version, and only by one of the same data."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest
import yaml

from models.errors import InvalidInput
from models.federation.model import GlobalModel
from models.recommenders.families.registry import family_of
from models.recommenders.rating.spec import RatingSpec
from tasks.bench.quality.evaluate_version import evaluate_version
from tasks.datasets.client_assignment import ByChance
from tasks.datasets.partition import make_partition
from tasks.datasets.partition_reader import Partition
from tests.worlds.registered import CATALOG, ITEMS, World


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


def evaluated(world: World, partition: Partition, part, version: str = "1"):
    return evaluate_version(world.home, str(partition.root), "movies", version, part, seed=0, negatives=99)


def test_a_version_ranks_by_what_its_model_knows(world: World, partition: Partition):
    world.register(1, None, data_digest=partition.digest)
    found = evaluated(world, partition, "validation")
    assert (found["version"], found["clients"], found["users"]) == (1, 2, 8)
    # After an item the other one of its side comes first: rank 0 of the remaining three.
    assert found["metrics"]["ndcg@10"] == {"value": 1.0, "low": 1.0, "high": 1.0}
    assert found["metrics"]["loo_hr@10"]["value"] == 1.0
    # The test item lies on the other side, so it ranks below the validation item.
    assert evaluated(world, partition, "test")["metrics"]["ndcg@10"]["value"] < 1.0


def test_a_version_of_other_data_is_refused(world: World, partition: Partition):
    world.register(1, None)
    with pytest.raises(InvalidInput, match="it may have been trained on interactions"):
        evaluated(world, partition, "test")


def test_a_version_that_predicts_ratings_is_not_evaluated_as_a_ranking(world: World, partition: Partition):
    items = family_of(RatingSpec(dims=2, directions=2)).initial(len(ITEMS), seed=1)
    world.register(1, None, data_digest=partition.digest, model=GlobalModel(1, CATALOG.digest, items))
    with pytest.raises(InvalidInput, match="predicts ratings"):
        evaluated(world, partition, "test")


def test_the_command_takes_data_and_model_from_the_configuration(
    tmp_path: Path, world: World, partition: Partition
):
    world.register(1, None, data_digest=partition.digest)
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
