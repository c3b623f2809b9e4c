"""The forms of a job's secure sums, which members and coordinator work out alike."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from models.evaluation.benefit import DIFFERENCE, SQUARED_DIFFERENCE
from models.evaluation.trained_pairs import LEFT_OUT
from models.federation.contribution import Contribution
from models.federation.fixed_point import CLIPPED, ranges_for
from models.federation.merge import MergeRule
from models.federation.model import GlobalModel
from models.federation.vector_form import NoArrays, VectorForm
from models.kernel.metric import Metric
from tasks.messages.answers import ClientEvaluation
from tasks.messages.orders import JobContext

# Name of the metric of a client's number of users.
USERS = "users"
# Name of the metric of all members' interactions, which only their sum tells.
INTERACTIONS = "interactions"
_PARTS = ("metrics", "alone", "benefit", "choice")


def training_form(job: JobContext, rule: MergeRule[Any, Any], base: GlobalModel, members: int) -> VectorForm:
    """Return the form of contributions to a round from this model."""
    form = rule.zero(base.items)
    ranges = ranges_for(type(form), rule.ranges, job.ranges)
    max_weight = job.max_weight if rule.is_weighted else 1
    return VectorForm(form, ranges, tuple(sorted((USERS, CLIPPED))), members, max_weight)


def evaluation_form(job: JobContext, members: int) -> VectorForm:
    """Return the form of `evaluation_summand`."""
    names = [*job.family.judgement.metrics, LEFT_OUT]
    parts = {
        "metrics": names,
        "alone": names,
        "benefit": (DIFFERENCE, SQUARED_DIFFERENCE),
        "choice": (DIFFERENCE, SQUARED_DIFFERENCE),
    }
    metrics = tuple(sorted(_place(part, name) for part, names in parts.items() for name in names))
    return VectorForm(NoArrays(), {}, metrics, members)


def evaluation_summand(evaluation: ClientEvaluation) -> Contribution[NoArrays]:
    """Return a client's evaluation as a summand."""
    metrics = {
        _place(part, name): metric for part in _PARTS for name, metric in getattr(evaluation, part).items()
    }
    return Contribution(NoArrays(), metrics=metrics)


def metrics_of(part: str, summed: Mapping[str, Metric]) -> dict[str, Metric]:
    """Return one part of the sum of evaluations: "metrics", "alone", "benefit" or "choice"."""
    begin = _place(part, "")
    return {name.removeprefix(begin): each for name, each in summed.items() if name.startswith(begin)}


def sum_id(step: str, round_: int) -> str:
    """Return the id of the sum of a step in a round. Silos take part in each once."""
    return f"{step}-{round_:06d}"


def _place(part: str, name: str) -> str:
    return f"{part}/{name}"
