"""A client leaves out the held-out cases that earlier jobs of the model's lineage trained on."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from models.federation.model import GlobalModel
from models.kernel.metric import Metric
from models.recommenders.base.data import Part
from models.recommenders.families.registry import family_of, spec_of
from tasks.clients.client_data import data_of
from tasks.clients.evaluate import compare_client, evaluate_client
from tasks.clients.silo_data import SiloData
from tasks.clients.train import train_client
from tasks.datasets.client_assignment import ByChance, ByColumn, Split
from tasks.datasets.partition import make_partition
from tasks.datasets.partition_reader import open_partition
from tasks.exchange.codec import encode_model
from tasks.messages.orders import ClientOrder, JobContext, StartingPoint
from tests.conftest import small_tables
from tests.worlds.jobs import job_of

PARTS: tuple[Part, ...] = ("validation", "test")


class Shop:
    """Interactions of 24 users with a column "town", of which each week has more."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        paths = small_tables(folder / "tables", liked=12)
        self.items = paths["items"]
        towns = pd.read_csv(paths["users"]).set_index("user_id")["town"]
        self.rows = pd.read_csv(paths["interactions"]).assign(town=lambda rows: rows["user_id"].map(towns))
        self.rows["place"] = self.rows.groupby("user_id").cumcount()

    def job(self, job_id: str, rows: pd.DataFrame, split: Split, **changes: Any) -> JobContext:
        source = self.folder / f"{job_id}.csv"
        rows.drop(columns="place").to_csv(source, index=False)
        make_partition(source, self.folder / job_id, split, items=self.items)
        return job_of(self.folder / job_id, self.folder, job_id=job_id, **changes)


@pytest.fixture
def shop(tmp_path: Path) -> Shop:
    return Shop(tmp_path)


def orders_of(job: JobContext) -> list[ClientOrder]:
    partition = open_partition(job.data_dir)
    items = family_of(job.spec).initial(len(partition.catalog), job.seed)
    model = encode_model(GlobalModel(0, partition.catalog.digest, items))
    base = job.exchange.put(f"{job.job_id}/models", model)
    return [ClientOrder(job, each.id, 1, base, StartingPoint(None, 0)) for each in partition.clients]


def train(job: JobContext) -> None:
    for order in orders_of(job):
        train_client(order)


def pairs(data: SiloData, users: Any, items: Any, item_ids: tuple[str, ...]) -> set[tuple[str, str]]:
    return {(data.user_ids[user], item_ids[item]) for user, item in zip(users, items, strict=True)}


def trained_on(job: JobContext) -> set[tuple[str, str]]:
    """Return the training pairs of all clients, from the split itself."""
    ids = open_partition(job.data_dir).catalog.ids
    data = [data_of(order) for order in orders_of(job)]
    return {pair for one in data for pair in pairs(one, one.split.train_users, one.split.train_items, ids)}


def held_out(job: JobContext, part: Part) -> set[tuple[str, str]]:
    ids = open_partition(job.data_dir).catalog.ids
    return {
        pair
        for one in map(data_of, orders_of(job))
        for pair in pairs(
            one, *(getattr(one.split, f"{part}_{kind}") for kind in ("users", "items")), item_ids=ids
        )
    }


def left_out(job: JobContext, part: Part) -> Metric:
    found = [data_of(order).left_out(part, of_ratings=False) for order in orders_of(job)]
    return sum(found, Metric(0.0, 0.0))


def going_on(job: JobContext, *earlier: str) -> JobContext:
    return replace(job, earlier_jobs=earlier, earlier_records=(3,) * len(earlier))


def test_newer_data_with_times_leave_out_what_was_bought_again(shop: Shop) -> None:
    first = shop.job("week-1", shop.rows[shop.rows["place"] < 8], ByColumn("town"))
    train(first)
    # Eight users buy again what week 1 trained on: a pair is kept with its latest time.
    again = shop.rows["user_id"].isin([f"u{user:03d}" for user in range(8)]) & (shop.rows["place"] == 0)
    rows = shop.rows.assign(timestamp=shop.rows["timestamp"] + again * 10**6)
    second = going_on(shop.job("week-2", rows, ByColumn("town")), "week-1")
    assert left_out(second, "test") == Metric(8.0, 24.0)
    assert left_out(second, "validation") == Metric(0.0, 24.0)
    # What counts is what the clients evaluate.
    found = [evaluate_client(order).metrics for order in orders_of(second)]
    assert sum((each["ndcg@10"].weight for each in found), 0.0) == 24.0
    tested = [compare_client(order, alone_rounds=1) for order in orders_of(second)]
    assert sum((each.metrics["ndcg@10"].weight for each in tested), 0.0) == 16.0
    assert sum((each.alone["ndcg@10"].weight for each in tested), 0.0) == 16.0
    assert sum((each.metrics["left_out"] for each in tested), Metric(0.0, 0.0)) == Metric(8.0, 24.0)
    # A model that starts fresh has seen nothing.
    fresh = evaluate_client(orders_of(replace(second, earlier_jobs=(), earlier_records=()))[0]).metrics
    assert "left_out" not in fresh


