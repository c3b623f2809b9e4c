"""Bayesian matrix factorisation: one chain for any federation, the right conditionals, honest uncertainty."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from scipy import stats

from models.errors import InvalidInput
from models.kernel.streams import user_keys
from models.recommenders.base.ratings import Ratings
from models.recommenders.rating import bayesian_mf, co_ratings
from models.recommenders.rating.bayesian_mf import BayesianMfSpec, Sample, Statistics
from models.recommenders.rating.chain import Federation, RatingClient, find_directions, run_chain
from models.recommenders.rating.co_ratings import Directions, RatingCounts
from models.recommenders.rating.predicted_ratings import predictions_of
from models.recommenders.rating.side_features import SideFeatures, item_features, user_features

USERS, ITEMS = 40, 30
SPEC = BayesianMfSpec(dims=3, directions=4, direction_rounds=30, sweeps=30, burn_in=10)
CONTENT = np.random.default_rng(5).integers(0, 2, (ITEMS, 3)).astype(float)


def world() -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Return users, items, ratings and a held-out fifth of a rank-2 world with noise 0.5."""
    random = np.random.default_rng(1)
    p, q = random.normal(0, 1, (USERS, 2)), random.normal(0, 1, (ITEMS, 2))
    biases = 3 + random.normal(0, 0.5, (USERS, 1)) + random.normal(0, 0.5, (1, ITEMS))
    users, items = np.nonzero(random.random((USERS, ITEMS)) < 0.6)
    values = (biases + p @ q.T)[users, items] + random.normal(0, 0.5, len(users))
    return users, items, values, random.random(len(users)) < 0.2


def client(chosen: np.ndarray, spec: BayesianMfSpec = SPEC) -> RatingClient:
    """Return a client of these users that predicts their held-out ratings."""
    users, items, values, held = world()
    row_of = np.full(USERS, -1)
    row_of[chosen] = np.arange(len(chosen))
    train, test = (row_of[users] >= 0) & ~held, (row_of[users] >= 0) & held
    ratings = Ratings.of(row_of[users[train]], items[train], values[train], (len(chosen), ITEMS))
    keys = user_keys(1, "test", [str(user) for user in chosen])
    return RatingClient(ratings, keys, row_of[users[test]], items[test], spec)


def federation(parts: list[np.ndarray], spec: BayesianMfSpec = SPEC) -> dict[str, RatingClient]:
    return {f"client-{number:03}": client(part, spec) for number, part in enumerate(parts)}


CENTRAL = [np.arange(USERS)]
SILOS = [np.arange(first, USERS, 4) for first in range(4)]
ONE_USER_CLIENTS = [np.array([user]) for user in range(USERS)]


def predicted(parts: list[np.ndarray]) -> np.ndarray:
    """Return means and deviations of all held-out ratings in the order of users, (n, 2)."""
    clients = federation(parts)
    run_chain(Federation(clients), CONTENT, SPEC, seed=3)
    users, _, _, held = world()
    found = np.empty((held.sum(), 2))
    for part, one in zip(parts, clients.values(), strict=True):
        answer = one.predicted()
        found[np.isin(users[held], part)] = np.stack([answer.means, answer.deviations], axis=1)
    return found


@pytest.mark.parametrize("parts", [SILOS, ONE_USER_CLIENTS], ids=["silos", "one-user clients"])
def test_any_federation_predicts_what_pooled_data_predict(parts):
    np.testing.assert_allclose(predicted(parts), predicted(CENTRAL), rtol=1e-4)


def test_the_order_of_clients_cannot_change_a_byte():
    clients = federation(SILOS)
    backwards = dict(reversed(federation(SILOS).items()))
    for each in (clients, backwards):
        run_chain(Federation(each), CONTENT, SPEC, seed=3)
    for name, one in clients.items():
        assert one.predicted().means.tobytes() == backwards[name].predicted().means.tobytes()


