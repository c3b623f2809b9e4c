"""What is kept of a matrix in which nothing stands out."""

from __future__ import annotations

import numpy as np

from models.privacy.denoising import denoised


def test_the_largest_eigenvalues_are_kept_on_request_however_small():
    noisy = np.diag([3.0, 2.0, -5.0, 1.0])
    assert len(denoised(noisy, 10.0).values) == 0
    for count, directions in ((1, [0]), (2, [1, 0])):
        found = denoised(noisy, 10.0, least=count)
        np.testing.assert_array_equal(np.abs(found.vectors), np.eye(4)[:, directions])
        assert (found.values > 0.0).all() and (found.values < 1e-6).all()


def test_without_a_margin_more_is_kept():
    # e = 2 s sqrt d = 2 (1 / sqrt 2) sqrt 2 = 2
    noisy = np.diag([2.1, 0.0])
    assert len(denoised(noisy, 1.0).values) == 0
    np.testing.assert_allclose(denoised(noisy, 1.0, margin=1.0).values, [np.sqrt(2.1**2 - 2.0**2)])
