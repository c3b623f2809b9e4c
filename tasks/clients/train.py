"""One client's local training in one round: model down, training on the silo's data, update up."""

from __future__ import annotations

import time

from prefect import task

from models.federation.model import ClientUpdate
from models.kernel.metric import Metric
from tasks.clients.client_data import UserStates, base_of, data_of, users_of
from tasks.clients.prefect_retries import CLIENT_TASK
from tasks.exchange.codec import encode_update
from tasks.exchange.layout import client_updates_folder
from tasks.messages.answers import Delivery
from tasks.messages.orders import ClientOrder


@task(name="train-client", task_run_name="train-{order.client_id}-round-{order.round}", **CLIENT_TASK)
def train_client(order: ClientOrder) -> Delivery:
    """The client's update lies in the exchange and its users' embeddings in its own folder.

    Raises:
        FedrecError: the data, the state or the training are not as they should be; trying again cannot help.
        OSError: a file or the exchange could not be reached; tried again.
    """
    started = time.perf_counter()
    data, lightfm_s = trained_update(order)
    folder = client_updates_folder(order.job.job_id, order.round, order.client_id)
    ref = order.job.exchange.put(folder, data)
    return Delivery(order.client_id, ref, started, time.perf_counter(), lightfm_s)


def trained_update(order: ClientOrder) -> tuple[bytes, float]:
    """The client's update as bytes and the CPU seconds of training; its users' embeddings are stored."""
    job, data, base = order.job, data_of(order), base_of(order)
    users = users_of(order, data) if job.family.keeps_users else None
    before = time.thread_time()
    contribution, trained_users = job.family.train(
        base.items, users, data, seed=job.seed, round_=order.round, client_id=order.client_id
    )
    training_s = time.thread_time() - before
    update = ClientUpdate(
        client_id=order.client_id,
        base_round=base.round,
        base_digest=order.base.sha256,
        catalog_digest=base.catalog_digest,
        deltas=contribution,
        n_interactions=len(data.training),
        metrics={"users": Metric(len(data.user_ids), 1)},
    )
    if trained_users is not None:
        states = UserStates(order.silo, job.job_id)
        states.forget_before(order.start.round)
        states.write(order.round, trained_users, data.user_ids, folded_in=job.family.answers_by_history)
    return encode_update(update), training_s