def test_another_seed_gives_another_chain():
    first, other = federation(CENTRAL), federation(CENTRAL)
    run_chain(Federation(first), CONTENT, SPEC, seed=3)
    run_chain(Federation(other), CONTENT, SPEC, seed=4)
    assert not np.array_equal(first["client-000"].predicted().means, other["client-000"].predicted().means)


def test_predictions_beat_biases_and_their_intervals_have_the_right_coverage():
    users, items, values, held = world()
    spec = replace(SPEC, lowest=-2.0, highest=8.0, sweeps=200, burn_in=50)
    clients = federation(CENTRAL, spec)
    run_chain(Federation(clients), CONTENT, spec, seed=3)
    answer = clients["client-000"].predicted()
    truth, train = values[held], ~held
    # Additive biases by least squares on the same training ratings.
    design = np.concatenate([np.eye(USERS)[users], np.eye(ITEMS)[items]], axis=1)
    biases = np.linalg.lstsq(design[train], values[train], rcond=None)[0]
    assert np.mean((answer.means - truth) ** 2) < 0.7 * np.mean((design[held] @ biases - truth) ** 2)
    inside = np.abs(answer.means - truth) < stats.norm.ppf(0.9) * answer.deviations
    # 80 % intervals on some 140 ratings: within three standard errors.
    assert inside.mean() == pytest.approx(0.8, abs=3 * np.sqrt(0.16 / held.sum()))
    assert (answer.spreads < answer.deviations).all()


def test_the_conditional_of_a_user_is_the_regression_of_its_ratings():
    ratings, features, sample = one_sweep_in()
    noise = np.linspace(0.5, 2.0, USERS)
    conditional = bayesian_mf.user_conditional(sample, ratings, features, noise, SPEC)
    user = 7
    own = ratings.users == user
    q = np.concatenate([np.ones((own.sum(), 1)), sample.items[ratings.items[own], 1:]], axis=1)
    y = ratings.values[own] - sample.mean[0] - sample.items[ratings.items[own], 0]
    weights = np.diag(sample.noise[0] * sample.item_noise[ratings.items[own]] * noise[user])
    precision = q.T @ weights @ q + sample.user_precision
    center = features.values[user] @ sample.user_coefficients
    mean = np.linalg.inv(precision) @ (q.T @ weights @ y + sample.user_precision @ center)
    np.testing.assert_allclose(conditional.means[user], mean, rtol=1e-8)
    np.testing.assert_allclose(conditional.factors[user] @ conditional.factors[user].T, precision, rtol=1e-8)
    # The prediction for an item has this mean and, besides the noise, this variance.
    item = 3
    part = predictions_of(sample, conditional, noise, np.array([user]), np.array([item]), SPEC)
    vector = np.concatenate([[1.0], sample.items[item, 1:]])
    expected = sample.mean[0] + sample.items[item, 0] + vector @ mean
    np.testing.assert_allclose(part.means, expected)
    np.testing.assert_allclose(part.squares - part.means**2, vector @ np.linalg.inv(precision) @ vector)
    np.testing.assert_allclose(part.noise, 1 / (sample.noise[0] * sample.item_noise[item] * noise[user]))


def test_draws_of_users_have_the_moments_of_their_conditional_distribution():
    ratings, features, sample = one_sweep_in()
    conditional = bayesian_mf.user_conditional(sample, ratings, features, np.ones(USERS), SPEC)
    keys = user_keys(1, "moments", [str(user) for user in range(USERS)])
    draws = [bayesian_mf.draw_users(sample, conditional, ratings, keys, sweep, SPEC) for sweep in range(4000)]
    factors = np.array([each.factors[7] for each in draws])
    precision = conditional.factors[7] @ conditional.factors[7].T
    covariance = np.linalg.inv(precision)
    errors = np.sqrt(np.diag(covariance) / len(draws))
    assert (np.abs(factors.mean(axis=0) - conditional.means[7]) < 4 * errors).all()
    np.testing.assert_allclose(np.cov(factors.T), covariance, atol=0.08 * np.diag(covariance).max())


