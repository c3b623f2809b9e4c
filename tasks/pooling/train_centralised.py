"""The pooled baseline: the same family, trained on the data of all clients, if pooling is allowed."""

from __future__ import annotations

import time
from dataclasses import dataclass

from prefect import task
from prefect.cache_policies import NO_CACHE

from models.kernel.metric import Metric
from tasks.clients.silo_data import load_silo
from tasks.datasets.partition_reader import item_features, open_partition
from tasks.messages.orders import JobContext
from tasks.pooling.pooled_data import PooledSilos


@dataclass(frozen=True)
class Pooled:
    """Test metrics of pooled training, and its seconds."""

    metrics: dict[str, Metric]
    seconds: float


@task(name="train-centralised", cache_policy=NO_CACHE, persist_result=False)
def train_centralised(job: JobContext, client_ids: tuple[str, ...], rounds: int) -> Pooled:
    """Return the same family's metrics on the same test cases, trained on the pooled training data.

    Args:
        job: data, seed and training parameters.
        client_ids: the clients to pool.
        rounds: number of rounds of the federation. Pooled training does the same amount of work.
    """
    started = time.perf_counter()
    silos = [
        load_silo(
            job.data_dir,
            job.data_digest,
            client_id,
            job.evaluation_seed,
            job.negatives,
            job.silos_dir,
            job.earlier_jobs,
            job.earlier_records,
            job.users_share,
        )
        for client_id in client_ids
    ]
    data = PooledSilos.of(silos)
    family = job.family.with_features(item_features(open_partition(job.data_dir)))
    items, users = family.trained_alone(data, rounds=rounds, seed=job.seed, client_id="all clients")
    return Pooled(data.judged(family, items, users, "test"), time.perf_counter() - started)
