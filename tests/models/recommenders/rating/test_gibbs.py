"""Ratings as a family: one chain over the rounds of a job, and the answers of its models."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import pytest

from models.errors import InvalidInput
from models.federation.contribution import Contribution
from models.federation.model import ClientUpdate, GlobalModel
from models.federation.warm_start import carry_over
from models.kernel.arrays import ArrayGroup
from models.kernel.catalog import ItemCatalog
from models.kernel.histories import Histories
from models.kernel.streams import user_keys
from models.recommenders.additive.ease import EaseSpec
from models.recommenders.base.family import LocalRound
from models.recommenders.base.ratings import RatedData, Ratings
from models.recommenders.families.registry import family_of, spec_of
from models.recommenders.items.rating_model import RatingModel
from models.recommenders.rating.chain import Federation, RatingClient, run_chain
from models.recommenders.rating.family import RatingFamily
from models.recommenders.rating.gibbs import contribution, predicted
from models.recommenders.rating.spec import RatingSpec
from models.recommenders.scoring.rating_scorer import RatingScorer

USERS, ITEMS, ROUNDS = 150, 20, 40
SPEC = RatingSpec(dims=2, directions=3, direction_rounds=2, burn_in=4, thinning=2, draws=6)
FAMILY = family_of(SPEC)
USER_IDS = tuple(str(user) for user in range(USERS))
# No user rates item 3.
UNRATED = 3


@dataclass(frozen=True)
class Data:
    """What a client learns from."""

    rated: RatedData

    @property
    def histories(self) -> Histories:
        """Who rated what."""
        return self.rated.ratings.histories


def world() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return users, items and values: users of two tastes in one dim, with a bias each, and some noise."""
    random = np.random.default_rng(4)
    stars = (
        3
        + random.normal(0, 0.5, (USERS, 1))
        + random.normal(0, 1, (USERS, 1)) * random.normal(0, 1, ITEMS)
        + random.normal(0, 0.3, (USERS, ITEMS))
    )
    mask = random.random((USERS, ITEMS)) < 0.7
    mask[:, UNRATED] = False
    users, items = np.nonzero(mask)
    return users, items, np.clip(stars[users, items], 1, 5)


WORLD = world()


def data_of(wanted: np.ndarray) -> Data:
    """Return these users' ratings as one client."""
    users, items, values = WORLD
    row_of = {user: row for row, user in enumerate(wanted.tolist())}
    own = np.isin(users, wanted)
    rows = np.array([row_of[user] for user in users[own].tolist()], dtype=np.int64)
    ratings = Ratings.of(rows, items[own], values[own], (len(wanted), ITEMS))
    return Data(RatedData(ratings, tuple(USER_IDS[user] for user in wanted.tolist())))


EVERYBODY = data_of(np.arange(USERS))


def run(parts: list[Data], rounds: int = ROUNDS, spec: RatingSpec = SPEC) -> list[RatingModel]:
    """Return the models of all rounds, beginning with the initial one."""
    family = family_of(spec)
    base, rule = GlobalModel(0, "cat", family.initial(ITEMS, seed=1)), family.rule(seed=1)
    models = [base.items]
    for round_ in range(1, rounds + 1):
        state = rule.empty(base)
        for number, data in enumerate(parts):
            part, users = family.train(base.items, None, data, LocalRound(f"c{number:03}", round_, 1))
            assert users is None
            sent = rule.rounded(rule.contribution(part))
            update = ClientUpdate(f"c{number:03}", round_ - 1, "b", "cat", sent)
            state = rule.add(state, base, update)
        base = rule.finish(state, base)
        models.append(base.items)
    return models


@pytest.fixture(scope="module")
def models() -> list[RatingModel]:
    return run([EVERYBODY])


def rmse(model: RatingModel, spec: RatingSpec = SPEC) -> float:
    """Return the error on the training ratings, which is enough to measure what was learned."""
    ratings = EVERYBODY.rated.ratings
    found = predicted(model, ratings, ratings.users, ratings.items, spec)
    return float(np.sqrt(((found.means - ratings.values) ** 2).mean()))


@pytest.mark.parametrize("clients", [3, USERS])
def test_any_federation_equals_the_chain_on_pooled_data(models, clients):
    dealt = [data_of(np.arange(USERS)[number::clients]) for number in range(clients)]
    for pooled, federated in zip(models[:12], run(dealt, 11), strict=True):
        for (name, ours), (_, theirs) in zip(pooled.named(), federated.named(), strict=True):
            # Each client's sums are rounded, so small entries of a matrix of large ones differ more.
            atol = 2e-3 * float(np.abs(ours).max(initial=1.0))
            np.testing.assert_allclose(ours, theirs, rtol=2e-2, atol=atol, err_msg=name)


def test_rounds_learn_what_the_chain_in_one_run_learns(models):
    chain = replace(SPEC.chain, sweeps=60, burn_in=10)
    ratings = EVERYBODY.rated.ratings
    client = RatingClient(ratings, user_keys(1, "bayesian_mf", USER_IDS), ratings.users, ratings.items, chain)
    run_chain(Federation({"a": client}), np.empty((ITEMS, 0)), chain, seed=1)
    said = client.predicted()
    found = predicted(models[-1], ratings, ratings.users, ratings.items, SPEC)
    assert np.abs(found.means - said.means).mean() < 0.05
    np.testing.assert_allclose(found.deviations.mean(), said.deviations.mean(), rtol=0.1)


