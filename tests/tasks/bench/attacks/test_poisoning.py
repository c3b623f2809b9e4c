"""Poisoning on a small world: what lies say, what defences let through, and what the rows report."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from data_contracts.updates import UpdateLimits
from models.errors import InvalidInput
from models.evaluation.protocols import LEAVE_ONE_OUT
from models.federation.model import GlobalModel
from models.federation.robust import trimmed_sum
from models.kernel.histories import Histories
from models.kernel.packed import whole
from models.recommenders.additive.blend import BlendFamily, BlendSpec
from models.recommenders.base.family import LocalRound
from models.recommenders.lightfm.family import LightFMFamily
from models.recommenders.lightfm.simulation import Simulation
from models.recommenders.lightfm.spec import LightFMSpec
from tasks.bench.attacks.blend_lies import FollowsAll, checked_columns
from tasks.bench.attacks.cases import dealt, most_used, unpopular_item, user_counts
from tasks.bench.attacks.defences import NONE, RANGES_ONLY, TRIMMED, Defence
from tasks.bench.attacks.federation import DefendedFederation, flat
from tasks.bench.attacks.lies import Lie, MadeUpUsers
from tasks.bench.attacks.lightfm_lies import AHum, FedRecAttack, GradientLie, LargestBias
from tasks.bench.attacks.markdown import tables
from tasks.bench.attacks.plans import BLEND_DEFENCES, LIGHTFM_DEFENCES, blend_plan, lightfm_plan
from tasks.bench.attacks.poisoning import ALARM, EXPOSURE, PoisoningPlan, Scene, poisoning_rows
from tasks.bench.quality.arms import ItemToItem
from tasks.bench.quality.cases import BenchClient, Learner, by_client, clients_of
from tasks.datasets.partition_reader import open_partition

LIGHTFM = LightFMFamily(LightFMSpec(dims=4))
BLEND = BlendFamily(BlendSpec(0.5, 5.0, lasting_regularisation=5.0))
TARGET = 7
AT = LocalRound("liar-0000", 2, seed=3)


@pytest.fixture(scope="module")
def clients(coloured_dir) -> tuple[BenchClient, ...]:
    return clients_of(open_partition(coloured_dir), LEAVE_ONE_OUT, "validation", negatives=5)


@pytest.fixture(scope="module")
def learners(clients) -> dict[str, Learner]:
    return dealt(clients, 12, seed=1)


@pytest.fixture(scope="module")
def base(learners) -> GlobalModel:
    """Return a model of LightFM after one round."""
    data = {name: learner.training for name, learner in learners.items()}
    simulation = Simulation(data, LIGHTFM.spec, lambda _: LIGHTFM.rule(), seed=3)
    simulation.run_round()
    return simulation.model


def test_every_user_is_dealt_to_one_client(clients, learners):
    names = [user_id for learner in learners.values() for user_id in learner.user_ids]
    assert sorted(names) == sorted(user_id for client in clients for user_id in client.user_ids)
    assert {len(learner.user_ids) for learner in learners.values()} == {7, 8}
    assert dealt(clients, 12, seed=2)["client-0000"].user_ids != learners["client-0000"].user_ids


def test_more_clients_than_users_are_refused(clients):
    with pytest.raises(InvalidInput, match="90 users cannot be dealt to 91 clients"):
        dealt(clients, 91, seed=1)


def test_a_target_has_users_but_not_many(learners):
    counts = user_counts(learners)
    assert counts.sum() == sum(len(learner.histories.items) for learner in learners.values())
    drawn = {int(counts[unpopular_item(counts, 12, seed)]) for seed in range(20)}
    assert drawn <= set(range(1, 13))
    with pytest.raises(InvalidInput, match="no unpopular one"):
        unpopular_item(np.array([0, 5]), 4, seed=1)


def test_only_the_most_used_items_are_left_with_their_cases(clients):
    counts = user_counts(by_client(clients))
    kept = np.sort(np.argsort(-counts, kind="stable")[:50])
    for client, few in zip(clients, most_used(clients, 50), strict=True):
        assert few.user_ids == client.user_ids
        for whole_history, history in zip(client.histories, few.histories, strict=True):
            assert kept[history].tolist() == [item for item in whole_history if item in kept]
        pairs = zip(client.held_out.users.tolist(), client.held_out.items.tolist(), strict=True)
        expected = [(user, item) for user, item in pairs if item in kept]
        found = few.held_out
        assert [*zip(found.users.tolist(), kept[found.items].tolist(), strict=True)] == expected
        assert found.negatives.max() < 50


def test_honest_clients_within_the_ranges_train_the_model_of_a_job(clients, learners):
    data = {name: learner.training for name, learner in learners.items()}
    simulation = Simulation(data, LIGHTFM.spec, lambda _: LIGHTFM.rule(), seed=3)
    simulation.run_round()
    simulation.run_round()
    trained = DefendedFederation(LIGHTFM, 2, learners).train(RANGES_ONLY, seed=3)
    items = simulation.model.items
    scores = {
        user_id: vector @ items.vectors.T + items.item_biases
        for name, learner in learners.items()
        for user_id, vector in zip(learner.user_ids, simulation.users[name].embeddings, strict=True)
    }
    for client in clients:
        expected = np.stack([scores[user_id] for user_id in client.user_ids])
        np.testing.assert_allclose(trained.scores(client), expected, rtol=1e-5, atol=1e-6)


def test_honest_clients_train_the_pooled_blend(clients, learners):
    trained = DefendedFederation(BLEND, 1, learners).train(RANGES_ONLY, seed=3)
    pooled = ItemToItem(BLEND.spec).centralised(learners, 3)
    for client in clients:
        np.testing.assert_allclose(trained.scores(client), pooled.scores(client), rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize(
    "lie",
    [
        FedRecAttack(TARGET, LIGHTFM.rule().ranges, [np.array([0, 4, 8]), np.array([1, 5])], most_rows=3),
        AHum(TARGET, LIGHTFM.rule().ranges),
    ],
    ids=["FedRecAttack", "A-hum"],
)
def test_a_published_attack_lifts_the_target_as_far_as_the_ranges_allow(lie: GradientLie, base: GlobalModel):
    sent = lie.update(base, AT)
    rule = LIGHTFM.rule()
    for name, values in rule.rounded(rule.contribution(sent)).arrays.named():
        np.testing.assert_allclose(values, getattr(sent, name), atol=rule.ranges[name].step)
    used = max(np.abs(sent.embeddings[TARGET]).max() / 8.0, sent.biases[TARGET] / 64.0)
    assert used == pytest.approx(1.0, abs=1e-3)
    assert sent.biases[TARGET] > 0.0
    assert not sent.accumulators.any()


def test_fedrecattack_lowers_the_last_items_of_lists_and_knows_who_used_the_target(base: GlobalModel):
    ranges = LIGHTFM.rule().ranges
    known = [np.array([0, 4, 8]), np.array([1, 5])]
    sent = FedRecAttack(TARGET, ranges, known, most_rows=3).update(base, AT)
    others = np.delete(sent.biases, TARGET)
    assert others.min() < 0.0 == others.max()
    assert 1 <= np.count_nonzero(others) <= 2
    nobody = FedRecAttack(TARGET, ranges, [np.append(own, TARGET) for own in known]).update(base, AT)
    assert not nobody.biases.any()


def test_a_hum_sends_the_row_of_the_target_only(base: GlobalModel):
    sent = AHum(TARGET, LIGHTFM.rule().ranges).update(base, AT)
    assert np.flatnonzero(sent.biases).tolist() == [TARGET]
    assert np.flatnonzero(sent.embeddings.any(axis=1)).tolist() == [TARGET]


def test_mining_makes_random_users_dislike_the_target(base: GlobalModel):
    # Harder users pull the embedding against its own direction.
    row = base.items.vectors[TARGET]
    pulls = [
        float(
            AHum(TARGET, LIGHTFM.rule().ranges, mining_steps=steps).steps(base.items, AT)[TARGET, :-1] @ row
        )
        for steps in (0, 20)
    ]
    assert pulls[1] < pulls[0]


@pytest.mark.parametrize("family", [LIGHTFM, BLEND], ids=["lightfm", "blend"])
def test_made_up_users_are_honestly_trained_and_use_the_target_last(family, learners):
    popular = np.argsort(-user_counts(learners), kind="stable")
    lie = MadeUpUsers(family, TARGET, popular, users=3, length=5, pool=10)
    learner = lie.learner(120, AT)
    assert len(learner.user_ids) == len(learner.histories) == 3
    for history in learner.histories:
        assert history[-1] == TARGET
        assert len(history) == 6
        assert set(history[:-1].tolist()) <= set(popular[popular != TARGET][:10].tolist())
    base = GlobalModel(1, "", family.initial(120, 3))
    sent = whole(lie.update(base, AT))
    users = family.initial_users(3, seed=3, client_id=AT.client_id) if family.keeps_users else None
    honest = whole(family.train(base.items, users, learner, AT)[0])
    np.testing.assert_array_equal(flat(sent), flat(honest))


def statistics(learners: dict[str, Learner]) -> np.ndarray:
    base = BLEND.initial(120, 0)
    parts = [BLEND.train(base, None, learner, AT)[0] for learner in learners.values()]
    return np.stack([flat(BLEND.rule().contribution(part).arrays) for part in parts])


def test_the_check_of_columns_changes_no_honest_sum(learners):
    vectors = statistics(learners)
    found = checked_columns(vectors, users=8, forgetting=0.5)
    np.testing.assert_allclose(found, vectors.sum(axis=0, dtype=np.float64), rtol=1e-12)


def test_the_check_of_columns_holds_a_lie_to_what_users_can_cause():
    lie = FollowsAll(BLEND, TARGET, times=10.0)
    sent = lie.update(GlobalModel(0, "", BLEND.initial(120, 0)), AT)
    assert sent.transitions[:, TARGET].sum() == 1190.0
    assert not sent.transitions[TARGET].any()
    found = checked_columns(flat(sent)[np.newaxis], users=8, forgetting=0.5)
    column = found[-(120 * 120) :].reshape(120, 120)[:, TARGET]
    assert column.sum() == pytest.approx(8 * sum(k**-0.5 for k in range(1, 120)))
    assert np.ptp(np.delete(column, TARGET)) == 0.0


@pytest.mark.parametrize("defence", LIGHTFM_DEFENCES, ids=lambda each: each.name)
def test_a_defence_estimates_the_sum_of_clients_that_agree(defence: Defence):
    vectors = {f"client-{number}": np.array([1.0, -2.0, 0.5], dtype=np.float32) for number in range(30)}
    np.testing.assert_allclose(defence.total(vectors, 1), [30.0, -60.0, 15.0], rtol=1e-9)


def test_groups_hide_single_vectors_from_the_estimate():
    seen = []
    defence = Defence("seen", lambda vectors: seen.append(vectors) or vectors[0], group=5)
    defence.total({f"client-{number:02d}": np.full(2, 2.0**number) for number in range(11)}, seed=1)
    (sums,) = seen
    assert [bin(int(total)).count("1") for total in sums[:, 0]] == [6, 5]
    assert sums[:, 0].sum() == 2**11 - 1


TRIMMED_QUARTER = replace(TRIMMED, estimate=lambda vectors: trimmed_sum(vectors, 0.25))


def largest_bias(scene: Scene) -> dict[str, Lie]:
    return {"bias": LargestBias(scene.target, UpdateLimits().max_norm)}


PLAN = PoisoningPlan(
    LIGHTFM, 10, 12, (2,), largest_bias, (NONE, TRIMMED_QUARTER), seeds=(1, 2, 3), most_users=14
)


@pytest.fixture(scope="module")
def rows(clients) -> list[dict[str, Any]]:
    return list(poisoning_rows(clients, PLAN, lambda _: None, threads=2))


def found(rows: list[dict[str, Any]], defence: Defence, liars: int, metric: str) -> dict[str, Any]:
    (row,) = (
        each
        for each in rows
        if (each["defence"], each["liars"], each["metric"]) == (defence.name, liars, metric)
    )
    return row


def test_liars_lift_the_target_unless_their_ends_are_left_out(rows):
    assert found(rows, NONE, 2, EXPOSURE)["low"] == 1.0
    assert found(rows, NONE, 2, EXPOSURE)["seeds"] == 3
    trimmed = [found(rows, TRIMMED_QUARTER, liars, EXPOSURE)["value"] for liars in (0, 2)]
    assert trimmed[1] < trimmed[0] + 0.2


def test_quality_is_compared_with_no_liars_and_no_defence(rows):
    alone = found(rows, NONE, 0, "loo_ndcg@10")
    assert (alone["ratio"], alone["ratio_low"] <= 1.0 <= alone["ratio_high"]) == (1.0, True)
    lied = found(rows, NONE, 2, "loo_ndcg@10")
    assert lied["ratio"] == pytest.approx(lied["value"] / alone["value"], abs=1e-4)


def test_the_alarm_names_the_target_that_everyone_is_shown(rows):
    assert found(rows, NONE, 2, ALARM)["value"] == 1.0
    assert found(rows, NONE, 0, ALARM)["value"] == 0.0


def test_threads_change_no_row(clients, rows):
    assert list(poisoning_rows(clients, PLAN, lambda _: None)) == rows


def test_attackers_without_any_public_interaction_are_an_error(clients):
    few = [client.of_users(np.arange(len(client.user_ids)) == 0) for client in clients]
    histories = [Histories(few[0].histories.items[:2], np.array([0, 2]), 120)]
    alone = replace(few[0], held_out=replace(few[0].held_out, histories=histories[0]))
    with pytest.raises(InvalidInput, match="None of the interactions is public"):
        list(poisoning_rows((alone,), replace(PLAN, clients=1), lambda _: None))


def test_the_table_shows_each_defence_and_lie(rows):
    text = tables([{"part": "poisoning"} | row for row in rows])
    assert "### Poisoning lightfm" in text
    assert "| none | bias | 1.000 (1.000-1.000) |" in text
    assert "3 of 3 |" in text
    assert "Without liars, the alarm named 0 items in 6 trainings." in text


def test_the_plans_measure_every_defence_with_its_own_name():
    for made, expected in (
        (lightfm_plan(100, (5,), (1,)), LIGHTFM_DEFENCES),
        (blend_plan(100, (5,), (1,)), BLEND_DEFENCES),
    ):
        assert made.defences == expected
        assert len({each.name for each in made.defences}) == len(expected)
        assert made.defences[0] == NONE