def test_draws_of_items_have_the_moments_of_the_regression_on_their_raters():
    ratings, features, sample = one_sweep_in()
    users = drawn_users(ratings, features, sample)
    total = bayesian_mf.statistics(sample, users, ratings, features, SPEC)
    items = item_features(directions(), CONTENT)
    drawn = np.array(
        [
            bayesian_mf.next_sample(total, sample, items, features.blocks, SPEC, seed, 1).items[5]
            for seed in range(1500)
        ]
    )
    own = ratings.items == 5
    raters = ratings.users[own]
    p = np.concatenate([np.ones((own.sum(), 1)), users.factors[raters, 1:]], axis=1)
    y = ratings.values[own] - sample.mean[0] - users.factors[raters, 0]
    weights = np.diag(sample.noise[0] * sample.item_noise[5] * users.noise[raters])
    precision = p.T @ weights @ p + sample.item_precision
    center = items.values[5] @ sample.item_coefficients
    covariance = np.linalg.inv(precision)
    mean = covariance @ (p.T @ weights @ y + sample.item_precision @ center)
    errors = np.sqrt(np.diag(covariance) / len(drawn))
    assert (np.abs(drawn.mean(axis=0) - mean) < 4 * errors).all()
    np.testing.assert_allclose(np.cov(drawn.T), covariance, atol=0.12 * np.diag(covariance).max())


def test_statistics_are_float32_finite_and_of_the_shape_of_zero():
    ratings, features, sample = one_sweep_in()
    users = drawn_users(ratings, features, sample)
    part = bayesian_mf.statistics(sample, users, ratings, features, SPEC)
    assert part.is_finite()
    zero = Statistics.zero(ITEMS, features.values.shape[1], SPEC)
    for (name, array), (_, none) in zip(part.named(), zero.named(), strict=True):
        assert (array.dtype, array.shape) == (np.float32, none.shape), name
        assert not none.any()


def test_kept_samples_are_spread_over_the_sweeps_after_the_burn_in():
    chain = run_chain(Federation(federation(SILOS)), CONTENT, SPEC, seed=3, keep=3)
    assert len(chain.samples) == 3
    assert len({each.items.tobytes() for each in chain.samples}) == 3


def test_directions_are_singular_vectors_of_the_matrix_of_raters():
    used = everyone().matrix().toarray()
    scaled = used / np.sqrt(used.sum(axis=1, keepdims=True)) / np.sqrt(np.maximum(used.sum(axis=0), 1))
    _, strengths, vectors = np.linalg.svd(scaled, full_matrices=False)
    found = directions()
    np.testing.assert_allclose(found.strengths, strengths[:4], rtol=1e-3)
    np.testing.assert_allclose(np.abs(np.diag(vectors[:4] @ found.items)), 1.0, atol=1e-2)


def test_a_user_without_ratings_is_predicted_from_the_items():
    ratings = Ratings.of(np.array([0, 0]), np.array([0, 1]), np.array([5.0, 1.0]), (2, ITEMS))
    silent = RatingClient(ratings, user_keys(1, "t", ["a", "b"]), np.array([1]), np.array([4]), SPEC)
    clients = {**federation(SILOS), "silent": silent}
    run_chain(Federation(clients), CONTENT, SPEC, seed=3)
    assert 1.0 <= silent.predicted().means[0] <= 5.0
    assert np.isfinite(silent.predicted().deviations).all()


def test_a_scale_in_other_units_gives_the_same_predictions_in_those_units():
    users, items, values, _ = world()
    found = []
    for factor, spec in ((1.0, SPEC), (20.0, replace(SPEC, lowest=20.0, highest=100.0))):
        ratings = Ratings.of(users, items, values * factor, (USERS, ITEMS))
        keys = user_keys(1, "t", [str(user) for user in range(USERS)])
        one = RatingClient(ratings, keys, np.arange(USERS), np.zeros(USERS, dtype=int), spec)
        run_chain(Federation({"a": one}), CONTENT, spec, seed=3)
        found.append(np.stack([one.predicted().means, one.predicted().deviations]) / factor)
    np.testing.assert_allclose(found[0], found[1], rtol=1e-4)


