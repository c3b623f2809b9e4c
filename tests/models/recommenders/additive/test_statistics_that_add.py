"""Families whose statistics add: the federated model equals the centralised one, for any clients."""

from __future__ import annotations

from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
import scipy.sparse as sp

from models.errors import InvalidInput
from models.evaluation.cold_start import without_items
from models.federation.model import ClientUpdate, GlobalModel, ItemModel
from models.kernel.histories import Histories
from models.recommenders.additive.blend import BlendFamily, BlendSpec
from models.recommenders.additive.ease import EaseFamily, EaseSpec
from models.recommenders.additive.family import AdditiveFamily
from models.recommenders.additive.ials import IalsFamily, IalsSpec, user_embeddings
from models.recommenders.additive.next_item import NextItemFamily, NextItemSpec
from models.recommenders.base.family import Family, LocalRound
from models.recommenders.base.training_set import TrainingSet
from models.recommenders.families.registry import answering
from models.recommenders.items.cold_items import Placement
from models.recommenders.items.item_factors import ItemFactors
from models.recommenders.items.symmetric import symmetric, triangle
from models.recommenders.scoring.scorer import Scorer

USERS, ITEMS = 60, 25
IALS = IalsSpec(dims=5, regularisation=0.05, unobserved_weight=0.2, frequency_exponent=0.7)
EASE = EaseSpec(regularisation=8.0, forgetting=0.4)
NEXT = NextItemSpec(forgetting=0.6, regularisation=5.0, dropout=1.5)


def interactions() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return users, items and places. Every user used 3 to 12 items, in a random order."""
    random = np.random.default_rng(3)
    users, items, places = [], [], []
    for user in range(USERS):
        used = random.choice(ITEMS, size=random.integers(3, 13), replace=False)
        users += [user] * len(used)
        items += used.tolist()
        places += list(range(len(used)))
    return np.array(users), np.array(items), np.array(places)


def client(chosen: np.ndarray) -> Histories:
    """Return the histories of these users."""
    users, items, places = interactions()
    row_of = np.full(USERS, -1)
    row_of[chosen] = np.arange(len(chosen))
    kept = row_of[users] >= 0
    return Histories.of(row_of[users[kept]], items[kept], places[kept], (len(chosen), ITEMS))


CENTRAL = [client(np.arange(USERS))]
SILOS = [client(np.arange(first, USERS, 4)) for first in range(4)]
ONE_USER_CLIENTS = [client(np.array([user])) for user in range(USERS)]


@dataclass(frozen=True)
class Silo:
    """What a family trains on. These families do not need LightFM's form."""

    histories: Histories

    @property
    def training(self) -> TrainingSet:
        raise AssertionError("statistics are made of histories")


def federated_model(family: Family, clients: list[Histories], rounds: int) -> ItemModel:
    """Return the model after rounds of both halves, each client's contribution through the merge rule."""
    model, rule = GlobalModel(0, "cat", family.initial(ITEMS, seed=1)), family.rule()
    for _ in range(rounds):
        state = rule.empty(model)
        for number, own in enumerate(clients):
            name = f"client-{number:03}"
            part, users = family.train(model.items, None, Silo(own), LocalRound(name, 1, 1))
            assert users is None
            sent = rule.rounded(rule.contribution(part))
            state = rule.add(state, model, ClientUpdate(name, model.round, "base", "cat", sent))
        model = rule.finish(state, model)
    return model.items


def federated_scores(name: str, clients: list[Histories]) -> np.ndarray:
    family, rounds = FAMILIES[name], ROUNDS[name]
    items = federated_model(family, clients, rounds)
    return family.scores(items, None, Silo(CENTRAL[0]))(np.arange(USERS))


def ials_by_formula() -> np.ndarray:
    """Return alternating least squares with the whole weighted loss written out, in float64."""
    used = CENTRAL[0].matrix().toarray()
    items = FAMILIES["ials"].initial(ITEMS, seed=1).embeddings.astype(np.float64)

    def solved(pairs: np.ndarray, other: np.ndarray) -> np.ndarray:
        rows = []
        for row in pairs:
            # A used pair has weight 1 for target 1. All pairs have the small weight for target 0.
            weights = row + IALS.unobserved_weight
            ridge = IALS.regularisation * weights.sum() ** IALS.frequency_exponent
            left = other.T @ np.diag(weights) @ other + ridge * np.eye(IALS.dims)
            rows.append(np.linalg.inv(left) @ other.T @ row)
        return np.array(rows)

    for _ in range(5):
        users = solved(used, items)
        items = solved(used.T, users)
    return solved(used, items) @ items.T


