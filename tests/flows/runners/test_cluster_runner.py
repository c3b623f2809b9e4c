"""Clients in the processes of a Dask cluster answer as in threads, and lose only their own answers."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import time
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextvars import ContextVar
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import psutil
import pytest
from prefect import flow
from prefect.client.orchestration import get_client
from prefect.client.schemas.filters import FlowRunFilter, FlowRunFilterId
from prefect.runtime import flow_run

from data_contracts.interactions import InteractionLimits
from flows.runners.cluster_runner import ClusterRunner
from flows.runners.clusters import open_cluster
from flows.runners.local_threads import LocalThreads, NonWaitingThreads
from flows.runners.runner import Runner
from models.errors import CorruptArtifact, InvalidConfig, SiloFailed
from models.federation.model import GlobalModel
from models.recommenders.lightfm.training import initial_items
from tasks.datasets.client_assignment import ByUser
from tasks.datasets.partition import make_partition
from tasks.datasets.partition_reader import open_partition
from tasks.exchange.codec import encode_model
from tasks.messages.answers import Delivery
from tasks.messages.orders import ClientOrder, JobContext, StartingPoint
from tasks.orchestration.runs import wait_until_recorded
from tests.conftest import small_tables
from tests.waiting import until
from tests.worlds.jobs import job_of

dask = pytest.importorskip("dask", reason="the extra 'dask' is not installed")
distributed = pytest.importorskip("distributed", reason="the extra 'dask' is not installed")
pytestmark = [pytest.mark.cluster, pytest.mark.usefixtures("prefect_server")]


@pytest.fixture(scope="module")
def cluster(prefect_server: None) -> Iterator[distributed.LocalCluster]:
    """Run a cluster of two processes."""
    with (
        dask.config.set({"distributed.scheduler.allowed-failures": 0}),
        distributed.LocalCluster(
            n_workers=2, threads_per_worker=1, memory_limit=0, dashboard_address="127.0.0.1:0"
        ) as running,
    ):
        yield running


@pytest.fixture
def job(tmp_path: Path) -> JobContext:
    """Return a job of 24 clients with one user each."""
    paths = small_tables(tmp_path / "tables")
    make_partition(paths["interactions"], tmp_path / "partition", ByUser(), items=paths["items"])
    return job_of(tmp_path / "partition", tmp_path)


@pytest.fixture
def orders(job: JobContext) -> dict[str, ClientOrder]:
    """Return orders to train round 1. The last client's names a state that it does not have."""
    partition = open_partition(Path(job.data_dir))
    model = GlobalModel(0, partition.catalog.digest, initial_items(len(partition.catalog), 4, 1))
    base = job.exchange.put("job-1/models", encode_model(model))
    names = [client.id for client in partition.clients]
    found = {name: ClientOrder(job, name, 1, base, StartingPoint(None, 0)) for name in names[:-1]}
    return found | {names[-1]: ClientOrder(job, names[-1], 1, base, StartingPoint("job-1", 7))}


@contextlib.contextmanager
def on_dask(cluster: distributed.LocalCluster, job: JobContext) -> Iterator[ClusterRunner]:
    runner = ClusterRunner(
        partial(open_cluster, "dask", cluster.scheduler_address, None), Path(job.silos_dir)
    )
    try:
        yield runner
    finally:
        in_flow(lambda: runner.abandon([]))


def _run() -> list[Any]:
    return [_inside.get()(), str(flow_run.id)]


_inside: ContextVar[Callable[[], Any]] = ContextVar("inside")
# Prefect sends the flow to the processes of a cluster. So it must not hold what the test does.
_asks = flow(name="asks", task_runner=NonWaitingThreads(max_workers=2), persist_result=False)(_run)


def in_flow(do: Callable[[], Any]) -> tuple[Any, str]:
    """Return what `do` returns within a flow, and the id of the flow run."""
    _inside.set(do)
    found, flow_run_id = _asks()
    return found, flow_run_id


def asked(runner: Runner, orders: Mapping[str, ClientOrder], deadline_s: float = 120.0) -> dict[str, Any]:
    return dict(in_flow(lambda: runner.ask("train", orders, deadline_s))[0])


def test_answers_are_those_of_threads(
    cluster: distributed.LocalCluster, job: JobContext, orders: dict[str, ClientOrder]
) -> None:
    began = time.perf_counter()
    with on_dask(cluster, job) as runner:
        found, flow_run_id = in_flow(lambda: runner.ask("train", orders, 120.0))
    ended = time.perf_counter()
    threads = asked(LocalThreads(2, client_tasks=0), orders)
    *trained, last = orders
    assert list(found) == list(orders)
    assert [found[each].update.sha256 for each in trained] == [
        threads[each].update.sha256 for each in trained
    ]
    assert (type(found[last]), str(found[last])) == (CorruptArtifact, str(threads[last]))
    # Times are on this process's clock.
    assert all(began < found[each].started < found[each].ended < ended for each in trained)
    wait_until_recorded(flow_run_id)
    with get_client(sync_client=True) as client:
        runs = client.read_task_runs(
            flow_run_filter=FlowRunFilter(id=FlowRunFilterId(any_=[flow_run_id]))  # type: ignore[list-item]
        )
    # Four groups for each of two processes.
    assert sorted(run.name for run in runs) == [
        f"train-round-1-user-u{first:03d}-to-user-u{first + 2:03d}-3-clients" for first in range(0, 24, 3)
    ]
    assert {run.state.message for run in runs if run.state} == {
        "3 of 3 clients answered.",
        "2 of 3 clients answered.",
    }


