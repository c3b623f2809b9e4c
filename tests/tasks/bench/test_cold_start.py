"""The cold-start table on a small world: what is hidden, and what each row measures."""

from __future__ import annotations

import numpy as np
import pytest

from models.errors import InvalidInput
from models.evaluation.cold_start import COLD_STARTS, KNOWN_ITEMS
from models.evaluation.protocols import LEAVE_ONE_OUT
from models.recommenders.additive.ease import EaseSpec
from models.recommenders.additive.ials import IalsSpec
from models.recommenders.items.features import ItemFeatures
from models.recommenders.lightfm.spec import LightFMSpec
from tasks.bench.cold_start import baselines
from tasks.bench.cold_start.cases import full_histories, new_items, new_users, with_latest
from tasks.bench.cold_start.markdown import BEGIN, END, put_tables, tables
from tasks.bench.cold_start.protocols import HISTORIES, ColdStart, _untied
from tasks.bench.quality.arms import Additive, ItemToItem, LightFM
from tasks.bench.quality.cases import by_client, clients_of
from tasks.datasets.partition_reader import open_partition, read_items
from tests.worlds.documents import with_table_replaced

SPEC = LightFMSpec(dims=4)
FAMILIES = (
    LightFM(SPEC, 3, SPEC, 3),
    ItemToItem(EaseSpec(5.0)),
    Additive(IalsSpec(4, 0.1, 0.2, 0.5), rounds=2),
)
both_parts = pytest.mark.parametrize("part", ["validation", "test"])


@pytest.fixture(scope="module")
def partition(coloured_dir):
    """Return the coloured world."""
    return open_partition(coloured_dir)


@pytest.fixture(scope="module")
def rows(partition):
    """Return all rows of three families."""
    lines: list[str] = []
    found = list(ColdStart(partition, FAMILIES, "test", (1, 2), lines.append).rows(list(COLD_STARTS)))
    assert any("new_silos, test: ease, federated" in line for line in lines)
    return found


def value(rows, **wanted):
    """Return the one row with these values."""
    (found,) = (row for row in rows if all(row.get(name) == each for name, each in wanted.items()))
    return found


@both_parts
def test_nobody_trains_on_a_cold_item(partition, part):
    data = new_items(partition, part, seed=0)
    assert 0 < data.cold.sum() < len(data.cold)
    assert not (data.cold & data.trained).any()
    for client in data.clients:
        assert not data.cold[client.histories.items].any()
        assert data.cold[client.held_out.items].all()


@both_parts
def test_nobody_trains_on_a_new_user(partition, part):
    data = new_users(partition, part, seed=0)
    everything = {
        user_id: items.tolist()
        for learner in full_histories(partition, 0).values()
        for user_id, items in zip(learner.user_ids, learner.histories, strict=True)
    }
    others = {user_id for learner in data.others.values() for user_id in learner.user_ids}
    arrived = {user_id for client in data.clients for user_id in client.user_ids}
    assert arrived
    assert not arrived & others
    for client in data.clients:
        held = client.held_out
        for row, (user_id, items) in enumerate(zip(client.user_ids, held.histories, strict=True)):
            later = held.items[held.users == row].tolist()
            assert items.tolist() + later == everything[user_id]
            assert len(items) == KNOWN_ITEMS
        assert [items.tolist() for items in with_latest(client, 3).histories] == [
            items.tolist()[-3:] for items in client.histories
        ]
        joined = dict(zip(data.joined[client.id].user_ids, data.joined[client.id].histories, strict=True))
        assert all(
            joined[user_id].tolist() == everything[user_id][:KNOWN_ITEMS] for user_id in client.user_ids
        )


def test_choices_are_made_on_cases_outside_the_test(partition):
    chosen, tested = (new_items(partition, part, seed=0) for part in ("validation", "test"))
    assert not (chosen.cold & tested.cold).any()
    assert not (chosen.trained & tested.cold).any()
    chosen, tested = (new_users(partition, part, seed=0) for part in ("validation", "test"))
    for client in tested.clients:
        assert not set(client.user_ids) & set(chosen.joined[client.id].user_ids)


def test_new_users_need_long_histories(partition_dir):
    with pytest.raises(InvalidInput, match="more than 20 items"):
        new_users(open_partition(partition_dir), "test", seed=0)


