"""The quality table on a small world: its rows, its arms, and how they relate."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from models.errors import InvalidInput
from models.evaluation.protocols import LEAVE_ONE_OUT, RANDOM, TEMPORAL
from models.recommenders.additive.blend import BlendSpec
from models.recommenders.additive.ease import EaseSpec
from models.recommenders.additive.ials import IalsSpec
from models.recommenders.additive.next_item import NextItemSpec
from models.recommenders.lightfm.spec import LightFMSpec
from tasks.bench.quality.arms import Additive, BenchFamily, ItemToItem, LightFM
from tasks.bench.quality.baselines import NAMES, BaselineSpec, train_baseline
from tasks.bench.quality.cases import by_client, by_user, clients_of, pooled
from tasks.bench.quality.markdown import BEGIN, END, put_table, table
from tasks.bench.quality.table_rows import Evaluator, QualityPlan, quality_rows
from tasks.datasets.partition_reader import open_partition
from tests.worlds.documents import with_table_replaced

SPEC = LightFMSpec(dims=4)
ADDITIVE = (
    ItemToItem(EaseSpec(5.0)),
    ItemToItem(NextItemSpec(0.5, 5.0, 0.5)),
    ItemToItem(BlendSpec(0.5, 5.0, lasting_regularisation=5.0)),
    Additive(IalsSpec(4, 0.1, 0.2, 0.5), rounds=4),
)
LIGHTFM = LightFM(SPEC, 3, SPEC, 3)
every_additive = pytest.mark.parametrize("family", ADDITIVE, ids=lambda family: family.name)


@pytest.mark.parametrize("protocol", [LEAVE_ONE_OUT, RANDOM, TEMPORAL], ids=lambda protocol: protocol.name)
@pytest.mark.parametrize("part", ["validation", "test"])
def test_no_held_out_item_is_trained_on(partition_dir, protocol, part):
    clients = clients_of(open_partition(partition_dir), protocol, part, negatives=5)
    assert [client.id for client in clients] == ["ash", "birch", "cedar"]
    for client in clients:
        held = client.held_out
        assert len(held.users)
        for user, item in zip(held.users, held.items, strict=True):
            own = client.histories.items[client.histories.starts[user] : client.histories.starts[user + 1]]
            assert item not in own
            assert len(own) == len(set(own.tolist()))


@pytest.mark.parametrize("protocol", [RANDOM, TEMPORAL], ids=lambda protocol: protocol.name)
def test_choices_are_made_on_cases_outside_the_test(partition_dir, protocol):
    partition = open_partition(partition_dir)
    for chosen, tested in zip(
        clients_of(partition, protocol, "validation"), clients_of(partition, protocol, "test"), strict=True
    ):
        seen = {
            pair
            for held in (chosen.held_out,)
            for pair in zip(held.users.tolist(), held.items.tolist(), strict=True)
        }
        owners = np.repeat(np.arange(len(chosen.user_ids)), np.diff(chosen.histories.starts)).tolist()
        seen |= set(zip(owners, chosen.histories.items.tolist(), strict=True))
        test = set(zip(tested.held_out.users.tolist(), tested.held_out.items.tolist(), strict=True))
        assert not seen & test


@every_additive
@pytest.mark.parametrize("grouping", [by_client, by_user])
def test_federated_scores_equal_the_centralised_ones(partition_dir, family: BenchFamily, grouping):
    clients = clients_of(open_partition(partition_dir), LEAVE_ONE_OUT, "test", negatives=5)
    learners = grouping(clients)
    federated, central = family.federated(learners, 1), family.centralised(learners, 1)
    # Each client rounds its own sums of iALS. Those of the others are whole numbers of steps for each user.
    tolerance = 1e-3 if family.name == "ials" else 0.0
    for client in clients:
        np.testing.assert_allclose(federated.scores(client), central.scores(client), rtol=0, atol=tolerance)
    assert federated.bytes_up > 0


@pytest.mark.parametrize("family", ADDITIVE[:3], ids=lambda family: family.name)
def test_items_that_no_user_used_do_not_change_a_model_alone(partition_dir, family: BenchFamily):
    clients = clients_of(open_partition(partition_dir), LEAVE_ONE_OUT, "test", negatives=5)
    learners = by_client(clients)
    for client in clients:
        whole = family.federated({client.id: learners[client.id]}, 1).scores(client)
        found = family.silo_only(learners, 1).scores(client)
        np.testing.assert_allclose(found, whole, rtol=1e-4, atol=1e-6)


def test_lightfm_answers_by_histories_if_vectors_are_folded_in(partition_dir):
    clients = clients_of(open_partition(partition_dir), LEAVE_ONE_OUT, "test", negatives=5)
    learners = by_user(clients)
    folding = replace(SPEC, user_vectors="folded_in")
    trained, folded = (LightFM(spec, 4, spec, 2, 0.5) for spec in (SPEC, folding))
    for arm in ("federated", "centralised"):
        known, unknown = (getattr(each, arm)(learners, 1) for each in (trained, folded))
        client = clients[0]
        # Two users of one history get the same answer.
        twin = replace(client, user_ids=clients[1].user_ids[: len(client.user_ids)])
        np.testing.assert_array_equal(unknown.scores(client), unknown.scores(twin))
        assert not np.allclose(known.scores(client), known.scores(twin))


def test_a_client_sends_updates_only_in_its_rounds(partition_dir):
    learners = by_client(clients_of(open_partition(partition_dir), LEAVE_ONE_OUT, "test", negatives=5))
    few = replace(LIGHTFM, cohort_share=0.3).federated(learners, 1)  # one of the three clients a round
    assert few.bytes_up * 3 == pytest.approx(LIGHTFM.federated(learners, 1).bytes_up, abs=3)


def test_pooled_users_keep_their_histories(partition_dir):
    clients = clients_of(open_partition(partition_dir), LEAVE_ONE_OUT, "test", negatives=5)
    everyone = pooled(by_client(clients))
    single = by_user(clients)
    assert set(everyone.user_ids) == set(single)
    for user_id, items in zip(everyone.user_ids, everyone.histories, strict=True):
        assert single[user_id].histories.items.tolist() == items.tolist()


def test_baselines_score_by_their_definitions(partition_dir):
    clients = clients_of(open_partition(partition_dir), LEAVE_ONE_OUT, "test", negatives=5)
    learners = by_client(clients)
    everyone = pooled(learners)
    used = everyone.histories.matrix().toarray()
    lengths = np.linalg.norm(used, axis=0)
    cosine = used.T @ used / np.maximum(np.outer(lengths, lengths), 1e-9)
    np.fill_diagonal(cosine, 0.0)
    people = np.linalg.norm(used, axis=1)
    between = used @ used.T / np.outer(people, people)
    np.fill_diagonal(between, 0.0)
    # With as many neighbours as there are users or items, all count.
    spec = BaselineSpec(item_neighbours=40, user_neighbours=24)
    expected = {
        "popularity": np.tile(used.sum(axis=0), (24, 1)),
        "item_knn": used @ cosine,
        "user_knn": between @ used,
    }
    rows = {user_id: row for row, user_id in enumerate(everyone.user_ids)}
    for name, scores in expected.items():
        trained = train_baseline(name, learners, spec, 1)
        for client in clients:
            own = scores[[rows[user_id] for user_id in client.user_ids]]
            np.testing.assert_allclose(trained.scores(client), own, rtol=1e-4, atol=1e-5, err_msg=name)


def test_matrix_factorisation_is_deterministic(partition_dir):
    clients = clients_of(open_partition(partition_dir), LEAVE_ONE_OUT, "test", negatives=5)
    scores = [
        train_baseline("bpr_mf", by_client(clients), BaselineSpec(dims=4, epochs=5), seed).scores(clients[0])
        for seed in (1, 1, 2)
    ]
    assert (scores[0] == scores[1]).all()
    assert (scores[0] != scores[2]).any()


@pytest.fixture
def rows(partition_dir: Path):
    """Return all rows of a small plan over two protocols."""
    plans = [
        QualityPlan(LEAVE_ONE_OUT, [ADDITIVE[0], LIGHTFM], [ADDITIVE[0]], ["popularity"], seeds=(1, 2)),
        QualityPlan(TEMPORAL, [ADDITIVE[1]], [], []),
    ]
    lines: list[str] = []
    found = list(quality_rows(open_partition(partition_dir), plans, "test", lines.append))
    assert any("ease, 24 clients, federated" in line for line in lines)
    return found


def test_every_row_is_named_and_its_value_lies_within_its_interval(rows):
    for row in rows:
        assert {"dataset", "protocol", "clients", "family", "arm", "metric", "value", "low", "high"} <= set(
            row
        )
        assert row["low"] <= row["value"] <= row["high"]
    arms = {(row["clients"], row["family"], row["arm"]) for row in rows if row["protocol"] == "leave_one_out"}
    assert arms == {
        (3, "popularity", "centralised"),
        (24, "popularity", "centralised"),
        *((3, family, arm) for family in ("ease", "lightfm") for arm in ("federated", "centralised")),
        *((3, family, arm) for family in ("ease", "lightfm") for arm in ("silo_only", "benefit")),
        (24, "ease", "federated"),
        (24, "ease", "centralised"),
    }
    assert {row["metric"] for row in rows if row["protocol"] == "temporal_70_30"} == {
        f"temporal_70_30:{name}"
        for name in ("ndcg@10", "recall@20", "map", "coverage@10", "popularity@10", "gini@10")
    }


def test_additive_families_have_a_ratio_of_one_and_random_families_several_seeds(rows):
    federated = [row for row in rows if row["arm"] == "federated" and row["value"]]
    for row in federated:
        assert row["seeds"] == (2 if row["family"] == "lightfm" else 1)
        assert row["rounds"] == (3 if row["family"] == "lightfm" else 1)
        if row["family"] != "lightfm" and "ratio" in row:
            assert (row["ratio"], row["ratio_low"], row["ratio_high"]) == (1.0, 1.0, 1.0)
    lightfm = next(row for row in federated if row["family"] == "lightfm")
    # Three rounds of 40 items with 4 values and a bias of 2 bytes, and two accumulators of 4 bytes.
    assert lightfm["bytes_up"] == 3 * 40 * (5 * 2 + 2 * 4)
    # The model has all of them in float32.
    assert lightfm["bytes_down"] == 3 * 40 * 7 * 4


def test_a_value_is_the_mean_over_all_users_of_all_clients(partition_dir):
    clients = clients_of(open_partition(partition_dir), LEAVE_ONE_OUT, "test", negatives=20)
    trained = ADDITIVE[0].centralised(by_client(clients), 1)
    curves = Evaluator(clients, LEAVE_ONE_OUT).measure(lambda _: trained, (1,)).curves
    found = []
    for client in clients:
        scores = trained.scores(client)
        held = client.held_out
        for user, item, rivals in zip(held.users, held.items, held.negatives, strict=True):
            found.append(sum(scores[user, rival] >= scores[user, item] for rival in rivals) < 10)
    assert curves["loo_hr@10"][0, 0] == pytest.approx(np.mean(found))


def test_the_table_replaces_the_old_one_in_the_document(tmp_path, rows):
    document = tmp_path / "quality.md"
    text = with_table_replaced(document, BEGIN, END, lambda file: put_table(file, rows))
    assert "| lightfm | silo_only |" in text
    assert "| cedar |" in text
    put_table(document, rows)
    assert document.read_text() == text


def test_a_document_without_marks_is_not_changed(tmp_path, rows):
    document = tmp_path / "other.md"
    document.write_text("nothing here")
    with pytest.raises(InvalidInput, match="lacks the marks of the table"):
        put_table(document, rows)
    assert document.read_text() == "nothing here"
    with pytest.raises(InvalidInput, match="cannot be read"):
        put_table(tmp_path / "none.md", rows)


def test_every_baseline_has_a_name():
    assert NAMES == ("popularity", "item_knn", "user_knn", "bpr_mf")
    assert table([]) == ""
