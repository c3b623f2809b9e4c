"""One client's evaluation on its own held-out data: sums leave, users' values stay."""

from __future__ import annotations

import time
from dataclasses import dataclass, replace

import numpy as np
from prefect import task

from models.evaluation.benefit import paired_difference
from models.evaluation.ranking import HeldOutRanks, Scores, held_out_ranks, ndcg, ranking_metrics
from models.evaluation.rating_metrics import INSIDE_90, inside_interval, rating_metrics, rating_values
from models.federation.model import ItemModel, require
from models.kernel.metric import Metric
from models.recommenders.families.families import RatingFamily
from models.recommenders.families.family import Family
from models.recommenders.lightfm.training import UserArrays
from models.recommenders.rating.gibbs import predicted
from models.recommenders.rating.model import RatingModel
from tasks.clients.client_data import SiloData, base_of, data_of, users_of
from tasks.clients.prefect_retries import CLIENT_TASK
from tasks.messages.answers import ClientEvaluation
from tasks.messages.orders import ClientOrder


@dataclass(frozen=True)
class Judged:
    """What a model is worth on a client's held-out cases.

    Attributes:
        metrics: sums over the cases.
        worth: (cases,), the more the better: NDCG@10, or the squared error of a rating with its sign turned.
    """

    metrics: dict[str, Metric]
    worth: np.ndarray


@task(name="evaluate-client", task_run_name="evaluate-{order.client_id}-round-{order.round}", **CLIENT_TASK)
def evaluate_client(order: ClientOrder) -> ClientEvaluation:
    """The federated model's metrics on the client's validation cases: what choices may look at."""
    started = time.perf_counter()
    found = _federated(order, data_of(order), "validation")
    return ClientEvaluation(order.client_id, found.metrics, {}, {}, {}, started, time.perf_counter(), 0.0)


@task(name="compare-client", task_run_name="compare-{order.client_id}", **CLIENT_TASK)
def compare_client(order: ClientOrder, alone_rounds: int) -> ClientEvaluation:
    """The federated model's metrics on the client's test cases, beside a model of its data alone.

    Which of the two the client should be offered is told by its validation cases.

    Args:
        order: the final model.
        alone_rounds: the client trains alone as much as in so many rounds; 0 leaves the comparison out.
    """
    started = time.perf_counter()
    data, job = data_of(order), order.job
    federated = _federated(order, data, "test")
    alone: dict[str, Metric] = {}
    benefit: dict[str, Metric] = {}
    choice: dict[str, Metric] = {}
    between = time.perf_counter()
    if alone_rounds:
        family = _described(order, job.family)
        items, users = family.trained_alone(
            data, rounds=alone_rounds, seed=job.seed, client_id=order.client_id
        )
        own, chosen = (judged(family, items, users, data, name) for name in ("test", "validation"))
        alone = own.metrics
        benefit = paired_difference(federated.worth, own.worth)
        choice = paired_difference(_federated(order, data, "validation").worth, chosen.worth)
    ended = time.perf_counter()
    return ClientEvaluation(
        order.client_id, federated.metrics, alone, benefit, choice, started, ended, ended - between
    )


def judged(
    family: Family, items: ItemModel, users: UserArrays | None, data: SiloData, split_name: str
) -> Judged:
    """What a model is worth on a client's validation or test cases."""
    if isinstance(family, RatingFamily):
        return _judged_ratings(family, require(items, RatingModel), data, split_name)
    ranks = rank_cases(data, family.scores(items, users, data), split_name)
    return Judged(ranking_metrics(ranks), ndcg(ranks.full, 10))


def _judged_ratings(family: RatingFamily, model: RatingModel, data: SiloData, split_name: str) -> Judged:
    parts, spec = data.rating_parts, family.spec
    held = parts.validation if split_name == "validation" else parts.test
    found = predicted(model, parts.training, held.users, held.items, spec)
    values = rating_values(found.means, held.values, spec.lowest, spec.highest)
    metrics = rating_metrics(values)
    metrics[INSIDE_90] = inside_interval(found.means, found.deviations, held.values)
    return Judged(metrics, -values[:, 0])


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


def _federated(order: ClientOrder, data: SiloData, split_name: str) -> Judged:
    family = order.job.family
    # Users of a client that never trained are known by their histories only.
    by_history = family.answers_by_history or order.start.job_id is None
    users = None if by_history else users_of(order, data)
    return judged(family, base_of(order).items, users, data, split_name)


def _described(order: ClientOrder, family: Family) -> Family:
    """A family that knows what the items are, where it asks: as the model that the job started from does."""
    if isinstance(family, RatingFamily):
        model = require(base_of(order).items, RatingModel)
        return replace(family, content=model.content.astype(np.float64))
    return family
