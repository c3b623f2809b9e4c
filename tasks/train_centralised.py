"""The pooled baseline: the same family on all clients' data together, where pooling is allowed."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
from prefect import task
from prefect.cache_policies import NO_CACHE

from models.evaluation.metric import Metric, total
from models.evaluation.ranking import Scores, ranking_metrics
from models.recommenders.histories import Histories
from models.recommenders.lightfm_training import TrainingSet
from tasks.evaluate_client import rank_cases
from tasks.orders import JobContext
from tasks.silo import SiloData, load_silo


@dataclass(frozen=True)
class Pooled:
    """Test metrics of pooled training, and the seconds it took."""

    metrics: dict[str, Metric]
    seconds: float


@task(name="train-centralised", cache_policy=NO_CACHE, persist_result=False)
def train_centralised(job: JobContext, client_ids: tuple[str, ...], rounds: int) -> Pooled:
    """Test metrics of the same family trained on the pooled training data, over the same held-out cases.

    Args:
        job: data, seed and training parameters.
        client_ids: whose data are pooled.
        rounds: of the federation, which pooled training matches in effort.
    """
    started = time.perf_counter()
    silos = [
        load_silo(job.data_dir, job.data_digest, client_id, job.evaluation_seed, job.negatives)
        for client_id in client_ids
    ]
    first_row = np.cumsum([0, *(len(silo.user_ids) for silo in silos)])
    scores = job.family.alone(
        _pooled(silos, first_row), rounds=rounds, seed=job.seed, client_id="all clients"
    )
    metrics = total(
        ranking_metrics(rank_cases(silo, partial(_shifted, scores, first), "test"))
        for silo, first in zip(silos, first_row, strict=False)
    )
    return Pooled(metrics, time.perf_counter() - started)


@dataclass(frozen=True)
class _PooledData:
    training: TrainingSet
    histories: Histories


def _pooled(silos: Sequence[SiloData], first_row: np.ndarray) -> _PooledData:
    users = np.concatenate([s.split.train_users + first for s, first in zip(silos, first_row, strict=False)])
    items = np.concatenate([silo.split.train_items for silo in silos])
    shape = (int(first_row[-1]), silos[0].histories.n_items)
    return _PooledData(TrainingSet(users, items, shape), Histories.pooled([silo.histories for silo in silos]))


def _shifted(scores: Scores, first: int, users: np.ndarray) -> np.ndarray:
    """The scores of one client's users, whose rows in the pooled data begin at `first`."""
    return scores(users + first)
