"""One client's round: it fetches the model, trains on the silo's data, and stores its update."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace
from functools import partial

from models.federation.model import ClientUpdate
from models.federation.postprocessors import ClientContext, process_contribution
from models.kernel.metric import Metric
from models.kernel.packed import packed, whole
from models.recommenders.base.family import LocalRound
from tasks.clients.client_data import UserStates, base_of, data_of, note_training, residual_of, users_of
from tasks.clients.sum_member import SumRules
from tasks.clients.sum_steps import masked_update
from tasks.exchange.codec import encode_update
from tasks.exchange.layout import client_updates_folder, group_updates_folder
from tasks.exchange.store import ArtifactRef
from tasks.messages.answers import Delivery
from tasks.messages.orders import ClientOrder
from tasks.messages.sum_forms import USERS
from tasks.privacy.client_noise import noisy_contribution


def train_client(order: ClientOrder) -> Delivery:
    """Put the client's update into the exchange, and its users' embeddings into its private folder.

    Raises:
        FedrecError: the data, the state or the training are faulty. This is not retried.
        OSError: a file or the exchange could not be reached. This is retried.
    """
    folder = client_updates_folder(order.job.job_id, order.round, order.client_id)
    return _train_here(order, partial(order.job.exchange.put, folder))


def train_in_group(order: ClientOrder) -> Delivery:
    """Do what `train_client` does, for one of many clients, whose updates share a file."""
    folder = group_updates_folder(order.job.job_id, order.round)
    return _train_here(order, partial(order.job.exchange.append, folder))


def _train_here(order: ClientOrder, put: Callable[[bytes], ArtifactRef]) -> Delivery:
    # On the coordinator's machine a transfer is a file copy, which the timings do not list separately.
    return replace(train_and_put(order, put), transfer_s=0.0)


def train_and_put(
    order: ClientOrder, put: Callable[[bytes], ArtifactRef], rules: SumRules | None = None
) -> Delivery:
    """Train the client, let `put` store its update in the exchange, and return the answer.

    Args:
        order: what to train.
        put: stores the bytes of the update.
        rules: a silo's rules for secure sums.
    """
    started = time.perf_counter()
    base_of(order)
    fetched = time.perf_counter()
    data, training_s = trained_update(order, rules)
    trained = time.perf_counter()
    ref = put(data)
    ended = time.perf_counter()
    transfer_s = fetched - started + ended - trained
    return Delivery(order.client_id, ref, started, ended, training_s, transfer_s)


def trained_update(order: ClientOrder, rules: SumRules | None = None) -> tuple[bytes, float]:
    """Return the client's update and the CPU seconds of training, and store its users' embeddings.

    The update is masked if the order names a secure sum.
    """
    job, data, base = order.job, data_of(order), base_of(order)
    users = users_of(order, data) if job.family.keeps_users else None
    before = time.thread_time()
    arrays, trained_users = job.family.train(
        base.items, users, data, LocalRound(order.client_id, order.round, job.seed)
    )
    training_s = time.thread_time() - before
    if job.postprocessors:
        arrays = whole(arrays)
    rule = job.family.rule()
    contribution = process_contribution(
        job.postprocessors,
        rule.contribution(arrays, len(data.training), {USERS: Metric(len(data.user_ids), 1)}),
        ClientContext(order.round, job.seed, job.cohort, order.client_id),
    )
    contribution, residual = job.family.sent(
        contribution,
        residual_of(order),
        lambda given: rule.rounded(given, job.ranges),
    )
    if job.noise:
        contribution = noisy_contribution(
            contribution,
            job.family.unit_noise(order.round),
            job.noise,
            order.silo,
            (job.job_id, order.client_id, str(order.round)),
            rule.ranges,
        )
    update = ClientUpdate(
        client_id=order.client_id,
        base_round=base.round,
        base_digest=order.base.sha256,
        catalog_digest=base.catalog_digest,
        contribution=replace(contribution, arrays=packed(contribution.arrays)),
    )
    if trained_users is not None:
        UserStates(order.silo, job.job_id).write(
            order.round,
            trained_users,
            data.user_ids,
            folded_in=job.family.answers_by_history,
            first=order.start.round,
            kept=order.kept,
            residual=residual,
        )
    note_training(order, data)
    if order.sum:
        return masked_update(order, rule, base, update, rules), training_s
    return encode_update(update, compressed=job.family.feeds_back), training_s