def test_each_round_has_the_form_that_its_rule_expects(models):
    rule, kinds = FAMILY.rule(seed=1), []
    for model in models[:5]:
        part = contribution(model, EVERYBODY.rated, SPEC, seed=1)
        zero = rule.zero(model)
        kinds.append(type(part).__name__)
        for (name, array), (_, expected) in zip(part.named(), zero.named(), strict=True):
            assert (array.dtype, array.shape) == (np.float32, expected.shape), name
    assert kinds == ["RatingCounts", "Products", "Products", "Statistics", "Statistics"]


def test_every_round_has_answers_and_they_improve(models):
    errors = [rmse(model) for model in models]
    assert np.isfinite(errors).all()
    assert min(errors[:3]) > 1.5 * errors[-1]
    assert errors[-1] < 0.45  # noise is 0.3, and some of it is cut off at the ends of the scale


def test_draws_are_bounded_and_the_newest_stay(models):
    # Sweeps begin at round 4. The fifth of them is the first that is kept, and then every second.
    assert [model.draws for model in models[:12]] == [0, 0, 0, 0, 0, 0, 0, 0, 1, 1, 2, 2]
    last = models[-1]
    assert (last.draws, int(last.kept[0])) == (SPEC.draws, 17)
    kept = [model.items for model in models[8::2]]
    newest = {items.tobytes() for items in kept[-SPEC.draws :]}
    assert {items.tobytes() for items in last.kept_items} == newest


def test_only_the_item_without_ratings_stays_untrained(models):
    assert np.flatnonzero(~models[-1].trained).tolist() == [UNRATED]
    assert not models[0].trained.any()
    assert models[-1].shape == (ITEMS, SPEC.dims)
    assert np.array_equal(models[-1].item_biases, models[-1].items[:, 0])


