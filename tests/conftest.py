"""Fixtures that several packages' tests share: a small federation's data, and a Prefect server."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import settings

from tasks.datasets.client_assignment import ByColumn
from tasks.datasets.partition import make_partition

# The time that an example takes depends on the machine's load.
settings.register_profile("fedrec", deadline=None)
settings.load_profile("fedrec")

pytest_plugins = [
    "tests.worlds.coloured",
    "tests.worlds.popular",
    "tests.worlds.mlflow_home",
    "tests.worlds.registered",
    "tests.worlds.served",
    "tests.servers.browser",
    "tests.servers.postgres",
    "tests.servers.object_store",
    "tests.servers.mlflow_server",
    "tests.servers.prefect_server",
    "tests.servers.receivers",
]


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Give every test a home of its own, so that none touches the checkout's."""
    folder = tmp_path / "home"
    monkeypatch.setenv("FEDREC_HOME", str(folder))
    return folder


def small_tables(
    folder: Path, *, users: int = 24, items: int = 40, liked: int = 10, seed: int = 7
) -> dict[str, Path]:
    """Write CSV files of a small world: users in three towns, who mostly like the items of their own taste.

    Args:
        folder: where the files are written.
        users: number of users, dealt in turn to the towns "ash", "birch" and "cedar".
        items: number of items, half of them of each taste.
        liked: number of items that a user used.
        seed: seed of everything random.
    """
    folder.mkdir(parents=True, exist_ok=True)
    random = np.random.default_rng(seed)
    rows = []
    for user in range(users):
        taste = np.where(np.arange(items) % 2 == user % 2, 9.0, 1.0)
        used = random.choice(items, size=liked, replace=False, p=taste / taste.sum())
        rows += [(f"u{user:03d}", f"i{item:03d}", 1000 * user + k) for k, item in enumerate(used)]
    paths = {name: folder / f"{name}.csv" for name in ("interactions", "items", "users")}
    pd.DataFrame(rows, columns=["user_id", "item_id", "timestamp"]).to_csv(paths["interactions"], index=False)
    titles = [(f"i{item:03d}", f"Film {item:03d}") for item in range(items)]
    pd.DataFrame(titles, columns=["item_id", "title"]).to_csv(paths["items"], index=False)
    towns = [(f"u{user:03d}", ("ash", "birch", "cedar")[user % 3]) for user in range(users)]
    pd.DataFrame(towns, columns=["user_id", "town"]).to_csv(paths["users"], index=False)
    return paths


@pytest.fixture
def partition_dir(tmp_path: Path) -> Path:
    """Return a partition of the small world into three clients: ash, birch and cedar."""
    paths = small_tables(tmp_path / "tables")
    out = tmp_path / "partition"
    make_partition(paths["interactions"], out, ByColumn("town"), items=paths["items"], users=paths["users"])
    return out


@pytest.fixture
def rated_partition_dir(tmp_path: Path) -> Path:
    """Return the same with ratings. Each user has a usual rating, and rates items of its own taste higher."""
    paths = small_tables(tmp_path / "tables", liked=25)
    table = pd.read_csv(paths["interactions"])
    users, items = (table[name].str[1:].astype(int) for name in ("user_id", "item_id"))
    table["rating"] = 2 + (users % 2 == items % 2) + users % 3
    table.to_csv(paths["interactions"], index=False)
    out = tmp_path / "rated"
    make_partition(paths["interactions"], out, ByColumn("town"), items=paths["items"], users=paths["users"])
    return out


@pytest.fixture(scope="session")
def prefect_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Run a Prefect server for the session, on a free port and with a database of its own."""
    os.environ["FEDREC_HOME"] = str(tmp_path_factory.mktemp("prefect"))
    from tasks.local.environment import apply

    apply()
    from prefect.testing.utilities import prefect_test_harness

    with prefect_test_harness(server_startup_timeout=180):
        yield
