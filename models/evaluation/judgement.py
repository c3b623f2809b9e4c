"""By what models of a kind are judged: rankings by one set of metrics, predicted ratings by another."""

from __future__ import annotations

from collections.abc import Container
from dataclasses import dataclass

from models.evaluation.ranking import METRICS
from models.evaluation.rating_metrics import INSIDE_90, RATING_METRICS, RMSE


@dataclass(frozen=True)
class Judgement:
    """What is looked at.

    Attributes:
        metrics: all, in the order of tables.
        quality, quality_label: the one that counts, and what it is called.
        second, second_label: the one shown beside it.
        of_clients: compared client by client; lies in [0, 1], and more is better.
        worth: what a single case is worth, whose difference is the benefit of joining.
    """

    metrics: tuple[str, ...]
    quality: str
    quality_label: str
    second: str
    second_label: str
    of_clients: str
    worth: str


RANKINGS = Judgement(METRICS, "ndcg@10", "NDCG@10", "hr@10", "HR@10", of_clients="loo_hr@10", worth="NDCG@10")
RATINGS = Judgement(
    (*RATING_METRICS, INSIDE_90),
    RMSE,
    "RMSE",
    "mae",
    "MAE",
    of_clients="accuracy_within_1",
    worth="squared error (sign turned)",
)


def judgement_of(names: Container[str]) -> Judgement:
    """By what a model was judged that has metrics of these names."""
    return RATINGS if RMSE in names else RANKINGS
