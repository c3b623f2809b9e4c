"""What the report shows of the items of a job's models, with models made by hand."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from models.errors import CorruptArtifact
from models.federation.model import GlobalModel, ItemArrays, ItemModel
from models.recommenders.items.item_weights import ItemWeights
from tasks.exchange.codec import encode_model
from tasks.exchange.store import Exchange
from tasks.messages.round_record import RoundRecord
from tasks.reports.explanation import NOTHING_SHOWN, Neighbour, explain, write_explanation
from tests.worlds.records import round_record

ITEMS = pd.DataFrame(
    {
        "item_id": [f"i{row}" for row in range(6)],
        "title": ["Alien", "Aliens", "Emma", "Persuasion", "", "Unseen"],
        "genres": [["Action"], ["Action", "Horror"], ["Drama"], ["Drama"], ["Drama", "Horror"], ["Drama"]],
        "decade": [["1970s"], ["1980s"], ["1990s"], ["1990s"], ["1990s"], []],
    }
)
# Two kinds of films. No client's data contain the last one.
VECTORS = np.array([[4, 0], [8, 1], [0, 5], [-1, 10], [1, 6], [0, 0]], dtype=np.float32)
POPULARITY = np.array([5, 4, 3, 2, 1, 0], dtype=np.float32)


def lightfm(vectors: np.ndarray) -> ItemArrays:
    trained = np.where(np.arange(6) < 5, 9.0, 1.0).astype(np.float32)
    return ItemArrays(vectors, POPULARITY.copy(), trained.copy(), trained)


def weights(vectors: np.ndarray) -> ItemWeights:
    return ItemWeights.of(vectors @ VECTORS.T, 0.0, POPULARITY)


@pytest.fixture
def exchange(tmp_path: Path) -> Exchange:
    return Exchange((tmp_path / "exchange").as_uri())


def rounds(exchange: Exchange, *models: ItemModel) -> list[RoundRecord]:
    records = []
    for round_, items in enumerate(models):
        ref = exchange.put("job/models", encode_model(GlobalModel(round_, "cat", items)))
        records.append(
            round_record(round_, model_path=ref.path, model_sha256=ref.sha256, model_bytes=ref.size)
        )
    return records


@pytest.mark.parametrize("make", [lightfm, weights])
def test_similar_items_lie_together_and_are_each_other_s_neighbours(exchange, make):
    found = explain(exchange, rounds(exchange, make(0 * VECTORS), make(VECTORS)), ITEMS)
    places = found.map
    assert places.item_ids == ["i0", "i1", "i2", "i3", "i4"]  # by popularity, and trained ones alone
    assert places.titles[-1] == "i4"  # it has no title
    assert (places.column, places.labels) == ("genres", ["Drama", "Action", "Horror"])
    assert places.label == [1, 2, 0, 0, 2]
    x = np.array(places.x)
    assert np.sign(x[:2]).tolist() == [-np.sign(x[2])] * 2
    assert np.sign(x[2:]).tolist() == [np.sign(x[2])] * 3
    assert 0.9 < places.explained[0] <= 1.0
    nearest = {one.title: one.alike[0].title for one in found.neighbours}
    assert nearest == {
        "Alien": "Aliens",
        "Aliens": "Alien",
        "Emma": "Persuasion",
        "Persuasion": "Emma",
        "i4": "Emma",
    }
    assert all(len(one.alike) == 4 for one in found.neighbours)


def test_a_cosine_is_that_of_the_vectors(exchange):
    found = explain(exchange, rounds(exchange, lightfm(0 * VECTORS), lightfm(VECTORS)), ITEMS)
    assert found.neighbours[0].alike[0] == Neighbour("i1", "Aliens", round(8 / 65**0.5, 4))


def test_moved_items_are_listed_for_the_first_round_the_last_and_all(exchange):
    first, last = VECTORS.copy(), VECTORS.copy()
    first[3] += [30, 40]
    last[3], last[0] = first[3], VECTORS[0] + [0, 2]
    models = [lightfm(VECTORS.copy()), lightfm(first), lightfm(first.copy()), lightfm(last)]
    found = explain(exchange, rounds(exchange, *models), ITEMS).moved
    assert [(one.since, one.until) for one in found] == [(0, 1), (2, 3), (0, 3)]
    tops = [[(item.title, item.distance) for item in one.items[:2]] for one in found]
    assert tops == [
        [("Persuasion", 50.0), ("Alien", 0.0)],
        [("Alien", 2.0), ("Aliens", 0.0)],
        [("Persuasion", 50.0), ("Alien", 2.0)],
    ]


def test_a_single_round_is_listed_once(exchange):
    found = explain(exchange, rounds(exchange, lightfm(0 * VECTORS), lightfm(VECTORS)), ITEMS)
    assert [(one.since, one.until) for one in found.moved] == [(0, 1)]


def test_equal_models_have_equal_explanations(exchange, tmp_path):
    records = rounds(exchange, weights(0 * VECTORS), weights(VECTORS))
    for name in ("one", "two"):
        write_explanation(explain(exchange, records, ITEMS), tmp_path / name)
    assert (tmp_path / "one").read_bytes() == (tmp_path / "two").read_bytes()
    assert json.loads((tmp_path / "one").read_text())["map"]["column"] == "genres"


def test_before_the_first_round_there_is_no_explanation(exchange):
    assert explain(exchange, rounds(exchange, lightfm(VECTORS)), ITEMS) == NOTHING_SHOWN


def test_a_catalogue_without_features_and_titles_has_a_map_without_colours(exchange):
    records = rounds(exchange, lightfm(0 * VECTORS), lightfm(VECTORS))
    places = explain(exchange, records, ITEMS[["item_id"]]).map
    assert (places.column, places.labels, set(places.label)) == (None, [], {-1})
    assert places.titles == places.item_ids


def test_too_few_trained_items_have_no_map(exchange):
    few = np.zeros((6, 2), dtype=np.float32)
    few[:2] = 1
    found = explain(exchange, rounds(exchange, weights(0 * few), weights(few)), ITEMS)
    assert found.map is None
    assert [one.title for one in found.neighbours] == ["Alien", "Aliens"]


def test_a_missing_old_model_costs_only_what_it_would_show(exchange):
    models = [lightfm(VECTORS * factor) for factor in (0.25, 0.5, 0.75, 1.0)]
    records = rounds(exchange, *models)
    exchange.remove(records[1].model_path)
    found = explain(exchange, records, ITEMS)
    assert [(one.since, one.until) for one in found.moved] == [(2, 3), (0, 3)]
    assert found.map is not None
    exchange.remove(records[-1].model_path)
    with pytest.raises(CorruptArtifact):
        explain(Exchange(exchange.url + "/"), records, ITEMS)
