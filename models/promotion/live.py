"""The judgement of a live model: by users' feedback on its answers, and by comparison with a challenger."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, fields

from models.errors import InvalidInput


@dataclass(frozen=True)
class Hits:
    """How often a version answered, and how often a user chose an item that it had recommended.

    Attributes:
        answers, hits: the two counts.
    """

    answers: int = 0
    hits: int = 0

    def __add__(self, other: Hits) -> Hits:
        return Hits(self.answers + other.answers, self.hits + other.hits)

    @property
    def rate(self) -> float:
        """Return the hits per answer, at most 1; 0 without answers."""
        return min(1.0, self.hits / self.answers) if self.answers else 0.0


@dataclass(frozen=True)
class DropPolicy:
    """When a champion's hit rate has dropped too far below the previous champion's.

    Attributes:
        max_drop: share of the hit rate that the champion may lose, in [0, 1).
        min_answers: least number of answers of both champions; with fewer there is no judgement.
        z: one-sided normal quantile; 1.645 for 95 %.
    """

    max_drop: float
    min_answers: int = 500
    z: float = 1.645

    def __post_init__(self) -> None:
        if not 0.0 <= self.max_drop < 1.0 or self.min_answers < 1:
            raise InvalidInput(
                "`max_drop` must lie in [0, 1) and `min_answers` must be at least 1, got "
                f"{self.max_drop} and {self.min_answers}."
            )


def has_dropped(before: Hits, now: Hits, policy: DropPolicy) -> bool:
    """Return whether the hit rate dropped further than the policy allows, by more than chance.

    This is a one-sided test of two proportions with unpooled variances: it is true if
    (p_now - (1 - d) p_before), divided by its standard error, is below -z.
    """
    if min(before.answers, now.answers) < policy.min_answers:
        return False
    left = 1.0 - policy.max_drop
    gap = now.rate - left * before.rate
    variance = _variance(now) + left**2 * _variance(before)
    return gap < -policy.z * math.sqrt(variance)


def _variance(hits: Hits) -> float:
    return hits.rate * (1.0 - hits.rate) / hits.answers


@dataclass(frozen=True)
class Comparison:
    """Sums over the questions that both champion and challenger answered.

    Attributes:
        questions: number of questions.
        overlap: sum over the questions of the share of items that both recommended.
        shared: number of items that both recommended, over all questions.
        rank_difference: sum of the absolute rank differences of these items.
        champion_s, challenger_s: seconds that each took.
    """

    questions: int = 0
    overlap: float = 0.0
    shared: int = 0
    rank_difference: float = 0.0
    champion_s: float = 0.0
    challenger_s: float = 0.0

    @classmethod
    def of(
        cls, champion: Sequence[str], challenger: Sequence[str], champion_s: float, challenger_s: float
    ) -> Comparison:
        """Return the comparison of one question from the item ids of both answers, best first."""
        ranks = {item_id: rank for rank, item_id in enumerate(challenger)}
        both = [(rank, ranks[item_id]) for rank, item_id in enumerate(champion) if item_id in ranks]
        longest = max(len(champion), len(challenger))
        return cls(
            questions=1,
            overlap=len(both) / longest if longest else 1.0,
            shared=len(both),
            rank_difference=float(sum(abs(one - other) for one, other in both)),
            champion_s=champion_s,
            challenger_s=challenger_s,
        )

    def __add__(self, other: Comparison) -> Comparison:
        return Comparison(*(getattr(self, field.name) + getattr(other, field.name) for field in fields(self)))

    def figures(self) -> dict[str, float]:
        """Return means over the questions: overlap, rank difference of shared items, milliseconds of both."""
        questions, shared = max(1, self.questions), max(1, self.shared)
        return {
            "questions": float(self.questions),
            "overlap": self.overlap / questions,
            "mean_rank_difference": self.rank_difference / shared,
            "champion_ms": 1000.0 * self.champion_s / questions,
            "challenger_ms": 1000.0 * self.challenger_s / questions,
        }
