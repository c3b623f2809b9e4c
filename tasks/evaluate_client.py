"""One client's evaluation on its own held-out data: sums leave, users' values stay."""

from __future__ import annotations

import time
from dataclasses import dataclass

from prefect import task

from models.evaluation.benefit import paired_difference
from models.evaluation.metric import Metric
from models.evaluation.ranking import HeldOutRanks, Scores, held_out_ranks, ndcg, ranking_metrics
from tasks.orders import ClientOrder
from tasks.retries import CLIENT_TASK
from tasks.silo import SiloData


@dataclass(frozen=True)
class Evaluation:
    """A client's sums over its held-out cases.

    Attributes:
        client_id: whose.
        metrics: of the federated model.
        alone: of a model trained on this client's data only; empty where it was not asked for.
        benefit: sums of the paired differences in NDCG@10, federated minus alone; empty likewise.
        choice: the same over the validation cases, by which one of the two is offered; empty likewise.
        started, ended: of the work, on the clock of `time.perf_counter`.
        alone_s: seconds that training and evaluating alone took.
    """

    client_id: str
    metrics: dict[str, Metric]
    alone: dict[str, Metric]
    benefit: dict[str, Metric]
    choice: dict[str, Metric]
    started: float
    ended: float
    alone_s: float


@task(name="evaluate-client", task_run_name="evaluate-{order.client_id}-round-{order.round}", **CLIENT_TASK)
def evaluate_client(order: ClientOrder) -> Evaluation:
    """The federated model's metrics on the client's validation cases: what choices may look at."""
    started = time.perf_counter()
    metrics = ranking_metrics(_federated_ranks(order, order.data(), "validation"))
    return Evaluation(order.client_id, metrics, {}, {}, {}, started, time.perf_counter(), 0.0)


@task(name="compare-client", task_run_name="compare-{order.client_id}", **CLIENT_TASK)
def compare_client(order: ClientOrder, alone_rounds: int) -> Evaluation:
    """The federated model's metrics on the client's test cases, beside a model of its data alone.

    Which of the two the client should be offered is told by its validation cases.

    Args:
        order: the final model.
        alone_rounds: the client trains alone as much as in so many rounds; 0 leaves the comparison out.
    """
    started = time.perf_counter()
    data, job = order.data(), order.job
    federated = _federated_ranks(order, data, "test")
    alone: dict[str, Metric] = {}
    benefit: dict[str, Metric] = {}
    choice: dict[str, Metric] = {}
    between = time.perf_counter()
    if alone_rounds:
        scores = job.family.alone(data, rounds=alone_rounds, seed=job.seed, client_id=order.client_id)
        own = rank_cases(data, scores, "test")
        alone = ranking_metrics(own)
        benefit = _difference(federated, own)
        choice = _difference(
            _federated_ranks(order, data, "validation"), rank_cases(data, scores, "validation")
        )
    ended = time.perf_counter()
    return Evaluation(
        order.client_id, ranking_metrics(federated), alone, benefit, choice, started, ended, ended - between
    )


def rank_cases(data: SiloData, scores: Scores, split_name: str) -> HeldOutRanks:
    """The ranks of a client's validation or test cases by the scores of its users."""
    split = data.split
    validation = split_name == "validation"
    return held_out_ranks(
        scores,
        data.histories.n_items,
        case_users=split.validation_users if validation else split.test_users,
        case_items=split.validation_items if validation else split.test_items,
        train_users=split.train_users,
        train_items=split.train_items,
        negatives=data.validation_negatives if validation else data.test_negatives,
    )


def _difference(federated: HeldOutRanks, alone: HeldOutRanks) -> dict[str, Metric]:
    return paired_difference(ndcg(federated.full, 10), ndcg(alone.full, 10))


def _federated_ranks(order: ClientOrder, data: SiloData, split_name: str) -> HeldOutRanks:
    family = order.job.family
    # Users of a client that never trained are known by their histories only.
    by_history = family.answers_by_history or order.start.job_id is None
    users = None if by_history else order.users(data)
    return rank_cases(data, family.scores(order.model().items, users, data), split_name)
