"""Weights from noisy sums: denoising, the basis of contents, and EASE of the estimated matrix."""

from __future__ import annotations

import numpy as np
import pytest

from models.privacy.denoising import Spectrum, denoised
from models.recommenders.private.solving import (
    Popularity,
    basis_of,
    content_weights,
    most_popular,
    solved,
    weights_of,
)
from models.recommenders.private.spec import DpItemsSpec


def noise(size: int, deviation: float, seed: int) -> np.ndarray:
    """Symmetric noise with this standard deviation on the diagonal, and it over sqrt 2 elsewhere."""
    values = np.random.default_rng(seed).standard_normal((size, size)) * deviation
    return (values + values.T) / 2 + np.diag(np.diag(values)) * (1 - 1)


def test_without_noise_all_that_is_positive_is_kept():
    matrix = np.diag([3.0, 0.5, 0.0, -2.0])
    found = denoised(matrix, 0.0)
    np.testing.assert_allclose(found.vectors * found.values @ found.vectors.T, np.diag([3.0, 0.5, 0.0, 0.0]))
    np.testing.assert_allclose(found.diagonal, [3.0, 0.5, 0.0, 0.0])


@pytest.mark.parametrize("seed", range(5))
def test_a_direction_that_stands_out_is_kept_and_shrunk_as_theory_says(seed):
    size, deviation, strength = 400, 1.0, 60.0
    direction = np.random.default_rng(seed + 100).standard_normal(size)
    direction /= np.linalg.norm(direction)
    noisy = strength * np.outer(direction, direction) + noise(size, deviation, seed)
    found = denoised(noisy, deviation)
    # s² d / l is what the noise adds to the eigenvalue and takes from its direction: s² is half the variance.
    expected = strength - size * deviation**2 / 2 / strength
    assert found.values.max() == pytest.approx(expected, rel=0.05)
    assert len(found.values) == 1

    def error(estimate: np.ndarray) -> float:
        return float(np.linalg.norm(estimate - strength * np.outer(direction, direction)))

    kept = found.vectors * found.values @ found.vectors.T
    values, vectors = np.linalg.eigh(noisy)
    unshrunk = values[-1] * np.outer(vectors[:, -1], vectors[:, -1])
    assert error(kept) < error(unshrunk) < error(noisy)


def test_weights_are_those_of_ease_for_the_estimated_matrix():
    random = np.random.default_rng(4)
    diagonal, vectors, values = 1.0 + random.random(9), random.standard_normal((9, 2)), np.array([3.0, 1.0])
    parts = (Spectrum(vectors[:, :1], values[:1]), Spectrum(vectors[:, 1:], values[1:]))
    inverse = np.linalg.inv(np.diag(diagonal) + vectors * values @ vectors.T)
    expected = -inverse / np.diag(inverse)
    np.fill_diagonal(expected, 0.0)
    np.testing.assert_allclose(weights_of(diagonal, parts), expected, atol=1e-12)


def test_weights_without_any_direction_are_zero():
    nothing = Spectrum(np.zeros((4, 0)), np.zeros(0))
    np.testing.assert_array_equal(weights_of(np.ones(4), (nothing,)), np.zeros((4, 4)))


def test_the_most_popular_items_are_found_with_the_first_rows_among_equals():
    popularity = np.array([1.0, 5.0, 5.0, -2.0, 5.0], dtype=np.float32)
    assert most_popular(popularity, 2).tolist() == [1, 2]
    assert most_popular(popularity, 9).tolist() == [0, 1, 2, 3, 4]


def test_shares_are_positive_whatever_the_noise_did():
    noisy = Popularity.of(np.array([-40.0, 0.0, 8.0], dtype=np.float32), deviation=4.0)
    np.testing.assert_allclose(noisy.shares, np.array([2.0, 2.0, 8.0]) / 12)
    exact = Popularity.of(np.array([0.0, 0.0, 0.9], dtype=np.float32), deviation=0.0)
    np.testing.assert_allclose(exact.shares, np.array([0.05, 0.05, 0.9]))


def test_a_basis_is_orthonormal_and_has_no_direction_twice():
    popularity = Popularity.of(np.arange(1.0, 7.0), 0.0)
    features = np.array([[1.0, 1, 0], [1, 0, 1], [1, 1, 0], [1, 0, 1], [1, 0, 0], [1, 1, 1]])
    features = np.column_stack([features, 2 * features[:, 0]])
    basis = basis_of(features, popularity)
    assert basis.shape == (6, 3)  # the last feature is twice the first
    np.testing.assert_allclose(basis.T @ basis, np.eye(3), atol=1e-12)
    # Popular items have longer rows.
    assert np.linalg.norm(basis[2]) > np.linalg.norm(basis[0])


def test_before_any_pair_is_known_alike_items_go_together():
    features = np.array([[1.0, 0], [1, 0], [0, 1], [0, 1]])
    popularity = Popularity.of(np.ones(4), 0.0)
    weights = content_weights(popularity, basis_of(features, popularity))
    assert weights[0, 1] > 0.1
    np.testing.assert_allclose(weights[0, 2:], 0.0, atol=1e-12)


def test_items_outside_the_pairs_are_reached_by_what_they_are():
    features = np.array([[1.0, 0], [1, 0], [0, 1], [0, 1], [1, 0]])
    popularity = Popularity.of(np.array([9.0, 8, 9, 8, 1]), 0.0)
    basis = basis_of(features, popularity)
    paired = np.array([0, 1, 2, 3])
    weights = solved(
        DpItemsSpec(),
        popularity,
        content=np.diag([20.0, 15.0]),
        pairs=np.kron(np.eye(2), [[0.0, 4.0], [4.0, 0.0]]),
        users=20.0,
        basis=basis,
        paired=paired,
        deviation=0.0,
    )
    assert weights[0, 1] > 0.2
    assert weights[0, 4] > 5 * abs(weights[2, 4])