@pytest.mark.parametrize(
    ("wrong", "problem"),
    [({"lowest": 5.0, "highest": 5.0}, "two ends"), ({"sweeps": 10, "burn_in": 10}, "none to average")],
)
def test_impossible_settings_of_a_chain_are_refused(wrong, problem):
    with pytest.raises(InvalidInput, match=problem):
        BayesianMfSpec(**wrong)


def test_no_ratings_have_mean_zero():
    nothing = Ratings.of(np.empty(0, int), np.empty(0, int), np.empty(0), (2, ITEMS))
    assert RatingCounts.of(nothing).mean == 0.0


def everyone() -> Ratings:
    return client(np.arange(USERS)).ratings


def directions() -> Directions:
    return find_directions(Federation(federation(CENTRAL)), SPEC, seed=3)[1]


def one_sweep_in() -> tuple[Ratings, SideFeatures, Sample]:
    """Return ratings, features and a sample after one sweep, in which no value is 0 or 1."""
    ratings = everyone()
    features = user_features(directions(), ratings)
    items = item_features(directions(), CONTENT)
    sample = bayesian_mf.first_sample(RatingCounts.of(ratings).mean, items, len(features.blocks), SPEC, 1)
    conditional = bayesian_mf.user_conditional(sample, ratings, features, np.ones(USERS), SPEC)
    keys = user_keys(1, "one", [str(user) for user in range(USERS)])
    users = bayesian_mf.draw_users(sample, conditional, ratings, keys, 0, SPEC)
    total = bayesian_mf.statistics(sample, users, ratings, features, SPEC)
    return ratings, features, bayesian_mf.next_sample(total, sample, items, features.blocks, SPEC, 1, 0)


def drawn_users(ratings: Ratings, features: SideFeatures, sample: Sample) -> bayesian_mf.UserSample:
    """Return one draw of all users given the items of a sample."""
    conditional = bayesian_mf.user_conditional(sample, ratings, features, np.ones(USERS), SPEC)
    keys = user_keys(1, "x", ["u"] * USERS)
    return bayesian_mf.draw_users(sample, conditional, ratings, keys, 0, SPEC)


def test_the_products_of_clients_add_up_to_that_of_their_union():
    whole = Federation(federation(CENTRAL))
    counts = whole.ask(lambda each: RatingCounts.of(each.ratings))
    start = co_ratings.initial_directions(counts, 6, seed=1)
    parts = [
        Federation(federation(split)).ask(lambda each: co_ratings.products(start, each.ratings))
        for split in (CENTRAL, ONE_USER_CLIENTS)
    ]
    np.testing.assert_allclose(parts[0].products, parts[1].products, atol=1e-6)


def test_rounds_and_bytes_are_counted_for_each_client():
    asked = Federation(federation(SILOS))
    run_chain(asked, CONTENT, SPEC, seed=3)
    assert asked.rounds == 1 + SPEC.direction_rounds + SPEC.sweeps
    # Counts have 8 bytes, the rest 4; factors of 4 have 10 products, and 6 features of a user have 21.
    statistics_sent = ITEMS * (10 + 4 + 2) + 21 + 6 * 4 + 10 + 1
    products_sent = ITEMS * (SPEC.directions + 10)
    expected = 8 * (ITEMS + 2) + 4 * (SPEC.direction_rounds * products_sent + SPEC.sweeps * statistics_sent)
    assert asked.bytes_up == expected
    assert asked.bytes_down > SPEC.sweeps * 8 * ITEMS * 4


def test_a_federation_needs_a_client():
    with pytest.raises(InvalidInput, match="at least one client"):
        Federation({}).ask(lambda each: RatingCounts.of(each.ratings))
