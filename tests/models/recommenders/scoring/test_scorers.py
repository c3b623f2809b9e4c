"""Kinds of scorers: told apart by name, and found in installed packages where fedrec has none."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from models.errors import InvalidInput
from models.recommenders.scoring.fold_in import ItemSide
from models.recommenders.scoring.scorer import Factors
from models.recommenders.scoring.scorers import forget_scorer, register_scorer, scorer_of_kind


class AlsoFactors(Factors):
    """Another class of a known kind."""


class Further(Factors):
    """A kind of its own."""

    KIND = "further"


def test_a_second_class_of_a_kind_is_refused() -> None:
    with pytest.raises(InvalidInput, match="a scorer of the name 'factors'"):
        register_scorer(AlsoFactors)
    assert scorer_of_kind("factors") is Factors


def test_a_kind_is_known_from_its_registration_until_it_is_forgotten() -> None:
    register_scorer(Further)
    assert scorer_of_kind("further") is Further
    forget_scorer(Further)
    with pytest.raises(ValueError, match="no scorer 'further', only factors, ials, item_weights, ratings"):
        scorer_of_kind("further")


def test_only_a_scorer_that_predicts_ratings_has_a_rater() -> None:
    embeddings = np.array([[1.0, 0.0], [0.0, 1.0]], dtype=np.float32)
    ranking: Any = Factors.of(ItemSide.of(embeddings, np.zeros(2, dtype=np.float32)))
    assert (ranking.rater, ranking.passes) == (None, 1)
