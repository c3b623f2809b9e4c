"""Storing a round's sum, which silos fetch in place of the model if it is smaller."""

from __future__ import annotations

from typing import Any

from models.federation.fixed_point import ranges_for
from models.federation.merge import MergeRule
from tasks.coordinator.merge_round import Merged
from tasks.exchange.layout import model_steps_folder
from tasks.exchange.model_steps import encode_step
from tasks.exchange.store import ArtifactRef
from tasks.messages.orders import JobContext, ModelStep

# A sum that is larger than this share of the model is not worth the work of the silos.
_MOST_SHARE = 0.7


def store_step(
    job: JobContext, rule: MergeRule[Any, Any], before: ArtifactRef, merged: Merged, done: float
) -> ModelStep | None:
    """Put the sum of a round into the exchange, and return how the model follows; None if it is no use.

    Args:
        job: names the exchange.
        rule: the round's merge rule.
        before: the model before.
        merged: the round's result.
        done: share of the training before the round.
    """
    ranges = ranges_for(type(merged.state.total), rule.ranges, job.ranges)
    data = encode_step(rule, ranges, merged.state, done)
    if data is None or len(data) > _MOST_SHARE * merged.model.size:
        return None
    return ModelStep(before, job.exchange.put(model_steps_folder(job.job_id), data))