class Fifo:
    """A client's data as a path at which a process that reads it waits."""

    def __init__(self, job: JobContext, client_id: str) -> None:
        self.path = Path(job.data_dir) / "clients" / client_id / "interactions.parquet"
        self.path.unlink()
        os.mkfifo(self.path)

    @contextlib.contextmanager
    def held(self) -> Iterator[None]:
        """Wait until a process reads, and let it wait for data within the block and continue after it."""
        fd = until(self.opened, 60, what="the wait for a reader")
        try:
            yield
        finally:
            os.close(fd)

    def readers(self) -> list[int]:
        """Return the processes below this one that have it open."""
        found = []
        for process in psutil.Process().children(recursive=True):
            with contextlib.suppress(OSError):  # if it has ended, or closed a file meanwhile
                if any(fd.readlink() == self.path for fd in Path(f"/proc/{process.pid}/fd").iterdir()):
                    found.append(process.pid)
        return found

    def opened(self) -> int | None:
        """Return a descriptor for writing if a process reads, which then waits until it is closed."""
        with contextlib.suppress(OSError):  # if none waits
            return os.open(self.path, os.O_WRONLY | os.O_NONBLOCK)
        return None


def test_a_client_that_hangs_is_late_alone_and_at_work_until_it_ends(
    cluster: distributed.LocalCluster, job: JobContext, orders: dict[str, ClientOrder]
) -> None:
    *_, hanging, broken = orders
    asked_for = {name: orders[name] for name in (*list(orders)[:6], hanging)}
    fifo = Fifo(job, hanging)
    with on_dask(cluster, job) as runner:
        with ThreadPoolExecutor() as pool:
            answers = pool.submit(asked, runner, asked_for, 8.0)
            with fifo.held():
                found = answers.result(60)
                late = found.pop(hanging)
                assert all(isinstance(each, Delivery) for each in found.values())
                assert (str(late), late.is_at_work) == ("no answer within 8 s", True)
        until(lambda: not late.is_at_work, 30)
    # The marks of the coordinator are gone.
    assert not list(Path(job.silos_dir).glob(".cluster-*"))
    assert broken not in found


def is_gone(pid: int) -> bool:
    try:
        return psutil.Process(pid).status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True


def test_a_client_whose_process_dies_fails_alone(
    cluster: distributed.LocalCluster, job: JobContext, orders: dict[str, ClientOrder]
) -> None:
    deadly, *others = list(orders)[:16]  # two for each group
    fifo = Fifo(job, deadly)
    deaths = 0
    with on_dask(cluster, job) as runner, ThreadPoolExecutor() as pool:
        answers = pool.submit(asked, runner, {name: orders[name] for name in (deadly, *others)}, 600.0)
        while not answers.done():
            if fd := fifo.opened():
                # A process that was killed may still have it open; then the reader is the next one.
                (reader,) = until(fifo.readers, what="the wait for the reader's process")
                os.kill(reader, signal.SIGKILL)
                os.close(fd)
                # Until it is gone it could be taken for the next reader.
                until(partial(is_gone, reader), 30, what="the death of a process")
                deaths += 1
            time.sleep(0.02)
        found = answers.result()
    assert isinstance(found[deadly], SiloFailed)
    assert f"The process that served client {deadly!r} ended" in str(found[deadly])
    assert all(isinstance(found[each], Delivery) for each in others)
    # Twice with the other client of its group beside other groups, once more without these, and once alone.
    assert deaths == 4


def test_a_cluster_that_does_not_share_the_silos_folder_is_refused(
    cluster: distributed.LocalCluster, job: JobContext, orders: dict[str, ClientOrder]
) -> None:
    with on_dask(cluster, job) as runner:
        for mark in Path(job.silos_dir).glob(".cluster-*"):
            mark.unlink()
        with pytest.raises(InvalidConfig, match="does not share the folder") as refused:
            in_flow(lambda: runner.ask("check", orders, 60.0, limits=InteractionLimits()))
    assert "FEDREC_HOME at the same path" in refused.value.next_step


def test_no_cluster_at_the_address_is_a_wrong_setting() -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        address = "tcp://{}:{}".format(*free.getsockname())
        with (
            dask.config.set({"distributed.comm.timeouts.connect": "1s"}),
            pytest.raises(InvalidConfig, match=f"No Dask cluster can be used at {address}") as refused,
        ):
            open_cluster("dask", address, None)
    assert refused.value.facts["key"] == "runner.address"


@pytest.mark.skipif(find_spec("prefect_ray") is not None, reason="the extra 'ray' is installed")
def test_a_missing_extra_is_named_with_its_command() -> None:
    with pytest.raises(
        InvalidConfig, match=r"needs the package prefect-ray, which is not installed"
    ) as missing:
        open_cluster("ray", None, 2)
    assert missing.value.next_step == "Install the extra: pip install 'fedrec[ray]'."
