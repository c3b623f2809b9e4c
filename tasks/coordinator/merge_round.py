"""Merging a round: updates are read, checked by the update contract, and folded into the next model."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import Any

import pandas as pd
from prefect import task
from prefect.cache_policies import NO_CACHE

from data_contracts.outcome import ContractOutcome
from data_contracts.updates import UpdateLimits, check_updates, rejected_clients
from models.federation.client_drift import ClientDrift, MergedDirection
from models.federation.contribution import RunningSum
from models.federation.merge import MergeRule
from models.federation.model import GlobalModel, relative_drift
from models.federation.postprocessors import RoundContext, process_sum
from models.federation.robust_merge import PLAIN, RobustMerge
from models.federation.rounds import Rejection, RoundPlan, require_quorum, require_vectors
from models.kernel.metric import Metric
from tasks.coordinator.update_intake import UpdateIntake
from tasks.exchange.codec import encode_model
from tasks.exchange.layout import models_folder
from tasks.exchange.models import fetch_model
from tasks.exchange.store import ArtifactRef
from tasks.messages.answers import Delivery
from tasks.messages.orders import JobContext


@dataclass(frozen=True)
class Merged:
    """The result of a merge.

    Attributes:
        model: reference of the next global model. It takes effect when its round is committed.
        state: what the merge rule made it of.
        accepted: ids of the clients whose updates are in it, sorted.
        rejected: clients whose update was refused, and clients that sent none.
        outcome: the update contract's outcome.
        training: sums over the accepted clients.
        update_bytes: size of the accepted clients' updates.
        drift: norm of the change of the embeddings, relative to their norm before.
        client_drift: client id -> its contribution compared with the sum, or with what took its place. Empty
            if the updates were too many or too large to be in memory together (see `UpdateIntake`).
    """

    model: ArtifactRef
    state: RunningSum[Any]
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
    reported: Mapping[str, int] = MappingProxyType({}),
    robust: RobustMerge = PLAIN,
) -> Merged:
    """Merge the updates that pass the contract, and put the next global model into the exchange.

    Args:
        job: names the exchange of the updates, and the postprocessors that the clients applied.
        plan: the round's cohort and quorum.
        rule: the merge rule.
        base_ref: the model that the updates must start from.
        deliveries: the updates that arrived, in any order.
        missing: clients that sent no update, and why.
        limits: the limits of the update contract.
        reported: client id -> number of interactions that it had when its data were checked, which the update
            contract holds it to.
        robust: what takes the place of the sum. It has all accepted updates in memory at once, as float32 and
            without their rows of zeros, or the sums of their groups in float64.

    Raises:
        QuorumNotReached: too few usable updates, also for the robust merge.
    """
    base = fetch_model(job.exchange_url, base_ref)
    noisy = job.noise is not None
    intake = UpdateIntake(job.exchange, rule, base, base_ref, deliveries, reported, job.ranges, noisy)
    rejected = [*missing, *_rejections(intake.refused)]
    require_quorum(plan, [str(each["client_id"]) for each in intake.profiles], rejected)
    outcome = check_updates(
        pd.DataFrame(intake.profiles), base, base_ref.sha256, limits, f"round-{plan.round}"
    )
    refused = intake.refused | rejected_clients(outcome, with_values=not noisy)
    if noisy and not outcome.passed:
        # A single update has a share of the noise only, so nothing of it goes into a record.
        outcome = _without_values(outcome)
    rejected = [*missing, *_rejections(refused)]
    kept = [delivery for delivery in intake.arrived if delivery.client_id not in refused]
    require_quorum(plan, [delivery.client_id for delivery in kept], rejected)
    state = intake.sum_of(kept)
    if not robust.is_plain:
        groups = _groups(plan, robust, missing, state.clients)
        require_vectors(plan, robust, len(groups), state.clients, rejected)
        state = robust.total(state, intake.sums_of(groups, kept))
    update_bytes = sum(delivery.update.size for delivery in kept)
    merged = merged_by(job, plan, rule, base, state, rejected, outcome, update_bytes)
    if noisy:
        return merged
    direction = MergedDirection.of(state.total)
    return replace(
        merged,
        client_drift={
            client_id: direction.drift_of(contribution.arrays)
            for client_id, contribution in intake.held(kept).items()
        },
    )


def merged_by(
    job: JobContext,
    plan: RoundPlan,
    rule: MergeRule[Any, Any],
    base: GlobalModel,
    state: RunningSum[Any],
    rejected: Sequence[Rejection],
    outcome: ContractOutcome,
    update_bytes: int,
) -> Merged:
    """Take the server's step by a sum, put the next global model into the exchange, and return the result.

    Args:
        job: names the exchange, and the postprocessors that the clients applied.
        plan: the round's cohort.
        rule: the merge rule.
        base: the model that the clients started from.
        state: the sum over the accepted clients.
        rejected: the other clients of the cohort, and why.
        outcome: the update contract's outcome.
        update_bytes: size of what the accepted clients sent.
    """
    context = RoundContext(plan.round, job.seed, len(plan.cohort))
    state = process_sum(job.postprocessors, state, context)
    model = rule.finish(state, base)
    return Merged(
        model=job.exchange.put(models_folder(job.job_id), encode_model(model)),
        state=state,
        accepted=state.clients,
        rejected=tuple(sorted(rejected, key=lambda rejection: rejection.client_id)),
        outcome=outcome,
        training=dict(state.metrics),
        update_bytes=update_bytes,
        drift=relative_drift(model.items, base.items),
        client_drift={},
    )


def _groups(
    plan: RoundPlan, robust: RobustMerge, missing: Sequence[Rejection], clients: Sequence[str]
) -> list[tuple[str, ...]]:
    """Return the clients of each group that has any. The deal is that of secure sums.

    Only the clients whose data broke their contract are left out before. The others are dealt whether or not
    they answer, so that nobody can choose its group by its silence.
    """
    unfit = {each.client_id for each in missing if each.stage == "interactions"}
    dealt = robust.groups([each for each in plan.cohort if each not in unfit], plan.seed)
    found = [tuple(each for each in group if each in clients) for group in dealt]
    return [group for group in found if group]


def _without_values(outcome: ContractOutcome) -> ContractOutcome:
    """Return which clients broke which rule, without what was found in their updates."""
    breaches = tuple(replace(each, observed=f"{each.count} updates in breach") for each in outcome.breaches)
    return replace(outcome, breaches=breaches, result={})


def _rejections(refused: dict[str, str]) -> list[Rejection]:
    return [Rejection(client_id, "update", reason) for client_id, reason in refused.items()]
