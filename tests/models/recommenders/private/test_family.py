"""The private item model as a family: its rounds, its noise, and lists that survive noise."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd
import pytest

from models.errors import InvalidConfig
from models.federation.model import GlobalModel
from models.kernel.histories import Histories
from models.privacy.noise_plan import NoisePlan
from models.privacy.noised import noised
from models.recommenders.base.family import LocalRound
from models.recommenders.families.registry import family_of
from models.recommenders.items.features import ItemFeatures
from models.recommenders.private.spec import DpItemsSpec
from tasks.exchange.codec import encode_model

ITEMS, USERS, CLIENTS = 30, 630, 21
HALF = ITEMS // 2
SPEC = DpItemsSpec(paired_items=24)
# Four of five labels tell which half an item belongs to, so contents help and do not say all.
FEATURES = ItemFeatures.of(
    pd.DataFrame(
        {
            "item_id": [str(item) for item in range(ITEMS)],
            "kind": [["a" if (item < HALF) != (item % 5 == 0) else "b"] for item in range(ITEMS)],
        }
    )
)


@dataclass(frozen=True)
class Data:
    histories: Histories


def histories(first: int, last: int) -> Histories:
    """Users of whom each used six items of one half, popular ones more often."""
    items = []
    for user in range(first, last):
        random = np.random.default_rng([11, user])
        weights = 1.0 / np.arange(2, HALF + 2)
        mine = random.choice(HALF, 6, replace=False, p=weights / weights.sum())
        items.append(mine + HALF * (user % 2))
    starts = 6 * np.arange(last - first + 1)
    return Histories(np.concatenate(items).astype(np.int64), starts.astype(np.int64), ITEMS)


def trained(clients: int, noise: NoisePlan | None = None, survivors: int | None = None) -> GlobalModel:
    family = family_of(SPEC).with_features(lambda: FEATURES)
    if noise:
        family = family.with_noise(noise)
    model = GlobalModel(0, "catalogue", family.initial(ITEMS, 1))
    each = USERS // clients
    for round_ in (1, 2):
        rule = family.rule()
        state = rule.summation(model)
        for client in range(survivors or clients):
            data = Data(histories(client * each, (client + 1) * each))
            arrays, kept = family.train(model.items, None, data, LocalRound(str(client), round_, 1))
            assert kept is None
            sent = rule.rounded(rule.contribution(arrays))
            if noise:
                deviations = noise.client_deviations(family.unit_noise(round_))
                sent = noised(sent, deviations, bytes([client]) * 32, (str(round_),))
            state.add(str(client), sent)
        model = rule.finish(state.result(), model)
    return model


def own_half(model: GlobalModel) -> float:
    """Return the share of users of whom the three best other items are of their half."""
    some = histories(0, 100)
    scores = family_of(SPEC).history_scores(model.items, some)(np.arange(100))
    for user, used in enumerate(some):
        scores[user, used] = -np.inf
    best = np.argsort(-scores, axis=1)[:, :3]
    return float(((best >= HALF) == (np.arange(100) % 2 == 1)[:, np.newaxis]).all(axis=1).mean())


def test_a_federation_makes_the_same_bytes_as_all_users_in_one_place():
    assert encode_model(trained(CLIENTS)) == encode_model(trained(1))


def test_users_get_items_of_their_half():
    assert own_half(trained(1)) == 1.0


@pytest.mark.parametrize("survivors", [CLIENTS, 15])
def test_little_noise_leaves_the_lists_useful(survivors):
    assert own_half(trained(CLIENTS, NoisePlan(multiplier=0.6, summands=15), survivors)) > 0.95


def test_noise_of_a_hundred_users_leaves_little_but_contents():
    # Four in five labels say which half an item belongs to.
    assert own_half(trained(CLIENTS, NoisePlan(multiplier=100.0, summands=15))) < 0.8


def test_the_noise_of_all_arrays_is_together_that_of_the_multiplier():
    family = family_of(DpItemsSpec(popularity_share=0.2, content_share=0.5, content_norm=0.4))
    # Standard deviation over sensitivity, each of which the tests of the statistics hold.
    multipliers = [
        family.unit_noise(1)["popularity"] / 1.0,
        family.unit_noise(2)["content"] / 0.4**2,
        family.unit_noise(2)["pairs"] / 1.0,
        family.unit_noise(2)["users"] / 1.0,
    ]
    assert sum(each**-2 for each in multipliers) == pytest.approx(1.0)


def test_the_budget_must_leave_something_for_the_pairs():
    with pytest.raises(InvalidConfig) as error:
        DpItemsSpec(popularity_share=0.6, content_share=0.4)
    assert error.value.key == "content_share"
    assert "nothing" in error.value.what


def test_the_family_plans_its_two_rounds_and_refuses_others():
    family = family_of(SPEC)
    assert family.planned(()) == (SPEC, 2)
    family.check_rounds(2)
    with pytest.raises(InvalidConfig) as error:
        family.check_rounds(3)
    assert error.value.key == "federation.rounds"


def test_a_catalogue_without_features_has_the_constant_alone():
    family = family_of(SPEC)
    assert family.initial(ITEMS, 1).content.shape == (ITEMS, 1)
    assert family.with_features_of(family.initial(ITEMS, 1)).initial(ITEMS, 1).content.shape == (ITEMS, 1)
