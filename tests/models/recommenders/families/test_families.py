"""What is particular to a family: LightFM needs its users, and a model's kind decides how it answers."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import ClassVar, Literal

import numpy as np
import pytest

from models.errors import InvalidInput
from models.federation.contribution import Contribution
from models.federation.model import ClientUpdate, GlobalModel, ItemArrays
from models.kernel.histories import Histories
from models.recommenders.additive.blend import BlendSpec
from models.recommenders.additive.ease import CooccurrenceFamily, EaseSpec
from models.recommenders.additive.ials import IalsSpec
from models.recommenders.additive.next_item import NextItemSpec
from models.recommenders.base.family import FamilySpec, LocalRound
from models.recommenders.base.training_set import TrainingSet
from models.recommenders.families.registry import (
    answering,
    families,
    family_of,
    forget_family,
    register_family,
    spec_of,
)
from models.recommenders.lightfm.family import LightFMFamily
from models.recommenders.lightfm.spec import LightFMSpec
from models.recommenders.lightfm.training import initial_users, train_round
from models.recommenders.scoring.additive_scorers import FactorScorer, WeightsScorer
from models.recommenders.scoring.scorers import scorer_of_kind

ITEMS = 6
USERS = np.array([0, 0, 0, 1, 1, 1, 2, 2], dtype=np.int32)
ROWS = np.array([0, 1, 2, 0, 1, 3, 4, 5], dtype=np.int32)


@dataclass(frozen=True)
class Data:
    training: TrainingSet
    histories: Histories


DATA = Data(
    TrainingSet(USERS, ROWS, (3, ITEMS)),
    Histories.of(USERS, ROWS, np.array([0, 1, 2, 0, 1, 2, 0, 1]), (3, ITEMS)),
)
SUMS = LightFMSpec(dims=3, merges_per_epoch=2, merge_rule="sum", server_learning_rate=0.5)
LIGHTFM = family_of(SUMS)
SCORERS = {
    "ials": (IalsSpec(dims=3, regularisation=0.1), FactorScorer),
    "ease": (EaseSpec(regularisation=1.0), WeightsScorer),
    "next_item": (NextItemSpec(regularisation=1.0), WeightsScorer),
    "blend": (BlendSpec(regularisation=1.0, lasting_regularisation=1.0), WeightsScorer),
}
every_scorer = pytest.mark.parametrize(("spec", "kind"), SCORERS.values(), ids=SCORERS)


def trained(spec):
    family = family_of(spec)
    model = family.initial(ITEMS, seed=1)
    part, _ = family.train(model, None, DATA, LocalRound("a", 1, 1))
    rule = family.rule()
    base = GlobalModel(0, "cat", model)
    state = rule.add(rule.empty(base), base, ClientUpdate("a", 0, "base", "cat", Contribution(part)))
    return rule.finish(state, base).items


def test_a_family_is_found_by_its_spec():
    assert LightFMFamily(SUMS) == LIGHTFM
    for spec in (LightFMSpec(dims=3), *(spec for spec, _ in SCORERS.values())):
        assert spec_of(vars(spec)) == spec


@pytest.mark.parametrize("values", [{"family": "svd"}, {}, {"dims": 3}])
def test_an_unknown_family_is_refused_with_the_known_ones(values):
    with pytest.raises(ValueError, match="only bayesian_mf, blend, dp_items, ease, ials, lightfm, next_item"):
        spec_of(values)


def test_lightfm_needs_its_users_to_train_a_round():
    with pytest.raises(InvalidInput, match="'oak' needs its user arrays"):
        LIGHTFM.train(LIGHTFM.initial(ITEMS, 1), None, DATA, LocalRound("oak", 1, 1))


def test_lightfm_contributes_what_its_rule_prepares_of_a_round_of_training():
    base, users = LIGHTFM.initial(ITEMS, 1), initial_users(3, 3, 1, "oak")
    part, kept = LIGHTFM.train(base, users, DATA, LocalRound("oak", 1, 1))
    items, expected = train_round(base, users, DATA.training, LIGHTFM.spec, seed=1, round_=1, client_id="oak")
    prepared = LIGHTFM.rule().prepare(base, items)
    for (name, array), (_, wanted) in zip(part.named(), prepared.named(), strict=True):
        np.testing.assert_array_equal(array, wanted, err_msg=name)
    np.testing.assert_array_equal(kept.embeddings, expected.embeddings)


def test_lightfm_answers_trained_users_by_their_vectors_and_others_by_their_histories():
    users = initial_users(3, 3, 1, "oak")
    items = LIGHTFM.initial(ITEMS, 1)
    known = LIGHTFM.scores(items, users, DATA)(np.array([2, 0]))
    np.testing.assert_array_equal(known, users.embeddings[[2, 0]] @ items.embeddings.T)
    unknown = LIGHTFM.scores(items, None, DATA)(np.array([2, 0]))
    assert unknown.shape == (2, ITEMS)
    assert not np.allclose(known, unknown)


def test_lightfm_answers_trained_users_by_their_histories_if_vectors_are_folded_in():
    folding = family_of(LightFMSpec(dims=3, user_vectors="folded_in"))
    users, items, rows = initial_users(3, 3, 1, "oak"), LIGHTFM.initial(ITEMS, 1), np.arange(3)
    known, unknown = (folding.scores(items, each, DATA)(rows) for each in (users, None))
    np.testing.assert_array_equal(known, unknown)
    np.testing.assert_array_equal(unknown, LIGHTFM.scores(items, None, DATA)(rows))


def test_the_server_rate_of_lightfm_falls_over_the_last_share_of_the_training():
    cooling = family_of(replace(SUMS, cooldown_share=0.4))
    rates = [cooling.rule(done).server_learning_rate for done in (0.0, 0.6, 0.8, 0.9)]
    assert rates == pytest.approx([0.5, 0.5, 0.25, 0.125])
    assert LIGHTFM.rule(0.9) == LIGHTFM.rule()


def test_lightfm_alone_trains_as_many_epochs_as_the_rounds_contain():
    halves, whole = LIGHTFM, family_of(LightFMSpec(dims=3))
    rows = np.arange(3)
    scores, expected = (
        family.scores(*family.trained_alone(DATA, rounds=rounds, seed=1, client_id="oak"), DATA)(rows)
        for family, rounds in ((halves, 6), (whole, 3))
    )
    np.testing.assert_array_equal(scores, expected)


@every_scorer
def test_additive_families_answer_all_users_by_their_histories(spec, kind):
    assert family_of(spec).answers_by_history
    assert not LIGHTFM.answers_by_history


@every_scorer
def test_items_used_together_are_recommended_with_each_other_as_reasons(spec, kind):
    scored = kind.of(trained(spec)).score([0, 1])
    others = [row for row in np.argsort(-scored.scores).tolist() if row not in (0, 1)]
    assert set(others[:2]) == {2, 3}
    (reasons,) = scored.reasons([2], 5)
    assert {reason.row for reason in reasons} <= {0, 1}
    assert sum(reason.share for reason in reasons) == pytest.approx(1.0)


@every_scorer
def test_an_empty_history_gets_popular_items(spec, kind):
    scorer = kind.of(trained(spec))
    scored = scorer.score([])
    assert set(np.flatnonzero(scored.scores == scored.scores.max()).tolist()) <= {0, 1}
    assert [reason.kind for reason in scored.reasons([0], 3)[0]] == ["popularity"]


@every_scorer
def test_similarities_are_products_of_directions(spec, kind):
    scorer = kind.of(trained(spec))
    directions = scorer.directions(np.arange(ITEMS))
    assert len(scorer) == ITEMS
    for row in range(ITEMS):
        np.testing.assert_allclose(scorer.similarities(row), directions @ directions[row], atol=1e-6)
    lengths = np.linalg.norm(directions, axis=1)
    # No item leads to the first item of a history, so such an item has no direction.
    np.testing.assert_allclose(lengths[[1, 2, 3, 5]], 1.0, rtol=1e-6)
    assert np.isin(lengths[[0, 4]].round(6), [0.0, 1.0]).all()


@every_scorer
def test_a_weight_counts_an_item_that_many_times(spec, kind):
    scorer = kind.of(trained(spec))
    heavy, light = scorer.score([0, 4], [1.0, 100.0]), scorer.score([0, 4], [100.0, 1.0])
    assert np.argmax(heavy.scores) in (4, 5)
    assert np.argmax(light.scores) not in (4, 5)


@every_scorer
@pytest.mark.parametrize(
    ("rows", "weights"), [([-1], None), ([ITEMS], None), ([0], [0.0]), ([0], [1.0, 1.0])]
)
def test_impossible_rows_and_weights_are_refused(spec, kind, rows, weights):
    with pytest.raises(InvalidInput, match="history"):
        kind.of(trained(spec)).score(rows, weights)


def test_a_spec_of_another_class_than_its_family_s_is_refused():
    @dataclass(frozen=True)
    class Namesake:
        family: str = "ease"

    with pytest.raises(InvalidInput, match="is a Namesake, expected a EaseSpec"):
        family_of(Namesake())


def test_a_model_that_no_family_has_is_refused():
    @dataclass(frozen=True)
    class Unknown(ItemArrays):
        """A type of its own."""

    with pytest.raises(InvalidInput, match="No family has models of the type Unknown"):
        answering(Unknown(*(array for _, array in LIGHTFM.initial(ITEMS, 1).named())))


def test_forgetting_a_family_keeps_the_scorer_that_others_share():
    @dataclass(frozen=True)
    class CountSpec:
        family: Literal["test-counts"] = "test-counts"

    @dataclass(frozen=True)
    class CountFamily(CooccurrenceFamily):
        spec_type: ClassVar[type[FamilySpec]] = CountSpec
        spec: CountSpec

        def solve(self, total, n_items):
            return self.initial(n_items, 0)

    register_family(CountFamily)
    assert family_of(CountSpec()) == CountFamily(CountSpec())
    forget_family(CountFamily)
    assert CountFamily not in families()
    assert WeightsScorer in {family.scorer_type for family in families()}
    assert scorer_of_kind(WeightsScorer.KIND) is WeightsScorer


def test_a_family_whose_scorer_is_refused_is_not_registered():
    class OtherWeightsScorer(WeightsScorer):
        """A class of the kind that `WeightsScorer` has."""

    @dataclass(frozen=True)
    class TwiceSpec:
        family: Literal["test-twice"] = "test-twice"

    @dataclass(frozen=True)
    class TwiceFamily(CooccurrenceFamily):
        spec_type: ClassVar[type[FamilySpec]] = TwiceSpec
        scorer_type: ClassVar[type[WeightsScorer]] = OtherWeightsScorer
        spec: TwiceSpec

        def solve(self, total, n_items):
            return self.initial(n_items, 0)

    with pytest.raises(InvalidInput, match="There is a scorer of the name"):
        register_family(TwiceFamily)
    assert TwiceFamily not in families()
    assert scorer_of_kind(WeightsScorer.KIND) is WeightsScorer
