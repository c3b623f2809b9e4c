"""One client's local training in one round: model down, training on the silo's data, update up."""

from __future__ import annotations

import time
from dataclasses import dataclass

from prefect import task

from models.federation.model import ClientUpdate
from models.kernel.metric import Metric
from models.ledger.head import Head
from tasks.clients.client_data import UserStates
from tasks.clients.orders import ClientOrder
from tasks.clients.prefect_retries import CLIENT_TASK
from tasks.exchange.codec import encode_update
from tasks.exchange.store import ArtifactRef


@dataclass(frozen=True)
class Delivery:
    """A client's answer to an order.

    Attributes:
        client_id: who answers.
        update: where its update lies.
        started, ended: of the work, on the clock of `time.perf_counter`.
        lightfm_s: CPU seconds inside LightFM.
        transfer_s: of that time, what a silo spent on fetching the model and putting its update.
        egress: the head of a silo's egress ledger, with the update in it.
    """

    client_id: str
    update: ArtifactRef
    started: float
    ended: float
    lightfm_s: float
    transfer_s: float = 0.0
    egress: Head | None = None


@task(name="train-client", task_run_name="train-{order.client_id}-round-{order.round}", **CLIENT_TASK)
def train_client(order: ClientOrder) -> Delivery:
    """The client's update lies in the exchange and its users' embeddings in its own folder.

    Raises:
        FedrecError: the data, the state or the training are not as they should be; trying again cannot help.
        OSError: a file or the exchange could not be reached; tried again.
    """
    started = time.perf_counter()
    data, lightfm_s = trained_update(order)
    folder = f"{order.job.job_id}/updates/{order.round:06d}/{order.client_id}"
    ref = order.job.exchange.put(folder, data)
    return Delivery(order.client_id, ref, started, time.perf_counter(), lightfm_s)


def trained_update(order: ClientOrder) -> tuple[bytes, float]:
    """The client's update as bytes and the CPU seconds of training; its users' embeddings are stored."""
    job, data, base = order.job, order.data(), order.model()
    users = order.users(data) if job.family.keeps_users else None
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
