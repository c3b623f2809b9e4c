"""Kinds of scorers: told apart by name, and found in installed packages where fedrec has none."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest

from models.errors import InvalidInput
from models.recommenders.scoring.fold_in import ItemSide
from models.recommenders.scoring.scorer import Factors
from models.recommenders.scoring.scorers import forget_scorer, register_scorer, scorer_of_kind

PACKAGE = """
from models.recommenders.scoring.scorer import Factors

class Elsewhere(Factors):
    KIND = "elsewhere"
"""


class AlsoFactors(Factors):
    """Another class of a known kind."""


class Further(Factors):
    """A kind of its own."""

    KIND = "further"


@pytest.fixture
def installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A package that lists a scorer lies where Python looks for packages."""
    (tmp_path / "elsewhere_scorers.py").write_text(PACKAGE)
    info = tmp_path / "elsewhere_scorers-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: elsewhere-scorers\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text("[fedrec.scorers]\nelsewhere = elsewhere_scorers:Elsewhere\n")
    monkeypatch.syspath_prepend(tmp_path)


def test_a_second_class_of_a_kind_is_refused():
    with pytest.raises(InvalidInput, match="both scorers of the kind 'factors'"):
        register_scorer(AlsoFactors)
    assert scorer_of_kind("factors") is register_scorer(Factors) is Factors


def test_a_kind_is_known_from_its_registration_until_it_is_forgotten():
    assert scorer_of_kind("further") is None
    register_scorer(Further)
    assert scorer_of_kind("further") is Further
    forget_scorer(AlsoFactors)  # is not registered itself
    forget_scorer(Further)
    assert scorer_of_kind("further") is None
    assert scorer_of_kind("factors") is Factors


def test_an_installed_package_may_bring_a_kind(installed: None):
    found = scorer_of_kind("elsewhere")
    assert found is sys.modules["elsewhere_scorers"].Elsewhere
    forget_scorer(found)


def test_only_a_scorer_that_predicts_ratings_has_a_rater():
    embeddings = np.array([[1.0, 0.0], [0.0, 1.0]], dtype=np.float32)
    ranking = Factors.of(ItemSide.of(embeddings, np.zeros(2, dtype=np.float32)))
    assert (ranking.rater, ranking.passes) == (None, 1)
