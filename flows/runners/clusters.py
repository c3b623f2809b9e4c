"""Dask and Ray clusters, each imported only if a configuration chooses it."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable
from dataclasses import dataclass
from importlib.util import find_spec
from typing import Any, Literal, get_args

from prefect.futures import PrefectFuture
from prefect.task_runners import TaskRunner
from prefect.tasks import Task

from models.errors import InvalidConfig

ClusterKind = Literal["dask", "ray"]
CLUSTER_KINDS: tuple[ClusterKind, ...] = get_args(ClusterKind)
_MODULES = {"dask": "prefect_dask", "ray": "prefect_ray"}


@dataclass(frozen=True)
class Cluster:
    """A cluster that runs Prefect tasks.

    Attributes:
        runner: Prefect's runner, entered.
        submit: starts a task with its parameters, and returns the future of its state. A task whose process
            dies is not started again.
        slots: returns how many tasks run at once.
        cancel: cancels a task that has not begun.
    """

    runner: TaskRunner[Any]
    submit: Callable[[Task[..., Any], dict[str, Any]], PrefectFuture[Any]]
    slots: Callable[[], int]
    cancel: Callable[[Any], None]

    def close(self) -> None:
        """Leave the cluster, and end it if it is one of this process."""
        self.runner.__exit__(None, None, None)


def require_extra(kind: str) -> None:
    """Raise `InvalidConfig` if this kind of runner is a cluster whose packages are not installed."""
    if kind in _MODULES and find_spec(_MODULES[kind]) is None:
        package = _MODULES[kind].replace("_", "-")
        raise InvalidConfig(
            f"runner.kind {kind!r} needs the package {package}, which is not installed.",
            next_step=f"Install the extra: pip install 'fedrec[{kind}]'.",
            key="runner.kind",
        )


def open_cluster(kind: ClusterKind, address: str | None, processes: int | None) -> Cluster:
    """Connect to a cluster, or start one on this machine.

    Args:
        kind: the kind of cluster.
        address: of Dask's scheduler or of Ray's head; None for processes of this machine.
        processes: number of processes of this machine; None for one per core.

    Raises:
        InvalidConfig: the extra is not installed, or no cluster answers at the address.
    """
    require_extra(kind)
    count = processes or os.cpu_count() or 1
    try:
        return _dask(address, count) if kind == "dask" else _ray(address, count)
    except (OSError, ValueError, RuntimeError) as error:
        where = f"at {address}" if address else "on this machine"
        raise InvalidConfig(
            f"No {kind.title()} cluster can be used {where}: {' '.join(str(error).split())}",
            next_step="Start the cluster, or change runner.address.",
            key="runner.address",
        ) from error


def _dask(address: str | None, processes: int) -> Cluster:
    import dask

    # Dask sets its loggers to INFO when it is imported, and logs while it is.
    dask.config.set({"logging.distributed": "warning"})
    from prefect_dask import DaskTaskRunner

    logging.getLogger("distributed").setLevel(logging.WARNING)
    if address:
        runner: Any = DaskTaskRunner(address=address)
    else:
        # The runner decides what becomes of the clients whose process died.
        dask.config.set({"distributed.scheduler.allowed-failures": 0})
        runner = DaskTaskRunner(
            cluster_kwargs={
                "n_workers": processes,
                "threads_per_worker": 1,
                "memory_limit": 0,
                "dashboard_address": "127.0.0.1:0",
            }
        )
    runner.__enter__()
    client = runner.client
    return Cluster(
        runner=runner,
        submit=lambda task, parameters: runner.submit(task, parameters=parameters),
        slots=lambda: sum(client.ncores().values()),
        cancel=lambda future: future.wrapped_future.cancel(),
    )


def _ray(address: str | None, processes: int) -> Cluster:
    import ray
    from prefect_ray import RayTaskRunner
    from prefect_ray.context import remote_options

    quiet = {"log_to_driver": False, "logging_level": logging.ERROR}
    where = {"address": address} if address else {"num_cpus": processes, "include_dashboard": False}
    # Given as the runner's own argument, "auto" would start a cluster.
    runner: Any = RayTaskRunner(init_kwargs={**quiet, **where})
    runner.__enter__()

    def submit(task: Task[..., Any], parameters: dict[str, Any]) -> PrefectFuture[Any]:
        with remote_options(num_cpus=1, max_retries=0):
            future: PrefectFuture[Any] = runner.submit(task, parameters=parameters)
        return future

    return Cluster(
        runner=runner,
        submit=submit,
        slots=lambda: int(ray.cluster_resources().get("CPU", 0)),
        cancel=lambda future: ray.cancel(future.wrapped_future),
    )
