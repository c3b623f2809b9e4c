"""The pooled baseline: LightFM on all clients' data together, where the configuration allows pooling."""

from __future__ import annotations

import time
from dataclasses import dataclass

import numpy as np
from prefect import task
from prefect.cache_policies import NO_CACHE

from models.evaluation.metric import Metric, total
from models.evaluation.ranking import ranking_metrics
from models.recommenders.lightfm_training import TrainingSet, train_alone
from tasks.evaluate_client import rank_cases
from tasks.orders import JobContext
from tasks.silo import load_silo


@dataclass(frozen=True)
class Pooled:
    """Test metrics of pooled training, and the seconds it took."""

    metrics: dict[str, Metric]
    seconds: float


@task(name="train-centralised", cache_policy=NO_CACHE, persist_result=False)
def train_centralised(job: JobContext, client_ids: tuple[str, ...], epochs: int) -> Pooled:
    """Test metrics of plain LightFM trained on the pooled training data, over the same held-out cases.

    Args:
        job: data, seed and training parameters.
        client_ids: whose data are pooled.
        epochs: of training.
    """
    started = time.perf_counter()
    silos = [
        load_silo(job.data_dir, job.data_digest, client_id, job.evaluation_seed, job.negatives)
        for client_id in client_ids
    ]
    first_row = np.cumsum([0, *(len(silo.user_ids) for silo in silos)])
    users = np.concatenate([s.split.train_users + first for s, first in zip(silos, first_row, strict=False)])
    items = np.concatenate([silo.split.train_items for silo in silos])
    pooled = TrainingSet(users, items, (int(first_row[-1]), silos[0].training.shape[1]))
    trained, everyone = train_alone(pooled, job.spec, epochs=epochs, seed=job.seed, client_id="all clients")
    metrics = total(
        ranking_metrics(
            rank_cases(silo, everyone.embeddings[first : first + len(silo.user_ids)], trained, "test")
        )
        for silo, first in zip(silos, first_row, strict=False)
    )
    return Pooled(metrics, time.perf_counter() - started)
