"""One client's evaluation on its held-out data. Only sums leave the client, never values of single users."""

from __future__ import annotations

import time
from dataclasses import replace

from models.evaluation.benefit import paired_difference
from models.evaluation.judgement import RATINGS
from models.evaluation.trained_pairs import LEFT_OUT
from models.kernel.metric import Metric
from models.privacy.noise_plan import NoisePlan
from models.recommenders.base.data import Part
from models.recommenders.base.family import Judged
from tasks.clients.client_data import base_of, data_of, users_of
from tasks.clients.comparisons import keep_comparison
from tasks.clients.silo_data import SiloData
from tasks.clients.sum_member import SumRules
from tasks.clients.sum_steps import masked_evaluation
from tasks.messages.answers import ClientEvaluation, SumAnswer
from tasks.messages.orders import ClientOrder
from tasks.messages.steps import Step
from tasks.privacy.client_noise import noisy_figures


def evaluate_client(order: ClientOrder, rules: SumRules | None = None) -> ClientEvaluation | SumAnswer:
    """Return the federated model's metrics on the client's validation cases, which choices may use.

    If the order names a secure sum, they are masked.
    """
    started = time.perf_counter()
    data = data_of(order)
    found = _federated(order, data, "validation").metrics | _left_out(order, data, "validation")
    ended = time.perf_counter()
    return _answer(
        "evaluate", ClientEvaluation(order.client_id, found, {}, {}, {}, started, ended, 0.0), order, rules
    )


def compare_client(
    order: ClientOrder, alone_rounds: int, rules: SumRules | None = None
) -> ClientEvaluation | SumAnswer:
    """Return the metrics on the client's test cases of the federated model and of a model of its data alone.

    The validation cases decide which of the two models the client is offered.

    Args:
        order: names the final model.
        alone_rounds: number of rounds whose work the client does alone; 0 omits the comparison.
        rules: a silo's rules for secure sums.
    """
    started = time.perf_counter()
    data, job = data_of(order), order.job
    federated = _federated(order, data, "test")
    alone: dict[str, Metric] = {}
    benefit: dict[str, Metric] = {}
    choice: dict[str, Metric] = {}
    between = time.perf_counter()
    if alone_rounds:
        family = job.family.with_features_of(base_of(order).items)
        items, users = family.trained_alone(
            data, rounds=alone_rounds, seed=job.seed, client_id=order.client_id
        )
        own = family.judge(items, users, data, "test")
        chosen = family.judge(items, users, data, "validation")
        alone = own.metrics
        benefit = paired_difference(federated.worth, own.worth)
        choice = paired_difference(_federated(order, data, "validation").worth, chosen.worth)
    metrics = federated.metrics | _left_out(order, data, "test")
    ended = time.perf_counter()
    found = ClientEvaluation(
        order.client_id, metrics, alone, benefit, choice, started, ended, ended - between
    )
    if rules is not None:
        keep_comparison(order.silo, job.job_id, order.round, found)
    answer = _answer("compare", found, order, rules)
    # Of a job with noise, the comparison has none, so it stays with the owner.
    is_published = rules is not None and "benefit" in rules.publish and not job.noise
    if isinstance(answer, SumAnswer) and is_published:
        return replace(answer, published=found)
    return answer


def _answer(
    step: Step, found: ClientEvaluation, order: ClientOrder, rules: SumRules | None
) -> ClientEvaluation | SumAnswer:
    noise = order.job.noise
    sent = _with_noise(step, found, order, noise) if noise else found
    return masked_evaluation(step, order, sent, rules) if order.sum else sent


def _with_noise(
    step: Step, found: ClientEvaluation, order: ClientOrder, noise: NoisePlan
) -> ClientEvaluation:
    """Return what leaves the client if the job promises privacy: the model's metrics, with noise."""
    job = order.job
    scope = (job.job_id, order.client_id, str(order.round), step)
    metrics = noisy_figures(found.metrics, job.family.judgement.metrics, noise, order.silo, scope)
    return replace(found, metrics=metrics, alone={}, benefit={}, choice={}, alone_s=0.0)


def _federated(order: ClientOrder, data: SiloData, part: Part) -> Judged:
    family = order.job.family
    # Users of a client that never trained have only their histories.
    by_history = family.answers_by_history or order.start.job_id is None
    users = None if by_history else users_of(order, data)
    return family.judge(base_of(order).items, users, data, part)


def _left_out(order: ClientOrder, data: SiloData, part: Part) -> dict[str, Metric]:
    """Return the number of cases that the model's earlier trainings have seen; nothing if it had none."""
    if not order.job.earlier_jobs:
        return {}
    return {LEFT_OUT: data.left_out(part, of_ratings=order.job.family.judgement is RATINGS)}