def test_features_help_where_ratings_are_missing():
    """Items of one kind are similar: an unrated item is predicted as its kind usually is."""
    random = np.random.default_rng(8)
    shares = random.uniform(0.05, 0.9, ITEMS)
    shares[UNRATED] = 0.0
    users, items = np.nonzero(random.random((USERS, ITEMS)) < shares)
    content = np.repeat([0.0, 1.0], ITEMS // 2)[:, np.newaxis]
    values = np.where(items < ITEMS // 2, 4.5, 1.5) + 0.3 * np.sin(users)
    data = Data(RatedData(Ratings.of(users, items, values, (USERS, ITEMS)), USER_IDS))
    known = RatingFamily(SPEC, content)
    with_content, _ = known.trained_alone(data, rounds=ROUNDS, seed=1, client_id="a")
    without, _ = FAMILY.trained_alone(data, rounds=ROUNDS, seed=1, client_id="a")
    placed, unplaced = (
        RatingScorer(model).ratings([], [], [UNRATED]).means[0] for model in (with_content, without)
    )
    assert abs(placed - 4.5) < abs(unplaced - 4.5)


def test_training_alone_equals_the_chain_of_one_client(models):
    own, users = FAMILY.trained_alone(EVERYBODY, rounds=6, seed=1, client_id="a")
    assert users is None
    for (name, ours), (_, theirs) in zip(own.named(), models[6].named(), strict=True):
        np.testing.assert_array_equal(ours, theirs, err_msg=name)


def test_another_seed_draws_other_numbers(models):
    rule, base = FAMILY.rule(seed=2), GlobalModel(3, "cat", models[3])
    part = rule.rounded(rule.contribution(contribution(models[3], EVERYBODY.rated, SPEC, seed=1)))
    drawn = [
        each.finish(each.empty(base).plus("a", part), base).items.items
        for each in (rule, FAMILY.rule(seed=1))
    ]
    assert not np.allclose(*drawn)
    assert drawn[1].tobytes() == models[4].items.tobytes()


def test_a_client_that_missed_the_counts_may_take_part_later():
    rule, base = FAMILY.rule(seed=1), GlobalModel(0, "cat", FAMILY.initial(ITEMS, 1))
    some = Ratings.of(np.zeros(2, int), np.array([0, 1]), np.array([4.0, 2.0]), (1, ITEMS))
    for round_ in range(6):
        parts: dict[str, ArrayGroup] = {"a": contribution(base.items, RatedData(some, ("x",)), SPEC, seed=1)}
        if round_:
            parts["b"] = contribution(base.items, EVERYBODY.rated, SPEC, seed=1)
        state = rule.empty(base)
        for name, part in parts.items():
            state = state.plus(name, Contribution(part))
        base = rule.finish(state, base)
    assert base.items.is_finite()


def test_a_job_may_start_from_another_job_s_items(models):
    known = ItemCatalog.of([f"i{row}" for row in range(ITEMS)])
    catalog = ItemCatalog.of(["new", *known.ids])
    fresh = FAMILY.initial(ITEMS + 1, seed=2)
    model = carry_over(models[-1], known, fresh, catalog).items
    assert np.array_equal(model.items[1:], models[-1].items)
    assert np.array_equal(model.items[0], fresh.items[0])
    # The chain starts again from there: it counts, finds directions, and keeps draws of its own.
    assert (model.progress[0], model.draws) == (0.0, 0)


def test_a_family_is_found_by_its_spec():
    assert spec_of(vars(SPEC)) == SPEC
    assert RatingFamily(SPEC) == FAMILY
    with pytest.raises(InvalidInput, match="another family's"):
        FAMILY.train(family_of(EaseSpec()).initial(ITEMS, 1), None, EVERYBODY, LocalRound("a", 1, 1))
    with pytest.raises(InvalidInput, match="needs two ends"):
        RatingSpec(lowest=5.0, highest=5.0)


class TestOneUser:
    """The answers that serving gives."""

    @pytest.fixture(params=[0, 2, 5, ROUNDS])
    def model(self, request, models) -> RatingModel:
        return models[request.param]

    def test_a_user_is_answered_as_a_client_evaluates_it(self, model):
        ratings = EVERYBODY.rated.ratings
        rows = np.arange(ITEMS)
        scorer = RatingScorer(model)
        for user in (0, 17):
            own = slice(ratings.histories.starts[user], ratings.histories.starts[user + 1])
            given = scorer.ratings(ratings.items[own].tolist(), ratings.values[own].tolist(), rows)
            found = predicted(model, ratings, np.full(ITEMS, user), rows, SPEC)
            for name in ("means", "spreads", "deviations"):
                np.testing.assert_allclose(getattr(given, name), getattr(found, name), rtol=1e-6, atol=1e-8)

    def test_answers_without_a_history_are_those_of_an_average_user(self, model):
        answer = RatingScorer(model).ratings([], [], np.arange(ITEMS))
        assert np.isfinite(answer.means).all()
        assert (answer.deviations >= answer.spreads).all()

    def test_more_ratings_of_a_user_give_a_smaller_uncertainty(self, models):
        ratings = EVERYBODY.rated.ratings
        items, values = ratings.items[: ratings.counts[0]].tolist(), ratings.values.tolist()
        scorer, rows = RatingScorer(models[-1]), np.arange(ITEMS)
        spreads = [scorer.ratings(items[:n], values[:n], rows).spreads.mean() for n in (0, 3, len(items))]
        assert spreads[0] > spreads[1] > spreads[2]

    def test_items_of_a_user_s_taste_are_predicted_higher(self, models):
        users, items, values = WORLD
        spread = [np.ptp(values[users == user]) for user in range(USERS)]
        own = users == int(np.argmax(spread))
        scorer = RatingScorer(models[-1])
        known, given = items[own], values[own]
        best, worst = known[given.argmax()], known[given.argmin()]
        means = scorer.ratings(known.tolist(), given.tolist(), [best, worst]).means
        assert means[0] > means[1] + 1.0

    @pytest.mark.parametrize(
        ("rows", "values", "wanted", "complaint"),
        [
            ([1], [5.5], [0], "outside the scale from 1 to 5"),
            ([1], [float("nan")], [0], "outside the scale"),
            ([1, 1], [3.0, 4.0], [0], "holds an item twice"),
            ([ITEMS], [3.0], [0], "outside the 20 items"),
            ([1], [3.0], [-1], "outside the 20 items"),
        ],
    )
    def test_impossible_requests_are_refused(self, models, rows, values, wanted, complaint):
        with pytest.raises(InvalidInput, match=complaint):
            RatingScorer(models[-1]).ratings(rows, values, wanted)

    def test_recommended_items_are_those_predicted_highest_for_users_who_like_the_history(self, models):
        scorer = RatingScorer(models[-1])
        scored = scorer.score([0, 4])
        answer = scorer.ratings([0, 4], [5.0, 5.0], np.arange(ITEMS))
        np.testing.assert_allclose(np.clip(scored.scores, 1, 5), answer.means, rtol=1e-9)
        heavy = scorer.score([0, 4], [100.0, 1.0]).scores
        assert abs(heavy[0] - 5) < abs(scored.scores[0] - 5)

    def test_reasons_add_up_to_one_and_name_the_history(self, models):
        scorer = RatingScorer(models[-1])
        rows = np.argsort(-scorer.score([0, 4]).scores)[:5]
        for reasons in scorer.score([0, 4]).reasons(rows, 2):
            assert sum(reason.share for reason in reasons) == pytest.approx(1.0)
            assert {reason.row for reason in reasons} <= {0, 4, None}
        for reasons in scorer.score([]).reasons(rows, 1):
            assert {reason.kind for reason in reasons} <= {"popularity", "others"}

    def test_similarities_are_products_of_directions(self, model):
        scorer = RatingScorer(model)
        directions = scorer.directions(np.arange(ITEMS))
        assert len(scorer) == ITEMS
        np.testing.assert_allclose(np.linalg.norm(directions, axis=1), 1.0, rtol=1e-6)
        np.testing.assert_allclose(scorer.similarities(7), directions @ directions[7], atol=1e-9)
