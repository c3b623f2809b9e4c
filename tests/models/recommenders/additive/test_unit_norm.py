"""EASE whose users' counts have a bounded norm, and what noise in their sum leaves of the model."""

from __future__ import annotations

from itertools import chain

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from models.federation.model import ClientUpdate, GlobalModel
from models.kernel.histories import Histories
from models.privacy.noise_plan import NoisePlan
from models.privacy.noised import noised
from models.recommenders.additive.ease import EaseFamily, EaseSpec
from models.recommenders.items.item_weights import ItemWeights

ITEMS, SPEC = 12, EaseSpec(regularisation=50.0, user_norm="unit")
FAMILY = EaseFamily(SPEC)
used_items = st.lists(st.integers(0, ITEMS - 1), unique=True, max_size=ITEMS)


def histories(users: list[list[int]]) -> Histories:
    starts = np.cumsum([0, *map(len, users)])
    return Histories(np.array([*chain(*users)], dtype=np.int64), starts.astype(np.int64), ITEMS)


def statistics(users: list[list[int]], family: EaseFamily = FAMILY) -> np.ndarray:
    return family.statistics(family.initial(ITEMS, 1), histories(users)).gram.astype(np.float64)


def model(family: EaseFamily, silos: list[list[list[int]]], noise: NoisePlan | None = None) -> ItemWeights:
    base, rule = GlobalModel(0, "cat", family.initial(ITEMS, 1)), family.rule()
    state = rule.empty(base)
    for number, users in enumerate(silos):
        part = family.statistics(base.items, histories(users))
        sent = rule.rounded(rule.contribution(part))
        if noise is not None:
            deviations = noise.client_deviations(family.unit_noise(1))
            sent = noised(sent, deviations, bytes([number]) * 32, ("round",))
        state = rule.add(state, base, ClientUpdate(f"silo-{number}", 0, "base", "cat", sent))
    return rule.finish(state, base).items


@settings(max_examples=200)
@given(others=st.lists(used_items, max_size=4), user=used_items)
def test_a_user_changes_the_statistics_by_a_norm_of_at_most_1(others, user):
    assert np.linalg.norm(statistics([*others, user]) - statistics(others)) <= 1.0


def test_the_bound_is_nearly_reached_by_users_of_few_and_of_many_items():
    for user in ([3], [1, 5], list(range(ITEMS))):
        assert np.linalg.norm(statistics([user])) > 0.998


def test_only_unit_statistics_say_how_much_noise_hides_a_user():
    assert FAMILY.unit_noise(1) == {"gram": 1.0}
    raw = EaseFamily(EaseSpec())
    assert raw.unit_noise(1) is None
    many = statistics([list(range(ITEMS))], raw)
    assert np.linalg.norm(many) > 1.0
    assert EaseFamily(EaseSpec(**EaseFamily.bounding)).unit_noise(1) is not None


def test_the_model_is_the_ridge_regression_of_users_that_count_equally():
    users = [[3, 1, 2], [5, 3], [], [9, 0, 6, 7, 1], [1, 2]]
    gram = np.zeros((ITEMS, ITEMS))
    for used in users:
        x = np.zeros(ITEMS)
        x[used] = 1.0
        gram += np.outer(x, x) / max(len(used), 1)
    inverse = np.linalg.inv(gram + 0.5 * np.eye(ITEMS))
    expected = -inverse / np.diag(inverse)
    np.fill_diagonal(expected, 0.0)
    found = model(FAMILY, [users[:2], users[2:]])
    np.testing.assert_allclose(found.weights[0], expected, atol=2e-3)
    np.testing.assert_allclose(found.popularity, np.diag(gram), atol=2e-3)


def two_tastes(users: int) -> list[list[int]]:
    """Return users of four of the first or of the last six items."""
    random = np.random.default_rng(3)
    return [(random.permutation(6)[:4] + 6 * (user % 2)).tolist() for user in range(users)]


def test_with_moderate_noise_the_two_tastes_are_told_apart():
    users, noise = two_tastes(600), NoisePlan(multiplier=4.0, summands=3)
    family = EaseFamily(EaseSpec(regularisation=2000.0, user_norm="unit")).with_noise(noise)
    found = model(family, [users[:100], users[100:300], users[300:]], noise).weights[0]
    for row in range(ITEMS):
        own = (np.arange(ITEMS) < 6) == (row < 6)
        assert found[row, own].sum() > found[row, ~own].sum()


def test_a_server_that_knows_of_the_noise_is_nearer_to_the_model_without_it():
    users, noise = two_tastes(600), NoisePlan(multiplier=20.0, summands=2)
    silos = [users[:300], users[300:]]
    exact = model(FAMILY, silos).weights[0]
    knows, ignores = (model(each, silos, noise).weights[0] for each in (FAMILY.with_noise(noise), FAMILY))
    assert np.linalg.norm(knows - exact) < np.linalg.norm(ignores - exact)


@pytest.mark.parametrize("seed", range(3))
def test_when_noise_hides_everything_a_model_is_left_that_ranks(seed):
    noise = NoisePlan(multiplier=300.0 + seed, summands=1)
    found = model(FAMILY.with_noise(noise), [two_tastes(20)], noise)
    assert np.isfinite(found.weights).all()
    off_diagonal = found.weights[0][~np.eye(ITEMS, dtype=bool)]
    assert np.count_nonzero(off_diagonal) == ITEMS * (ITEMS - 1)


def test_noise_in_raw_statistics_is_not_taken_off_because_no_client_adds_any():
    raw, noise = EaseFamily(EaseSpec(50.0)), NoisePlan(multiplier=1.0, summands=1)
    users = [two_tastes(20)]
    assert model(raw, users).weights.tobytes() == model(raw.with_noise(noise), users).weights.tobytes()
