"""The map of items: the plane of most variance, and labels that say most."""

from __future__ import annotations

import numpy as np
import pytest

from models.errors import InvalidInput
from models.recommenders.scoring.item_map import main_labels, principal_plane


def test_points_in_a_plane_keep_all_their_distances():
    random = np.random.default_rng(3)
    flat = random.standard_normal((20, 2)) * [5.0, 1.0]
    turned = np.linalg.qr(random.standard_normal((9, 9)))[0][:2]
    plane = principal_plane(flat @ turned + 4.0)
    assert plane.explained.sum() == pytest.approx(1.0)
    assert plane.explained[0] > plane.explained[1] > 0

    def distances(points: np.ndarray) -> np.ndarray:
        return np.linalg.norm(points[:, None] - points[None], axis=2)

    assert distances(plane.places) == pytest.approx(distances(flat))
    assert plane.places.mean(axis=0) == pytest.approx([0, 0], abs=1e-12)


def test_the_plane_is_that_of_the_singular_value_decomposition_up_to_signs():
    vectors = np.random.default_rng(4).standard_normal((12, 5)).astype(np.float32)
    left, strengths, _ = np.linalg.svd(vectors - vectors.mean(axis=0, dtype=np.float64), full_matrices=False)
    plane = principal_plane(vectors)
    assert np.abs(plane.places) == pytest.approx(np.abs(left[:, :2] * strengths[:2]), abs=1e-9)
    assert plane.explained == pytest.approx(strengths[:2] ** 2 / (strengths**2).sum())
    farthest = np.abs(plane.places).argmax(axis=0)
    assert (plane.places[farthest, [0, 1]] > 0).all()


def test_mirrored_vectors_lie_on_the_same_side():
    vectors = np.random.default_rng(6).standard_normal((8, 4))
    mirrored = vectors * [-1.0, 1.0, -1.0, 1.0]
    assert principal_plane(mirrored).places == pytest.approx(principal_plane(vectors).places, abs=1e-9)


def test_items_without_differences_explain_no_variance():
    plane = principal_plane(np.ones((4, 3)))
    assert plane.places == pytest.approx(np.zeros((4, 2)))
    assert plane.explained.tolist() == [0.0, 0.0]


def test_one_vector_spans_no_plane():
    with pytest.raises(InvalidInput, match="at least 2 vectors, got 1"):
        principal_plane(np.ones((1, 3)))


def test_an_item_is_labelled_by_its_rarest_frequent_label():
    labels = {"drama": [0, 1, 2, 3], "war": [1], "comedy": [2, 4], "action": [2, 3], "noir": [5]}
    rows = {name: np.array(each) for name, each in labels.items()}
    kept, places = main_labels(rows, 6, most=3)
    # action and comedy are equally frequent, so the alphabet decides. war and noir are not kept.
    assert kept == ["drama", "action", "comedy"]
    assert places.tolist() == [0, 0, 2, 1, 2, -1]


def test_an_item_without_labels_has_no_name():
    kept, places = main_labels({}, 2, most=3)
    assert (kept, places.tolist()) == ([], [-1, -1])
