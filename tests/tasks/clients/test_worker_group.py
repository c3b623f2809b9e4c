"""A process of a cluster serves clients only if it shares what decides their results with the coordinator."""

from __future__ import annotations

import errno
import pickle
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from models.errors import CorruptArtifact, InvalidConfig, SiloFailed
from models.federation.model import GlobalModel
from models.recommenders.lightfm.training import initial_items
from tasks.clients.worker_group import ClusterGroup, Missed, SharedPlaces, require_shared, versions_here
from tasks.datasets.partition_reader import open_partition
from tasks.exchange.codec import encode_model
from tasks.exchange.store import ArtifactRef
from tasks.local.disk_full import is_disk_full
from tasks.messages.answers import Delivery
from tasks.messages.orders import ClientOrder, StartingPoint
from tests.worlds.jobs import job_of

NAMES = ("ash", "birch", "cedar")


@pytest.fixture
def orders(tmp_path: Path, partition_dir: Path) -> list[ClientOrder]:
    job = job_of(partition_dir, tmp_path)
    catalog = open_partition(partition_dir).catalog
    base = job.exchange.put(
        "job-1/models", encode_model(GlobalModel(0, catalog.digest, initial_items(len(catalog), 4, 1)))
    )
    return [ClientOrder(job, name, 1, base, StartingPoint(None, 0)) for name in NAMES]


@pytest.fixture
def places(tmp_path: Path, request: pytest.FixtureRequest) -> SharedPlaces:
    return SharedPlaces.marked(tmp_path / "silos", request.node.name.partition("[")[0])


def test_a_process_that_shares_all_is_accepted(orders: list[ClientOrder], places: SharedPlaces) -> None:
    require_shared(places, orders[0])
    names = [name for name, _ in places.versions]
    assert names == ["Python", "fedrec", "lightfm-next", "numpy", "scipy", "OMP_NUM_THREADS"]
    assert dict(places.versions)["numpy"] == np.__version__
    # What it has seen it does not check again: a share that is gone later fails the clients instead.
    places.mark.unlink()
    require_shared(places, orders[0])


def test_other_packages_or_threads_are_refused(
    orders: list[ClientOrder], places: SharedPlaces, monkeypatch: pytest.MonkeyPatch
) -> None:
    others = tuple((name, "0.0.1" if name == "scipy" else each) for name, each in versions_here())
    with pytest.raises(InvalidConfig, match=r"has scipy [\d.]+, but the coordinator has 0\.0\.1") as refused:
        require_shared(replace(places, versions=others), orders[0])
    assert "requirements.lock" in refused.value.next_step
    monkeypatch.setenv("OMP_NUM_THREADS", "4")
    places = replace(places, versions=versions_here())
    monkeypatch.delenv("OMP_NUM_THREADS")
    with pytest.raises(InvalidConfig, match="has OMP_NUM_THREADS not set, but the coordinator has 4"):
        require_shared(places, orders[0])


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"data_dir": "/nowhere/partition"}, "does not see the job's data in /nowhere/partition: "),
        ({"data_digest": "0" * 64}, "but the job was opened with 000000000000"),
        (
            {"exchange_url": "file:///nowhere/exchange"},
            "does not see the job's models in the exchange file:///no",
        ),
    ],
)
def test_data_or_models_that_it_does_not_see_are_refused(
    orders: list[ClientOrder], places: SharedPlaces, change: dict[str, Any], reason: str
) -> None:
    order = replace(orders[0], job=replace(orders[0].job, **change))
    with pytest.raises(InvalidConfig, match=r"^The process [0-9]+ on ") as refused:
        require_shared(places, order)
    assert reason in str(refused.value)
    assert refused.value.next_step


def test_a_folder_of_its_own_instead_of_the_shared_one_is_refused(
    orders: list[ClientOrder], places: SharedPlaces
) -> None:
    places.mark.write_text("of another coordinator")
    with pytest.raises(InvalidConfig, match=r"does not share the folder .*silos with the coordinator"):
        require_shared(places, orders[0])


class UnsendableError(Exception):
    """An error that cannot be made again from its text, as some libraries have."""

    def __init__(self, code: int, where: str) -> None:
        super().__init__(f"{code} at {where}")


def do(order: ClientOrder) -> Delivery:
    if order.client_id == "birch":
        raise CorruptArtifact("its file is damaged.", next_step="Restore it.", path=Path("x"))
    if order.client_id == "cedar":
        raise UnsendableError(7, "the store")
    return Delivery("ash", ArtifactRef("updates/a", "0" * 64, 1), 100.0, 101.5, 0.25)


def test_answers_and_errors_arrive_as_data(
    orders: list[ClientOrder], places: SharedPlaces, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tasks.clients.shared_work.RETRY_DELAY_S", 0.01)
    before = time.perf_counter()
    answers = ClusterGroup(orders, do, 30.0, places).serve()
    after = time.perf_counter()
    found = pickle.loads(pickle.dumps(answers)).received(now=5_000.0)  # noqa: S301 - as Dask and Ray do
    # A clock that shows 5,000 s now: the work ended as long ago as on the clock of the process.
    assert 5_000.0 - after + 101.5 <= found["ash"].ended <= 5_000.0 - before + 101.5
    assert found["ash"].ended - found["ash"].started == pytest.approx(1.5)
    assert (type(found["birch"]), found["birch"].next_step) == (CorruptArtifact, "Restore it.")
    assert isinstance(found["cedar"], SiloFailed)
    assert str(found["cedar"]) == "UnsendableError: 7 at the store"


def test_a_full_disk_is_still_known_as_such(orders: list[ClientOrder], places: SharedPlaces) -> None:
    def fill(order: ClientOrder) -> None:
        raise OSError(errno.ENOSPC, "No space left on device", "/exchange/x")

    answers = ClusterGroup(orders[:1], fill, 0.9, places).serve()
    (found,) = pickle.loads(pickle.dumps(answers)).answers.values()  # noqa: S301 - as Dask and Ray do
    assert is_disk_full(found)
    assert found.filename == "/exchange/x"


def test_clients_without_time_left_are_missed(orders: list[ClientOrder], places: SharedPlaces) -> None:
    answers = ClusterGroup(orders, do, 0.0, places).serve().received(0.0)
    assert answers == dict.fromkeys(NAMES, Missed(has_begun=False))
    assert str(answers["ash"]) == "not begun"
