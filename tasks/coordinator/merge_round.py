"""Merging a round: deliveries are read, held against the update contract, and folded into the next model."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import pandas as pd
from prefect import task
from prefect.cache_policies import NO_CACHE

from data_contracts.outcome import ContractOutcome
from data_contracts.updates import UpdateLimits, check_updates, profile_update, rejected_clients
from models.errors import FedrecError, InvalidInput
from models.federation.client_drift import ClientDrift, MergedDirection
from models.federation.merge import MergeRule
from models.federation.model import ClientUpdate, GlobalModel, relative_drift
from models.federation.rounds import Rejection, RoundPlan, require_quorum
from models.kernel.arrays import ArrayGroup
from models.kernel.metric import Metric, total
from tasks.exchange.codec import decode_update, encode_model
from tasks.exchange.layout import models_folder
from tasks.exchange.models import fetch_model
from tasks.exchange.store import ArtifactRef
from tasks.messages.answers import Delivery
from tasks.messages.orders import JobContext

# Of more clients nobody looks at each, and reading all their updates once more takes as long as merging them.
COMPARED_CLIENTS = 100
# Room for the facts and metrics beside the arrays.
_HEADER_BYTES = 1 << 16


@dataclass(frozen=True)
class Merged:
    """What a merge made.

    Attributes:
        model: where the next global model lies; it counts once its round is committed.
        accepted: ids of the clients in it, sorted.
        rejected: clients whose update was refused.
        outcome: of the update contract.
        training: sums over the accepted clients.
        update_bytes: what came up from the accepted clients.
        drift: how far the embeddings moved, relative to their norm before.
        client_drift: by client, how its update lies to the sum of all; empty where the coordinator sees
            nothing but the sum, and of more than `COMPARED_CLIENTS` clients.
    """

    model: ArtifactRef
    accepted: tuple[str, ...]
    rejected: tuple[Rejection, ...]
    outcome: ContractOutcome
    training: dict[str, Metric]
    update_bytes: int
    drift: float
    client_drift: dict[str, ClientDrift]


@task(
    name="merge-round", task_run_name="merge-round-{plan.round}", cache_policy=NO_CACHE, persist_result=False
)
def merge_round(
    job: JobContext,
    plan: RoundPlan,
    rule: MergeRule[Any, Any],
    base_ref: ArtifactRef,
    deliveries: Sequence[Delivery],
    missing: Sequence[Rejection],
    limits: UpdateLimits,
) -> Merged:
    """The next global model is in the exchange, made of the updates that arrived and keep the contract.

    Updates are read one at a time, so that only one is in memory: to be judged, to be added, and to be held
    against their sum.

    Args:
        job: where the updates lie.
        plan: the round's cohort and quorum.
        rule: how to merge.
        base_ref: the model that the updates must start from.
        deliveries: what arrived, in any order.
        missing: clients that delivered nothing, and why.
        limits: of the update contract.

    Raises:
        QuorumNotReached: too few usable updates.
    """
    base = fetch_model(job.exchange_url, base_ref)
    form = rule.zero(base.items)
    arrived = sorted(deliveries, key=lambda delivery: delivery.client_id)
    refused: dict[str, str] = {}
    profiles = []
    for delivery in arrived:
        try:
            profiles.append(_profile(job, delivery, base, base_ref, form))
        except FedrecError as error:
            refused[delivery.client_id] = str(error)
    rejected = [*missing, *_rejections(refused)]
    require_quorum(plan, [str(each["client_id"]) for each in profiles], rejected)
    outcome = check_updates(pd.DataFrame(profiles), base, base_ref.sha256, limits, f"round-{plan.round}")
    refused |= rejected_clients(outcome)
    rejected = [*missing, *_rejections(refused)]
    kept = [delivery for delivery in arrived if delivery.client_id not in refused]
    require_quorum(plan, [delivery.client_id for delivery in kept], rejected)
    state, training = rule.empty(base), dict[str, Metric]()
    for delivery in kept:
        update = _read(job, delivery)
        state = rule.add(state, base, update)
        training = total((training, update.metrics))
    model = rule.finish(state, base)
    direction, client_drift = MergedDirection.of(state.total), dict[str, ClientDrift]()
    for delivery in kept if len(kept) <= COMPARED_CLIENTS else ():
        update = _read(job, delivery)
        client_drift[delivery.client_id] = direction.drift_of(update.deltas, rule.weight(update))
    return Merged(
        model=job.exchange.put(models_folder(job.job_id), encode_model(model)),
        accepted=state.clients,
        rejected=tuple(sorted(rejected, key=lambda rejection: rejection.client_id)),
        outcome=outcome,
        training=training,
        update_bytes=sum(delivery.update.size for delivery in kept),
        drift=relative_drift(model.items, base.items),
        client_drift=client_drift,
    )


def _read(job: JobContext, delivery: Delivery) -> ClientUpdate:
    return decode_update(job.exchange.get(delivery.update), f"The update of {delivery.client_id}")


def _profile(
    job: JobContext, delivery: Delivery, base: GlobalModel, base_ref: ArtifactRef, form: ArrayGroup
) -> dict[str, object]:
    origin = f"The update of {delivery.client_id}"
    # More than the arrays that are expected is refused before it is read.
    expected = sum(array.nbytes for _, array in form.named())
    if delivery.update.size > expected + _HEADER_BYTES:
        raise InvalidInput(f"{origin} has {delivery.update.size} bytes, but its arrays have {expected}.")
    update = decode_update(job.exchange.get(delivery.update), origin)
    if update.client_id != delivery.client_id:
        raise FedrecError(f"{origin} names client {update.client_id!r} instead.")
    return profile_update(update, base, base_ref.sha256, form)


def _rejections(refused: dict[str, str]) -> list[Rejection]:
    return [Rejection(client_id, "update", reason) for client_id, reason in refused.items()]
