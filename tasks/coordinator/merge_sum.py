"""Merging a secure sum: the coordinator checks the sum, because it sees no single update."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd
from prefect import task
from prefect.cache_policies import NO_CACHE

from data_contracts.updates import UpdateLimits, check_updates, profile_update, rejected_clients
from models.errors import ContractViolation
from models.federation.contribution import Contribution, RunningSum
from models.federation.merge import MergeRule
from models.federation.model import ClientUpdate, GlobalModel
from models.federation.rounds import Rejection, RoundPlan, require_quorum
from models.kernel.metric import Metric
from tasks.coordinator.merge_round import Merged, merged_by
from tasks.exchange.models import fetch_model
from tasks.exchange.store import ArtifactRef
from tasks.messages.orders import JobContext
from tasks.messages.sum_forms import INTERACTIONS


@task(name="merge-sum", task_run_name="merge-sum-{plan.round}", cache_policy=NO_CACHE, persist_result=False)
def merge_sum(
    job: JobContext,
    plan: RoundPlan,
    rule: MergeRule[Any, Any],
    base_ref: ArtifactRef,
    state: RunningSum[Any],
    missing: Sequence[Rejection],
    update_bytes: int,
) -> Merged:
    """Merge a secure sum, and put the next global model into the exchange.

    Each member held its update to the contract of updates. The sum is held to the same contract: its mean has
    no greater norm than an update may have, and it has as many times the interactions as it has summands.

    Args:
        job: names the exchange, the postprocessors and the limits.
        plan: the round's cohort and quorum.
        rule: the merge rule.
        base_ref: the model that the members started from.
        state: the sum.
        missing: the clients that are not in it, and why.
        update_bytes: size of the masked summands.

    Raises:
        QuorumNotReached: too few summands.
        ContractViolation: the sum breaks its contract.
    """
    base = fetch_model(job.exchange_url, base_ref)
    require_quorum(plan, state.clients, missing)
    profile = _profile(rule, base, base_ref, state)
    limits = job.update_limits
    count = len(state.clients)
    outcome = check_updates(
        pd.DataFrame([profile]),
        base,
        base_ref.sha256,
        UpdateLimits(limits.max_norm, limits.min_interactions * count),
        f"round-{plan.round}",
    )
    if not outcome.passed:
        raise ContractViolation(
            f"The sum of round {plan.round} was refused. {' '.join(rejected_clients(outcome).values())}",
            next_step="Ask the silos' owners whose update broke its contract, or leave out some of them.",
            round=plan.round,
            outcome=outcome,
        )
    interactions = Metric(float(state.interactions), len(state.clients))
    told = replace(state, metrics={**state.metrics, INTERACTIONS: interactions})
    return merged_by(job, plan, rule, base, told, missing, outcome, update_bytes)


def _profile(
    rule: MergeRule[Any, Any], base: GlobalModel, base_ref: ArtifactRef, state: RunningSum[Any]
) -> dict[str, object]:
    arrays = state.total.map(lambda array: array.astype(np.float32))
    contribution = Contribution(arrays, state.weight, state.interactions, state.metrics)
    summed = ClientUpdate(
        f"sum of {len(state.clients)} clients", base.round, base_ref.sha256, base.catalog_digest, contribution
    )
    return profile_update(summed, base, base_ref.sha256, rule.zero(base.items), lambda _: state.weight)