@pytest.mark.parametrize("seed", [5, 6])
def test_without_times_the_pairs_of_all_clients_are_left_out_also_if_users_have_moved(
    shop: Shop, seed: int
) -> None:
    rows = shop.rows.drop(columns="timestamp")
    first = shop.job("week-1", rows[rows["place"] < 8], ByChance(3, seed=1))
    train(first)
    second = shop.job("week-2", rows, ByChance(4, seed=2), evaluation_seed=seed)
    known = trained_on(first)
    for part in PARTS:
        cases = held_out(second, part)
        assert left_out(going_on(second, "week-1"), part) == Metric(float(len(cases & known)), 24.0)
        assert 0 < len(cases & known) < 24


def test_another_seed_on_the_same_data_leaves_out_what_the_first_trained_on(shop: Shop) -> None:
    rows = shop.rows.drop(columns="timestamp")
    first = shop.job("one", rows, ByColumn("town"))
    train(first)
    other = replace(first, job_id="two", evaluation_seed=99)
    known = trained_on(first)
    for part in PARTS:
        cases = held_out(other, part)
        assert left_out(going_on(other, "one"), part).total == len(cases & known) > 0


@pytest.mark.parametrize("fault", ["no job", "no record", "empty", "cut off", "another key", "an archive"])
def test_without_a_whole_record_of_each_client_no_case_counts(shop: Shop, fault: str) -> None:
    job = shop.job("week-1", shop.rows, ByColumn("town"))
    train(job)
    earlier = ["week-1"]
    record = shop.folder / "silos" / "ash" / "trained" / "week-1.keys"
    whole = record.read_bytes()
    contents = {
        "empty": b"",
        "cut off": whole[:-8],
        "another key": whole[:-1] + bytes([whole[-1] ^ 1]),
        "an archive": b"PK" + whole[2:],
    }
    if fault == "no job":
        earlier.append("job-of-another-home")
    elif fault == "no record":
        record.unlink()
    else:
        record.write_bytes(contents[fault])
    second = going_on(replace(job, job_id="week-2"), *earlier)
    assert left_out(second, "test") == Metric(24.0, 24.0)
    found = evaluate_client(orders_of(second)[0]).metrics
    assert found["ndcg@10"].weight == 0.0
    compared = compare_client(orders_of(second)[0], alone_rounds=1)
    assert compared.metrics["ndcg@10"].weight == 0.0


def test_ratings_are_left_out_one_by_one(tmp_path: Path, rated_partition_dir: Path) -> None:
    spec = spec_of({"family": "bayesian_mf", "dims": 2})
    first = job_of(rated_partition_dir, tmp_path, job_id="one", spec=spec, evaluation_seed=1)
    train(first)
    second = job_of(rated_partition_dir, tmp_path, job_id="two", spec=spec, evaluation_seed=2)
    clients = len(orders_of(first))
    second = replace(second, earlier_jobs=("one",), earlier_records=(clients,))
    for before, after in zip(orders_of(first), orders_of(second), strict=True):
        known, data = data_of(before).rating_parts.training, data_of(after)
        trained = set(zip(known.users.tolist(), known.items.tolist(), strict=True))
        whole = data_of(replace(after, job=replace(second, earlier_jobs=(), earlier_records=())))
        for part in PARTS:
            every, counted = whole.held_out_ratings(part), data.held_out_ratings(part)
            cases = set(zip(every.users.tolist(), every.items.tolist(), strict=True))
            assert set(zip(counted.users.tolist(), counted.items.tolist(), strict=True)) == cases - trained
            metric = Metric(float(len(cases & trained)), float(len(cases)))
            assert data.left_out(part, of_ratings=True) == metric
            assert len(cases & trained) > 0


def test_the_record_is_private_and_is_written_once(shop: Shop) -> None:
    job = shop.job("one", shop.rows, ByColumn("town"))
    train(job)
    path = shop.folder / "silos" / "ash" / "trained" / "one.keys"
    before = path.stat().st_mtime_ns
    train(job)
    assert path.stat().st_mtime_ns == before
    assert path.parents[1].stat().st_mode & 0o077 == 0
