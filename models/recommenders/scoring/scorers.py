"""The kinds of scorers that a serving process can open, by the name that stands in a bundle."""

from __future__ import annotations

from models.errors import InvalidInput
from models.recommenders.scoring.additive_scorers import FactorScorer, WeightsScorer
from models.recommenders.scoring.rating_scorer import RatingScorer
from models.recommenders.scoring.scorer import Factors, Scorer

# Under this name installed packages list scorers of their own: kind = "module:Class".
ENTRY_POINTS = "fedrec.scorers"
_KINDS: dict[str, type[Scorer]] = {
    each.KIND: each for each in (Factors, FactorScorer, WeightsScorer, RatingScorer)
}


def register_scorer(scorer: type[Scorer]) -> type[Scorer]:
    """Let bundles hold scorers of this class.

    Raises:
        InvalidInput: another class has the same kind.
    """
    known = _KINDS.setdefault(scorer.KIND, scorer)
    if known is not scorer:
        raise InvalidInput(
            f"{scorer.__name__} and {known.__name__} are both scorers of the kind {scorer.KIND!r}.",
            next_step="Give the class another KIND.",
        )
    return scorer


def forget_scorer(scorer: type[Scorer]) -> None:
    """Undo `register_scorer`."""
    if _KINDS.get(scorer.KIND) is scorer:
        del _KINDS[scorer.KIND]


def scorer_of_kind(kind: str) -> type[Scorer] | None:
    """Return the class of scorers of this kind; None where neither fedrec nor a package has one."""
    if kind not in _KINDS:
        # Only an unknown kind costs a look at the installed packages.
        from importlib.metadata import entry_points

        for each in entry_points(group=ENTRY_POINTS, name=kind):
            register_scorer(each.load())
    return _KINDS.get(kind)
