"""Features of a small catalogue, and untrained items that lie where their features say."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from models.errors import InvalidInput
from models.recommenders.items.cold_items import Placement, placed_by_features
from models.recommenders.items.features import ItemFeatures

CATALOG = pd.DataFrame(
    {
        "item_id": ["1", "2", "3", "4"],
        "title": ["A", "B", "C", "D"],
        "genres": [["Comedy", "Drama"], ["Drama"], [], ["War", "War"]],
        "year": [1990, 1995, 2000, None],
    }
)


def test_a_catalogue_without_features_has_none():
    bare = ItemFeatures.of(CATALOG[["item_id", "title"]])

    assert bare.matrix().shape == (4, 0)
    assert (bare.labels, bare.numbers) == ({}, {})


def test_the_matrix_has_a_column_for_each_label_and_part_of_a_range():
    matrix = ItemFeatures.of(CATALOG).matrix().toarray()

    assert matrix[:, :3].tolist() == [[1, 1, 0], [0, 1, 0], [0, 0, 0], [0, 0, 1]]  # Comedy, Drama, War
    assert matrix[:, 3:].sum(axis=1).tolist() == [1, 1, 1, 0]  # each known year in one part


def test_unknown_numbers_have_no_part():
    features = ItemFeatures.of(
        pd.DataFrame({"tags": [["film noir", "war"], ("war",), np.array([])], "year": [np.nan] * 3})
    )

    assert {name: rows.tolist() for name, rows in features.labels["tags"].items()} == {
        "film noir": [0],
        "war": [0, 1],
    }
    assert features.matrix().shape == (3, 2)


def test_columns_of_the_matrix_follow_those_of_the_catalogue():
    features = ItemFeatures.of(pd.DataFrame({"year": [1990, 1985, 1990], "genres": [["a"], [], ["b"]]}))

    assert features.columns == ("year", "genres")
    assert features.matrix().toarray().tolist() == [[0, 1, 1, 0], [1, 0, 0, 0], [0, 1, 0, 1]]


def test_many_or_broken_numbers_have_a_column_per_tenth():
    many = ItemFeatures.of(pd.DataFrame({"price": np.arange(0, 400, 2)})).matrix().toarray()
    few = ItemFeatures.of(pd.DataFrame({"price": np.arange(100.0)})).matrix().toarray()
    broken = ItemFeatures.of(pd.DataFrame({"price": np.arange(40) + 0.5})).matrix().toarray()

    assert many.sum(axis=0).tolist() == [20] * 10
    assert few.tolist() == np.eye(100).tolist()
    assert broken.sum(axis=0).tolist() == [4] * 10


def test_of_very_many_labels_the_most_frequent_ones_are_features():
    # Labels 0 to 2,999, the even ones on two items each and the odd ones on one.
    single = [[f"{label:04}"] for label in range(3000)]
    twice = [[f"{label:04}"] for label in range(0, 3000, 2)]
    catalog = pd.DataFrame({"cast": single + twice, "year": [1990] * 4500})

    matrix = ItemFeatures.of(catalog).matrix()

    assert matrix.shape == (4500, 2000)
    counts = np.asarray(matrix.sum(axis=0)).ravel()
    assert sorted(set(counts)) == [1, 2, 4500]
    # All even labels and the year, and as many of the odd ones as there is room for, the first ones.
    assert [(counts == number).sum() for number in (1, 2, 4500)] == [499, 1500, 1]
    assert matrix[[1, 997, 999]].sum(axis=1).ravel().tolist() == [[2, 2, 1]]
    assert counts[-1] == 4500


@pytest.mark.parametrize("cell", ["Comedy", None, 3, {"a": 1}])
def test_a_cell_that_nobody_judged_is_refused(cell):
    catalog = pd.DataFrame({"genres": pd.Series([["War"], cell], dtype=object)})
    with pytest.raises(InvalidInput, match=r"'genres' has .* in row 1, not a list of labels"):
        ItemFeatures.of(catalog)


def test_an_untrained_item_is_placed_among_those_that_share_its_features():
    # Ten trained items a genre, at (1, 0) and (0, 1) with biases 1 and -1, two new ones, and one without any.
    genres = ["a"] * 10 + ["b"] * 10 + ["a", "b", ""]
    matrix = ItemFeatures.of(pd.DataFrame({"genres": [[each] if each else [] for each in genres]})).matrix()
    embeddings = np.array([[1.0, 0.0]] * 10 + [[0.0, 1.0]] * 10 + [[9.0, 9.0]] * 3, dtype=np.float32)
    biases = np.array([1.0] * 10 + [-1.0] * 10 + [9.0] * 3, dtype=np.float32)
    trained = np.arange(23) < 20

    placed, lifted = placed_by_features(embeddings, biases, trained, matrix)

    # Ten items against a penalty of ten: halfway from the mean (0.5, 0.5, 0) to the genre's place.
    assert placed[20:] == pytest.approx(np.array([[0.75, 0.25], [0.25, 0.75], [0.5, 0.5]]))
    assert lifted[20:] == pytest.approx(np.array([0.5, -0.5, 0.0]))
    assert placed[:20].tolist() == embeddings[:20].tolist()
    assert placed.dtype == np.float32


def test_no_item_moves_if_all_are_trained_or_none_is():
    embeddings, biases = np.eye(3), np.zeros(3)
    matrix = ItemFeatures.of(pd.DataFrame({"genres": [["a"], ["a"], ["b"]]})).matrix()

    assert placed_by_features(embeddings, biases, np.ones(3, dtype=bool), matrix)[0] is embeddings
    with pytest.raises(InvalidInput, match="No item was trained"):
        placed_by_features(embeddings, biases, np.zeros(3, dtype=bool), matrix)


def test_placed_scores_are_the_scores_of_placed_vectors():
    random = np.random.default_rng(3)
    genres = [list(each) for each in random.choice(["a", "b", "ab", ""], 30)]
    matrix = ItemFeatures.of(pd.DataFrame({"genres": genres})).matrix()
    trained = np.arange(30) % 4 != 0
    vectors, users = random.normal(size=(30, 5)), random.normal(size=(7, 5))
    placement = Placement.of(trained, matrix)

    scores = placement.placed(vectors @ users.T)

    assert scores == pytest.approx(placement.placed(vectors) @ users.T)
    assert scores[trained].tolist() == (vectors @ users.T)[trained].tolist()


def test_smooth_features_are_a_constant_labels_and_bumps_over_numbers():
    smooth = ItemFeatures.of(CATALOG).smooth()

    assert smooth[:, 0].tolist() == [1, 1, 1, 1]
    assert smooth[:, 1:4].tolist() == [[1, 1, 0], [0, 1, 0], [0, 0, 0], [0, 0, 1]]  # Comedy, Drama, War
    bumps = smooth[:, 4:]
    assert bumps[3].tolist() == [0] * bumps.shape[1]  # an unknown year has none
    np.testing.assert_array_equal(bumps[:3].max(axis=1), [1, 1, 1])  # each known year is the middle of one
    # A year is more like its neighbour than like the last one.
    assert bumps[0] @ bumps[1] > 2 * bumps[0] @ bumps[2]


def test_smooth_features_of_equal_or_unknown_numbers_and_of_many_labels():
    same = ItemFeatures.of(pd.DataFrame({"year": [1990.0, 1990.0, np.nan]})).smooth()
    assert same.tolist() == [[1, 1], [1, 1], [1, 0]]
    assert ItemFeatures.of(pd.DataFrame({"year": [np.nan, np.nan]})).smooth().tolist() == [[1], [1]]
    tags = [[f"tag{number}" for number in range(item, 70)] for item in range(3)]
    many = ItemFeatures.of(pd.DataFrame({"tags": tags})).smooth()
    assert many.shape == (3, 65)  # the constant, and the 64 labels of most items
    assert many[2].sum() == 65
