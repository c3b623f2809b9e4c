"""The metrics that models are judged by: one set for rankings, one for predicted ratings."""

from __future__ import annotations

from collections.abc import Container, Mapping
from dataclasses import dataclass

from models.evaluation.ranking import METRICS
from models.evaluation.rating_metrics import INSIDE_90, RATING_METRICS, RMSE
from models.kernel.metric import LOWER_IS_BETTER


@dataclass(frozen=True)
class Judgement:
    """The metrics that models of one kind are judged by.

    Attributes:
        metrics: names of all metrics, in the order of tables.
        quality, quality_label: the deciding metric, and its label for display.
        second, second_label: the metric that is displayed next to it, and its label.
        client_metric: the metric compared client by client. It lies in [0, 1], and higher is better.
        benefit_label: label of a single case's value. Differences of these values give the benefit of
            joining.
    """

    metrics: tuple[str, ...]
    quality: str
    quality_label: str
    second: str
    second_label: str
    client_metric: str
    benefit_label: str

    def best(self, found: Mapping[int, float]) -> int | None:
        """Return the round with the best value of the deciding metric; None without values.

        Of equally good rounds it is the last, which was trained longest.

        Args:
            found: round -> its value.
        """
        sign = -1.0 if self.quality in LOWER_IS_BETTER else 1.0
        return max(found, key=lambda round_: (sign * found[round_], round_), default=None)


RANKINGS = Judgement(
    METRICS, "ndcg@10", "NDCG@10", "hr@10", "HR@10", client_metric="loo_hr@10", benefit_label="NDCG@10"
)
RATINGS = Judgement(
    (*RATING_METRICS, INSIDE_90),
    RMSE,
    "RMSE",
    "mae",
    "MAE",
    client_metric="accuracy_within_1",
    benefit_label="squared error (sign turned)",
)


def judgement_of(names: Container[str]) -> Judgement:
    """Return the judgement of a model that has metrics of these names."""
    return RATINGS if RMSE in names else RANKINGS
