"""The registry of scorers that a serving process can open, by the `KIND` in a bundle."""

from __future__ import annotations

from typing import TypeVar

from models.kernel.registry import Registry
from models.recommenders.scoring.additive_scorers import FactorScorer, WeightsScorer
from models.recommenders.scoring.rating_scorer import RatingScorer
from models.recommenders.scoring.scorer import Factors, Scorer

_SCORERS = Registry[type[Scorer]]("scorer", "fedrec.scorers")
_S = TypeVar("_S", bound=type[Scorer])


def register_scorer(scorer: _S) -> _S:
    """Register a class under its `KIND`, so that bundles can hold such scorers.

    An installed package registers its own by an entry point of the group `fedrec.scorers` that names the
    class or its module.

    Raises:
        InvalidInput: another class has the kind.
    """
    _SCORERS.add(scorer.KIND, scorer)
    return scorer


def forget_scorer(scorer: type[Scorer]) -> None:
    """Undo `register_scorer`."""
    _SCORERS.remove(scorer.KIND, scorer)


def scorer_of_kind(kind: str) -> type[Scorer]:
    """Return the class of scorer of this kind.

    Raises:
        ValueError: there is no such kind; it lists those that exist.
    """
    return _SCORERS.find(kind)


for _own in (Factors, FactorScorer, WeightsScorer, RatingScorer):
    register_scorer(_own)
