"""The comparison of rating predictors on a small world: arms, sums, and what the command prints."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from models.errors import InvalidInput
from models.recommenders.rating.bayesian_mf import BayesianMfSpec
from tasks.bench.ratings.baselines import BASELINES
from tasks.bench.ratings.cases import pooled, read_silos
from tasks.bench.ratings.table_rows import bench_ratings
from tasks.datasets.client_assignment import ByColumn
from tasks.datasets.partition import make_partition
from tasks.datasets.partition_reader import open_partition

SPEC = BayesianMfSpec(dims=2, directions=3, sweeps=12, burn_in=4)


@pytest.fixture
def rated(tmp_path: Path) -> Path:
    """Return a partition by town of 30 users who rate 25 films by taste, between 1 and 5."""
    random = np.random.default_rng(2)
    taste, appeal = random.normal(0, 1, 30), random.normal(0, 1, 25)
    users, items = np.nonzero(random.random((30, 25)) < 0.6)
    stars = np.clip(np.rint(3 + taste[users] * appeal[items] + random.normal(0, 0.3, len(users))), 1, 5)
    rows = pd.DataFrame({"user_id": users, "item_id": items, "rating": stars.astype(int)})
    rows["user_id"] = rows["user_id"].map("u{:02d}".format)
    rows["item_id"] = rows["item_id"].map("i{:02d}".format)
    towns = pd.DataFrame({"user_id": sorted(rows["user_id"].unique())})
    towns["town"] = ["ash", "birch", "cedar"] * 10
    films = pd.DataFrame({"item_id": [f"i{item:02d}" for item in range(25)]})
    films["genres"] = np.where(appeal > 0, "Drama", "Comedy")
    for name, table in (("interactions", rows), ("users", towns), ("items", films)):
        table.to_csv(tmp_path / f"{name}.csv", index=False)
    paths = {name: tmp_path / f"{name}.csv" for name in ("items", "users")}
    return make_partition(tmp_path / "interactions.csv", tmp_path / "town", ByColumn("town"), **paths).root


def test_clients_of_one_user_split_as_their_silo_does(rated):
    silos = read_silos(open_partition(rated))
    split = [silo.split(3, validation=False) for silo in silos]
    alone = [one.split(3, validation=False) for silo in silos for one in silo.by_user()]
    assert [len(each.training) for each in alone] == [1] * 30
    for whole, parts in ((pooled(split), pooled(alone)),):
        np.testing.assert_array_equal(whole.held_out.values, parts.held_out.values)
        np.testing.assert_array_equal(whole.training.items, parts.training.items)
        np.testing.assert_array_equal(whole.keys, parts.keys)
    everything = sum(len(silo.values) for silo in silos)
    assert len(pooled(split).training.values) + len(pooled(split).held_out.values) == everything


def test_federated_over_silos_and_over_users_equals_centralised(rated):
    lines: list[str] = []
    result = bench_ratings(rated, quick=False, baselines=False, spec=SPEC, announce=lines.append)
    values = {
        (row["clients"], row["arm"]): row["value"]
        for row in result["rows"]
        if (row["family"], row["metric"]) == ("bayesian_mf", "rmse")
    }
    assert values["town", "federated"] == pytest.approx(values["pooled", "centralised"], rel=1e-4)
    assert values["user", "federated"] == pytest.approx(values["pooled", "centralised"], rel=1e-4)
    assert values["town", "silo_only"] != pytest.approx(values["pooled", "centralised"], rel=1e-4)
    assert result["seeds"] == [1, 2, 3]
    assert {clients: cost["clients"] for clients, cost in result["costs"].items()} == {"town": 3, "user": 30}
    assert len(lines) == 3 * 4
    for row in result["rows"]:
        assert row["low"] <= row["value"] <= row["high"], row


def test_baselines_predict_by_their_definitions(rated):
    data = pooled([silo.split(1, validation=False) for silo in read_silos(open_partition(rated))])
    training, held_out = data.training, data.held_out
    found = {name: predict(data) for name, predict in BASELINES.items()}
    assert found["global_mean"] == pytest.approx(training.values.mean())
    user, item = held_out.users[0], held_out.items[0]
    assert found["user_mean"][0] == pytest.approx(training.values[training.users == user].mean())
    assert found["item_mean"][0] == pytest.approx(training.values[training.items == item].mean())
    for name, predicted in found.items():
        assert len(predicted) == len(held_out.values), name
        assert ((predicted >= 1) & (predicted <= 5)).all(), name
    # Taste times appeal: biases cannot express it, neighbours can.
    errors = {name: np.mean((predicted - held_out.values) ** 2) for name, predicted in found.items()}
    assert errors["item_knn"] < errors["biases"]
    assert errors["user_knn"] < errors["biases"]


def printed(rated: Path, *options: str) -> str:
    """Return what a quick `fedrec bench ratings` prints."""
    command = [sys.executable, "-m", "flows", "bench", "ratings", "--data", str(rated), "--quick", *options]
    done = subprocess.run(command, env=os.environ, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_the_command_prints_one_json_object(rated):
    result = json.loads(printed(rated, "--json"))
    assert set(result["rows"][0]) == {
        *("dataset", "clients", "family", "arm", "metric", "value", "low", "high"),
    }
    families = {row["family"] for row in result["rows"]}
    assert families == set(BASELINES) - {"svd++"} | {"bayesian_mf"}
    assert result["claimed"]["federated"] == {"rmse": 0.89, "accuracy": 0.90}


def test_the_command_prints_a_table_without_json(rated):
    text = printed(rated, "--without-baselines")
    assert "bayesian_mf  federated    town" in text
    assert "3 clients by town: 89 rounds" in text


def test_a_partition_without_ratings_is_refused(partition_dir):
    with pytest.raises(InvalidInput, match=r"'ash'.*have no ratings.*column 'rating'"):
        bench_ratings(partition_dir, quick=True, baselines=False, announce=print)
