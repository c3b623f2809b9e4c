"""The runner that a configuration chooses."""

from __future__ import annotations

from functools import partial

from flows.runners.cluster_runner import ClusterRunner
from flows.runners.clusters import open_cluster
from flows.runners.gateway_silos import GatewaySilos
from flows.runners.local_threads import LocalThreads, threads_of
from flows.runners.remote_silos import RemoteSilos
from flows.runners.runner import Runner
from flows.settings.training_config import TrainingConfig
from tasks.coordinator.trust_store import TrustStore
from tasks.datasets.partition_reader import Partition
from tasks.exchange.layout import catalog_folder
from tasks.gateway.database import open_database
from tasks.gateway.members import Members
from tasks.gateway.order_book import OrderBook
from tasks.gateway.visits import Visits
from tasks.local.home import Home
from tasks.messages.orders import JobContext


def runner_of(config: TrainingConfig, home: Home, context: JobContext, partition: Partition) -> Runner:
    """Return the runner of a job; a cluster is connected to when the first step is asked."""
    runner = config.runner
    if runner.kind == "threads":
        return LocalThreads(threads_of(runner.threads), runner.client_tasks)
    if runner.kind in ("dask", "ray"):
        return ClusterRunner(partial(open_cluster, runner.kind, runner.address, runner.processes), home.silos)
    items = context.exchange.put(catalog_folder(context.job_id), partition.items_path.read_bytes())
    trust = TrustStore(home)
    if runner.kind == "gateway":
        engine = open_database(home, runner.orders)
        Members(engine).add(runner.silos, config.model_name)
        return GatewaySilos(context.exchange, trust, items, OrderBook(engine), Visits(engine))
    return RemoteSilos(context.exchange, trust, items, runner.poll_s, runner.away_s)
