"""What a silo computed about itself: the common model beside one trained on its own data alone."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from models.evaluation.benefit import DIFFERENCE, SQUARED_DIFFERENCE, Benefit, Offer, benefit_of, offer_of
from models.kernel.metric import Metric
from tasks.clients.comparisons import kept_comparisons
from tasks.messages.answers import ClientEvaluation


@dataclass(frozen=True)
class ComparedAlone:
    """The last round of a job, compared inside the silo on its users' test cases.

    Attributes:
        job_id, round: the job and its round.
        common, alone: mean of each metric with the common model, and with that of the silo's data alone.
        benefit: the difference of the deciding metric, common minus alone, on the same cases.
        offer: the model to offer the silo's users, chosen on other cases.
    """

    job_id: str
    round: int
    common: Mapping[str, float]
    alone: Mapping[str, float]
    benefit: Benefit
    offer: Offer


def own_comparisons(silo: Path) -> list[ComparedAlone]:
    """Return the comparisons that the silo keeps in its private folder, the oldest first.

    Those without a test case of the silo's users compare nothing, and are left out.
    """
    return [
        _comparison(job_id, round_, found)
        for job_id, round_, found in kept_comparisons(silo)
        if found.benefit and found.benefit[DIFFERENCE].weight
    ]


def _comparison(job_id: str, round_: int, found: ClientEvaluation) -> ComparedAlone:
    def means(metrics: Mapping[str, Metric]) -> dict[str, float]:
        return {name: each.value for name, each in metrics.items() if each.weight}

    def benefit(sums: Mapping[str, Metric]) -> Benefit:
        return benefit_of(sums[DIFFERENCE], sums[SQUARED_DIFFERENCE])

    common, alone = means(found.metrics), means(found.alone)
    both = sorted(common.keys() & alone.keys())
    return ComparedAlone(
        job_id,
        round_,
        {name: common[name] for name in both},
        {name: alone[name] for name in both},
        benefit(found.benefit),
        offer_of(benefit(found.choice)),
    )