def test_baselines_score_by_their_definitions(partition):
    data, items = new_items(partition, "test", seed=0), read_items(partition)
    client = data.clients[0]
    features = ItemFeatures.of(items[["item_id", "genres"]]).matrix()
    counts = baselines.popularity(by_client(data.clients).values(), len(items))
    used = np.concatenate([each.histories.items for each in data.clients])
    assert counts.tolist() == [int((used == item).sum()) for item in range(len(items))]
    # Items have one colour each, so the mean cosine is the number of a history's items of the same colour.
    red = np.array([own.tolist() == ["red"] for own in items["genres"]])
    same = np.equal.outer(red, red)
    expected = np.stack([same[history].sum(axis=0) for history in client.histories])
    np.testing.assert_allclose(baselines.content(features).scores(client), expected)
    newest = baselines.newest(items, 0)
    assert newest is not None
    by_year = np.argsort(-newest.scores(client)[0])
    assert items["year"].to_numpy()[by_year].astype(int).tolist() == list(range(2019, 1899, -1))
    assert baselines.newest(items.drop(columns="year"), 0) is None
    by_genre = baselines.genre_popularity(items, counts, data.trained)
    assert by_genre is not None
    scores = by_genre.scores(client)[0]
    more_used = counts[red & data.trained].mean() > counts[~red & data.trained].mean()
    assert (scores[red & data.cold].mean() > scores[~red & data.cold].mean()) == more_used
    assert baselines.genre_popularity(items.drop(columns="genres"), counts, data.trained) is None


def test_every_protocol_has_its_families_and_arms(rows):
    arms = {(row["protocol"], row["family"], row["arm"]) for row in rows}
    families = ("lightfm", "ease", "ials")
    naive = ("random", "newest", "content", "genre_popularity")
    assert arms == {
        *(("new_items", name, "naive") for name in naive),
        *(("new_items", name, arm) for name in families for arm in ("centralised", "federated", "unplaced")),
        ("new_users", "popularity", "naive"),
        *(("new_users", name, arm) for name in families for arm in ("federated", "trained_in")),
        ("new_silos", "popularity", "naive"),
        *(("new_silos", name, arm) for name in families for arm in ("federated", "silo_only", "joined")),
        *(("new_silos", name, arm) for name in families for arm in ("over_popularity", "over_silo_only")),
    }
    for row in rows:
        assert {"dataset", "clients", "metric"} <= set(row)
        assert row["low"] <= row["value"] <= row["high"]
    histories = [row["history"] for row in rows if row["arm"] == "federated" and "history" in row]
    assert set(histories) == set(HISTORIES)


def test_features_place_items_that_no_user_used(rows):
    # Nine of ten uses are of a user's colour, and the colour is all that is known of a new item.
    chance = value(rows, family="random", metric="new_items:cold_ndcg@10")["value"]
    for family in ("content", "ease"):
        found = [
            row["value"]
            for row in rows
            if (row["family"], row["metric"]) == (family, "new_items:cold_ndcg@10")
            and row["arm"] != "unplaced"
        ]
        assert min(found) > 1.3 * chance


def test_additive_families_are_worth_the_same_federated_and_folded_in_users_as_trained_ones(rows):
    for row in rows:
        if row["protocol"] == "new_items" and (row["family"], row["arm"]) == ("ease", "federated"):
            assert row["kept"] == row["kept_low"] == row["kept_high"] == 1.0
    lightfm = value(
        rows, family="lightfm", arm="federated", protocol="new_users", history=20, metric="new_users:map"
    )
    assert (lightfm["seeds"], lightfm["kept_of"], lightfm["ratio_to"]) == (2, "trained_in", "popularity")
    joined = value(rows, family="lightfm", arm="trained_in", metric="new_users:map")
    assert lightfm["kept"] == pytest.approx(lightfm["value"] / joined["value"], abs=1e-3)


def test_a_new_silo_is_answered_by_a_model_without_it(partition, rows):
    # Without cedar two silos are left. A model of these two alone must give the same answers.
    alone = [row for row in rows if row["arm"] == "over_silo_only" and row["family"] == "ease"]
    assert {row["client"] for row in alone} == {"ash", "birch", "cedar"}
    found = value(rows, protocol="new_silos", family="ease", arm="federated", metric="new_silos:ndcg@10")
    silo = value(rows, protocol="new_silos", family="ease", arm="silo_only", metric="new_silos:ndcg@10")
    # All silos have 30 users, so the mean over users is the mean over silos.
    assert np.mean([row["value"] for row in alone]) == pytest.approx(found["value"] - silo["value"], abs=1e-4)


def test_the_tables_replace_the_old_ones_in_the_document(tmp_path, rows):
    text = with_table_replaced(tmp_path / "quality.md", BEGIN, END, lambda file: put_tables(file, rows))
    assert "| lightfm | federated | 3 |" in text
    assert "| ease | silo_only |" in text
    assert "| cedar |" in text
    assert tables([]) == ""


@pytest.mark.parametrize("same", [0.0, 3.0])
def test_scores_that_are_all_equal_are_ranked_at_random(partition, same):
    (client, *_) = clients_of(partition, LEAVE_ONE_OUT, "test")
    n_items = len(partition.catalog)
    scores = _untied(baselines.same_for_all(np.full(n_items, same))).scores(client)
    assert all(len(set(row)) == n_items for row in scores.tolist())
    np.testing.assert_allclose(scores, same, atol=1e-8)
