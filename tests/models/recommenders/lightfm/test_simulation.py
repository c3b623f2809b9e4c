"""A simulated federation makes the models that clients and a server make, byte for byte."""

from __future__ import annotations

from typing import get_args

import numpy as np
import pytest

from models.federation.model import ClientUpdate, GlobalModel
from models.federation.rounds import plan_round
from models.recommenders.base.training_set import TrainingSet
from models.recommenders.lightfm.merge_rules import merge_rule
from models.recommenders.lightfm.simulation import Simulation
from models.recommenders.lightfm.spec import LightFMSpec, MergeRuleName
from models.recommenders.lightfm.training import initial_items, initial_users, train_round

SEED, ITEMS = 5, 60
SPEC = LightFMSpec(dims=3, merges_per_epoch=2)
RATES = [0.0, 0.5, 0.5, 0.4, 0.3, 0.2]  # the server's rate in each round


def clients() -> dict[str, TrainingSet]:
    """Return three clients of one, two and three users, who leave most items unused."""
    random = np.random.default_rng(1)
    return {
        name: TrainingSet(
            np.repeat(np.arange(users), 4),
            np.concatenate([random.choice(ITEMS, 4, replace=False) for _ in range(users)]),
            (users, ITEMS),
        )
        for name, users in (("ash", 1), ("birch", 2), ("cedar", 3))
    }


def by_hand(data: dict[str, TrainingSet], name: MergeRuleName, rounds: int, share: float):
    users = {each: initial_users(data[each].shape[0], SPEC.dims, SEED, each) for each in data}
    model = GlobalModel(0, "", initial_items(ITEMS, SPEC.dims, SEED))
    for round_ in range(1, rounds + 1):
        rule = merge_rule(name, RATES[round_])
        state = rule.empty(model)
        plan = plan_round(round_, seed=SEED, clients=data, cohort_share=share, quorum_share=1.0)
        for each in plan.cohort:
            items, users[each] = train_round(
                model.items, users[each], data[each], SPEC, seed=SEED, round_=round_, client_id=each
            )
            deltas = rule.prepare(model.items, items)
            contribution = rule.rounded(rule.contribution(deltas, len(data[each])))
            state = rule.add(state, model, ClientUpdate(each, model.round, "", "", contribution))
        model = rule.finish(state, model)
    return model, users


@pytest.mark.parametrize("name", get_args(MergeRuleName))
@pytest.mark.parametrize("share", [1.0, 0.5])
def test_every_rule_gives_the_same_bytes(name, share):
    data = clients()
    simulation = Simulation(
        data, SPEC, lambda round_: merge_rule(name, RATES[round_]), seed=SEED, cohort_share=share
    )
    for _ in range(5):
        simulation.run_round()
    model, users = by_hand(data, name, 5, share)
    assert simulation.model.round == 5
    for (which, array), (_, expected) in zip(
        simulation.model.items.named(), model.items.named(), strict=True
    ):
        assert array.tobytes() == expected.tobytes(), which
    for each in data:
        assert simulation.users[each].embeddings.tobytes() == users[each].embeddings.tobytes()


def test_bytes_are_counted_for_the_cohort_only():
    simulation = Simulation(clients(), SPEC, lambda _: merge_rule("sum"), seed=SEED, cohort_share=0.5)
    simulation.run_round()
    # Two of three clients; 60 items of 3 dims and a bias of 2 bytes, and two accumulators of 4 bytes.
    assert simulation.update_bytes == 2 * 60 * (4 * 2 + 2 * 4)