def ease_by_formula() -> np.ndarray:
    """Return column by column the ridge regression of an item on all others, for a history that fades."""
    used = CENTRAL[0].matrix().toarray()
    weights = np.zeros((ITEMS, ITEMS))
    for item in range(ITEMS):
        others = np.delete(np.arange(ITEMS), item)
        rest = used[:, others]
        left = rest.T @ rest + EASE.regularisation * np.eye(ITEMS - 1)
        weights[others, item] = np.linalg.solve(left, rest.T @ used[:, item])
    memory = np.zeros((USERS, ITEMS))
    for user, history in enumerate(CENTRAL[0]):
        for place, item in enumerate(history):
            memory[user, item] = (len(history) - place) ** -EASE.forgetting
    return memory @ weights


def next_item_by_formula() -> np.ndarray:
    """Return ridge regression on one written-out row for each place of each history.

    Each user's sums of products are whole numbers of 1/1024.
    """
    gram, targeted, last = np.zeros((ITEMS, ITEMS)), np.zeros((ITEMS, ITEMS)), []
    for history in CENTRAL[0]:
        memories, targets = [], []
        for place in range(len(history) + 1):
            memory = np.zeros(ITEMS)
            for before in range(place):
                memory[history[before]] = (place - before) ** -NEXT.forgetting
            if place == len(history):
                last.append(memory)
            else:
                memories.append(memory)
                targets.append(np.eye(ITEMS)[history[place]])
        z, y = np.array(memories), np.array(targets)
        gram += np.round(z.T @ z * 1024) / 1024
        targeted += np.round(z.T @ y * 1024) / 1024
    ridge = NEXT.regularisation * np.eye(ITEMS) + NEXT.dropout * np.diag(np.diag(gram))
    return np.array(last) @ np.linalg.inv(gram + ridge) @ targeted


FAMILIES: dict[str, AdditiveFamily[Any, Any]] = {
    "ials": IalsFamily(IALS),
    "ease": EaseFamily(EASE),
    "next_item": NextItemFamily(NEXT),
}
ROUNDS = {"ials": 5, "ease": 1, "next_item": 1}
FORMULAS = {"ials": ials_by_formula, "ease": ease_by_formula, "next_item": next_item_by_formula}
# The sums of iALS are rounded for each client and round, in steps of 1/16384.
TOLERANCES = {"ials": 1e-3, "ease": 1e-6, "next_item": 1e-6}
EXACT = [
    EaseFamily(EASE),
    EaseFamily(replace(EASE, user_norm="unit")),
    NextItemFamily(NEXT),
    BlendFamily(BlendSpec()),
]
every_family = pytest.mark.parametrize("name", FAMILIES)


@every_family
@pytest.mark.parametrize("clients", [CENTRAL, SILOS, ONE_USER_CLIENTS], ids=["central", "silos", "users"])
def test_any_federation_scores_as_the_formula_on_pooled_data(name, clients):
    found = federated_scores(name, clients)
    np.testing.assert_allclose(found, FORMULAS[name](), rtol=1e-4, atol=TOLERANCES[name])


@every_family
def test_training_alone_is_the_formula_on_these_data(name):
    family, data = FAMILIES[name], Silo(CENTRAL[0])
    items, users = family.trained_alone(data, rounds=ROUNDS[name], seed=1, client_id="all")
    scores = family.scores(items, users, data)
    found = scores(np.arange(USERS))
    np.testing.assert_allclose(found, FORMULAS[name](), rtol=1e-4, atol=TOLERANCES[name])


@pytest.mark.parametrize("family", EXACT, ids=["ease", "unit", "next_item", "blend"])
@pytest.mark.parametrize("clients", [SILOS, ONE_USER_CLIENTS], ids=["silos", "users"])
def test_a_federated_model_equals_the_pooled_one_to_the_byte(family, clients):
    """Every user adds whole numbers of steps, so it does not matter which client adds them up."""
    pooled, federated = (federated_model(family, each, 1) for each in (CENTRAL, clients))
    for (array_name, ours), (_, theirs) in zip(federated.named(), pooled.named(), strict=True):
        assert ours.tobytes() == theirs.tobytes(), array_name


