"""The noise of two clients differs, even if they have one key and tell the same."""

from __future__ import annotations

import secrets
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from models.errors import EgressRefused
from models.federation.model import GlobalModel
from models.kernel.packed import whole
from models.privacy.noise_plan import NoisePlan
from models.recommenders.private.spec import DpItemsSpec
from tasks.clients.evaluate import evaluate_client
from tasks.clients.train import train_client
from tasks.datasets.client_assignment import ByColumn
from tasks.datasets.partition import make_partition
from tasks.datasets.partition_reader import open_partition
from tasks.exchange.codec import decode_update, encode_model
from tasks.messages.orders import ClientOrder, JobContext, StartingPoint
from tests.worlds.jobs import job_of

NAMES = ("ash", "birch")


@pytest.fixture
def job(tmp_path: Path) -> JobContext:
    """Return a job of two clients with one key, whose users are alike and have no held-out case."""
    tables = {
        "interactions": pd.DataFrame(
            [(f"{town}-{user}", f"i{user}") for town in NAMES for user in range(5)],
            columns=["user_id", "item_id"],
        ),
        "items": pd.DataFrame({"item_id": [f"i{item}" for item in range(8)]}),
        "users": pd.DataFrame(
            [(f"{town}-{user}", town) for town in NAMES for user in range(5)], columns=["user_id", "town"]
        ),
    }
    paths = {name: tmp_path / f"{name}.csv" for name in tables}
    for name, table in tables.items():
        table.to_csv(paths[name], index=False)
    make_partition(
        paths["interactions"],
        tmp_path / "partition",
        ByColumn("town"),
        items=paths["items"],
        users=paths["users"],
    )
    key = secrets.token_bytes(32)
    for name in NAMES:
        path = tmp_path / "silos" / name / "noise.key"
        path.parent.mkdir(parents=True)
        path.write_bytes(key)
        path.chmod(0o600)
    noise = NoisePlan(multiplier=2.0, summands=2, figures_share=0.1)
    return job_of(tmp_path / "partition", tmp_path, spec=DpItemsSpec(), noise=noise, delta=1e-5)


def orders(job: JobContext) -> list[ClientOrder]:
    catalog = open_partition(job.data_dir).catalog
    model = GlobalModel(0, catalog.digest, job.family.initial(len(catalog), 7))
    base = job.exchange.put("job-1/models", encode_model(model))
    return [ClientOrder(job, name, 1, base, StartingPoint(None, 0)) for name in NAMES]


def test_the_arrays_of_two_clients_with_one_key_and_equal_sums_have_different_noise(job: JobContext) -> None:
    ash, birch = (
        dict(whole(decode_update(job.exchange.get(train_client(each).update)).contribution.arrays).named())
        for each in orders(job)
    )
    assert ash.keys() == birch.keys()
    for name, array in ash.items():
        assert not np.array_equal(array, birch[name]), name


def test_the_figures_of_two_clients_with_one_key_and_equal_sums_have_different_noise(job: JobContext) -> None:
    ash, birch = (evaluate_client(each).metrics for each in orders(job))
    assert ash.keys() == birch.keys()
    assert [*ash.values()] != [*birch.values()]


def test_a_round_is_not_sent_again_with_the_noise_of_another_key(job: JobContext) -> None:
    order, _ = orders(job)
    sent = train_client(order).update.sha256
    key = order.silo / "noise.key"
    content = key.read_bytes()
    key.unlink()
    for ask in (train_client, evaluate_client):
        with pytest.raises(EgressRefused, match=r"noise\.key is missing since"):
            ask(order)
    key.write_bytes(content)
    key.chmod(0o600)
    assert train_client(order).update.sha256 == sent
