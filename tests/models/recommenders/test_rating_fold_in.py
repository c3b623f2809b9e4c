"""Ratings predicted for a user outside the chain."""

from __future__ import annotations

import numpy as np
import pytest

from models.errors import InvalidInput
from models.federation.streams import user_keys
from models.recommenders.bayesian_mf import BayesianMfSpec
from models.recommenders.predicted_ratings import PredictedRatings
from models.recommenders.rating_chain import Federation, RatingClient, run_chain
from models.recommenders.rating_fold_in import RatingPredictor
from models.recommenders.ratings import Ratings

USERS, ITEMS = 150, 20
SPEC = BayesianMfSpec(dims=2, directions=3, sweeps=120, burn_in=40)


@pytest.fixture(scope="module")
def trained() -> tuple[RatingPredictor, PredictedRatings, np.ndarray, np.ndarray]:
    """A predictor; what its chain says of user 0 and all items; and what user 0 rated, and how."""
    random = np.random.default_rng(4)
    stars = (
        3
        + random.normal(0, 1, (USERS, 1)) * random.normal(0, 1, ITEMS)
        + random.normal(0, 0.3, (USERS, ITEMS))
    )
    users, items = np.nonzero(random.random((USERS, ITEMS)) < 0.7)
    values = np.clip(stars[users, items], 1, 5)
    ratings = Ratings.of(users, items, values, (USERS, ITEMS))
    keys = user_keys(1, "t", [str(user) for user in range(USERS)])
    client = RatingClient(ratings, keys, np.zeros(ITEMS, dtype=int), np.arange(ITEMS), SPEC)
    chain = run_chain(Federation({"a": client}), np.empty((ITEMS, 0)), SPEC, seed=1, keep=40)
    predictor = RatingPredictor(chain.directions, chain.samples, SPEC)
    return predictor, client.predicted(), items[users == 0], values[users == 0]


def test_folding_in_a_user_of_the_chain_says_what_the_chain_says(trained):
    predictor, said, items, values = trained
    folded = predictor.predict(items, values)
    assert np.abs(folded.means - said.means).max() < 0.15
    np.testing.assert_allclose(folded.deviations, said.deviations, rtol=0.25)


def test_the_more_a_user_rated_the_surer_the_answer(trained):
    predictor, _, items, values = trained
    spreads = [predictor.predict(items[:n], values[:n]).spreads.mean() for n in (0, 3, len(items))]
    assert spreads[0] > spreads[1] > spreads[2]


def test_equal_ratings_get_equal_answers_in_any_order(trained):
    predictor, _, items, values = trained
    there, back = predictor.predict(items, values), predictor.predict(items[::-1], values[::-1])
    assert there.means.tobytes() == back.means.tobytes()


def test_what_cannot_be_answered_is_refused(trained):
    predictor, *_ = trained
    with pytest.raises(InvalidInput, match="outside the scale from 1 to 5"):
        predictor.predict(np.array([1]), np.array([5.5]))
    with pytest.raises(InvalidInput, match="Item rows"):
        predictor.predict(np.array([ITEMS]), np.array([5.0]))
    with pytest.raises(InvalidInput, match="without a sample"):
        RatingPredictor(predictor.directions, (), SPEC)
