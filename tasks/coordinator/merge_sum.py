"""Merging secure sums: the coordinator checks the sums, because it sees no single update."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd
from prefect import task
from prefect.cache_policies import NO_CACHE

from data_contracts.updates import check_updates, profile_update, rejected_clients
from models.errors import ContractViolation
from models.federation.contribution import Contribution, RunningSum
from models.federation.merge import MergeRule
from models.federation.model import ClientUpdate, GlobalModel
from models.federation.robust_merge import PLAIN, RobustMerge
from models.federation.rounds import Rejection, RoundPlan, require_quorum, require_vectors
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
    sums: Sequence[RunningSum[Any]],
    missing: Sequence[Rejection],
    update_bytes: int,
    robust: RobustMerge = PLAIN,
) -> Merged:
    """Merge secure sums, and put the next global model into the exchange.

    Each member held its update to the contract of updates. The mean of each sum is held to the same contract,
    its interactions as well as its norms. Of several groups, those whose sum breaks it are refused with all
    their members, because nobody knows whose update it was.

    Args:
        job: names the exchange, the postprocessors and the limits.
        plan: the round's cohort and quorum.
        rule: the merge rule.
        base_ref: the model that the members started from.
        sums: the sum, or the sums of the groups.
        missing: the clients that are in none, and why.
        update_bytes: size of the masked summands.
        robust: what takes the place of the sum of several groups.

    Raises:
        QuorumNotReached: too few summands, or too few groups for the robust merge.
        ContractViolation: the only sum breaks its contract.
    """
    base = fetch_model(job.exchange_url, base_ref)
    require_quorum(plan, [each for state in sums for each in state.clients], missing)
    named = {_name(place, state): state for place, state in enumerate(sums, start=1)}
    noisy = job.noise is not None
    profiles = [_profile(rule, base, base_ref, name, state, noisy) for name, state in named.items()]
    outcome = check_updates(
        pd.DataFrame(profiles), base, base_ref.sha256, job.update_limits, f"round-{plan.round}"
    )
    refused = rejected_clients(outcome)
    if refused and len(sums) == 1:
        raise ContractViolation(
            f"The sum of round {plan.round} was refused. {' '.join(refused.values())}",
            next_step="Ask the silos' owners whose update broke its contract, or leave out some of them.",
            round=plan.round,
            outcome=outcome,
        )
    rejected = [
        *missing,
        *(
            Rejection(client_id, "update", f"The sum of its group was refused. {reason}")
            for name, reason in refused.items()
            for client_id in named[name].clients
        ),
    ]
    kept = [state for name, state in named.items() if name not in refused]
    accepted = [each for state in kept for each in state.clients]
    require_quorum(plan, accepted, rejected)
    require_vectors(plan, robust, len(kept), accepted, rejected)
    state = robust.total(RunningSum.joined(kept), {each.clients[0]: each.total for each in kept})
    if not job.noise:
        interactions = Metric(float(state.interactions), len(state.clients))
        state = replace(state, metrics={**state.metrics, INTERACTIONS: interactions})
    return merged_by(job, plan, rule, base, state, rejected, outcome, update_bytes)


def _name(place: int, state: RunningSum[Any]) -> str:
    """Return the name of a sum in the contract's outcome."""
    return f"sum {place} of {len(state.clients)} clients"


def _profile(
    rule: MergeRule[Any, Any],
    base: GlobalModel,
    base_ref: ArtifactRef,
    name: str,
    state: RunningSum[Any],
    noisy: bool,
) -> dict[str, object]:
    """Return the profile of a sum, with the interactions of its mean."""
    arrays = state.total.map(lambda array: array.astype(np.float32))
    contribution = Contribution(arrays, state.weight, state.interactions // len(state.clients), state.metrics)
    summed = ClientUpdate(name, base.round, base_ref.sha256, base.catalog_digest, contribution)
    form = rule.zero(base.items)
    return profile_update(summed, base, base_ref.sha256, form, lambda _: state.weight, noisy=noisy)