@every_family
def test_the_same_clients_give_the_same_bytes(name):
    assert federated_scores(name, SILOS).tobytes() == federated_scores(name, SILOS).tobytes()


@every_family
def test_a_scorer_scores_a_history_as_its_family_does(name):
    """The scores of a single history, with and without its parts, equal those of all histories at once."""
    items = federated_model(FAMILIES[name], SILOS, ROUNDS[name])
    scorer = scorer_of(items)
    expected = FAMILIES[name].scores(items, None, Silo(CENTRAL[0]))(np.arange(USERS))
    for history, wanted in zip(CENTRAL[0], expected, strict=True):
        np.testing.assert_allclose(scorer.score(history.tolist()).scores, wanted, rtol=1e-4, atol=1e-6)


def scorer_of(model: ItemModel, features: sp.csr_matrix | None = None) -> Scorer:
    return answering(model).scorer(model, None if features is None else lambda: features)


@every_family
def test_an_item_that_no_user_used_is_scored_by_its_features(name):
    hidden = np.arange(ITEMS) % 5 == 0
    histories = without_items(CENTRAL[0], hidden)
    items = federated_model(FAMILIES[name], [histories], ROUNDS[name])
    features = sp.csr_matrix(np.random.default_rng(2).integers(0, 2, (ITEMS, 3)).astype(float))
    without, scorer = scorer_of(items), scorer_of(items, features)
    placement = Placement.of(~hidden, features)
    for history in histories:
        scores = without.score(history.tolist()).scores
        assert not scores[hidden].any()
        found = scorer.score(history.tolist()).scores
        np.testing.assert_allclose(found, placement.placed(scores[:, np.newaxis])[:, 0], rtol=1e-4, atol=1e-6)
    # If every item was used, no item is placed.
    whole = federated_model(FAMILIES[name], CENTRAL, ROUNDS[name])
    history = CENTRAL[0].items[:3].tolist()
    assert (scorer_of(whole, features).score(history).scores == scorer_of(whole).score(history).scores).all()


@every_family
def test_a_model_of_another_family_is_refused(name):
    other = FAMILIES["ease" if name == "ials" else "ials"]
    with pytest.raises(InvalidInput, match="another family's"):
        FAMILIES[name].train(other.initial(ITEMS, 1), None, Silo(SILOS[0]), LocalRound("a", 1, 1))


@every_family
def test_statistics_are_float32_finite_and_of_the_shape_of_zero(name):
    family = FAMILIES[name]
    part, zero = family.statistics(family.initial(ITEMS, seed=1), SILOS[0]), family.nothing(ITEMS)
    assert part.is_finite()
    for (array_name, array), (_, nothing) in zip(part.named(), zero.named(), strict=True):
        assert (array.dtype, array.shape) == (np.float32, nothing.shape), array_name
        assert not nothing.any()


def test_each_step_of_ials_lowers_its_loss():
    used = CENTRAL[0].matrix().toarray()

    def loss(model: ItemFactors) -> float:
        users = user_embeddings(model, CENTRAL[0])
        items = model.embeddings.astype(np.float64)
        scores = users @ items.T
        shares = [
            (used + IALS.unobserved_weight).sum(axis=axis) ** IALS.frequency_exponent for axis in (1, 0)
        ]
        penalty = shares[0] @ (users**2).sum(axis=1) + shares[1] @ (items**2).sum(axis=1)
        fit = (used * (1 - scores) ** 2).sum() + IALS.unobserved_weight * (scores**2).sum()
        return float(fit + IALS.regularisation * penalty)

    family = FAMILIES["ials"]
    model = family.initial(ITEMS, seed=1)
    losses = [loss(model)]
    for _ in range(6):
        model = family.solve(family.statistics(model, CENTRAL[0]), ITEMS)
        losses.append(loss(model))
    assert all(later < earlier for earlier, later in pairwise(losses))


def test_a_triangle_becomes_the_same_symmetric_matrix():
    square = np.array([[1.0, 2.0, 3.0], [2.0, 4.0, 5.0], [3.0, 5.0, 6.0]])
    assert triangle(square).tolist() == [1, 2, 3, 4, 5, 6]
    assert symmetric(triangle(np.stack([square, 2 * square])), 3).tolist() == [
        square.tolist(),
        (2 * square).tolist(),
    ]
